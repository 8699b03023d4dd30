"""Errors of single lines: how they are found, and their effect on the likelihood."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from blase3d.inference.likelihood.line_errors import (
    LineWhitening,
    find_line_errors,
)

RNG = np.random.default_rng(4)
PIXELS, EVERY, NOISE = 4_000, 40, 1e-3
"""A hundred lines, 40 pixels apart."""
PLACE = np.arange(PIXELS)
DEPTHS = np.linspace(0.1, 0.7, PIXELS // EVERY)
NUMBER = PLACE // EVERY
ABSORBED = DEPTHS[NUMBER] * np.exp(-0.5 * ((PLACE % EVERY - EVERY / 2) / 4.0) ** 2)
WEIGHT = np.full(PIXELS, 1.0 / NOISE)
RELATIVE = ABSORBED / DEPTHS[NUMBER]
MEAN = np.bincount(NUMBER, ABSORBED**2 * RELATIVE) / np.bincount(NUMBER, ABSORBED**2)
PATTERN = ABSORBED * (RELATIVE - MEAN[NUMBER])
"""Additional absorption of lines of another shape, core against wing."""


def compared(changes, slopes=None, shapes=None):
    """Lines that are stronger by `changes` (100,) than they should be, and of shapes that differ by
    `shapes` (100,), beside noisy data."""
    residual = -changes[NUMBER] * ABSORBED + RNG.normal(0.0, NOISE, PIXELS)
    if shapes is not None:
        residual -= shapes[NUMBER] * PATTERN
    rows = np.zeros((0, PIXELS)) if slopes is None else slopes
    return found_in(residual, ABSORBED, rows, PLACE, np.zeros(PIXELS, int))


def found_in(residual, absorbed, rows, place, order):
    """Errors of the lines, for pixels in these positions."""
    one = np.ones(absorbed.size)
    return find_line_errors(
        residual, one - absorbed, one, one / NOISE, place, order, slopes=lambda: rows
    )


def at_lines(found, values):
    """Values of the lines, from values (..., B) of all cells."""
    return values[..., found.cell[EVERY // 2 :: EVERY]]


def test_right_lines_have_no_errors():
    found = compared(np.zeros(100))
    assert not found.sigma.any()
    np.testing.assert_array_equal(found.correction, 0.0)


def test_changes_are_found():
    true = RNG.normal(0.0, 0.1, 100)
    found = compared(true)
    np.testing.assert_allclose(at_lines(found, found.change[0]), true, atol=0.02)


def test_changes_of_shape_are_found_beside_those_of_strength():
    strengths, shapes = RNG.normal(0.0, 0.1, (2, 100))
    found = compared(strengths, shapes=shapes)
    deep = DEPTHS > 0.3
    np.testing.assert_allclose(at_lines(found, found.change[0])[deep], strengths[deep], atol=0.02)
    np.testing.assert_allclose(at_lines(found, found.change[1])[deep], shapes[deep], atol=0.05)
    correction = strengths[NUMBER] * ABSORBED + shapes[NUMBER] * PATTERN
    np.testing.assert_allclose(-found.correction, correction, atol=0.01)


def test_wrong_strengths_alone_are_no_errors_of_shape():
    found = compared(RNG.normal(0.0, 0.1, 100))
    assert np.median(at_lines(found, found.sigma[1])) < 0.02 < np.median(found.sigma[0])


@pytest.mark.parametrize("scale", [0.03, 0.1, 0.3])
def test_the_scale_of_the_errors_is_found(scale):
    found = compared(RNG.standard_t(4.0, 100) * scale)
    near = at_lines(found, np.abs(found.change[0])) < scale
    assert np.median(at_lines(found, found.sigma[0])[near]) == pytest.approx(scale, rel=0.25)


def test_a_line_that_is_wrong_by_far_counts_little():
    true = RNG.normal(0.0, 0.03, 100)
    true[50] = 0.9
    found = compared(true)
    sigma = at_lines(found, found.sigma[0])
    assert sigma[50] > 0.3
    assert np.median(sigma) < 0.06


def test_lines_that_are_better_known_have_smaller_errors():
    true = np.where(DEPTHS > 0.4, 0.02, 0.2) * RNG.normal(size=100)
    sigma = at_lines(found := compared(true), found.sigma[0])
    assert np.median(sigma[DEPTHS > 0.5]) < 0.2 * np.median(sigma[DEPTHS < 0.3])


def test_changes_that_labels_explain_are_no_errors_of_lines():
    """All lines depend on a label, to different degrees: a wrong label is no error of lines."""
    follow = RNG.uniform(0.5, 2.0, 100)
    slopes = -(follow[NUMBER] * ABSORBED)[None]  # of the flux, by the label
    away = compared(0.1 * follow, slopes)
    blind = compared(0.1 * follow)
    assert np.median(at_lines(away, away.sigma[0])) < 0.1 * np.median(
        at_lines(blind, blind.sigma[0])
    )


def test_rows_are_multiplied_by_the_root_of_the_inverse_covariance():
    """Against the dense matrix (f² + Σ m mᵀ)^(−1/2) of every cell."""
    found = compared(RNG.normal(0.0, 0.1, 100), shapes=RNG.normal(0.0, 0.1, 100))
    whitening = found.whitening(WEIGHT, np.arange(PIXELS), PIXELS)
    same = found.cell[:200, None] == found.cell[None, :200]
    covariance = np.diag(1.0 / np.asarray(whitening.weight[:200], np.float64) ** 2)
    for sigma, pattern in zip(found.sigma, (ABSORBED, PATTERN), strict=True):
        m = (sigma[found.cell] * pattern * WEIGHT)[:200]
        covariance += same * np.outer(m, m)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    row = RNG.normal(size=PIXELS)
    got = np.asarray(whitening(jnp.asarray(row[None], jnp.float32)))[0]
    whole = found.cell[:200] < found.cell[200]  # the last cell goes on
    np.testing.assert_allclose(got[:200][whole], (root @ row[:200])[whole], atol=2e-3)


def test_remaining_misfit_reduces_the_weight_of_a_cell():
    """A misfit that is neither strength nor shape, in one line: its pixels count as if all of it
    lay in one direction; those of the others by about their noise."""
    ripple = 20.0 * NOISE * np.sin(PLACE) * (NUMBER == 50)
    wrong = -RNG.normal(0.0, 0.1, 100)[NUMBER] * ABSORBED
    noise = RNG.normal(0.0, NOISE, PIXELS)
    found = found_in(
        wrong + ripple + noise, ABSORBED, np.zeros((0, PIXELS)), PLACE, np.zeros(PIXELS, int)
    )
    whitening = found.whitening(WEIGHT, np.arange(PIXELS), PIXELS)
    weight = np.asarray(whitening.weight)[EVERY // 2 :: EVERY]
    expected = 1.0 / np.sqrt(EVERY * 20.0**2 / 2.0)
    assert weight[50] == pytest.approx(expected, rel=0.2)
    assert np.median(np.delete(weight, 50)) > 0.2


def test_padded_pixels_change_nothing():
    found = compared(RNG.normal(0.0, 0.1, 100))
    index = np.arange(PIXELS) + np.where(np.arange(PIXELS) > 2_000, 300, 0)
    plain = found.whitening(WEIGHT, np.arange(PIXELS), PIXELS)
    padded = found.whitening(WEIGHT, index, PIXELS + 500)
    assert isinstance(padded, LineWhitening)
    assert (np.diff(np.asarray(padded.cell)) >= 0).all()
    row = RNG.normal(size=PIXELS)
    wide = np.zeros(PIXELS + 500)
    wide[index] = row
    got = np.asarray(padded(jnp.asarray(wide[None], jnp.float32)))[0]
    expected = np.asarray(plain(jnp.asarray(row[None], jnp.float32)))[0]
    np.testing.assert_allclose(got[index], expected, atol=1e-5)


def test_orders_that_interleave_are_cut_one_by_one():
    """Two orders with different lines, whose pixels alternate along the spectrum: cells are
    those of the orders, none across an edge, and their numbers increase."""
    changes = RNG.normal(0.0, 0.1, (2, 100))
    both = np.concatenate([ABSORBED, np.roll(ABSORBED, EVERY // 2)])
    wrong = np.concatenate([changes[0][NUMBER], np.roll(changes[1][NUMBER], EVERY // 2)])
    order = np.repeat([0, 1], PIXELS)
    place = np.concatenate([PLACE, PLACE + 5_000])
    mixed = np.argsort(np.concatenate([PLACE, PLACE + 0.5]))
    residual = -wrong * both
    found = found_in(
        residual[mixed],
        both[mixed],
        np.zeros((0, 2 * PIXELS)),
        place[mixed],
        order[mixed],
    )
    cell = np.empty(2 * PIXELS, int)
    cell[mixed] = found.cell
    assert (np.diff(cell) >= 0).all()
    assert cell[PIXELS - 1] < cell[PIXELS]
    middles = np.arange(EVERY // 2, PIXELS, EVERY)
    np.testing.assert_allclose(found.change[0, cell[middles]], changes[0], atol=0.01)
    np.testing.assert_allclose(
        found.change[0, cell[PIXELS + EVERY :: EVERY]], changes[1][:-1], atol=0.01
    )
    numbers = found.whitening(np.full(2 * PIXELS, 1.0 / NOISE), place[mixed], 10_000)
    assert (np.diff(np.asarray(numbers.cell)) >= 0).all()
