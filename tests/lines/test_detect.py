"""Detection on spectra whose lines are known."""

from __future__ import annotations

import numpy as np
import pytest

from blase3d.libraries.toy import LINES, WAVELENGTH, absorbed, toy_flux, toy_params
from blase3d.lines.detect import detect, detect_missing

LABELS = (5750.0, 4.5, 0.0)
FLUX = toy_flux(LABELS, WAVELENGTH)
STEP = 0.02
BLENDED = (8487.67, 8506.04)
SEEN = np.array([w for w in LINES[:, 0] if w < WAVELENGTH[-1] and w not in BLENDED])
"""Lines with a separate minimum."""


def nearest(values, among):
    """Index of the nearest of `among` for each value."""
    return np.abs(np.subtract.outer(values, among)).argmin(axis=1)


def test_every_line_is_found_at_its_wavelength():
    found = detect(WAVELENGTH, FLUX, prominence=0.005, distance=4)
    place = nearest(SEEN, found.reference)
    assert np.abs(found.reference[place] - SEEN).max() < 1.01 * STEP
    assert len(set(place)) == len(SEEN)
    assert len(found) <= len(LINES)


def test_first_guesses_are_near_the_truth():
    found = detect(WAVELENGTH, FLUX, prominence=0.005, distance=4)
    alone = np.array([8481.42, 8484.90, 8490.60, 8502.84, 8509.48])
    guess = found.take(nearest(alone, found.reference))
    truth = toy_params(LABELS)[nearest(alone, LINES[:, 0])]
    # of these the Gaussian takes its part, and the wings, which a guess by depth cannot see, theirs
    assert np.abs(guess.ln_area - truth[:, 1]).max() < 0.5
    width = 2.355 * guess.sigma + 2 * guess.gamma
    expected = 2.355 * np.exp(truth[:, 2]) + 2 * np.exp(truth[:, 3])
    np.testing.assert_allclose(width, expected, rtol=0.5)


def test_references_are_rounded_so_that_equal_pixels_are_equal_lines():
    one = detect(WAVELENGTH, FLUX, 0.005, 4).reference
    two = detect(WAVELENGTH + 1e-6, FLUX, 0.005, 4).reference
    np.testing.assert_array_equal(one, two)


def test_larger_prominence_finds_fewer_lines():
    counts = [len(detect(WAVELENGTH, FLUX, p, 4)) for p in (0.001, 0.05, 0.3, 0.999)]
    assert counts[0] > counts[1] > counts[2] > counts[3] == 0


def test_distance_keeps_the_deeper_of_near_minima():
    near = detect(WAVELENGTH, FLUX, 0.005, distance=400)  # 8 Å
    assert 8498.02 in near.reference
    assert np.diff(near.reference).min() >= 8.0
    assert len(near) < len(SEEN)


@pytest.mark.parametrize(("cut", "end"), [(1928, -1), (1924, -1), (83, 0), (80, 0)])
def test_a_line_just_beyond_the_edge_is_a_line_at_the_last_pixel(cut, end):
    """The line at 8518.70 is cut off 0.16 or 0.24 Å before its centre, that at 8481.42 behind."""
    part = slice(None, cut) if end else slice(cut, None)
    found = detect(WAVELENGTH[part], FLUX[part], 0.005, 4)
    place = 0 if end == 0 else -1
    assert found.reference[place] == pytest.approx(WAVELENGTH[part][end], abs=0.011)


def test_a_flat_end_has_no_line():
    inside = slice(540, 660)  # from 8490.8, in the red wing of a line
    middle = np.where(np.abs(WAVELENGTH - 8492.12) < 0.6, FLUX, 1.0)[inside]
    found = detect(WAVELENGTH[inside], middle, 0.005, 4)
    np.testing.assert_allclose(found.reference, [8492.12], atol=0.021)


def test_a_flat_spectrum_has_no_lines():
    assert len(detect(WAVELENGTH, np.ones_like(WAVELENGTH), 0.005, 4)) == 0


def test_non_uniform_pixels_give_widths_in_wavelength():
    wave = np.append(np.arange(8480, 8500, 0.01), np.arange(8500, 8520, 0.03))
    found = detect(wave, toy_flux(LABELS, wave), 0.005, 4)
    for line in (8490.60, 8509.48):
        i = nearest([line], found.reference)[0]
        truth = toy_params(LABELS)[nearest([line], LINES[:, 0])[0]]
        width = 2.355 * found.sigma[i] + 2 * found.gamma[i]
        assert width == pytest.approx(2.355 * np.exp(truth[2]) + 2 * np.exp(truth[3]), rel=0.5)


@pytest.mark.parametrize("lost", [8490.60, 8487.67, 8506.04])
def test_a_missing_line_is_found_even_in_a_blend(lost):
    params = toy_params(LABELS)
    left = params[LINES[:, 0] != lost]
    model = np.exp(-absorbed(WAVELENGTH, left).sum(axis=0))
    found = detect_missing(WAVELENGTH, FLUX, model, 0.005, 4)
    assert len(found) == 1
    assert found.reference[0] == pytest.approx(lost, abs=2 * STEP)


def test_a_model_that_absorbs_too_much_has_no_missing_lines():
    assert len(detect_missing(WAVELENGTH, FLUX, 0.9 * FLUX, 0.005, 4)) == 0
