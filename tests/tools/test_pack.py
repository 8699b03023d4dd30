"""Grid files of computed spectra, read by the package; and spectra taken from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import blase3d as b3
from blase3d.runtime.units import vacuum_to_air
from synthesis.atmospheres import Atmospheres, key_of
from synthesis.described import RVS, HeldOut, Labels
from synthesis.jobs import Batch, Store, ordered, plan, work
from synthesis.pack import held_out_path, pack
from synthesis.packages import PreparationError
from synthesis.take import parse_ranges, take
from synthesis.turbospectrum import Computed, Hole

LIBRARY = dataclasses.replace(
    RVS,
    low=8500.0,
    high=8501.0,
    axes={"teff": (5000.0, 5250.0), "logg": (4.0, 4.5), "feh": (0.0, 0.5), "alpha": (0.0, 0.4)},
    held_out=(HeldOut(2, {"teff": (5000, 5250), "logg": (4, 4.5), "feh": (0, 0.5)}, 1, (0.0,)),),
    parts=(),
)
KEYS = [key_of(t, g / 2, z / 4) for t in (5000, 5250) for g in (8, 9) for z in (0, 1, 2)]
ATMOSPHERES = Atmospheres(dict.fromkeys(KEYS, np.ones((56, 5))))
HOLE = (5250.0, 4.5, 0.5, 0.4)


def compute(labels: Labels) -> Computed:
    if labels == HOLE:
        raise Hole("no MARCS model")
    normalised = 1 - 0.1 * labels[3] * np.exp(-(np.linspace(-2, 2, LIBRARY.pixels) ** 2))
    return np.array([normalised, 1e5 * labels[0] * normalised], np.float32)


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Batch, ...], Store, Path]:
    batches = plan(LIBRARY, ATMOSPHERES)
    folder = tmp_path_factory.mktemp("computed")
    store = Store(folder / "store")
    work(ordered(batches), store, compute)
    pack(LIBRARY, batches, store, ATMOSPHERES, folder / "grid.npz")
    return batches, store, folder / "grid.npz"


def test_the_grid_is_read_by_the_package(computed) -> None:
    grid = b3.open_grid(computed[2])
    assert len(grid) == 15
    assert grid.label_names == ("teff", "logg", "feh", "alpha")
    assert vacuum_to_air(grid.wavelength) == pytest.approx(LIBRARY.air, abs=1e-6)
    node = grid[grid.find(teff=5250, logg=4, feh=0.5, alpha=0.4)]
    expected = compute((5250.0, 4.0, 0.5, 0.4))
    assert node.flux / node.continuum == pytest.approx(expected[0], rel=3e-7)
    assert node.flux == pytest.approx(expected[1], rel=1e-7)


def test_holes_have_reasons_and_provenance_is_stated(computed) -> None:
    meta = b3.open_grid(computed[2]).meta
    assert meta["holes"] == [{"labels": list(HOLE), "reason": "no MARCS model"}]
    assert meta["not_computed"] == meta["interpolated_atmospheres"] == []
    assert "GPL" in meta["licence"]
    assert any("Gustafsson" in text for text in meta["citation"])
    assert meta["provenance"]["settings"] == LIBRARY.settings
    assert all("sha256:" in text for text in meta["provenance"]["packages"])


def test_held_out_points_are_beside(computed) -> None:
    grid = b3.open_grid(held_out_path(computed[2]))
    assert len(grid) == 2
    assert {tuple(x) for x in grid.labels.tolist()} == set(computed[0][0].labels)


def test_what_is_not_computed_is_listed(computed, tmp_path: Path) -> None:
    batches, _, _ = computed
    store = Store(tmp_path / "store")
    work(batches[1].labels[:4], store, compute)
    line = pack(LIBRARY, batches, store, ATMOSPHERES, tmp_path / "grid.npz")
    assert "4 of 16 nodes; beside it 0 of 2 held-out" in line
    assert len(b3.open_grid(tmp_path / "grid.npz").meta["not_computed"]) == 12
    assert not held_out_path(tmp_path / "grid.npz").exists()


def test_spectra_are_taken(computed, tmp_path: Path) -> None:
    _, first, path = computed
    store = Store(tmp_path)
    assert take(path, LIBRARY, store, compute, parse_ranges(["logg=4:4"])) == 8
    assert take(path, LIBRARY, store, compute, {}) == 7  # the others
    node = (5000.0, 4.0, 0.5, 0.4)
    assert store.spectrum(node) == pytest.approx(first.spectrum(node), rel=3e-7)


def test_other_spectra_are_refused(computed, tmp_path: Path) -> None:
    def other(labels: Labels) -> Computed:
        return compute(labels) - np.float32(1e-3)

    with pytest.raises(PreparationError, match=r"differs by .* --only"):
        take(computed[2], LIBRARY, Store(tmp_path), other, {})
    shifted = dataclasses.replace(LIBRARY, low=8500.01, high=8501.01)
    with pytest.raises(PreparationError, match="pixels"):
        take(computed[2], shifted, Store(tmp_path), compute, {})
    assert not list((tmp_path / "spectra").iterdir())
