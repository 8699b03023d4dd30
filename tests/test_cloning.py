"""Cloning: lines of the toy universe are recovered from its spectra."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blase3d.cloning import clone_spectrum, missing_lines
from blase3d.errors import CloneError
from blase3d.lines import Lines
from blase3d.recipe import DEFAULT, PAPER
from blase3d.spectrum import Spectrum
from blase3d.toy import WAVELENGTH, toy_flux, toy_lines

LABELS = (5600.0, 4.4, 0.0)
TRUTH = toy_lines(LABELS)
SPECTRUM = Spectrum(WAVELENGTH, toy_flux(LABELS, WAVELENGTH))
PATIENT = replace(DEFAULT, epochs=400)
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
    """A forced fit that starts beside the truth."""
    rng = np.random.default_rng(3)
    start = TRUTH.params + rng.normal(size=TRUTH.params.shape) * [0.01, 0.15, 0.1, 0.1]
    return clone_spectrum(SPECTRUM, PATIENT, Lines(TRUTH.reference, start))


@pytest.fixture(scope="module")
def detected():
    """A fit that finds its own lines."""
    return clone_spectrum(SPECTRUM, PATIENT)


def test_the_truth_stays_the_truth():
    clone = clone_spectrum(SPECTRUM, PATIENT, TRUTH, stiffness=1e-3)
    assert clone.misfit < 2e-4
    assert worst(clone.lines, 0, INSIDE) < 0.002
    assert worst(clone.lines, 1, INSIDE) < 0.05
    assert clone.flags == ()


def test_a_disturbed_start_comes_back(disturbed):
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
    """Every line that stands alone is there once, as it is; blends come as they may."""
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
    """Detection cannot find the line at 8520.4 Å, and nothing else can take its place; a catalogue
    that has it, can."""
    edge = WAVELENGTH > 8519.5
    alone, known = (np.abs(c.flux - c.target)[edge].max() for c in (detected, disturbed))
    assert known < 0.002
    assert 0.01 < alone < 0.05


def test_more_rounds_leave_less():
    """Strong lines first; what they do not explain is found in rounds."""
    strong = replace(PATIENT, prominence=0.2, rounds=0)
    once, again = (clone_spectrum(SPECTRUM, replace(strong, rounds=n)) for n in (0, 1))
    assert len(once.lines) < len(again.lines)
    assert once.misfit > 3 * again.misfit
    left = [len(missing_lines(SPECTRUM, clone, PATIENT)) for clone in (once, again)]
    assert left[0] > 5
    assert left[1] < left[0] / 2


def test_a_forced_fit_keeps_every_line_even_one_that_is_not_there():
    absent = Lines([8500.0], np.float32([[0.0, np.log(0.02), np.log(0.07), np.log(0.02)]]))
    clone = clone_spectrum(SPECTRUM, PATIENT, TRUTH.merged(absent))
    assert len(clone.lines) == len(TRUTH) + 1
    i = int(np.flatnonzero(clone.lines.reference == 8500.0)[0])
    np.testing.assert_array_equal(np.delete(clone.lines.reference, i), TRUTH.reference)
    assert clone.lines.ln_area[i] < np.log(0.005)  # of 0.02 at first: faded, not gone


def test_stiffness_holds_lines_to_their_start():
    start = Lines(TRUTH.reference, TRUTH.params + np.float32([0, 0.3, 0, 0]))
    free = clone_spectrum(SPECTRUM, DEFAULT, start)
    held = clone_spectrum(SPECTRUM, DEFAULT, start, stiffness=1e6)
    assert np.abs(held.lines.params - start.params).max() < 0.01
    assert np.abs(free.lines.params - start.params)[INSIDE, 1].max() > 0.2
    assert free.misfit < held.misfit


def masked(garbage):
    """The spectrum with some pixels masked, holding garbage."""
    mask = np.zeros(len(WAVELENGTH), dtype=bool)
    mask[300:330] = mask[1205:1210] = True
    return Spectrum(WAVELENGTH, np.where(mask, garbage, SPECTRUM.flux), mask=mask)


def test_masked_pixels_do_not_matter_in_a_forced_fit():
    one, two = (clone_spectrum(masked(g), DEFAULT, TRUTH) for g in (0.1, 7.0))
    np.testing.assert_array_equal(one.lines.params, two.lines.params)
    assert one.misfit == two.misfit < 1e-3


def test_masked_pixels_do_not_matter_in_detection():
    once = replace(DEFAULT, rounds=0)
    one, two = (clone_spectrum(masked(g), once) for g in (1.0, 0.1))
    np.testing.assert_array_equal(one.lines.reference, two.lines.reference)
    assert two.misfit < 1.5 * one.misfit


@pytest.mark.parametrize("recipe", [DEFAULT, PAPER])
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
        clone_spectrum(Spectrum(WAVELENGTH, scale * SPECTRUM.flux), DEFAULT)


def test_the_paper_recipe_keeps_to_its_first_lines():
    clone = clone_spectrum(SPECTRUM, PAPER)
    assert len(clone.lines) <= len(TRUTH)
    assert clone.misfit < 0.03
    place = np.searchsorted(WAVELENGTH, clone.lines.reference + 1e-6) - 1
    np.testing.assert_allclose(clone.lines.reference, WAVELENGTH[place], atol=0.011)


def test_the_result_is_the_same_every_time(disturbed):
    again = clone_spectrum(SPECTRUM, PATIENT, disturbed.lines)
    once_more = clone_spectrum(SPECTRUM, PATIENT, disturbed.lines)
    np.testing.assert_array_equal(again.lines.params, once_more.lines.params)
