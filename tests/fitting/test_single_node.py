"""Fits of single spectra: the lines of the toy universe are recovered."""

from __future__ import annotations

import numpy as np
import pytest

from blase3d.errors import CloneError
from blase3d.fitting.single_node import clone_spectrum, fit_lines, misfit_flags, missing_lines
from blase3d.libraries.toy import WAVELENGTH, toy_flux, toy_lines
from blase3d.lines.lines import Lines
from blase3d.recipe import PAPER, SINGLE
from blase3d.spectra.spectrum import Spectrum

LABELS = (5600.0, 4.4, 0.0)
TRUTH = toy_lines(LABELS)
SPECTRUM = Spectrum(WAVELENGTH, toy_flux(LABELS, WAVELENGTH))
TRUE = SINGLE.replace(composition="sum")
"""Lines compose as in the toy universe."""
PATIENT = TRUE.replace(epochs=400)
INSIDE = TRUTH.reference < WAVELENGTH[-1]
BLENDED = np.isin(TRUTH.reference, (8487.35, 8487.67, 8505.76, 8506.04))


def worst(lines, column, which):
    """Largest error in a column of the parameters, over some lines."""
    return np.abs(lines.params - TRUTH.params)[which, column].max()


def fwhm(lines):
    """About the full width at half maximum (Å)."""
    return 2.355 * lines.sigma + 1.07 * lines.gamma


@pytest.fixture(scope="module")
def disturbed():
    """A fit that starts near the truth."""
    rng = np.random.default_rng(3)
    start = TRUTH.params + rng.normal(size=TRUTH.params.shape) * [0.01, 0.15, 0.1, 0.1]
    return fit_lines(SPECTRUM, Lines(TRUTH.reference, start), PATIENT)


@pytest.fixture(scope="module")
def detected():
    """A fit to detected lines."""
    return clone_spectrum(SPECTRUM, PATIENT)


def test_the_truth_stays_the_truth():
    clone = fit_lines(SPECTRUM, TRUTH, PATIENT)
    assert clone.misfit < 2e-4
    assert worst(clone.lines, 0, INSIDE) < 0.002
    assert worst(clone.lines, 1, INSIDE) < 0.05
    assert clone.flags == ()


def test_a_disturbed_start_returns_to_the_truth(disturbed):
    lines = disturbed.lines
    assert disturbed.misfit < 3e-4
    assert worst(lines, 0, INSIDE & ~BLENDED) < 0.001
    assert worst(lines, 0, BLENDED) < 0.01
    assert worst(lines, 1, INSIDE & ~BLENDED) < 0.05
    assert worst(lines, 1, BLENDED) < 0.10
    np.testing.assert_allclose(fwhm(lines)[INSIDE], fwhm(TRUTH)[INSIDE], rtol=0.1)


def test_flux_and_misfit_are_those_of_the_lines(disturbed):
    np.testing.assert_array_equal(disturbed.target, SPECTRUM.flux.astype(np.float32))
    difference = disturbed.flux.astype(float) - disturbed.target
    assert disturbed.misfit == pytest.approx(np.sqrt(np.mean(difference**2)), rel=1e-6)


def test_detected_lines_are_the_true_ones(detected):
    """Every isolated line is found once, with its parameters; blends less accurately."""
    difference = (detected.flux - detected.target)[WAVELENGTH < 8519.0]  # see the test of the edge
    assert np.sqrt(np.mean(difference**2)) < 5e-4
    lines = detected.lines
    for n in np.flatnonzero(INSIDE & (TRUTH.reference < 8518)):
        i = int(np.abs(lines.center - TRUTH.center[n]).argmin())
        near = np.abs(lines.center - TRUTH.center[n]) < 0.1
        blended = BLENDED[n]
        assert near.sum() == 1
        assert lines.center[i] == pytest.approx(TRUTH.center[n], abs=1e-3)
        assert lines.ln_area[i] == pytest.approx(TRUTH.ln_area[n], abs=0.06 if blended else 0.04)
        assert fwhm(lines)[i] == pytest.approx(fwhm(TRUTH)[n], rel=0.04)


def test_the_wing_of_a_line_beyond_the_edge(detected, disturbed):
    """Detection finds the wing at the last pixel, and the fit moves the line out."""
    edge = WAVELENGTH > 8519.5
    assert np.abs(disturbed.flux - disturbed.target)[edge].max() < 0.002
    assert np.abs(detected.flux - detected.target)[edge].max() < 0.005


@pytest.mark.long
def test_more_rounds_leave_less():
    """Strong lines first; the others are found in rounds."""
    strong = PATIENT.replace(prominence=0.2, rounds=0)
    once, again = (clone_spectrum(SPECTRUM, strong.replace(rounds=n)) for n in (0, 1))
    assert len(once.lines) < len(again.lines)
    assert once.misfit > 3 * again.misfit
    left = [len(missing_lines(SPECTRUM, clone, PATIENT)) for clone in (once, again)]
    assert left[0] > 5
    assert left[1] < left[0] / 2


def test_a_fit_keeps_every_line_even_one_without_a_feature():
    absent = Lines([8500.0], np.float32([[0.0, np.log(0.02), np.log(0.07), np.log(0.02)]]))
    clone = fit_lines(SPECTRUM, TRUTH.merged(absent), PATIENT)
    assert len(clone.lines) == len(TRUTH) + 1
    i = int(np.flatnonzero(clone.lines.reference == 8500.0)[0])
    np.testing.assert_array_equal(np.delete(clone.lines.reference, i), TRUTH.reference)
    assert clone.lines.ln_area[i] < np.log(0.005)  # of 0.02 at first: faded, not gone


def masked(garbage):
    """The spectrum with some pixels masked, holding garbage."""
    mask = np.zeros(len(WAVELENGTH), dtype=bool)
    mask[300:330] = mask[1205:1210] = True
    return Spectrum(WAVELENGTH, np.where(mask, garbage, SPECTRUM.flux), mask=mask)


def test_masked_pixels_do_not_matter_in_a_fit():
    one, two = (fit_lines(masked(g), TRUTH, TRUE) for g in (0.1, 7.0))
    np.testing.assert_array_equal(one.lines.params, two.lines.params)
    assert one.misfit == two.misfit < 1e-3


def test_masked_pixels_do_not_matter_in_detection():
    once = TRUE.replace(rounds=0)
    one, two = (clone_spectrum(masked(g), once) for g in (1.0, 0.1))
    np.testing.assert_array_equal(one.lines.reference, two.lines.reference)
    assert two.misfit < 1.5 * one.misfit


@pytest.mark.parametrize("recipe", [SINGLE, PAPER])
def test_a_spectrum_without_features_is_flagged(recipe):
    flat = Spectrum(WAVELENGTH, np.ones_like(WAVELENGTH))
    clone = clone_spectrum(flat, recipe)
    assert clone.flags == ("no lines",)
    assert len(clone.lines) == 0
    assert clone.misfit == 0.0
    np.testing.assert_array_equal(clone.flux, 1.0)


@pytest.mark.parametrize("scale", [1e-15, 0.01, 10.0, 1e14])
def test_a_spectrum_that_is_not_normalised_is_refused(scale):
    with pytest.raises(CloneError, match="normalis"):
        clone_spectrum(Spectrum(WAVELENGTH, scale * SPECTRUM.flux), SINGLE)


@pytest.mark.parametrize("value", [1e30, -1e30, -5.0, 1e4])
def test_a_pixel_of_a_wrong_value_is_refused_with_its_wavelength(value):
    flux = SPECTRUM.flux.copy()
    flux[1000] = value
    with pytest.raises(CloneError, match=r"at 8500\.00 Å"):
        clone_spectrum(Spectrum(WAVELENGTH, flux), SINGLE)


def test_the_paper_recipe_adds_no_lines():
    clone = clone_spectrum(SPECTRUM, PAPER)
    assert len(clone.lines) <= len(TRUTH)
    assert clone.misfit < 0.03
    place = np.searchsorted(WAVELENGTH, clone.lines.reference + 1e-6) - 1
    np.testing.assert_allclose(clone.lines.reference, WAVELENGTH[place], atol=0.011)


def test_the_result_is_the_same_every_time(disturbed):
    again = fit_lines(SPECTRUM, disturbed.lines, PATIENT)
    once_more = fit_lines(SPECTRUM, disturbed.lines, PATIENT)
    np.testing.assert_array_equal(again.lines.params, once_more.lines.params)


@pytest.mark.parametrize("composition", ["opacity", "sum", "product"])
def test_every_composition_fits(composition):
    once = SINGLE.replace(composition=composition, rounds=0)
    clone = clone_spectrum(SPECTRUM, once)
    assert clone.misfit < 0.01


@pytest.mark.parametrize(("epochs", "cut_short"), [(20, True), (1000, False)])
@pytest.mark.long
def test_a_fit_that_was_cut_short_is_flagged(epochs, cut_short):
    clone = clone_spectrum(SPECTRUM, TRUE.replace(rounds=0, epochs=epochs))
    assert ("not converged" in clone.flags) == cut_short


def test_misfits_are_flagged_largest_first():
    difference = np.zeros(2001)
    difference[300], difference[310], difference[1000], difference[1500] = 0.08, 0.05, -0.2, 0.02
    found = misfit_flags(WAVELENGTH, difference)
    assert found == ("misfit of 0.2 at 8500.00 Å", "misfit of 0.08 at 8486.00 Å")
    many = np.zeros(2001)
    many[50::150] = 0.1
    assert len(misfit_flags(WAVELENGTH, many)) == 5


def test_an_emission_line_is_flagged_where_it_is():
    flux = SPECTRUM.flux + 0.3 * np.exp(-0.5 * ((WAVELENGTH - 8500.0) / 0.1) ** 2)
    clone = clone_spectrum(Spectrum(WAVELENGTH, flux), TRUE.replace(rounds=0))
    assert clone.flags[0].startswith("misfit of 0.")
    assert clone.flags[0].split(" at ")[1].startswith(("8499.9", "8500.0", "8500.1"))
