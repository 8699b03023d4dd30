"""The contract of noise models, for every member and a new one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_models import model_of

from blase3d.errors import InputError
from blase3d.inference import infer
from blase3d.inference.noise import NOISE_MODELS
from blase3d.inference.noise.noise import first_noise, noise_at
from blase3d.libraries.toy import toy_grid
from blase3d.spectra.spectrum import Spectrum

RNG = np.random.default_rng(1)
WAVELENGTH = np.linspace(8500.0, 8600.0, 4000)
CONTINUUM = np.linspace(4.0, 6.0, WAVELENGTH.size)
UNIT = 5.0
MASK = np.arange(WAVELENGTH.size) % 10 == 3


@pytest.fixture(params=NOISE_MODELS.values(), ids=NOISE_MODELS)
def noise_model(request):
    return request.param


def spectrum(error=0.05, stated=0.05, **more):
    """A spectrum without lines, of white noise."""
    flux = CONTINUUM + RNG.normal(0.0, error, WAVELENGTH.size)
    errors = None if stated is None else np.full(WAVELENGTH.size, stated)
    return Spectrum(WAVELENGTH, flux, errors, mask=MASK, **more)


def pad(values):
    """Three padded pixels more than the spectrum has."""
    return jnp.asarray(np.append(np.where(MASK, 0.0, values), np.zeros(3)), jnp.float32)


def found(noise_model, star):
    return noise_at(noise_model, first_noise(star, UNIT), CONTINUUM, CONTINUUM)


def whitened(noise_model, noise, rows):
    """Rows (N, Q), padded and whitened."""
    padded = jnp.stack([pad(row / UNIT) for row in rows])
    whitening = noise_model.whitening(noise, CONTINUUM, UNIT, pad)
    return np.asarray(jax.jit(lambda whiten, x: whiten(x))(whitening, padded), float)


def test_right_errors_are_kept(noise_model):
    noise = found(noise_model, spectrum())
    np.testing.assert_allclose(noise.total(CONTINUUM), 0.05, rtol=0.05)
    assert noise.stated
    assert noise.n_outliers == 0


def test_whitened_noise_has_unit_variance(noise_model):
    star = spectrum()
    noise = found(noise_model, star)
    rows = RNG.normal(0.0, 0.05, (20, WAVELENGTH.size))
    white = whitened(noise_model, noise, rows)
    assert white.shape == (20, WAVELENGTH.size + 3)
    used = np.append(~MASK, np.zeros(3, bool))
    assert not white[:, ~used].any()
    assert np.var(white[:, used]) == pytest.approx(1.0, abs=0.05)


def test_whitening_is_linear(noise_model):
    noise = found(noise_model, spectrum())
    first, second = RNG.normal(0.0, 0.05, (2, WAVELENGTH.size))
    one, two, both = whitened(noise_model, noise, [first, second, 2.0 * first - second])
    np.testing.assert_allclose(both, 2.0 * one - two, atol=1e-4)


def test_outliers_lose_weight(noise_model):
    star = spectrum()
    flux = star.flux.copy()
    flux[100] += 10.0
    noise = found(noise_model, replace(star, flux=flux))
    assert np.flatnonzero(noise.robust < 1.0).tolist() == [100]
    alike = noise_at(noise_model, noise, CONTINUUM, CONTINUUM, robust=False)
    assert alike.n_outliers == 0


def test_the_scatter_is_the_error_where_none_is_stated(noise_model):
    noise = found(noise_model, spectrum(error=0.03, stated=None))
    assert not noise.stated
    np.testing.assert_allclose(noise.total(CONTINUUM), 0.03, rtol=0.05)


def test_errors_before_the_continuum_is_known(noise_model):
    star = spectrum()
    zeros = np.zeros(WAVELENGTH.size)
    whitening = noise_model.whitening(first_noise(star, UNIT), zeros, UNIT, pad)
    ones = np.asarray(whitening(pad(np.ones(WAVELENGTH.size))[None]))[0]
    np.testing.assert_allclose(ones[:-3][~MASK], UNIT / 0.05, rtol=1e-5)


def test_jitter_makes_chi_square_one():
    noise = found(NOISE_MODELS["jitter"], spectrum(error=0.05, stated=0.02))
    assert noise.jitter == pytest.approx(np.sqrt(0.05**2 - 0.02**2) / 5.0, rel=0.1)


@partial(jax.tree_util.register_dataclass, data_fields=("weight", "ratio"), meta_fields=())
@dataclass(frozen=True)
class Differences:
    """Whitening of an autoregressive process: differences of neighbours."""

    weight: jax.Array
    ratio: jax.Array

    def __call__(self, rows):
        before = jnp.pad(rows, ((0, 0), (1, 0)))[:, :-1]
        return (rows - self.ratio * before) * self.weight


class Autoregressive:
    """Noise that is correlated between neighbours: a member that is not diagonal."""

    ratio = 0.6

    def estimate(self, noise, ratio, level):
        return noise

    def whitening(self, noise, continuum, unit, pad):
        scale = unit / np.sqrt(1.0 - self.ratio**2)
        return Differences(pad(noise.weight(continuum) * scale), jnp.float32(self.ratio))


def test_correlated_noise_is_whitened_by_one_member():
    star = Spectrum(WAVELENGTH, CONTINUUM, np.full(WAVELENGTH.size, 0.05))
    rows = RNG.normal(0.0, 0.05 * 0.8, (10, WAVELENGTH.size))
    for k in range(1, WAVELENGTH.size):
        rows[:, k] += 0.6 * rows[:, k - 1]
    noise = noise_at(Autoregressive(), first_noise(star, UNIT), CONTINUUM, CONTINUUM)
    whitening = Autoregressive().whitening(noise, CONTINUUM, UNIT, lambda v: jnp.asarray(v))
    white = np.asarray(whitening(jnp.asarray(rows / UNIT)))[:, 1:]
    assert np.var(white) == pytest.approx(1.0, abs=0.05)
    assert abs(np.mean(white[:, 1:] * white[:, :-1])) < 0.02


def test_a_new_noise_model_is_a_class_and_a_row(monkeypatch):
    """Correlated noise: chi-square is one, and the intervals are wider than for white noise."""
    monkeypatch.setitem(NOISE_MODELS, "autoregressive", Autoregressive())
    model = model_of(toy_grid().cut(8490.0, 8500.0))
    pixels = model.wavelength[20:-20]
    white = np.random.default_rng(5).normal(0.0, 0.01, pixels.size)
    noise = 0.8 * white
    for k in range(1, pixels.size):
        noise[k] += 0.6 * noise[k - 1]
    truth = {"teff": 5730.0, "logg": 4.32, "feh": -0.13}
    flux = np.asarray(model.flux(**truth, wavelength=pixels), float)
    fixed = {"rv": 0.0, "vsini": 0.0, "resolution": np.inf, "logg": 4.32, "feh": -0.13}
    error = np.full(pixels.size, 0.01)
    star, other = (Spectrum(pixels, flux + noise_of, error) for noise_of in (noise, white))
    found = infer(star, model, fixed=fixed, noise="autoregressive")
    independent = infer(other, model, fixed=fixed, noise="scaled")
    assert found.options.noise == "autoregressive"
    assert found.chi2_red == pytest.approx(1.0, abs=0.2)
    assert found.labels["teff"].sigma > 1.2 * independent.labels["teff"].sigma
    assert abs(found.labels["teff"].value - truth["teff"]) < 4.0 * found.labels["teff"].sigma
    with pytest.raises(InputError, match="scaled, jitter, autoregressive"):
        infer(star, model, fixed=fixed, noise="pink")
    with pytest.raises(InputError, match="jitter with the noise model"):
        infer(star, model, fixed=fixed, noise="autoregressive", jitter=True)
