"""Tuning: changes of lines that are known are found, hold on masked-out pixels, and are kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
from toy_models import model_of

from blase3d.analysis.calibration.changes import with_changes
from blase3d.analysis.tuning import TIMES, Scales, tune
from blase3d.analysis.tuning.folds import FOLDS, folds_of, rms_held_out
from blase3d.errors import InputError
from blase3d.libraries.toy import LINES, toy_grid
from blase3d.model.model_file import load_model, save_model
from blase3d.spectra.formats import read_spectrum, write_spectrum
from blase3d.spectra.spectrum import Spectrum

pytestmark = pytest.mark.long

TRUTH = {"teff": 5730.0, "logg": 4.3, "feh": -0.1}
RESOLUTION, SNR = 60_000.0, 300.0
KNOWN = {"vsini": 0.0, **TRUTH}


@pytest.fixture(scope="module")
def model():
    return model_of(toy_grid())


@pytest.fixture(scope="module")
def changes():
    """Of ln area, place (Å) and ln width, of every toy line."""
    return np.random.default_rng(5).normal(size=(len(LINES), 3)) * [0.3, 0.006, 0.06]


def star_of(model, seed=1):
    flux = np.asarray(model.flux(**TRUTH, resolution=RESOLUTION), np.float64)
    noise = np.random.default_rng(seed).normal(size=flux.size) / SNR
    error = np.full(flux.size, 1.0 / SNR)
    return Spectrum(model.wavelength, flux + noise, error=error, resolution=RESOLUTION), flux


@pytest.fixture(scope="module")
def tuned(model, changes):
    """The model tuned to a star whose lines differ from it, and the star's flux without noise."""
    star, flux = star_of(with_changes(model, changes))
    return tune(star, model, fixed=KNOWN), flux


def test_changes_of_lines_are_found(tuned, changes):
    found, _ = tuned
    deep = LINES[:, 1] > 0.02
    assert deep.sum() > 15
    for column, name in enumerate(("strength", "shift", "width")):
        wanted, got = changes[deep, column], found.changes[deep, column]
        assert np.corrcoef(wanted, got)[0, 1] > 0.9, name
        assert np.std(got - wanted) < 0.45 * np.std(wanted), name


def test_they_hold_on_masked_out_pixels(tuned):
    found, _ = tuned
    runs = found.best.runs
    assert runs.untuned > 2.5 / SNR
    assert runs.tuned < 1.15 / SNR
    assert all(trial.runs.untuned == pytest.approx(runs.untuned) for trial in found.trials)


def test_the_template_has_less_noise_than_the_star(tuned):
    found, flux = tuned
    assert np.sqrt(np.mean((found.template.flux - flux) ** 2)) < 0.35 / SNR


def test_a_tuned_model_is_a_model(tuned, model, tmp_path):
    """Its file opens and says what it was tuned to, and it is changed at all labels alike. What all
    lines are shifted by is the velocity that was found."""
    found, flux = tuned
    save_model(found.model, tmp_path / "tuned.zip")
    opened = load_model(tmp_path / "tuned.zip")
    assert opened.meta["tuned"]["labels"] == pytest.approx(TRUTH)
    velocity = opened.meta["tuned"]["nuisance"]["rv"]
    seen = np.asarray(opened.flux(**TRUTH, rv=velocity, resolution=RESOLUTION))
    assert np.sqrt(np.mean((seen - flux) ** 2)) < 0.3 / SNR
    elsewhere = {"teff": 6200.0, "logg": 4.8, "feh": 0.2}
    before, after = model.lines(**elsewhere).params, opened.lines(**elsewhere).params
    np.testing.assert_allclose(
        (after - before)[:, [1, 0, 2]], found.changes, atol=0.02
    )  # what a file keeps


def test_a_star_without_changes_is_left_alone(model):
    """Noise alone does not change lines by more than it must."""
    star, flux = star_of(model)
    found = tune(star, model, fixed=KNOWN)
    assert np.sqrt(np.mean((found.template.flux - flux) ** 2)) < 0.4 / SNR
    if found.best is not None:
        assert found.best.runs.tuned > 0.97 * found.best.runs.untuned
    deep = LINES[:, 1] > 0.05
    assert np.abs(found.changes[deep, 0]).max() < 0.1


def test_folds_mask_every_pixel_once():
    wavelength = np.linspace(8500.0, 8510.0, 1001)
    seen = np.zeros(1001, int)

    def residual_without(out):
        seen[out] += 1
        return np.where(out, 2.0, 100.0), np.where(out, 1.0, 100.0)

    assert rms_held_out(wavelength, 0.3, residual_without) == [2.0, 1.0]
    np.testing.assert_array_equal(seen, 1)
    fold = folds_of(wavelength, 0.3)
    assert set(fold) == set(range(FOLDS))
    assert np.abs(np.diff(np.flatnonzero(np.diff(fold))) - 30).max() <= 1


def test_settings_that_are_none_are_refused(model):
    star, _ = star_of(model)
    with pytest.raises(InputError, match="strength, shift, width"):
        tune(star, model, adjust=("depth",))
    with pytest.raises(InputError, match="zero or more"):
        tune(star, model, times=-1.0)
    with pytest.raises(InputError, match="typical error of shift"):
        Scales(shift=-0.1)


def test_a_spectrum_of_a_line_or_two_is_refused(model):
    """Nothing would be left of it while its lines are masked."""
    star, _ = star_of(model)
    some = slice(200, 230)
    short = Spectrum(
        star.wavelength[some], star.flux[some], error=star.error[some], resolution=RESOLUTION
    )
    with pytest.raises(InputError, match=r"got a spectrum of 0.58 Å, expected more than the"):
        tune(short, model, fixed=KNOWN, continuum_degree=0)


def test_the_command_writes_model_and_template(model, tmp_path, monkeypatch, run):
    star, _ = star_of(model)
    write_spectrum(star, tmp_path / "star.npz")
    save_model(model, tmp_path / "model.zip")
    fixed = [part for name, value in KNOWN.items() for part in ("--fix", f"{name}={value}")]
    words = ("tune", "star.npz", "--model", "model.zip", "-o", "tuned.zip", *fixed, "--json")
    monkeypatch.chdir(tmp_path)
    status, out, _ = run(*words, "--template", "template.npz")
    assert status == 0
    document = json.loads(out)
    assert len(document["trials"]) == len(TIMES)
    assert load_model("tuned.zip").meta["tuned"] == document
    template = read_spectrum("template.npz")
    np.testing.assert_allclose(template.wavelength, star.wavelength)
    assert template.error is None
