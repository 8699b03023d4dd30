"""Mismatch with real stars: pixels where the model is known to be wrong count less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from toy_models import model_of, with_mismatch

from blase3d.inference import infer
from blase3d.inference.likelihood.likelihood import correlated_pixels, make_likelihood
from blase3d.inference.noise import mismatch as noise_mismatch
from blase3d.inference.noise.jitter import Jitter
from blase3d.inference.noise.mismatch import PixelMismatch, mismatch_error, pixels_of_a_line
from blase3d.inference.noise.noise import first_noise, noise_at
from blase3d.inference.noise.scaled import Scaled
from blase3d.inference.problem import make_problem
from blase3d.libraries.toy import toy_grid
from blase3d.model.mismatch import Mismatch, knots_of
from blase3d.model.model_file import load_model, save_model
from blase3d.runtime.precision import in_float32
from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.spectrum import Spectrum

RNG = np.random.default_rng(2)
COUNT, NOISE = 4000, 0.01
USED = np.ones(COUNT, bool)
VARIANCE = 10.0 ** RNG.uniform(-5.0, -3.0, COUNT)
RESOLUTION = 20_000.0
TRUTH = {"teff": 5700.0, "logg": 4.3, "feh": -0.1}


@pytest.fixture(scope="module")
def model():
    return model_of(toy_grid())


def star_of(model, absorbed, seed=3, noise=1e-3):
    """A star of the model with more absorption and noise, in units of the continuum."""
    flux = np.asarray(model.flux(**TRUTH, rv=12.0, resolution=RESOLUTION), np.float64)
    flux = flux - absorbed + np.random.default_rng(seed).normal(0.0, noise, flux.size)
    return Spectrum(model.wavelength, flux, np.full(flux.size, noise), resolution=RESOLUTION)


def missing(model):
    """Ten lines that the model does not have, and the mismatch that other stars found there."""
    wavelength, knots = model.wavelength, np.exp(knots_of(model.wavelength))
    centers = np.random.default_rng(4).uniform(wavelength[0], wavelength[-1], 10)

    def lines(at, width):
        return 0.2 * np.exp(-0.5 * ((at[:, None] - centers) / width) ** 2).sum(axis=1)

    moved = wavelength / (1.0 + 12.0 / 299_792.458)
    return lines(moved, 0.25), 1e-7 + lines(knots, 0.4) ** 2


@pytest.mark.parametrize("kappa", [0.3, 3.0])
def test_the_amplitude_of_a_mismatch_is_found(kappa):
    left = RNG.normal(0.0, np.sqrt(NOISE**2 + kappa * VARIANCE))
    error = mismatch_error(left, np.full(COUNT, NOISE), VARIANCE, USED)
    np.testing.assert_allclose(error**2, kappa * VARIANCE, rtol=0.2)


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_errors_that_are_too_large_do_not_hide_a_mismatch(factor):
    """Pixels of little mismatch tell how large the noise is."""
    left = np.random.default_rng(8).normal(0.0, np.sqrt(NOISE**2 + VARIANCE))
    error = mismatch_error(left, np.full(COUNT, factor * NOISE), VARIANCE, USED)
    np.testing.assert_allclose(error**2, VARIANCE, rtol=0.25)
    # of the same everywhere, mismatch and noise cannot be told apart
    even = np.full(COUNT, 4.0 * NOISE**2)
    left = np.random.default_rng(8).normal(0.0, np.sqrt(NOISE**2 + even))
    error = mismatch_error(left, np.full(COUNT, 1.5 * NOISE), even, USED)
    np.testing.assert_allclose(error**2, (5.0 - 1.5**2) * NOISE**2, rtol=0.1)


def test_errors_that_are_right_count_as_they_are(monkeypatch):
    left = np.random.default_rng(7).normal(0.0, np.sqrt(NOISE**2 + VARIANCE))
    error = mismatch_error(left, np.full(COUNT, NOISE), VARIANCE, USED)
    monkeypatch.setattr(noise_mismatch, "_share_of_noise", lambda *_: 1.0)
    again = mismatch_error(left, np.full(COUNT, NOISE), VARIANCE, USED)
    np.testing.assert_array_equal(again, error)


def test_pixels_of_noise_alone_keep_their_weight():
    left = RNG.normal(0.0, NOISE, COUNT)
    error = mismatch_error(left, np.full(COUNT, NOISE), VARIANCE, USED)
    assert np.median(error) < 0.2 * NOISE


def test_few_pixels_that_are_far_off_do_not_count():
    left = RNG.normal(0.0, NOISE, COUNT)
    left[::50] = 0.5
    error = mismatch_error(left, np.full(COUNT, NOISE), VARIANCE, USED)
    assert np.median(error) < 0.3 * NOISE


def test_masked_pixels_do_not_count():
    left = RNG.normal(0.0, NOISE, COUNT)
    masked = np.arange(COUNT) % 2 == 0
    left[masked] = 0.5
    found = [
        mismatch_error(values, np.full(COUNT, NOISE), VARIANCE, ~masked)[~masked]
        for values in (left, np.where(masked, 0.0, left))
    ]
    np.testing.assert_allclose(*found)


def test_a_mismatch_is_linear_between_its_knots_and_constant_beyond(model):
    knots = knots_of(model.wavelength)
    mismatch = Mismatch(np.exp(knots[[0, -1]]), RNG.uniform(1.0, 2.0, knots.size))
    at = RNG.uniform(knots[0] - 1e-4, knots[-1] + 1e-4, 500)
    expected = np.interp(at, knots, mismatch.variance)
    np.testing.assert_allclose(mismatch.at(np.exp(at)), expected, rtol=1e-7)


def test_a_broad_profile_smooths_a_mismatch(model):
    knots = knots_of(model.wavelength)
    variance = np.zeros(knots.size, np.float32)
    variance[knots.size // 2] = 1.0
    mismatch = Mismatch(model.wavelength[[0, -1]], variance)
    sharp, broad = (mismatch.at(np.exp(knots), width) for width in (0.0, 30.0))
    assert sharp.max() == pytest.approx(1.0)
    assert broad.max() < 0.1
    assert broad.sum() == pytest.approx(1.0)


def test_lines_missing_in_the_library_bias_labels_less(model):
    absorbed, variance = missing(model)
    star = star_of(model, absorbed)
    off = {}
    for name, one in {"plain": model, "known": with_mismatch(model, variance)}.items():
        answer = infer(star, one, fixed={"vsini": 0.0})
        off[name] = abs(answer.labels["feh"].value - TRUTH["feh"])
        sigma = answer.labels["feh"].sigma
    assert off["known"] < 0.5 * off["plain"]
    assert off["known"] < 3.0 * sigma


def test_noise_does_not_hide_that_lines_are_missing(model):
    """Lines are wrong in all of their pixels alike: with noise of twice the size of the errors that
    they leave in single pixels, labels by pixels that count as independent are off by as much as
    without a known mismatch."""
    absorbed, variance = missing(model)
    off = {"plain": [], "known": []}
    for seed in range(3):
        star = star_of(model, absorbed, seed, noise=0.02)
        for name, one in {"plain": model, "known": with_mismatch(model, variance)}.items():
            feh = infer(star, one, fixed={"vsini": 0.0}).labels["feh"]
            off[name].append(feh.value - TRUTH["feh"])
    assert abs(np.mean(off["known"])) < 0.5 * abs(np.mean(off["plain"]))


def test_pixels_of_a_line_are_those_of_its_profile():
    wavelength = 6000.0 * np.exp(np.arange(400) * 0.7 / SPEED_OF_LIGHT)
    velocity = 0.7 * (np.arange(400) - 200)
    profile = np.exp(-0.5 * (velocity / np.hypot(6.0, 2.5)) ** 2)
    expected = np.sum(profile**2) ** 2 / np.sum(profile**4)
    found = pixels_of_a_line(wavelength, 6.0)
    np.testing.assert_allclose(found[20:-20], expected, rtol=1e-3)
    np.testing.assert_allclose(found[[0, -1]], 0.5 * expected, rtol=0.1)  # half of it is beyond


def test_pixels_wider_than_a_line_are_not_alike():
    wavelength = 6000.0 * np.exp(np.arange(100) * 70.0 / SPEED_OF_LIGHT)
    np.testing.assert_array_equal(pixels_of_a_line(wavelength, 10.0), 1.0)


def test_pixels_of_orders_that_overlap_are_of_the_same_line():
    """Their pixels interleave, and some are next to each other."""
    ln = np.arange(600) / SPEED_OF_LIGHT
    other = 1.003 * ln[300:] + 0.001 / SPEED_OF_LIGHT
    both = pixels_of_a_line(6000.0 * np.exp(np.sort(np.concatenate([ln, other]))), 3.0)
    alone = pixels_of_a_line(6000.0 * np.exp(ln), 3.0)[300]
    np.testing.assert_allclose(both[20:280], alone, rtol=0.01)
    np.testing.assert_allclose(both[340:840], 2.0 * alone, rtol=0.15)


def test_a_gap_has_no_pixels():
    order = 6000.0 * np.exp(np.arange(100) / SPEED_OF_LIGHT)
    alone, both = (
        pixels_of_a_line(one, 3.0) for one in (order, np.concatenate([order, order + 50.0]))
    )
    np.testing.assert_allclose(both[:100], alone, atol=1.0)


@pytest.mark.parametrize("noise_model", [Scaled(), Jitter()])
@pytest.mark.parametrize("stated", [True, False])
def test_chi_square_is_as_expected_where_pixels_are_alike(stated, noise_model):
    """White noise and a mismatch that is the same over eight pixels."""
    variance = np.repeat(10.0 ** RNG.uniform(-5.0, -3.0, COUNT // 8), 8)
    left = RNG.normal(0.0, NOISE, COUNT) + np.repeat(RNG.normal(size=COUNT // 8), 8) * variance**0.5
    error = np.full(COUNT, NOISE) if stated else None
    spectrum = Spectrum(np.linspace(6000.0, 6300.0, COUNT), 1.0 + left, error)
    level, mismatch = np.ones(COUNT), PixelMismatch(variance, np.full(COUNT, 8.0))
    noise = noise_at(
        noise_model, first_noise(spectrum, 1.0), level, level, robust=False, mismatch=mismatch
    )
    np.testing.assert_allclose(noise.counted(level) ** 2, NOISE**2 + 8.0 * variance, rtol=0.5)
    chi2 = np.sum((left * noise.weight(level)) ** 2)
    assert chi2 / (noise.independent * COUNT) == pytest.approx(1.0, abs=0.1)
    # all pixels of a line as one have the variance that is stated of them
    of_lines = (left * noise.weight(level)).reshape(-1, 8).sum(axis=1) / np.sqrt(8.0)
    assert np.mean(of_lines**2) == pytest.approx(1.0, abs=0.2)


def test_a_star_of_the_library_is_inferred_as_without(model):
    _, variance = missing(model)
    star = star_of(model, 0.0)
    answers = [
        infer(star, one, fixed={"vsini": 0.0}) for one in (model, with_mismatch(model, variance))
    ]
    for name, estimate in answers[0].labels.items():
        other = answers[1].labels[name]
        assert abs(other.value - estimate.value) < 0.3 * estimate.sigma
        assert other.sigma == pytest.approx(estimate.sigma, rel=0.2)


def test_pixels_that_are_wrong_together_count_as_one():
    white = RNG.normal(size=(5, 20_000))
    alike = np.array([np.convolve(row, np.ones(8) / np.sqrt(8.0), "same") for row in white])
    independent, together = (float(correlated_pixels(x[:4], x[4])) for x in (white, alike))
    assert independent == pytest.approx(1.0, abs=0.15)
    assert 4.0 < together < 7.0  # Σ (1 − k/8)² over lags k, less at the ends of segments


@in_float32  # as in `infer`
def test_modes_count_less_where_lines_are_wrong(model):
    """A mode that resembles missing lines takes up less of them with a known mismatch."""
    absorbed, variance = missing(model)
    white = RNG.normal(size=(8, model.wavelength.size))
    modes = np.float32(1e-3 * gaussian_filter1d(white, 6.0, axis=1))  # as smooth as lines
    known = replace(with_mismatch(model, variance), error_modes=modes)
    found = {}
    for name, star in {"library": star_of(model, 0.0), "real": star_of(model, absorbed)}.items():
        problem = make_problem(star, known, fixed={"vsini": 0.0, "rv": 12.0})
        likelihood = make_likelihood(problem)
        theta = np.array([TRUTH[name] for name in problem.names])
        errors = likelihood.error_budget(likelihood.predicted(theta))
        weight = errors.noise.weight(np.ones(len(problem.spectrum)))
        found[name] = float(np.trace(errors.arrays.gram) / np.sum((modes * weight) ** 2))
    assert found["real"] < 0.1 * found["library"]


def test_a_model_file_keeps_its_mismatch(model, tmp_path):
    _, variance = missing(model)
    known = with_mismatch(model, variance)
    save_model(known, tmp_path / "model.zip")
    found = load_model(tmp_path / "model.zip").calibration.mismatch
    np.testing.assert_allclose(np.sqrt(found.variance), np.sqrt(variance), atol=6e-5)
    np.testing.assert_array_equal(found.ends, model.wavelength[[0, -1]])
    assert load_model(tmp_path / "model.zip", calibrated=False).calibration is None
