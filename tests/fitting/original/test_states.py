"""State dictionaries: labels in names, pixels, and the flux as the original renders it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from state_files import ORIGINAL, REAL, brute_force, real_file, state_of, toy_state, write_state

from blase3d.errors import GridError, InputError
from blase3d.fitting.original.folder import choose_pixels, find_states, native_wavelength
from blase3d.fitting.original.states import State, labels_of_state, original_flux, read_state


@pytest.mark.parametrize(
    ("file", "labels"),
    [
        ("T3700G5.0Z0.0.pt", (3700, 5.0, 0.0)),
        ("T10000G4.0Z-0.5.pt", (10000, 4.0, -0.5)),
        ("T2300G2.0Z+0.5.pt", (2300, 2.0, 0.5)),
        ("T5800G-0.5Z-0.0.pt", (5800, -0.5, 0.0)),
        ("emulator_T4700g4p5_prom0p01_HPF.pt", (4700, 4.5)),
        ("sparse_T4100g3p5_prom0p01_HPF.pt", (4100, 3.5)),
        ("emulator_T4700g4p5z-0p5_prom0p01.pt", (4700, 4.5, -0.5)),
        ("native_T4700g4p5_zm0p5.pt", (4700, 4.5, -0.5)),
        ("T5800.pt", ()),
        ("model.pt", ()),
        ("T5800G4.5Z0.0 (copy).pt", ()),
    ],
)
def test_labels_are_in_the_name(file: str, labels: tuple) -> None:
    names = ("teff", "logg", "feh")[: len(labels)]
    assert labels_of_state(file) == dict(zip(names, labels, strict=True))
    assert str(labels_of_state(file).get("feh")) != "-0.0"


def test_files_are_found_in_order_of_labels(folder: Path) -> None:
    (folder / "deep").mkdir()
    write_state(folder / "deep" / "old_T4800g4p5.pt", toy_state(5000, 0.0))
    (folder / "._T9000G4.0Z0.0.pt").write_bytes(b"as some systems leave it")
    (folder / "best.pt").write_bytes(b"")
    found, unnamed = find_states(folder, feh=-0.25)
    assert [file.labels for file in found[:2]] == [(4800, 4.5, -0.25), (5000, 4.5, -0.5)]
    assert [path.name for path in unnamed] == ["best.pt"]
    write_state(folder / "again_T5000g4p5z0p0.pt", toy_state(5000, 0.0))
    with pytest.raises(GridError, match=r"both have teff=5000 logg=4\.5 feh=0"):
        find_states(folder)


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(GridError, match="no folder"):
        find_states(tmp_path / "absent")
    with pytest.raises(GridError, match=r"no \.pt"):
        find_states(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(GridError, match=r"T5800G4\.5Z-0\.5\.pt"):
        find_states(tmp_path)


def test_native_pixels_are_those_of_phoenix() -> None:
    path = ORIGINAL.parent / "phoenix-10000K-native.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not here: it is not part of the project")
    with np.load(path) as arrays:
        wave = arrays["wavelength"]
    ours = native_wavelength(wave[0], wave[-1])
    assert ours.shape == wave.shape
    np.testing.assert_allclose(ours, wave, rtol=0, atol=1e-6)


def test_pixels() -> None:
    assert choose_pixels(9999.985, 10000.05).tolist() == [9999.99, 10000.0, 10000.02, 10000.04]
    assert choose_pixels(10000.01, 10000.05).tolist() == [10000.02, 10000.04]
    np.testing.assert_allclose(choose_pixels(5.0, 6.0, 0.25), [5, 5.25, 5.5, 5.75, 6])
    for bad in ((9000, 8000, None), (8000, 9000, 0.0), (1, 2e9, None), (8000, np.inf, None)):
        with pytest.raises(InputError):
            choose_pixels(*bad)


# --- the original's flux -----------------------------------------------------------------------


@pytest.mark.parametrize("file", REAL)
@pytest.mark.long
def test_real_files_render_as_the_brute_force_sum(file: str) -> None:
    """All lines, no windows; every 40th pixel of the whole range, and all around a strong line."""
    state = read_state(real_file(file))
    wave = native_wavelength(8038.0, 12849.0)
    strong = state.center[state.ln_area.argmax()]
    some = (np.arange(wave.size) % 40 == 0) | (np.abs(wave - strong) < 5.0)
    flux = original_flux(state, wave)[some]
    assert np.abs(flux - brute_force(state, wave[some])).max() < 1e-10
    assert flux.min() < 0.3


def test_narrow_wide_weak_saturated_and_distant_lines() -> None:
    rng = np.random.default_rng(3)
    n = 300
    columns = (rng.uniform(9900, 10100, n), rng.normal(-4, 2, n), rng.normal(-3, 1.5, n))
    state = State(*columns, rng.normal(-3, 1.5, n), columns[0], 12.0)
    wave = np.sort(np.append(native_wavelength(9950, 10050), state.center[:50]))
    np.testing.assert_allclose(original_flux(state, wave), brute_force(state, wave), atol=1e-11)
    wave = np.array([10000.0])
    np.testing.assert_allclose(original_flux(state, wave), brute_force(state, wave), atol=1e-11)


def test_no_lines_no_absorption_and_a_saturated_pixel() -> None:
    wave = np.linspace(8000, 8010, 500)
    none = state_of([], [], [], [])
    assert (original_flux(none, wave) == 1.0).all()
    black = original_flux(state_of([8005.0], [9.0], [0.1], [0.01]), wave)
    assert black.min() == pytest.approx(1e-9)
