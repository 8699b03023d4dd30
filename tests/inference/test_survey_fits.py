"""Stars of a survey, inferred together, against `infer` one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_models import model_of

import blase3d as b3
from blase3d.errors import Blase3dError, InputError
from blase3d.inference.survey import searches
from blase3d.inference.survey import survey as together
from blase3d.libraries.toy import WAVELENGTH, toy_grid
from blase3d.recipe import PAPER

PIXELS = WAVELENGTH[400:-400:3]
RESOLUTION = 20_000.0
AXES = {"teff": (5500.0, 5750.0, 6000.0), "logg": (4.0, 4.5), "feh": (-0.5, 0.0)}


@pytest.fixture(scope="module")
def model():
    """The true lines at the nodes, with error modes."""
    recipe = PAPER.replace(interpolation="spline", composition="sum")
    plain = model_of(toy_grid(AXES), recipe=recipe, meta={"library": "toy"})
    ripple = [np.sin(WAVELENGTH * k / 3.0) for k in (1, 2)]
    return replace(plain, error_modes=np.asarray(1e-3 * np.stack(ripple), np.float32))


@pytest.fixture(scope="module")
def survey(model):
    return b3.Survey(model, PIXELS, resolution=RESOLUTION, medium="vacuum")


def stars(model, count, seed=0):
    """Fluxes and errors (N, P) of stars of random labels, with different continua and noise."""
    rng = np.random.default_rng(seed)
    fluxes, errors = [], []
    for _ in range(count):
        labels = {name: rng.uniform(axis[0], axis[-1]) for name, axis in AXES.items()}
        effects = {"rv": rng.uniform(-90.0, 90.0), "vsini": rng.uniform(10.0, 40.0)}
        flux = model.flux(**labels, **effects, wavelength=PIXELS, resolution=RESOLUTION)
        slope = rng.normal(1.0, 0.2) + 0.1 * np.linspace(-1.0, 1.0, PIXELS.size)
        error = np.full(PIXELS.size, 10.0 ** rng.uniform(-2.5, -1.5))
        fluxes.append(1e-3 * slope * (np.asarray(flux) + error * rng.normal(size=PIXELS.size)))
        errors.append(1e-3 * slope * error)
    return np.array(fluxes), np.array(errors)


def one_by_one(model, flux, error, mask=None):
    mask = np.zeros(flux.shape, bool) if mask is None else mask
    spectra = [
        b3.Spectrum(PIXELS, *rows, resolution=RESOLUTION)
        for rows in zip(flux, error, mask, strict=True)
    ]
    return [answer for _, answer in b3.infer_many(spectra, model)]


def assert_same(found, expected):
    """Values within a tenth of their errors, errors within a tenth of themselves, and flags."""
    for name, one in {**expected.labels, **expected.nuisance}.items():
        other = {**found.labels, **found.nuisance}[name]
        assert np.isnan(other.sigma) == np.isnan(one.sigma)
        if np.isfinite(one.sigma):
            assert abs(other.value - one.value) < 0.1 * one.sigma
            assert abs(other.sigma / one.sigma - 1.0) < 0.1
    assert found.flags == expected.flags
    assert found.chi2_red == pytest.approx(expected.chi2_red, rel=1e-2)


@pytest.mark.x64
def test_the_tabulated_flux_is_that_of_the_model(survey):
    assert survey.error < 1e-4


@pytest.mark.x64
def test_answers_are_those_of_infer(model, survey, monkeypatch):
    monkeypatch.setattr(searches, "_PIXELS", 0)  # four at once: the last call is not full
    flux, error = stars(model, 6)
    for found, expected in zip(
        survey.infer(flux, error), one_by_one(model, flux, error), strict=True
    ):
        assert_same(found, expected)


def test_masked_pixels_do_not_count(model, survey):
    flux, error = stars(model, 3, seed=1)
    mask = np.zeros(flux.shape, bool)
    mask[0, 200:300] = mask[1, ::7] = True
    expected = one_by_one(model, flux, error, mask)
    flux[mask] = 1e3
    flux[2, 100] = 7.0  # an outlier
    expected[2] = one_by_one(model, flux[2:], error[2:])[0]
    for found, one in zip(survey.infer(flux, error, mask), expected, strict=True):
        assert_same(found, one)


def test_a_failed_star_has_its_sentence_and_stops_no_other(model, survey):
    flux, error = stars(model, 3, seed=2)
    alone = survey.infer(flux, error)
    flux[1] = np.nan
    found = survey.infer(flux, error)
    assert isinstance(found[1], Blase3dError)
    assert "masked, not finite" in str(found[1])
    for k in (0, 2):
        assert_same(found[k], alone[k])


def test_a_star_with_half_of_its_pixels_is_inferred_by_itself(model, survey):
    flux, error = stars(model, 1, seed=3)
    mask = np.zeros(flux.shape, bool)
    mask[:, : PIXELS.size // 2] = True
    (found,) = survey.infer(flux, error, mask)
    (expected,) = one_by_one(model, flux, error, mask)
    assert_same(found, expected)


def test_stars_that_cannot_be_fitted_together_are_fitted_alone(model, survey, monkeypatch):
    def fails(*_):
        raise ValueError("no")

    monkeypatch.setattr(together, "many_starts", fails)
    flux, error = stars(model, 1, seed=4)
    assert_same(survey.infer(flux, error)[0], one_by_one(model, flux, error)[0])


def test_what_cannot_be_tabulated_is_refused(model):
    with pytest.raises(InputError, match="use infer_many"):
        b3.Survey(model, PIXELS, resolution=RESOLUTION, medium="vacuum", integrate=True)
    with pytest.raises(InputError, match="expected air or vacuum"):
        b3.Survey(model, PIXELS, resolution=RESOLUTION, medium="water")


def test_shapes_are_checked(survey):
    with pytest.raises(InputError, match="give one row for each star"):
        survey.infer(np.ones((2, 5)), np.ones((2, 5)))
