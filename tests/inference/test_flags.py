"""Each flag is raised by its fault, and none by a good spectrum. Rates: `benchmarks/flags.py`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_models import model_of

from blase3d.inference import Prior, infer, omitted
from blase3d.inference.likelihood.likelihood import make_likelihood
from blase3d.inference.methods.least_squares import LeastSquares
from blase3d.inference.problem import make_problem
from blase3d.inference.score import residuals_of
from blase3d.libraries.toy import WAVELENGTH, toy_grid
from blase3d.recipe import PAPER
from blase3d.runtime.precision import in_float32
from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra import telluric
from blase3d.spectra.spectrum import Spectrum
from blase3d.views.flag_advice import advice

PIXELS = WAVELENGTH[200:-200]
STAR = {"teff": 5730.0, "logg": 4.32, "feh": -0.13}
SEEN = {"rv": -17.2, "vsini": 6.0, "resolution": 50_000.0}
SNR = 100.0


@pytest.fixture(scope="module")
def model():
    """The true lines at the nodes, and nothing else."""
    recipe = PAPER.replace(interpolation="spline", composition="sum")
    return model_of(toy_grid(), recipe=recipe, meta={"library": "toy"})


def flux_of(model, wavelength=PIXELS, **changes):
    return np.asarray(model.flux(**{**STAR, **SEEN, **changes}, wavelength=wavelength), float)


def observed(flux, snr=SNR, seed=1, **columns):
    """A spectrum of this flux with noise."""
    error = np.full(flux.size, 1.0 / snr)
    noise = np.random.default_rng(seed).normal(size=flux.size)
    given = {"error": error, "resolution": SEEN["resolution"], **columns}
    return Spectrum(PIXELS, flux + error * noise, **given)


def raised(flags, *phrases):
    """Check that one flag has each of the phrases, and that each flag is explained."""
    for phrase in phrases:
        assert any(phrase in flag for flag in flags), (phrase, flags)
    assert all(advice(flag) is not None for flag in flags), flags


def test_a_good_spectrum_has_none(model):
    answer = infer(observed(flux_of(model)), model)
    assert answer.flags == ()
    assert answer.chi2_stated == pytest.approx(1.0, abs=0.15)
    assert answer.rms == pytest.approx(1.0 / SNR, rel=0.1)
    numbers = answer.to_dict()
    assert numbers["chi2_stated"] == answer.chi2_stated
    assert numbers["rms"] == answer.rms


def test_a_second_star(model):
    other = flux_of(model, teff=5300.0, rv=SEEN["rv"] + 60.0)
    flags = infer(observed(0.7 * flux_of(model) + 0.3 * other), model).flags
    raised(flags, "lines of a second star, +")
    (speed,) = (float(flag.split()[5]) for flag in flags if "second star" in flag)
    assert speed == pytest.approx(60.0, abs=5.0)


def test_two_exposures_that_were_sorted_together_are_one_spectrum(model):
    first = observed(flux_of(model))
    both = np.sort(np.concatenate([PIXELS, PIXELS * (1.0 + 1e-13)]))
    twice = Spectrum(both, np.repeat(first.flux, 2), np.repeat(first.error, 2), resolution=5e4)
    answer, alone = infer(twice, model), infer(first, model)
    assert answer.labels["teff"].value == pytest.approx(alone.labels["teff"].value, abs=1.0)


@pytest.mark.parametrize(
    ("dilution", "kind"), [(0.1, "shallower"), (0.3, "shallower"), (-0.15, "deeper")]
)
def test_dilution(model, dilution, kind):
    spectrum = observed(flux_of(model, dilution=dilution), snr=300.0)
    raised(infer(spectrum, model).flags, f"lines {kind} than any labels allow")
    freed = infer(spectrum, model, priors={"dilution": Prior(-0.4, 0.6)})
    assert freed.flags == ()


def test_a_resolution_that_is_too_low(model):
    spectrum = observed(flux_of(model, vsini=0.0), resolution=SEEN["resolution"] / 2.0)
    flags = infer(spectrum, model).flags
    raised(flags, "lines narrower than a resolution of 25000")
    assert not any("second star" in flag for flag in flags)


def test_lines_wider_than_all_that_is_fixed(model):
    spectrum = observed(flux_of(model, vsini=0.0), resolution=2.0 * SEEN["resolution"])
    raised(infer(spectrum, model, fixed={"vsini": 0.0}).flags, "lines wider than a resolution")


def test_a_filled_core(model, monkeypatch):
    deepest = float(PIXELS[np.argmin(flux_of(model, rv=0.0))])
    monkeypatch.setattr(omitted, "_ACTIVE", {"the toy line": (deepest,)})
    center = deepest * (1.0 + SEEN["rv"] / SPEED_OF_LIGHT)
    profile = np.exp(-0.5 * ((PIXELS - center) * SPEED_OF_LIGHT / center / 13.0) ** 2)
    raised(infer(observed(flux_of(model) + 0.15 * profile), model).flags, "core of the toy line")
    assert infer(observed(flux_of(model)), model).flags == ()


def test_emission_over_the_continuum_but_not_cosmic_rays(model):
    at = PIXELS[300]
    line = 0.6 * np.exp(-0.5 * ((PIXELS - at) / 0.1) ** 2)
    raised(
        infer(observed(flux_of(model) + line), model).flags,
        "emission over the continuum at 8",
    )
    hit = flux_of(model)
    hit[[300, 301, 700]] += 2.0
    flags = infer(observed(hit), model).flags
    assert not any("emission" in flag for flag in flags)


def test_telluric_lines_that_are_not_masked(model, monkeypatch):
    low, high = PIXELS[400], PIXELS[600]
    monkeypatch.setattr(telluric, "BANDS", ((low, high, "toy"),))
    flux = flux_of(model)
    for at in np.linspace(low, high, 12)[1:-1]:
        flux *= 1.0 - 0.25 * np.exp(-0.5 * ((PIXELS - at) / 0.05) ** 2)
    raised(infer(observed(flux), model).flags, "telluric lines in 201 pixels")
    ground = {"telescope": "toy", "frame": "star"}
    assert infer(observed(flux, meta=ground), model).n_masked == 201
    assert infer(observed(flux, meta={**ground, "telescope": "HST"}), model).n_masked == 0


@pytest.mark.parametrize(("factor", "kind"), [(3.0, "large"), (1.0 / 3.0, "small")])
def test_errors_that_cannot_be(model, factor, kind):
    spectrum = observed(flux_of(model))
    flags = infer(replace(spectrum, error=factor * spectrum.error), model).flags
    raised(flags, f"times too {kind}")
    (number,) = (float(flag.split()[3]) for flag in flags if "times too" in flag)
    assert number == pytest.approx(3.0, rel=0.2)


def test_padding_and_dead_pixels_are_found(model):
    spectrum = observed(flux_of(model))
    flux = spectrum.flux.copy()
    bad = np.zeros(flux.size, bool)
    for pixels, value in ((slice(0, 40), 0.0), (slice(300, 310), -999.0), (slice(700, 720), 1.0)):
        flux[pixels], bad[pixels] = value, True
    dead = [500, 561, 900]
    flux[dead], bad[dead] = 0.0, True
    answer = infer(replace(spectrum, flux=flux), model)
    raised(answer.flags, f"{bad.sum()} pixels without data masked")
    assert len(answer.flags) == 1
    np.testing.assert_array_equal(answer.masked, PIXELS[bad])
    for name, found in answer.labels.items():
        assert abs(found.value - STAR[name]) < 4.0 * found.sigma


def test_one_dead_pixel_is_one(model):
    spectrum = observed(flux_of(model))
    flux = spectrum.flux.copy()
    flux[500] = 0.0
    raised(infer(replace(spectrum, flux=flux), model).flags, "1 pixel without data masked")


def test_a_large_misfit_is_a_poor_fit_by_the_stated_errors(model):
    """As of a fringe of 7 %."""
    spectrum = observed(
        flux_of(model) * (1.0 + 0.1 * np.sin(2.0 * np.pi * PIXELS / 1.5)), snr=250.0
    )
    answer = infer(spectrum, model)
    raised(answer.flags, "poor fit")
    assert answer.chi2_stated > 50.0
    assert answer.rms > 0.05


def test_strong_lines_are_found_though_they_fit_badly(model):
    """A flat spectrum fits much worse."""
    flux = flux_of(model) ** 1.5
    assert not any("no lines" in flag for flag in infer(observed(flux, snr=300.0), model).flags)
    nothing = observed(np.ones(PIXELS.size))
    raised(infer(nothing, model).flags, "no lines found")


def test_a_star_beyond_two_edges_of_the_library(model):
    """Its lines are extrapolated beyond the hottest stars of fewest metals."""
    edge = {"teff": model.bounds["teff"][1], "feh": model.bounds["feh"][0]}
    inside = {name: 0.85 * value + 0.15 * STAR[name] for name, value in edge.items()}
    flux = 1.5 * flux_of(model, **edge) - 0.5 * flux_of(model, **inside)
    answer = infer(observed(flux, snr=200.0), model)
    raised(answer.flags, "star beyond the library: teff and feh at a bound")
    assert not any(flag.startswith("teff") for flag in answer.flags)
    assert np.isnan(answer.labels["feh"].sigma)


@pytest.mark.long
def test_a_label_on_an_edge_widens_the_errors_of_the_others(model):
    """They include how far it would move beyond, so that the truth stays within."""
    teff, edge = float(np.mean(model.axes["teff"][:2])), float(model.axes["teff"][1])
    grid = toy_grid()
    grid = grid.take(np.flatnonzero(grid.labels[:, 0] >= edge))
    short = model_of(grid, recipe=model.recipe, meta={"library": "toy"})
    spectrum = observed(flux_of(model, teff=teff), snr=300.0)
    answer = infer(spectrum, short)
    raised(answer.flags, "teff at a bound", "errors of other labels widened for teff")
    held = infer(spectrum, model, priors={"teff": Prior(edge, 7000.0)})
    assert "teff at a bound" in held.flags
    assert not any("widened" in flag for flag in held.flags)
    found = answer.labels["feh"]
    assert found.sigma > 1.5 * held.labels["feh"].sigma
    assert abs(found.value - STAR["feh"]) < 3.0 * found.sigma


@pytest.mark.parametrize(
    ("rv", "kind"), [(-83.0, "air taken for vacuum"), (83.0, "vacuum taken for air")]
)
def test_a_velocity_as_of_the_other_medium(model, rv, kind):
    raised(infer(observed(flux_of(model, rv=rv + 20.0)), model).flags, kind)


def test_the_frame_of_the_velocity_is_stated(model):
    def flags(**meta):
        found = infer(observed(flux_of(model), meta=meta), model, telluric=False).flags
        assert all(advice(flag) is not None for flag in found)
        return " ".join(found)

    assert "not corrected to the barycentre" in flags(frame="observatory")
    assert "perhaps not corrected" in flags(instrument="toy")
    assert "+10.00 km/s" in flags(frame="barycentric", barycentric_correction=10.0)
    assert flags(frame="barycentric", instrument="toy") == ""


def test_one_outlier_is_singular(model):
    flux = flux_of(model)
    flux[500] += 1.0
    assert infer(observed(flux), model).flags == ("1 outlying pixel given less weight",)


@in_float32  # as in `infer`
def test_the_score_is_that_of_a_fit_with_one_more_parameter(model):
    """Amplitude and error of a dilution, against a fit in which it is free."""
    spectrum = observed(flux_of(model, dilution=0.02), snr=300.0)
    best = LeastSquares().solve(make_likelihood(make_problem(spectrum, model)), 0).best
    residuals = residuals_of(best)
    (amplitude,) = residuals.amplitudes(1.0 - residuals.flux[None])
    freed = infer(spectrum, model, priors={"dilution": Prior(-0.4, 0.6)}).nuisance["dilution"]
    assert amplitude.value == pytest.approx(freed.value, abs=0.5 * freed.sigma)
    assert amplitude.sigma == pytest.approx(freed.sigma, rel=0.4)
    taken = residuals.with_effect(1.0 - residuals.flux)
    assert taken.amplitudes(1.0 - residuals.flux[None]) == [None]
