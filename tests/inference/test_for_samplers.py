"""The likelihood for samplers against the answer of `infer` and finite differences."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy import units as u
from toy_models import model_of

import blase3d as b3
from blase3d.errors import InputError
from blase3d.inference.for_samplers import change_of_scale
from blase3d.libraries.toy import WAVELENGTH, toy_grid

TRUTH = {"teff": 5730.0, "logg": 4.32, "feh": -0.13}
PIXELS = WAVELENGTH[(WAVELENGTH > 8491.0) & (WAVELENGTH < 8499.0)]
FIXED = {"vsini": 0.0, "logg": 4.32}


@pytest.fixture(scope="module")
def model():
    """True lines, with error modes."""
    made = model_of(toy_grid().cut(8490.0, 8500.0))
    ripple = [np.sin(made.wavelength * k / 2.0) for k in (1, 2)]
    return replace(made, error_modes=np.asarray(3e-3 * np.stack(ripple), np.float32))


def star_of(model, seed=4):
    """A star at 12 km/s, with a line of its own that widens the intervals."""
    flux = np.array(model.flux(**TRUTH, rv=12.0, resolution=4e4, wavelength=PIXELS), float)
    flux -= 0.05 * np.exp(-(((PIXELS - 8493.0) / 0.2) ** 2))
    noise = np.random.default_rng(seed).normal(0.0, 0.005, flux.size)
    return b3.Spectrum(PIXELS, flux + noise, np.full(flux.size, 0.005), resolution=4e4)


@pytest.fixture(scope="module")
def likelihood(model):
    return b3.log_likelihood(star_of(model), model, fixed=FIXED)


@pytest.mark.x64
def test_its_curvature_is_the_covariance_of_infer(likelihood, model):
    """A step of a standard deviation in any direction decreases it by one half."""
    answer = b3.infer(star_of(model), model, fixed=FIXED)
    assert likelihood.names == answer.names == ("teff", "feh", "rv")
    np.testing.assert_allclose(likelihood.answer.covariance, answer.covariance)
    best = np.array([likelihood.best[name] for name in answer.names])
    assert float(likelihood(likelihood.best)) == pytest.approx(0.0, abs=1e-4)
    steps = 0.5 * np.linalg.cholesky(answer.covariance).T
    points = np.concatenate([best + steps, best - steps])
    columns = dict(zip(answer.names, jnp.asarray(points, jnp.float32).T, strict=True))
    found = np.asarray(jax.vmap(likelihood)(columns)).reshape(2, -1).mean(axis=0)
    np.testing.assert_allclose(found, -0.125, rtol=0.06)


def test_its_slopes_are_those_of_differences(likelihood):
    near = {**likelihood.best, "teff": likelihood.best["teff"] + 40.0}
    slope = float(jax.grad(likelihood)(near)["teff"])
    ends = [float(likelihood({**near, "teff": near["teff"] + step})) for step in (2.0, -2.0)]
    assert slope == pytest.approx((ends[0] - ends[1]) / 4.0, rel=0.02)


@pytest.mark.x64
def test_beyond_the_ranges_it_is_minus_infinity(likelihood):
    low, high = likelihood.ranges["teff"]
    for name, value in (("teff", high + 1.0), ("teff", low - 1.0), ("rv", np.nan)):
        beyond = {**likelihood.best, name: value}
        assert float(likelihood(beyond)) == -np.inf
        assert all(np.isfinite(slope) for slope in jax.grad(likelihood)(beyond).values())
    assert np.isfinite(float(likelihood({**likelihood.best, "teff": high})))


@pytest.mark.x64
def test_quantities_are_converted(likelihood):
    found = likelihood({**likelihood.best, "rv": likelihood.best["rv"] * 1000.0 * u.m / u.s})
    assert float(found) == pytest.approx(0.0, abs=1e-3)


def test_another_star_needs_no_compilation(likelihood, model):
    compiled = []

    @jax.jit
    def value(function, parameters):
        compiled.append(function)
        return function(parameters)

    other = b3.log_likelihood(star_of(model, seed=5), model, fixed=FIXED)
    first, second = value(likelihood, likelihood.best), value(other, likelihood.best)
    assert len(compiled) == 1
    assert float(first) == pytest.approx(0.0, abs=1e-4)
    assert float(second) == pytest.approx(float(other(likelihood.best)), abs=1e-3)
    assert float(second) < -0.01
    with pytest.raises(InputError, match="inside a compiled function"):
        _ = compiled[0].best


@pytest.mark.lowest
def test_in_float64_it_is_the_same(likelihood, double):
    near = {**likelihood.best, "teff": likelihood.best["teff"] + 40.0}
    value, slopes = jax.jit(jax.value_and_grad(likelihood))(
        {name: jnp.asarray(one, jnp.float64) for name, one in near.items()}
    )
    assert value.dtype == slopes["teff"].dtype == jnp.float64
    single = {name: jnp.float32(one) for name, one in near.items()}
    assert float(value) == pytest.approx(float(likelihood(single)), rel=1e-3)


def test_ranges_free_and_narrow_parameters(model):
    ranges = {"teff": (5600.0, 5900.0) * u.K, "vmac": (0.0, 9.0)}
    found = b3.log_likelihood(star_of(model), model, ranges=ranges, fixed={**FIXED, "feh": -0.13})
    assert found.ranges == {"teff": (5600.0, 5900.0), "rv": (-1000.0, 1000.0), "vmac": (0.0, 9.0)}
    assert np.isfinite(float(found({**found.best, "vmac": 0.0})))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teff": 5700.0}, "got the parameters teff, expected teff, feh, rv"),
        ({"teff": 5700.0, "feh": 0.0, "rv": 0.0, "logg": 4.0}, "expected teff, feh, rv"),
        ({}, "got the parameters none"),
    ],
)
def test_every_parameter_is_given_once(likelihood, given, message):
    with pytest.raises(InputError, match=message):
        likelihood(given)


def test_normal_priors_are_for_the_user_to_add(model):
    with pytest.raises(InputError, match="normal prior on logg, expected a range"):
        b3.log_likelihood(star_of(model), model, ranges={"logg": b3.Prior(4.0, 5.0, 4.4, 0.1)})
    with pytest.raises(InputError, match="got the option 'degree'"):
        b3.log_likelihood(star_of(model), model, degree=3)


def test_the_change_of_scale_widens_a_covariance():
    rng = np.random.default_rng(1)
    units = np.array([100.0, 0.1, 1e-3, 1.0])
    plain, more = (m @ m.T * np.outer(units, units) for m in rng.normal(size=(2, 4, 4)))
    scale = change_of_scale(plain, plain + more)
    np.testing.assert_allclose(
        scale.T @ np.linalg.inv(plain) @ scale, np.linalg.inv(plain + more), rtol=1e-6
    )
    np.testing.assert_allclose(change_of_scale(plain, 4.0 * plain), 0.5 * np.eye(4), atol=1e-9)
    np.testing.assert_allclose(change_of_scale(plain, 0.5 * plain), np.eye(4), atol=1e-9)
