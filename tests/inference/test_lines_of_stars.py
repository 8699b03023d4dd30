"""Calibrated models: a star is fitted with the lines that fit it better, of library or stars."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from toy_models import model_of

from blase3d.analysis.many_stars import Labeller, fitted_together
from blase3d.errors import InputError
from blase3d.inference import infer, infer_joint
from blase3d.inference.batch import sent
from blase3d.inference.methods import least_squares
from blase3d.inference.methods.method import Outcome
from blase3d.inference.survey.survey import Survey
from blase3d.libraries.toy import toy_grid
from blase3d.lines.lines import NO_AREA
from blase3d.model.line_calibration import LineCalibration
from blase3d.model.mismatch import Mismatch, knots_of
from blase3d.spectra.formats.stack import StackRow
from blase3d.spectra.spectrum import Spectrum

RESOLUTION, SNR = 20_000.0, 200.0
TRUTH = {"teff": 5700.0, "logg": 4.3, "feh": -0.1}
ADDED = 3


@pytest.fixture(scope="module")
def library():
    return model_of(toy_grid())


@pytest.fixture(scope="module")
def calibrated(library):
    """The model with every line changed at random, and some of them added by calibration."""
    rng, count = np.random.default_rng(6), len(library.reference)
    changes = rng.normal(size=(count, 3)) * np.array([0.3, 0.02, 0.1])
    added = np.zeros(count, bool)
    added[rng.choice(count, ADDED, replace=False)] = True
    knots = knots_of(library.wavelength)
    mismatch = Mismatch(library.wavelength[[0, -1]], np.full(knots.size, 1e-3, np.float32))
    calibration = LineCalibration(
        changes.astype(np.float32),
        np.full((count, 3), 0.1, np.float32),
        np.full(count, 2, np.int32),
        mismatch,
        added,
    )
    lines = calibration.applied(library.line_grid)
    return replace(library.with_lines(lines), calibration=calibration)


def star_of(model, dilution=0.0):
    observation = {"rv": 12.0, "resolution": RESOLUTION, "dilution": dilution}
    flux = np.asarray(model.flux(**TRUTH, **observation), np.float64)
    flux += np.random.default_rng(3).normal(0.0, 1.0 / SNR, flux.size)
    error = np.full(flux.size, 1.0 / SNR)
    return Spectrum(model.wavelength, flux, error, resolution=RESOLUTION)


def test_lines_of_the_library_keep_the_arrangement(calibrated):
    found, plain = calibrated.with_library_lines(), calibrated.uncalibrated()
    assert len(found.reference) == len(plain.reference) + ADDED
    assert (found.line_grid.base[calibrated.calibration.added, 1] == NO_AREA).all()
    np.testing.assert_allclose(found.flux(**TRUTH), plain.flux(**TRUTH), atol=2e-4)
    assert found.mismatch is calibrated.mismatch
    assert calibrated.lines_of_stars
    assert not found.lines_of_stars


def test_a_star_of_the_library_has_its_lines(calibrated):
    answer = infer(star_of(calibrated.uncalibrated()), calibrated, fixed={"vsini": 0.0})
    assert answer.model_identity["lines"] == "library"
    for name, estimate in answer.labels.items():
        assert abs(estimate.value - TRUTH[name]) < 3.0 * estimate.sigma
    assert answer.labels["teff"].value == pytest.approx(TRUTH["teff"], abs=20.0)


def test_a_real_star_has_the_lines_of_stars(calibrated):
    answer = infer(star_of(calibrated), calibrated, fixed={"vsini": 0.0})
    assert answer.model_identity["lines"] == "stars"
    assert answer.labels["teff"].value == pytest.approx(TRUTH["teff"], abs=20.0)


@pytest.mark.parametrize("dilution", [0.04, 0.2])
def test_light_without_lines_is_fitted(calibrated, dilution):
    """With lines whose depths stars have taught: a little as in a spectrograph, and more."""
    star = star_of(calibrated, dilution)
    answer = infer(star, calibrated, fixed={"vsini": 0.0})
    held = infer(star, calibrated, fixed={"vsini": 0.0, "dilution": 0.0})
    found = answer.nuisance["dilution"]
    assert found.value == pytest.approx(dilution, abs=3.0 * found.sigma + 0.1 * dilution)
    for name, truth in TRUTH.items():
        error, without = (abs(one.labels[name].value - truth) for one in (answer, held))
        assert error < 3.0 * answer.labels[name].sigma
    assert without > 2.0 * error  # [Fe/H]
    flag = (
        "light without lines"
        if dilution < 0.1
        else "lines much shallower than any labels allow: a fitted dilution of +0.2"
    )
    assert any(one.startswith(flag) for one in answer.flags)
    assert "dilution" not in held.nuisance


def test_a_dilution_of_zero_changes_nothing(calibrated):
    """Where lines are deeper than the model's, no light is the best."""
    star = star_of(calibrated, -0.02)
    answer = infer(star, calibrated, fixed={"vsini": 0.0})
    held = infer(star, calibrated, fixed={"vsini": 0.0, "dilution": 0.0})
    assert answer.labels == held.labels
    assert "dilution" not in answer.nuisance


def test_labels_are_continuous_where_light_begins(calibrated):
    """There is no switch that noise could turn."""
    dilutions = np.linspace(-0.004, 0.006, 11)
    answers = [infer(star_of(calibrated, d), calibrated, fixed={"vsini": 0.0}) for d in dilutions]
    fitted = np.array(["dilution" in one.nuisance for one in answers])
    assert 0 < fitted.sum() < fitted.size
    assert (np.diff(fitted.astype(int)) >= 0).all()
    feh = np.array([one.labels["feh"].value for one in answers])
    assert np.abs(np.diff(feh)).max() < 0.5 * answers[0].labels["feh"].sigma


def test_lines_of_a_library_do_not_tell_light_from_errors(calibrated):
    for model in (calibrated, calibrated.uncalibrated()):
        star = star_of(calibrated.uncalibrated(), 0.04)
        assert "dilution" not in infer(star, model, fixed={"vsini": 0.0}).nuisance


def test_another_solution_is_compared_with_the_light_of_the_best(calibrated, monkeypatch):
    """Without, chi-square of all others would be higher by what the light explains."""
    star = star_of(calibrated, 0.04)
    kept, starts = [], least_squares.starts
    monkeypatch.setattr(least_squares, "starts", lambda problem: 2 * starts(problem))
    monkeypatch.setattr(least_squares, "Outcome", lambda *a: kept.append(Outcome(*a)) or kept[-1])
    infer(star, calibrated)
    best, *others = kept[0].solutions
    assert others
    for other in others:
        assert other.theta.shape == best.theta.shape == other.at_bound.shape
        assert other.theta[-1] == best.theta[-1] > 0.0
        flux = best.likelihood.predicted(other.theta).flux
        np.testing.assert_array_equal(other.fit.prediction.flux, flux)


@pytest.mark.parametrize("alone", [True, False])
def test_a_survey_fits_no_light(calibrated, monkeypatch, alone):
    """Neither stars together nor one by itself, so that a table has the same of all."""
    star = star_of(calibrated, 0.04)
    survey = Survey(
        calibrated, star.wavelength, resolution=RESOLUTION, medium="vacuum", fixed={"vsini": 0.0}
    )
    if alone:
        monkeypatch.setattr(Survey, "_answers", raising)
    (answer,) = survey.infer(star.flux[None], star.error[None])
    assert "dilution" not in answer.nuisance


def raising(*_):
    raise InputError("not together")


@pytest.mark.long
def test_draws_have_the_light_without_lines(calibrated):
    star = star_of(calibrated, 0.04)
    answer = infer(star, calibrated, method="posterior", fixed={"vsini": 0.0}, draws=100)
    assert answer.posterior["dilution"].min() >= 0.0
    assert answer.nuisance["dilution"].value == pytest.approx(0.04, abs=0.02)
    for name, truth in TRUTH.items():
        assert abs(answer.labels[name].value - truth) < 3.0 * answer.labels[name].sigma


@pytest.mark.long
def test_windows_of_one_star_choose_too(calibrated):
    star = star_of(calibrated.uncalibrated())
    answer = infer_joint([star, star], calibrated, fixed={"vsini": 0.0})
    assert {one.fit.model_identity["lines"] for one in answer.windows} == {"library"}
    assert answer.labels["teff"].value == pytest.approx(TRUTH["teff"], abs=20.0)


def test_a_model_without_changes_says_nothing(library):
    answer = infer(star_of(library), library, fixed={"vsini": 0.0})
    assert "lines" not in answer.model_identity


@pytest.mark.parametrize("computed", [True, False])
def test_a_survey_has_the_lines_of_its_first_stars(calibrated, monkeypatch, computed):
    star = star_of(calibrated.uncalibrated() if computed else calibrated)
    monkeypatch.setattr(StackRow, "read", lambda self: star)
    stack = SimpleNamespace(
        names=["star"] * 9,
        rows=lambda: iter([StackRow("star", None)] * 9),
        wavelength=star.wavelength,
        resolution=[RESOLUTION] * 9,
        has_errors=True,
        meta={"medium": "vacuum"},
    )
    settings = {"method": "gradient", "fixed": {"vsini": 0.0}}
    surveyed = []

    def survey(model, *_, **__):
        surveyed.append(model)
        raise InputError("not tabulated")

    monkeypatch.setattr("blase3d.analysis.many_stars._FEWEST", 1)
    monkeypatch.setattr("blase3d.inference.survey.survey.Survey", survey)
    assert fitted_together(stack, Labeller(("toy", sent(calibrated)), (), {}, settings), ()) is None
    assert surveyed[0].lines_of_stars is not computed
