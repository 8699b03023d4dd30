"""State dictionaries become an archive of clones, a model and the labels of a star."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from state_files import (
    REAL,
    TOY,
    WAVE,
    brute_force,
    real_file,
    toy_name,
    toy_state,
    write_state,
)

from blase3d import build
from blase3d.errors import ArchiveError, GridError, InputError
from blase3d.fitting.archive import open_archive
from blase3d.fitting.original.folder import find_states, native_wavelength, states_grid
from blase3d.fitting.original.importer import STATES_RECIPE, import_states
from blase3d.fitting.original.states import UNFITTED, State, original_flux, read_state
from blase3d.spectra.formats import read_spectrum, write_spectrum
from blase3d.spectra.spectrum import Spectrum


@pytest.mark.long
def test_import_build_and_flux_of_a_known_world(folder: Path, tmp_path: Path) -> None:
    report = import_states(folder, tmp_path / "c.zarr", wave=WAVE)
    assert report.imported == (0, 1, 2, 3)
    assert not report.failed
    model = build(open_archive(tmp_path / "c.zarr"))
    assert model.label_names == ("teff", "logg", "feh")
    assert len(model.reference) == 40
    for teff, feh in TOY:
        truth = original_flux(toy_state(teff, feh), model.wavelength)
        found = np.asarray(model.flux(teff=teff, logg=4.5, feh=feh))
        assert np.sqrt(np.mean((found - truth) ** 2)) < 1e-4
    truth = original_flux(toy_state(5250, -0.25), model.wavelength)
    middle = np.asarray(model.flux(teff=5250, logg=4.5, feh=-0.25))
    assert np.sqrt(np.mean((middle - truth) ** 2)) < 0.005
    assert np.sqrt(np.mean((1 - truth) ** 2)) > 0.04


def test_default_range_is_that_of_fitted_lines(folder: Path, tmp_path: Path) -> None:
    state = toy_state(5000, 0.0)
    state.ln_gamma[:4] = state.ln_sigma[:4] + UNFITTED
    write_state(folder / toy_name(5000, 0.0), state)
    for labels in TOY[1:]:
        (folder / toy_name(*labels)).unlink()
    report = import_states(folder, tmp_path / "c.zarr")
    wave = report.archive.wavelength
    assert wave[0] == np.ceil(state.center[4])
    assert wave[-1] == np.floor(state.center[-1])
    state.ln_gamma[:] = state.ln_sigma + UNFITTED
    write_state(folder / toy_name(5000, 0.0), state)
    with pytest.raises(InputError, match="--wave"):
        import_states(folder, tmp_path / "d.zarr")


@pytest.mark.long
def test_the_paper_s_way(folder: Path, tmp_path: Path) -> None:
    """Lines of equal detected centres are one; a node that lacks one has −1000."""
    short = toy_state(5500, 0.0)
    cut = State(
        *(v[1:] for v in (short.center, short.ln_area, short.ln_sigma, short.ln_gamma)),
        short.detected[1:],
    )
    write_state(folder / toy_name(5500, 0.0), cut)
    report = import_states(folder, tmp_path / "c.zarr", as_paper=True, wave=WAVE)
    counts = [len(report.archive[i].lines) for i in range(4)]
    model = build(report.archive)
    assert len(model.reference) == max(counts)
    assert report.archive.recipe.name == "paper"


def test_a_second_run_does_only_what_is_new(folder: Path, tmp_path: Path) -> None:
    import_states(folder, tmp_path / "c.zarr", wave=WAVE)
    assert import_states(folder, tmp_path / "c.zarr", wave=WAVE).imported == ()
    import_states(folder, tmp_path / "p.zarr", wave=WAVE, as_paper=True)
    state = toy_state(5500, -0.5)
    state.ln_area[5] += 0.1
    write_state(folder / toy_name(5500, -0.5), state)
    report = import_states(folder, tmp_path / "p.zarr", wave=WAVE, as_paper=True)
    assert [report.archive.labels[i].tolist() for i in report.imported] == [[5500, 4.5, -0.5]]
    # lines that nodes share depend on all files
    assert len(import_states(folder, tmp_path / "c.zarr", wave=WAVE).imported) >= 1
    with pytest.raises(ArchiveError, match="another"):
        import_states(folder, tmp_path / "c.zarr", wave=(9985, 10000))


def test_an_interrupted_run_goes_on(folder: Path, tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "import" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_states(folder, tmp_path / "c.zarr", wave=WAVE, progress=interrupt)
    assert import_states(folder, tmp_path / "c.zarr", wave=WAVE).imported == (2, 3)


@pytest.mark.long
def test_a_damaged_file_stops_no_other(folder: Path, tmp_path: Path) -> None:
    path = folder / toy_name(5500, 0.0)
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    (folder / "notes.pt").write_bytes(b"")
    report = import_states(folder, tmp_path / "c.zarr", wave=WAVE)
    assert len(report.imported) == 3
    assert {Path(file).name for file in report.failed} == {path.name, "notes.pt"}
    model = build(report.archive)  # a hole, filled from its neighbours
    assert np.isfinite(np.asarray(model.flux(teff=5500, logg=4.5, feh=0.0))).all()
    path.write_bytes(whole)
    report = import_states(folder, tmp_path / "c.zarr", wave=WAVE)
    assert [5500, 4.5, 0.0] in [report.archive.labels[i].tolist() for i in report.imported]
    assert not report.archive.failed
    for file in folder.glob("T*.pt"):
        file.write_bytes(b"")
    with pytest.raises(GridError, match="no file can be read"):
        import_states(folder, tmp_path / "d.zarr", wave=WAVE)


def test_the_grid_of_states(folder: Path) -> None:
    files, _ = find_states(folder)
    grid = states_grid(files, native_wavelength(*WAVE))
    assert grid.describe(0) == "teff=5000 logg=4.5 feh=-0.5"
    np.testing.assert_allclose(
        grid[0].flux, original_flux(toy_state(5000, -0.5), grid.wavelength), atol=1e-6
    )


@pytest.mark.long
def test_from_files_to_a_star_by_the_command_line(run, tmp_path: Path) -> None:
    """A star between the nodes, made by the original's own form, and a spectrum of it."""
    for teff, feh in product((5000, 5250, 5500), (-0.5, -0.25, 0.0)):
        write_state(tmp_path / "states" / toy_name(teff, feh), toy_state(teff, feh))
    clones, model, made = (tmp_path / name for name in ("c.zarr", "m.zip", "made.npz"))
    words = ("import-states", tmp_path / "states", "-o", clones, "--wave", "9982:10018")
    assert run(*words)[0] == 0
    assert run("build", clones, "-o", model)[0] == 0
    labels = ("--teff", 5130, "--logg", 4.5, "--feh", -0.13)
    assert run("synth", model, *labels, "-o", made)[0] == 0
    wave = read_spectrum(made).wavelength
    truth = original_flux(toy_state(5130, -0.13), wave)
    assert np.sqrt(np.mean((read_spectrum(made).flux - truth) ** 2)) < 2e-3
    noise = np.random.default_rng(5).normal(0.0, 2e-3, wave.size)
    star = Spectrum(wave, truth + noise, np.full(wave.size, 2e-3), meta={"medium": "vacuum"})
    write_spectrum(star, tmp_path / "star.npz")
    known = ("--fix", "resolution=inf", "--fix", "vsini=0", "--json")
    status, out, _ = run("infer", tmp_path / "star.npz", "--model", model, *known)
    assert status == 0
    found = json.loads(out)[0]["labels"]
    assert abs(found["teff"]["value"] - 5130) < 5 * found["teff"]["sigma"] < 100
    assert abs(found["feh"]["value"] + 0.13) < 5 * found["feh"]["sigma"] < 0.1
    assert found["logg"]["value"] == 4.5


@pytest.mark.long
def test_real_files_to_a_model(tmp_path: Path) -> None:
    folder = real_file(next(iter(REAL))).parent
    report = import_states(folder, tmp_path / "c.zarr", wave=(8480, 8520))
    assert len(report.imported) == 2
    assert report.archive[0].flags == ("a radial velocity of 9.678 km/s left out",)
    model = build(report.archive)
    for file, labels in zip(REAL, ((4700, 4.5), (4100, 3.5)), strict=True):
        truth = original_flux(read_state(real_file(file)).at_rest(), model.wavelength)
        found = np.asarray(model.flux(teff=labels[0], logg=labels[1], feh=0.0))
        assert np.sqrt(np.mean((found - truth) ** 2)) < 1e-4


@pytest.mark.long
def test_real_files_become_clones_that_hold_the_original_s_flux(tmp_path: Path) -> None:
    folder = real_file(next(iter(REAL))).parent
    archive = import_states(folder, tmp_path / "c.zarr", wave=(8490, 8505)).archive
    for i, file in enumerate(reversed(REAL)):  # by falling, and by rising temperature
        truth = brute_force(read_state(real_file(file)).at_rest(), archive.wavelength)
        assert np.abs(archive[i].flux - truth).max() < 1e-6
        assert truth.min() < 0.5


@pytest.mark.long
def test_real_lines_in_our_form_are_close(tmp_path: Path) -> None:
    """Each node by itself: what is left for the residual is half a per cent."""
    folder = real_file(next(iter(REAL))).parent
    report = import_states(folder, tmp_path / "c.zarr", as_paper=True, wave=(10000, 10200))
    for i in range(2):
        assert report.archive[i].misfit < 0.005


# --- the command -------------------------------------------------------------------------------


@pytest.mark.long
def test_command(run, folder: Path, tmp_path: Path) -> None:
    words = ("import-states", folder, "-o", tmp_path / "c.zarr")
    words += ("--wave", "9982:10018", "--step", "0.02")
    status, out, _ = run(*words)
    assert status == 0
    assert "4 nodes imported" in out
    assert open_archive(tmp_path / "c.zarr").recipe == STATES_RECIPE
    path = folder / toy_name(5000, 0.0)
    path.write_bytes(path.read_bytes()[:-40])
    status, out, err = run(*words)
    assert status == 1
    assert path.name in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["absent"], "no folder"),
        (["."], "no .pt"),
        (["states", "--step", "-1"], "step"),
        (["states", "--wave", "1"], "LO:HI"),
        (["states", "--wave", "998:1002"], "lines extend from 9983 to 10017"),
    ],
)
def test_bad_input_gets_one_sentence(run, folder: Path, tmp_path: Path, words, word) -> None:
    (tmp_path / "empty").mkdir()
    where = {"states": folder, ".": tmp_path / "empty", "absent": tmp_path / "absent"}[words[0]]
    status, out, err = run("import-states", where, *words[1:], "-o", tmp_path / "c.zarr")
    assert status == 1
    assert word in err
    assert out == ""
    assert not (tmp_path / "c.zarr").exists()
