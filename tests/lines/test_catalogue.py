"""Catalogues: matching the detections of different nodes."""

from __future__ import annotations

import numpy as np
import pytest

from blase3d.libraries.toy import LINES, WAVELENGTH, toy_flux
from blase3d.lines import catalogue
from blase3d.lines.catalogue import cluster, equal_lines
from blase3d.lines.detect import detect
from blase3d.lines.lines import first_guess
from blase3d.runtime.units import SPEED_OF_LIGHT

TOLERANCE = 1.0  # km/s, 0.028 Å here


def detections(reference, depth=0.3):
    """Lines of one node."""
    reference = np.asarray(reference, dtype=float)
    depth = np.broadcast_to(depth, reference.shape)
    return first_guess(reference, depth, np.full(reference.shape, 0.2))


def apart(velocity, wavelength=8500.0):
    """A velocity (km/s) as a difference of wavelength (Å)."""
    return wavelength * velocity / SPEED_OF_LIGHT


def test_equal_centres_are_one_line():
    nodes = [detections([8500.0, 8501.5]), detections([8501.5, 8500.02]), detections([8500.0])]
    reference, places = equal_lines(nodes)
    np.testing.assert_array_equal(reference, [8500.0, 8500.02, 8501.5])
    for node, place in zip(nodes, places, strict=True):
        np.testing.assert_array_equal(reference[place], node.reference)


def test_no_nodes_no_lines():
    reference, places = equal_lines([])
    assert reference.size == 0
    assert places == []
    assert len(cluster([], TOLERANCE)) == 0
    assert len(cluster([detections([]), detections([])], TOLERANCE)) == 0


def test_detections_within_the_tolerance_are_one_line():
    jitter = apart(0.3) * np.array([-1.0, 0.0, 1.0, 0.5])
    nodes = [detections([8500.0 + d, 8503.0 - d]) for d in jitter]
    found = cluster(nodes, TOLERANCE)
    np.testing.assert_allclose(found.reference, [8500.0, 8503.0], atol=apart(0.3))


def test_nodes_in_blocks_have_the_same_lines(monkeypatch):
    nodes = list(toy_detections())
    whole = cluster(nodes, TOLERANCE)
    monkeypatch.setattr(catalogue, "NODES_AT_ONCE", 5)
    found = cluster(iter(nodes), TOLERANCE)
    assert len(nodes) > 10
    np.testing.assert_allclose(found.reference, whole.reference, rtol=1e-14)
    np.testing.assert_array_equal(found.params, whole.params)


def test_a_line_that_drifts_slowly_is_one_line():
    centers = 8500.0 + apart(3.0) * np.linspace(-0.5, 0.5, 30)
    found = cluster([detections([c]) for c in centers], TOLERANCE)
    assert len(found) == 1
    assert found.reference[0] == pytest.approx(8500.0, abs=apart(0.3))


def test_lines_far_apart_for_the_tolerance_stay_two():
    nodes = [detections([8500.0, 8500.0 + apart(6.0)]) for _ in range(5)]
    found = cluster(nodes, TOLERANCE)
    np.testing.assert_allclose(found.reference, nodes[0].reference, atol=apart(0.2))


def test_the_strongest_detection_gives_the_parameters():
    nodes = [detections([8500.0], depth) for depth in (0.1, 0.6, 0.3)]
    found = cluster(nodes, TOLERANCE)
    np.testing.assert_array_equal(found.params[0, 1:], nodes[1].params[0, 1:])
    assert found.params[0, 0] == 0.0


def test_strong_lines_determine_the_peak():
    nodes = [detections([8500.0], 0.9), detections([8500.0 + apart(1.0)], 0.01)]
    found = cluster(nodes, TOLERANCE)
    assert len(found) == 1
    assert found.reference[0] == pytest.approx(8500.0, abs=apart(0.2))


def test_order_of_nodes_does_not_matter():
    nodes = [detections([8500.0 + 0.01 * k, 8502.0], 0.1 + 0.1 * k) for k in range(5)]
    forwards, backwards = cluster(nodes, TOLERANCE), cluster(nodes[::-1], TOLERANCE)
    np.testing.assert_allclose(forwards.reference, backwards.reference, atol=1e-6)
    np.testing.assert_array_equal(forwards.params, backwards.params)


def toy_detections():
    for teff in (5000.0, 5500.0, 6000.0, 6500.0):
        for feh in (-0.5, 0.0, 0.5):
            yield detect(WAVELENGTH, toy_flux((teff, 4.5, feh), WAVELENGTH), 0.005, 4)


def test_the_lines_of_a_whole_grid():
    found = cluster(list(toy_detections()), TOLERANCE)
    truth = LINES[LINES[:, 0] < WAVELENGTH[-1], 0]
    distance = np.abs(np.subtract.outer(found.reference, truth))
    # nothing invented: what is not near a line is the wing of the one beyond the edge
    near = distance.min(axis=1) < 0.05
    np.testing.assert_allclose(found.reference[~near], WAVELENGTH[-1:], rtol=0, atol=0.01)
    missed = truth[distance.min(axis=0) > 0.05]
    assert set(missed) <= {8487.67, 8506.04}  # blends without a minimum of their own
    assert len(set(distance[near].argmin(axis=1))) == near.sum()  # nothing twice


def test_a_further_node_changes_little():
    nodes = list(toy_detections())
    few, all_ = cluster(nodes[:-1], TOLERANCE), cluster(nodes, TOLERANCE)
    distance = np.abs(np.subtract.outer(few.reference, all_.reference)).min(axis=1)
    assert distance.max() < apart(0.3)
    assert len(all_) - len(few) in (0, 1)


def test_no_new_line_near_a_known_one():
    known = detections([8500.0, 8510.0])
    more = [detections([8500.0 + apart(0.3), 8505.0, 8510.0 - apart(0.3)])]
    found = cluster(more, TOLERANCE, known)
    np.testing.assert_allclose(found.reference, [8505.0], atol=apart(0.2))
    assert len(cluster(more, TOLERANCE)) == 3


def test_known_lines_beyond_the_tolerance_do_not_count():
    found = cluster([detections([8500.0 + apart(2.0)])], TOLERANCE, detections([8500.0]))
    assert len(found) == 1
