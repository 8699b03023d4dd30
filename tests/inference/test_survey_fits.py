"""Stars of a survey, inferred together, against `infer` one by one."""

from __future__ import annotations

import pickle
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from toy_models import model_of, with_mismatch

import blase3d as b3
from blase3d.errors import Blase3dError, InputError
from blase3d.inference.likelihood.data import ForwardForm
from blase3d.inference.survey import searches, starts, tabulate
from blase3d.inference.survey import survey as together
from blase3d.inference.survey.tabulated import fluxes_with_slopes, tabulated_flux
from blase3d.libraries.toy import WAVELENGTH, toy_grid
from blase3d.model.interpolation import make_interpolation
from blase3d.model.mismatch import knots_of
from blase3d.recipe import PAPER
from blase3d.spectra.continuum import chebyshev_basis

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


@pytest.mark.parametrize("lag", [-41, 0, 17])
@pytest.mark.parametrize("masked", ["beyond the end", "in all", "in one"])
def test_a_velocity_is_found_where_the_strongest_line_is_not_in_the_spectrum(lag, masked):
    """It is not sought in the weak lines that are there."""
    step, depths = np.arange(600.0), {120: 0.9, 280: 0.1, 331: 0.1, 400: 0.1, 425: 0.05}
    sharp = sum(depth * np.exp(-0.5 * ((step - at) / 2.0) ** 2) for at, depth in depths.items())
    bins = np.arange(200 if masked == "beyond the end" else 0, 550)
    rng = np.random.default_rng(4)
    departure = -sharp[np.maximum(bins - lag, 0)] + rng.normal(scale=0.01, size=(3, bins.size))
    weight = np.ones(departure.shape, np.float32)
    weight[: 1 if masked == "in one" else 3, np.abs(bins - lag - 120) < 30] = 0.0
    used = weight[:1] if masked == "in all" else weight
    rows = sharp[None].astype(np.float32), departure.astype(np.float32), weight, used
    found = starts._best_lags(*rows, bins, np.ones(2 * 150 + 1, bool))
    np.testing.assert_allclose(found, lag, atol=0.5)


def test_pixels_of_each_star_count_where_many_are_masked():
    weight = np.ones((3, 200), np.float32)
    weight[:, :50] = 0.0
    weight[1, 60] = 0.0
    np.testing.assert_array_equal(starts._used_by_each(weight)[0], np.arange(200) >= 50)
    weight[1, 60:70] = 0.0
    np.testing.assert_array_equal(starts._used_by_each(weight), weight > 0.0)


def test_slopes_are_the_derivatives_of_the_flux(survey):
    form = ForwardForm(("teff", "logg", "rv", "vsini"), tuple(AXES), (), False)
    fixed = {"feh": jnp.float32(-0.2), "resolution": jnp.float32(RESOLUTION)}
    theta = jnp.asarray([[5600.0, 4.3, 20.0, 15.0], [5900.0, 4.1, -60.0, 30.0]])
    flux, slopes = fluxes_with_slopes(survey._table, theta, fixed, form)

    def flux_of(at):
        return tabulated_flux(survey._table, at, fixed, form)

    for k, one in enumerate(theta):
        expected = flux_of(one), np.transpose(jax.jacfwd(flux_of)(one))
        np.testing.assert_allclose(flux[k], expected[0], atol=1e-6)
        size = np.abs(expected[1]).max(axis=1, keepdims=True)
        np.testing.assert_allclose(slopes[k] / size, expected[1] / size, atol=1e-4)


@pytest.mark.x64
def test_answers_are_those_of_infer(model, survey, monkeypatch):
    monkeypatch.setattr(searches, "_PIXELS", 0)  # four at once: the last call is not full
    flux, error = stars(model, 6)
    for found, expected in zip(
        survey.infer(flux, error), one_by_one(model, flux, error), strict=True
    ):
        assert_same(found, expected)


def test_a_mismatch_with_stars_counts_as_in_infer(model):
    """The red end of the spectrum is known to differ from stars, as it does."""

    def variance(at):
        return 1e-7 + 1e-3 * ((at - WAVELENGTH[0]) / np.ptp(WAVELENGTH)) ** 4

    known = with_mismatch(model, variance(np.exp(knots_of(WAVELENGTH))))
    flux, error = stars(model, 3, seed=4)
    lines = gaussian_filter1d(np.random.default_rng(5).normal(size=PIXELS.size), 2.0)
    flux[:2] *= 1.0 + 2.0 * np.sqrt(variance(PIXELS)) * lines
    survey = b3.Survey(known, PIXELS, resolution=RESOLUTION, medium="vacuum")
    for found, one in zip(survey.infer(flux, error), one_by_one(known, flux, error), strict=True):
        assert_same(found, one)


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


def test_a_survey_is_made_once_in_the_process_that_it_is_sent_to(model, survey, monkeypatch):
    monkeypatch.setattr(together, "_SURVEYS", {})
    flux, error = stars(model, 2)
    there = [pickle.loads(pickle.dumps(survey)) for _ in range(2)]
    assert there[0] is there[1] is not survey
    for here, answer in zip(survey.infer(flux, error), there[0].infer(flux, error), strict=True):
        for name, label in here.labels.items():
            found = answer.labels[name]
            np.testing.assert_allclose(found.value, label.value, rtol=1e-5)
            np.testing.assert_allclose(found.sigma, label.sigma, rtol=1e-4)


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


def test_a_denser_table_is_tried_before_a_model_is_refused(model, monkeypatch):
    errors = iter((3e-4, 1e-4, 3e-4, 3e-4, 3e-4))
    monkeypatch.setattr(tabulate, "_table", lambda *given: given[4])
    monkeypatch.setattr(tabulate, "table_error", lambda *_: next(errors))
    assert tabulate.tabulate(model, PIXELS, RESOLUTION, 0.6) == ((1, 3), 1e-4)
    with pytest.raises(InputError, match="use infer_many"):
        tabulate.tabulate(model, PIXELS, RESOLUTION, 0.6)


def test_shapes_are_checked(survey):
    with pytest.raises(InputError, match="give one row for each star"):
        survey.infer(np.ones((2, 5)), np.ones((2, 5)))


def test_the_table_follows_a_transition_as_the_model_does():
    nodes, lattice = np.arange(2.0, 5.1, 0.5), np.linspace(2.0, 5.0, 31)
    (axis,) = make_interpolation({"logg": nodes}, "spline", transitions={"logg": (2.5, 3.5)}).axes

    def change(x):
        t = np.clip(x - 2.5, 0.0, 1.0)
        return t**2 * (3.0 - 2.0 * t)

    found = tabulate._to_lattice(nodes, lattice, axis) @ change(nodes)
    np.testing.assert_allclose(found, change(lattice), atol=1e-5)


def test_chi2_of_templates_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    depth, flux = rng.uniform(0.0, 0.9, (2, 50)), rng.normal(1.0, 0.1, (1, 50))
    weight = rng.uniform(1.0, 9.0, (1, 50))
    at = np.arange(50.0)[None]
    basis = chebyshev_basis(np.arange(50.0), 6)
    departure = flux - 1.0
    components = np.concatenate([np.ones((1, 51)), np.eye(51)])
    long = np.pad(basis.T, ((0, 0), (0, 1)))
    data = departure, weight, at, long, components
    sums = np.asarray(starts._sums(*(x.astype(np.float32) for x in data)))
    squares = np.sum(weight * departure**2, axis=1)
    amplitudes = (np.pad(x, ((0, 0), (1, 1))) for x in (depth, depth**2))
    found = starts._chi2(*amplitudes, sums, squares, normalised=False)
    root = np.sqrt(weight[0])
    for one, absorbed in zip(np.asarray(found)[0], depth, strict=True):
        rows = basis[:, :4] * ((1.0 - absorbed) * root)[:, None]
        left = np.linalg.lstsq(rows, flux[0] * root, rcond=None)[1]
        assert one == pytest.approx(left[0], rel=1e-3)


def test_templates_of_stars_of_any_broadening_are_those_of_each_alone(survey):
    rng = np.random.default_rng(1)
    templates, count = survey._templates, 19
    terms = 3 * 4 - 1
    sums = rng.normal(size=(count, terms, len(templates.components))).astype(np.float32)
    squares = 1e6 * np.ones(count, np.float32)
    trial, chi2 = starts._of_templates(templates, sums, squares)
    assert set(trial) > {trial[0]}  # of several kinds
    for k in (0, 7, 18):
        alone = starts._of_templates(templates, sums[k : k + 1], squares[k : k + 1])
        assert alone[0] == trial[k]
        np.testing.assert_allclose(alone[1][0], chi2[k], rtol=1e-4)


@pytest.mark.parametrize("count", [1, 3, 15, 29, 31])
def test_compiled_calls_have_two_sizes_and_take_all_rows(count):
    calls = list(searches.calls(count, 15))
    assert {size for _, size in calls} <= {15, 3}
    assert [start for start, _ in calls] == list(np.cumsum([0, *(n for _, n in calls)])[:-1])
    assert 0 <= sum(size for _, size in calls) - count < 3
