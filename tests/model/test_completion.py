"""Completion of holes: what is present stays, and the rest is smooth, however many are missing."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import sparse

from blase3d.model import completion
from blase3d.model.completion import Completion, fill_holes, roughness

AXES = [(3000.0, 3100.0, 3400.0, 4000.0, 4100.0, 5200.0), (4.0, 4.5, 5.5), (-0.5, 0.0)]
BOX = np.array(list(product(*AXES)))


def index_of(shape):
    """Indices (N, L) of all nodes of a box."""
    return np.array(list(product(*map(range, shape))))


HOLES = [7, 8, 20, 35]
PRESENT = np.delete(index_of((6, 3, 2)), HOLES, axis=0)
ARRAYS = [np.array(axis) for axis in AXES]


def test_a_full_box_is_left_as_it_is():
    np.testing.assert_array_equal(fill_holes(ARRAYS, index_of((6, 3, 2))), np.eye(36))


def test_nodes_may_be_out_of_order():
    order = np.random.default_rng(0).permutation(36)
    complete = fill_holes(ARRAYS, index_of((6, 3, 2))[order])
    np.testing.assert_array_equal(complete @ order, np.arange(36))


def test_present_nodes_are_kept_and_constants_filled():
    values = np.random.default_rng(1).normal(size=len(PRESENT))
    filled = fill_holes(ARRAYS, PRESENT) @ values
    np.testing.assert_array_equal(np.delete(filled, HOLES), values)
    np.testing.assert_allclose(fill_holes(ARRAYS, PRESENT) @ np.ones(len(PRESENT)), 1.0, rtol=1e-9)


def test_a_completion_takes_any_number_of_values():
    completion, matrix = Completion.of(ARRAYS, PRESENT), fill_holes(ARRAYS, PRESENT)
    for columns in ((0,), (2,), (3, 2)):
        values = np.random.default_rng(2).normal(size=(len(PRESENT), *columns))
        expected = np.tensordot(matrix, values, axes=1)
        np.testing.assert_allclose(completion @ values, expected, rtol=0, atol=1e-12)


def test_holes_of_a_linear_function_are_filled_with_it():
    linear = BOX @ [0.001, 2.0, -3.0]
    filled = fill_holes(ARRAYS, PRESENT) @ np.delete(linear, HOLES)
    # the weak preference for small slopes (1e-2 of the curvature) takes its part
    np.testing.assert_allclose(filled, linear, atol=2e-3 * np.ptp(linear))


def test_a_hole_of_a_smooth_function_is_filled_better_than_by_the_mean():
    smooth = np.exp(-(BOX[:, 0] - 3000) / 1500) * (BOX[:, 1] + BOX[:, 2])
    filled = fill_holes(ARRAYS, PRESENT) @ np.delete(smooth, HOLES)
    error = np.abs(filled - smooth)[HOLES]
    naive = np.abs(np.delete(smooth, HOLES).mean() - smooth)[HOLES]
    assert error.max() < 0.4 * naive.max()


RAGGED = (9, 5, 4, 3)


@pytest.fixture
def ragged():
    """Axes, and the nodes of a box of which a corner, an edge and some others are missing."""
    axes = [np.arange(count) ** 1.1 for count in RAGGED]
    index = index_of(RAGGED)
    teff, logg, feh, alpha = index.T
    here = (logg >= (teff - 4) / 2) & ((alpha == 0) | ((feh > 0) & (teff < 6)))
    return axes, index[here & (np.random.default_rng(0).random(len(index)) > 0.02)]


def test_many_holes_are_filled_as_few_are(ragged, monkeypatch):
    axes, present = ragged
    values = np.random.default_rng(1).normal(size=(len(present), 7))
    values[:, 2] = 0.0
    few = Completion.of(axes, present) @ values
    monkeypatch.setattr(completion, "_FACTORED", 0)
    many = Completion.of(axes, present)
    np.testing.assert_allclose(many @ values, few, rtol=0, atol=1e-7)
    monkeypatch.setattr(completion, "_AT_ONCE", 2 * len(few))
    np.testing.assert_allclose(many @ values, few, rtol=0, atol=1e-7)


def test_values_in_single_precision_are_completed_to_it(ragged, monkeypatch):
    axes, present = ragged
    monkeypatch.setattr(completion, "_FACTORED", 0)
    completed = Completion.of(axes, present)
    values = np.random.default_rng(1).normal(size=(len(present), 7)).astype(np.float32)
    single = completed @ values
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single[completed.present], values)
    double = completed @ values.astype(float)
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-5)
    monkeypatch.setattr(completion, "_SINGLE", 0.1)
    assert np.abs(completed @ values - double).max() > 1e-3


def test_columns_that_are_solved_early_wait_for_the_others(ragged, monkeypatch):
    axes, present = ragged
    few = Completion.of(axes, present)
    values = np.random.default_rng(1).normal(size=(len(present), 3))
    values[:, 0] = np.arange(len(present)) == 0
    values[:, 1] *= 1e-200
    monkeypatch.setattr(completion, "_FACTORED", 0)
    many = Completion.of(axes, present) @ values
    np.testing.assert_allclose(many, few @ values, rtol=0, atol=1e-7)


def test_steps_do_not_grow_with_the_number_of_holes(monkeypatch):
    monkeypatch.setattr(completion, "_FACTORED", 0)
    monkeypatch.setattr(completion, "_STEPS", 40)
    for count in (8, 64):
        axes = [np.arange(n, dtype=float) for n in (count, 5, 4)]
        index = index_of((count, 5, 4))
        present = index[(index[:, 2] == 0) | (index[:, 0] < count // 2)]
        completed = Completion.of(axes, present)
        values = np.random.default_rng(1).normal(size=(len(present), 1))
        rest = roughness(axes)[:, completed.missing].T @ (roughness(axes) @ (completed @ values))
        assert np.linalg.norm(rest) < 1e-9 * np.linalg.norm(completed.known @ values)


def test_steps_that_do_not_suffice_are_reported(monkeypatch, caplog):
    monkeypatch.setattr(completion, "_FACTORED", 0)
    monkeypatch.setattr(completion, "_STEPS", 1)
    fill_holes(ARRAYS, PRESENT)
    assert "relative residue of" in caplog.text


def test_boxes_cover_the_holes_and_nothing_else():
    holes = np.random.default_rng(3).random((5, 4, 3)) < 0.6
    covered = np.zeros_like(holes)
    for box in completion._boxes(holes):
        inside = tuple(slice(*ends) for ends in box)
        assert holes[inside].all()
        covered[inside] = True
    np.testing.assert_array_equal(covered, holes)


@pytest.mark.parametrize("small", [0, 64])
def test_the_inverse_within_a_box_is_that_of_the_normal_matrix(small, monkeypatch):
    monkeypatch.setattr(completion, "_SMALL", small)
    axes = [np.array(axis) for axis in AXES]
    holes = np.zeros((6, 3, 2), bool)
    holes[2:5, 1:, 1] = True
    missing = np.flatnonzero(holes)
    rough = roughness(axes)[:, missing]
    normal = sparse.csr_array(rough.T @ rough)
    inverse = completion._inverse_within_boxes(axes, missing, normal)
    exact = np.linalg.inv(normal.toarray())
    rtol = 1e-9 if small else 2e-6  # large boxes are in single precision
    np.testing.assert_allclose(inverse(np.eye(6)), exact, rtol=rtol, atol=1e-3 * rtol)
