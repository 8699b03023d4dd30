"""Motion, rotation and instrument: against direct convolution in velocity."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.convolution import Gaussian1DKernel, convolve

from blase3d.libraries.toy import WAVELENGTH, toy_flux
from blase3d.runtime.units import FWHM_PER_SIGMA, SPEED_OF_LIGHT
from blase3d.spectra.broaden import (
    LIMB_DARKENING,
    broaden,
    log_grid,
    macroturbulence,
    pixel_widths,
    pixels_of,
    sample,
    sample_mean,
)

STEP = 1.2
"""km/s a pixel."""
VELOCITY = STEP * (np.arange(1500) - 750)
LABELS = (5750.0, 4.5, 0.0)


def line(velocity, sigma=5.0):
    """Depth of a Gaussian line, at velocities in km/s."""
    return 0.6 * np.exp(-0.5 * (velocity / sigma) ** 2)


def rotated(velocity, vsini):
    """The line convolved with the rotation kernel of Gray (2005), by quadrature."""
    # u = vsini sin θ takes the infinite slopes at the ends of the kernel away
    theta = (np.arange(2000) + 0.5) / 2000 * np.pi - np.pi / 2
    x, eps = np.sin(theta), LIMB_DARKENING
    kernel = 2 * (1 - eps) * np.sqrt(1 - x**2) + 0.5 * np.pi * eps * (1 - x**2)
    kernel = kernel / (np.pi * (1 - eps / 3)) * np.cos(theta) * np.pi / 2000
    assert kernel.sum() == pytest.approx(1.0, abs=1e-6)
    return line(velocity[:, None] - vsini * x) @ kernel


def seen(velocity, resolution):
    """The line convolved with a Gaussian instrument, by quadrature."""
    sigma = SPEED_OF_LIGHT / resolution / FWHM_PER_SIGMA
    u = np.linspace(-8, 8, 801)
    kernel = np.exp(-0.5 * u**2)
    return line(velocity[:, None] - sigma * u) @ (kernel / kernel.sum())


FLUX = jnp.asarray(1.0 - line(VELOCITY), jnp.float32)


@pytest.mark.parametrize("vsini", [0.3, 2.0, 10.0, 60.0, 250.0])
def test_rotation_is_the_convolution(vsini):
    depth = 1.0 - np.asarray(broaden(FLUX, STEP, vsini, None))
    np.testing.assert_allclose(depth, rotated(VELOCITY, vsini), atol=3e-6)


@pytest.mark.parametrize("resolution", [5e3, 2e4, 1e5, 1e6])
def test_the_instrument_is_the_convolution(resolution):
    depth = 1.0 - np.asarray(broaden(FLUX, STEP, 0.0, resolution))
    np.testing.assert_allclose(depth, seen(VELOCITY, resolution), atol=2e-6)


def test_both_together_commute():
    both = broaden(FLUX, STEP, 30.0, 2e4)
    one_after_the_other = broaden(broaden(FLUX, STEP, 0.0, 2e4), STEP, 30.0, None)
    np.testing.assert_allclose(both, one_after_the_other, atol=2e-6)
    assert 1 - both.min() < 0.5 * (1 - FLUX.min())


def test_no_rotation_and_no_instrument_change_nothing():
    np.testing.assert_allclose(broaden(FLUX, STEP, 0.0, None), FLUX, atol=1e-6)


@pytest.mark.parametrize(("vsini", "resolution"), [(50.0, None), (0.0, 1e4), (50.0, 1e4)])
def test_equivalent_width_is_conserved(vsini, resolution):
    before = float(jnp.sum(1 - FLUX))
    after = float(jnp.sum(1 - broaden(FLUX, STEP, vsini, resolution)))
    assert after == pytest.approx(before, rel=1e-4)


def test_beyond_the_ends_is_continuum():
    """Nothing comes round from the other end, as it would without padding."""
    edge = jnp.asarray(1.0 - line(VELOCITY - VELOCITY[-1] + 20.0), jnp.float32)
    flux = np.asarray(broaden(edge, STEP, 30.0, 2e4))
    np.testing.assert_allclose(flux[:400], 1.0, atol=2e-5)


WEIGHT = np.sin(np.arange(VELOCITY.size) / 7.0) + (np.abs(VELOCITY) < 20)


def projected(parameters):
    """One number from the broadened line."""
    return jnp.sum(WEIGHT * broaden(FLUX, STEP, parameters[0], parameters[1]))


@pytest.mark.parametrize(("vsini", "resolution"), [(5.0, 2e4), (40.0, 1e4), (120.0, 5e4)])
def test_derivatives(vsini, resolution):
    def truth(vsini, resolution):  # Gauss and rotation together, by Gauss' closed form
        sigma = np.hypot(5.0, SPEED_OF_LIGHT / resolution / FWHM_PER_SIGMA)
        scale = 5.0 / sigma
        theta = (np.arange(1000) + 0.5) / 1000 * np.pi - np.pi / 2
        x, eps = np.sin(theta), LIMB_DARKENING
        kernel = 2 * (1 - eps) * np.cos(theta) + 0.5 * np.pi * eps * np.cos(theta) ** 2
        kernel = kernel / (np.pi * (1 - eps / 3)) * np.cos(theta) * np.pi / 1000
        depth = scale * line(VELOCITY[:, None] - vsini * x, sigma) @ kernel
        return np.sum(WEIGHT * (1 - depth))

    point = jnp.array([vsini, resolution])
    exact = jax.grad(projected)(point)
    np.testing.assert_allclose(jax.jacfwd(projected)(point), exact, rtol=1e-3)
    h = 1e-3
    by_vsini = (truth(vsini + h, resolution) - truth(vsini - h, resolution)) / (2 * h)
    by_resolution = (truth(vsini, resolution + 1) - truth(vsini, resolution - 1)) / 2
    np.testing.assert_allclose(exact, [by_vsini, by_resolution], rtol=0.02)


def test_derivatives_at_no_rotation_are_finite():
    slope = jax.grad(projected)(jnp.array([0.0, 2e4]))
    assert np.isfinite(slope).all()
    assert abs(slope[0]) < 0.01  # the kernel is even in vsini: nothing at first order
    assert np.isfinite(jax.grad(lambda v: broaden(FLUX, STEP, v, None).sum())(0.0))


@pytest.mark.parametrize("vsini", [0.1, 0.3, 1.0])
def test_the_slope_of_a_slow_rotation_is_that_of_its_variance(vsini):
    eps = LIMB_DARKENING
    variance = ((1 - eps) / 4 + 2 * eps / 15) / (1 - eps / 3)  # of the kernel, in units of vsini²
    bend = -line(VELOCITY) * ((VELOCITY / 5.0) ** 2 - 1.0) / 5.0**2
    slope = jax.jvp(lambda v: broaden(FLUX, STEP, v, None), (vsini,), (1.0,))[1]
    expected = variance * vsini * bend
    np.testing.assert_allclose(slope, expected, atol=0.02 * np.abs(expected).max())


def test_equal_steps_in_ln_wavelength_cover_the_range():
    wave = np.append(np.arange(8480.0, 8500.0, 0.02), np.arange(8500.0, 8540.0, 0.04))
    ln = log_grid(wave)
    assert (ln[0], ln[-1]) == (np.log(wave[0]), np.log(wave[-1]))
    np.testing.assert_allclose(np.diff(ln), (ln[-1] - ln[0]) / (ln.size - 1), rtol=1e-6)
    assert np.diff(ln)[0] <= np.diff(np.log(wave)).min()


def test_sampling_is_exact_for_quadratics_and_at_pixels():
    pixel = np.arange(50.0)
    values = jnp.asarray(1.0 + 0.3 * pixel - 0.01 * pixel**2, jnp.float32)
    place = np.linspace(2.0, 46.9, 333)
    expected = 1.0 + 0.3 * place - 0.01 * place**2
    np.testing.assert_allclose(sample(values, jnp.asarray(place)), expected, atol=2e-5)
    np.testing.assert_array_equal(sample(values, jnp.asarray(pixel)), values)


def test_sampling_has_the_slope_of_what_it_samples():
    values = jnp.asarray(1e-3 * np.arange(50.0) ** 2, jnp.float32)
    slope = jax.grad(lambda place: sample(values, place))(20.3)
    assert slope == pytest.approx(2e-3 * 20.3, rel=1e-4)


@pytest.mark.parametrize(("sigma", "error"), [(1.3, 3e-4), (1.7, 4e-5), (2.5, 1e-5), (4.0, 5e-6)])
def test_sampling_follows_lines_as_narrow_as_pixels(sigma, error):
    """Against the truth between pixels, of lines of standard deviation `sigma` in pixels."""
    rng = np.random.default_rng(3)
    centers, pixel = 20.0 * np.arange(1, 30) + rng.uniform(size=29), np.arange(600.0)
    index = rng.uniform(0.0, 599.0, 3000)
    flux, truth = (
        1.0 - 0.7 * np.exp(-0.5 * ((at[:, None] - centers) / sigma) ** 2).sum(axis=1)
        for at in (pixel, index.astype(np.float32).astype(float))
    )
    found = sample(jnp.asarray(flux, jnp.float32), jnp.asarray(index, jnp.float32))
    assert np.abs(np.asarray(found) - truth).max() < error


def test_sampling_is_smooth_across_pixels():
    values = jnp.asarray(np.random.default_rng(4).normal(size=60), jnp.float32)
    value = [sample(values, jnp.asarray(30.0 + h)) for h in (-1e-4, 1e-4)]
    slope = [jax.grad(lambda at: sample(values, at))(30.0 + h) for h in (-1e-4, 1e-4)]
    np.testing.assert_allclose(*value, atol=2e-3)
    np.testing.assert_allclose(*slope, atol=1e-2)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_few_pixels_are_sampled_too(count):
    values = jnp.arange(1.0, count + 1.0)
    found = sample(values, jnp.asarray([-3.0, 0.0, count - 1.0, count + 3.0]))
    np.testing.assert_array_equal(found, [1.0, 1.0, count, count])


def test_beyond_the_ends_the_last_value_goes_on():
    values = jnp.asarray([2.0, 1.0, 3.0])
    np.testing.assert_array_equal(sample(values, jnp.array([-7.0, 12.0])), [2.0, 3.0])


@pytest.mark.parametrize("rv", [-220.0, -3.3, 0.4, 75.0])
def test_a_doppler_shift_by_sampling_is_the_true_one(rv):
    ln = log_grid(WAVELENGTH)
    flux = jnp.asarray(toy_flux(LABELS, np.exp(ln)), jnp.float32)
    step = ln[1] - ln[0]
    inner = slice(350, -350)  # ± 235 km/s
    place = np.arange(ln.size)[inner] - np.log1p(rv / SPEED_OF_LIGHT) / step
    moved = sample(flux, jnp.asarray(place, jnp.float32))
    truth = toy_flux(LABELS, np.exp(ln)[inner] / (1 + rv / SPEED_OF_LIGHT))
    np.testing.assert_allclose(moved, truth, atol=1e-3)
    # a tenth of a km/s more would not pass
    wrong = toy_flux(LABELS, np.exp(ln)[inner] / (1 + (rv + 0.1) / SPEED_OF_LIGHT))
    assert np.abs(np.asarray(moved) - wrong).max() > 3e-3


def test_sampling_is_right_for_batches_of_long_spectra():
    """A batch of 25,001 pixels, compiled: a former form came out wrong there, and only there."""
    flux = np.random.default_rng(0).normal(size=(4, 25_001)).astype(np.float32)
    place = jnp.linspace(0.3, 24_999.7, 25_001)
    batched = jax.jit(jax.vmap(lambda row: sample(row, place)))(jnp.asarray(flux))
    singly = np.stack([np.asarray(sample(jnp.asarray(row), place)) for row in flux])
    assert np.abs(np.asarray(batched) - singly).max() < 1e-4


# Macroturbulence, limb darkening, varying line spread, pixels


def turbulent(velocity, zeta):
    """The line convolved with the radial–tangential kernel, a mean of Gaussians over the disc."""
    mu, weight = np.polynomial.legendre.leggauss(200)
    mu, weight = 0.5 * (mu + 1.0), 0.5 * weight
    depth = np.zeros_like(velocity)
    for m, w in zip(mu, weight, strict=True):
        for width in (zeta * m, zeta * np.sqrt(1 - m**2)):
            sigma = np.hypot(5.0, width / np.sqrt(2.0))
            depth += w * m * 5.0 / sigma * line(velocity, sigma)
    return depth


@pytest.mark.parametrize("vmac", [0.2, 3.0, 10.0, 40.0])
def test_macroturbulence_is_the_mean_over_the_disc(vmac):
    depth = 1.0 - np.asarray(broaden(FLUX, STEP, 0.0, None, vmac=vmac))
    np.testing.assert_allclose(depth, turbulent(VELOCITY, vmac), atol=3e-6)
    assert depth.sum() == pytest.approx(float(jnp.sum(1 - FLUX)), rel=1e-4)


def test_macroturbulence_is_smooth_at_zero():
    frequency = jnp.linspace(0.0, 0.4, 50)
    np.testing.assert_allclose(macroturbulence(frequency, 0.0), 1.0)
    small, large = (macroturbulence(frequency, v) for v in (0.02514, 0.02517))  # where series end
    np.testing.assert_allclose(small, large, atol=3e-6)
    slope = jax.jacfwd(lambda v: macroturbulence(frequency, v))
    assert np.isfinite(slope(0.0)).all()
    difference = (macroturbulence(frequency, 3.01) - macroturbulence(frequency, 2.99)) / 0.02
    np.testing.assert_allclose(slope(3.0), difference, atol=2e-4)


@pytest.mark.parametrize("eps", [0.0, 0.3, 1.0])
def test_limb_darkening_is_an_argument(eps):
    theta = (np.arange(2000) + 0.5) / 2000 * np.pi - np.pi / 2
    x = np.sin(theta)
    kernel = 2 * (1 - eps) * np.sqrt(1 - x**2) + 0.5 * np.pi * eps * (1 - x**2)
    kernel = kernel / (np.pi * (1 - eps / 3)) * np.cos(theta) * np.pi / 2000
    truth = line(VELOCITY[:, None] - 30.0 * x) @ kernel
    depth = 1.0 - np.asarray(broaden(FLUX, STEP, 30.0, None, limb_darkening=eps))
    np.testing.assert_allclose(depth, truth, atol=2e-5)
    slope = jax.grad(lambda e: jnp.sum(WEIGHT * broaden(FLUX, STEP, 30.0, None, limb_darkening=e)))
    assert np.isfinite(slope(eps))


def test_the_instrument_is_that_of_astropy():
    sigma = SPEED_OF_LIGHT / 2e4 / FWHM_PER_SIGMA
    kernel = Gaussian1DKernel(sigma / STEP, x_size=101, mode="center")
    truth = convolve(np.asarray(FLUX, float), kernel, boundary="fill", fill_value=1.0)
    np.testing.assert_allclose(broaden(FLUX, STEP, 0.0, 2e4), truth, atol=2e-5)


@pytest.mark.parametrize(("factor", "error"), [(1.0, 2e-6), (2.0, 2e-6), (5.0, 1e-4), (10.0, 1e-3)])
def test_a_line_spread_that_varies(factor, error):
    """Light is spread with the width that belongs to where it comes from, by direct summation."""
    centers = np.linspace(VELOCITY[150], VELOCITY[-150], 25)
    flux = 1.0 - sum(line(VELOCITY - c, 3.0) for c in centers)
    resolution = 8e4 * np.geomspace(1.0, 1.0 / factor, VELOCITY.size)
    sigma = SPEED_OF_LIGHT / FWHM_PER_SIGMA / resolution
    spread = np.exp(-0.5 * ((VELOCITY[:, None] - VELOCITY) / sigma) ** 2) * STEP
    truth = 1.0 - (spread / (sigma * np.sqrt(2 * np.pi))) @ (1.0 - flux)
    found = broaden(jnp.asarray(flux), STEP, 0.0, jnp.asarray(resolution, jnp.float32))
    np.testing.assert_allclose(found, truth, atol=error)
    assert float(jnp.sum(1 - found)) == pytest.approx(np.sum(1 - flux), rel=1e-4)


def test_pixels_of_one_width_are_a_boxcar():
    width = 8.4
    u = (np.arange(2001) + 0.5) / 2001 - 0.5
    truth = line(VELOCITY[:, None] - width * u).mean(axis=1)
    depth = 1.0 - np.asarray(broaden(FLUX, STEP, 0.0, None, pixel=width))
    np.testing.assert_allclose(depth, truth, atol=3e-6)


@pytest.mark.parametrize("growth", [1.0, 3.0])
def test_pixels_average_the_flux(growth):
    """Pixels of one width go through the Fourier transform, others are averaged one by one."""
    edges = VELOCITY[600] + np.cumsum(np.geomspace(4.0, 4.0 * growth, 150))
    middle, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    pixels = pixels_of(width, STEP)
    assert (pixels.points == 0) == (growth == 1.0)
    flux = broaden(FLUX, STEP, 0.0, None, pixel=pixels.uniform)
    found = sample_mean(flux, jnp.asarray((middle - VELOCITY[0]) / STEP, jnp.float32), pixels)
    u = (np.arange(400) + 0.5) / 400 - 0.5
    truth = 1.0 - line(middle[:, None] + width[:, None] * u).mean(axis=1)
    np.testing.assert_allclose(found, truth, atol=5e-4)
    assert np.sum((1 - found) * width) == pytest.approx(np.sum((1 - truth) * width), rel=1e-3)


def test_widths_of_pixels_touch_midway():
    wave = np.array([5000.0, 5001.0, 5003.0, 5006.0])
    ends = np.log([4999.5, 5000.5, 5002.0, 5004.5, 5007.5])
    np.testing.assert_allclose(pixel_widths(wave), SPEED_OF_LIGHT * np.diff(ends), rtol=2e-3)
