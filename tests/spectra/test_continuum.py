"""The continuum fit against continua that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import blase3d.spectra.continuum as module
from blase3d.errors import InputError, LabelError, SpectrumError
from blase3d.runtime.units import blackbody
from blase3d.spectra.continuum import chebyshev_basis, fit_continuum

PACKAGED = Path(module.__file__).parents[1] / "libraries" / "data" / "turbo-cat-45.npz"


@pytest.fixture(scope="module")
def wavelength():
    return np.linspace(8400.0, 8900.0, 25_001)


@pytest.fixture(scope="module")
def lines(wavelength):
    """Normalised flux: 400 narrow lines and three broad, saturated ones."""
    rng = np.random.default_rng(3)
    depth = np.zeros_like(wavelength)
    for centre, strength in zip(
        rng.uniform(8400, 8900, 400), rng.exponential(0.3, 400), strict=True
    ):
        depth += strength * np.exp(-0.5 * ((wavelength - centre) / 0.15) ** 2)
    for centre in (8500.0, 8544.0, 8664.0):
        depth += 3.0 / (1.0 + ((wavelength - centre) / 0.8) ** 2)
    return np.exp(-depth)


def true_continuum(wavelength, teff):
    """A blackbody with a gentle tilt and bend, in units far from one."""
    x = (wavelength - 8650.0) / 250.0
    return 3e14 * blackbody(wavelength, teff) * (1.0 + 0.02 * x - 0.004 * x**2 + 0.001 * x**3)


def rms_error(fitted, truth):
    return np.sqrt(np.mean(np.log(fitted / truth) ** 2))


@pytest.mark.parametrize("teff", [2300.0, 5777.0, 12000.0])
def test_featureless_spectrum_is_its_own_continuum(wavelength, teff):
    truth = true_continuum(wavelength, teff)
    np.testing.assert_allclose(fit_continuum(wavelength, truth, teff), truth, rtol=1e-4)


@pytest.mark.parametrize("given", [5777.0, None])
def test_continuum_under_lines_is_recovered(wavelength, lines, given):
    truth = true_continuum(wavelength, 5777.0)
    fitted = fit_continuum(wavelength, truth * lines, given)
    assert rms_error(fitted, truth) < 2e-3
    assert np.max(truth * lines / fitted) < 1.003


def test_wide_range_whose_step_doubles(lines):
    wavelength = np.concatenate(
        [np.arange(8038.0, 10000.0, 0.02), np.arange(10000.0, 12849.0, 0.04)]
    )
    truth = 7.0 * blackbody(wavelength, 4500.0) * (1.0 + 0.1 * (wavelength / 1e4 - 1.0))
    spectrum = truth * np.resize(lines, wavelength.size)
    assert rms_error(fit_continuum(wavelength, spectrum, 4500.0), truth) < 2e-3
    assert rms_error(fit_continuum(wavelength, spectrum, None), truth) < 2e-3


def test_result_is_smooth_in_teff(wavelength, lines):
    """Lines that deepen evenly must not make the continuum jump from node to node."""
    strengths = np.linspace(0.5, 1.5, 21)
    errors = []
    for strength in strengths:
        teff = 6000.0 - 1000.0 * strength
        truth = true_continuum(wavelength, teff)
        errors.append(np.log(fit_continuum(wavelength, truth * lines**strength, teff) / truth))
    jumps = np.diff(errors, n=2, axis=0)
    assert np.sqrt(np.mean(jumps**2)) < 3e-5


def test_small_change_of_flux_is_a_small_change_of_continuum(wavelength, lines):
    rng = np.random.default_rng(0)
    before = fit_continuum(wavelength, lines)
    after = fit_continuum(wavelength, lines * (1.0 + 1e-6 * rng.uniform(-1.0, 1.0, lines.size)))
    np.testing.assert_allclose(after, before, rtol=1e-5)


@pytest.mark.parametrize("constant", [2.0**40, 1e15, 3e-17])
def test_scaling_flux_scales_continuum(wavelength, lines, constant):
    expected = constant * fit_continuum(wavelength, lines, 5000.0)
    np.testing.assert_allclose(
        fit_continuum(wavelength, constant * lines, 5000.0), expected, rtol=1e-12
    )


def test_pixels_that_are_not_finite_are_ignored(wavelength, lines):
    holes = lines.copy()
    holes[3000:4500] = np.nan
    holes[::7] = -np.inf
    assert rms_error(fit_continuum(wavelength, holes), fit_continuum(wavelength, lines)) < 1e-3


def test_a_quantile_withstands_noise_and_spikes(wavelength, lines):
    rng = np.random.default_rng(1)
    noisy = lines + rng.normal(0.0, 0.01, lines.size)
    noisy[rng.integers(0, lines.size, 30)] = 5.0
    assert rms_error(fit_continuum(wavelength, noisy, quantile=0.8), np.ones_like(lines)) < 0.01


def test_one_spike_does_not_lift_the_envelope(wavelength, lines):
    spiked = lines.copy()
    spiked[12_000] = 3.0
    assert rms_error(fit_continuum(wavelength, spiked), np.ones_like(lines)) < 3e-3


@pytest.mark.parametrize("degree", [0, 1, 4, 8])
def test_basis_is_chebyshev_and_well_conditioned(wavelength, degree):
    basis = chebyshev_basis(wavelength, degree)
    angle = np.arccos(np.clip((wavelength - 8650.0) / 250.0, -1.0, 1.0))
    np.testing.assert_allclose(basis, np.cos(np.outer(angle, np.arange(degree + 1))), atol=1e-10)
    assert np.linalg.cond(basis) < 4.0


def test_basis_on_a_given_domain(wavelength):
    part = chebyshev_basis(wavelength[5000:6000], 4, domain=(8400.0, 8900.0))
    np.testing.assert_allclose(part, chebyshev_basis(wavelength, 4)[5000:6000], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"flux": np.full(100, np.nan)}, SpectrumError, "finite and positive"),
        ({"flux": np.full(100, -1.0)}, SpectrumError, "finite and positive"),
        (
            {"flux": np.where(np.arange(100) < 3, 1.0, np.nan)},
            SpectrumError,
            "only 2 of 50 windows",
        ),
        ({"flux": np.ones(99)}, SpectrumError, r"\(100,\) and flux of shape \(99,\)"),
        ({"wavelength": np.linspace(8900, 8400, 100)}, SpectrumError, "increasing"),
        ({"wavelength": np.linspace(-1, 1, 100)}, SpectrumError, "positive"),
        ({"flux": np.linspace(-1, 1, 100)}, SpectrumError, "falls to zero"),
        ({"teff": -1.0}, LabelError, "got Teff -1 K"),
        ({"teff": np.nan}, LabelError, "got Teff nan K"),
        ({"degree": -1}, InputError, "got degree -1"),
        ({"windows": 0}, InputError, "windows = 0"),
        ({"quantile": 1.5}, InputError, "quantile = 1.5"),
        ({"upper": 1.0}, InputError, "upper = 1"),
    ],
)
def test_bad_input_is_named(change, error, message):
    given = {"wavelength": np.linspace(8400.0, 8900.0, 100), "flux": np.ones(100)} | change
    with pytest.raises(error, match=message):
        fit_continuum(**given)


def test_basis_of_one_wavelength_is_refused():
    with pytest.raises(InputError, match="got wavelengths from 5000 to 5000"):
        chebyshev_basis([5000.0], 2)


@pytest.mark.skipif(not PACKAGED.is_file(), reason=f"{PACKAGED.name} is not in the package")
def test_packaged_library_against_its_true_continuum():
    with np.load(PACKAGED) as file:
        wavelength, labels = file["wavelength"], file["labels"]
        flux, truth = file["flux"].astype(float), file["continuum"].astype(float)
    errors = np.array(
        [
            rms_error(fit_continuum(wavelength, f, teff), c)
            for f, c, teff in zip(flux, truth, labels[:, 0], strict=True)
        ]
    )
    assert np.median(errors) < 3e-3
    assert errors.max() < 5e-3
