"""Atmospheres between models: recovered exactly where the structure is linear in the labels."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from synthesis.atmospheres import DEPTHS, Atmospheres, corners, key_of, model_text, parse

DEPTH = np.linspace(0.0, 1.0, DEPTHS)


def structure(teff: float, logg: float, feh: float) -> np.ndarray:
    """Temperature and depth linear, pressures exponential in the labels."""
    temperature = teff * (0.5 + DEPTH)
    pressure = np.exp(logg + feh + DEPTH)
    return np.transpose([5 * DEPTH - 4, logg * DEPTH, temperature, 1e-3 * pressure, pressure])


def atmospheres(missing: tuple[float, float, float] | None = None) -> Atmospheres:
    nodes = product((5000, 5250), (4.0, 4.5), (-0.25, 0.0))
    return Atmospheres({key_of(*n): structure(*n) for n in nodes if n != missing})


def test_a_node_is_itself() -> None:
    found = atmospheres().at(5250, 4.5, -0.25)
    assert found == pytest.approx(structure(5250, 4.5, -0.25), rel=1e-12)


def test_between_nodes() -> None:
    found = atmospheres().at(5100, 4.2, -0.1)
    assert found == pytest.approx(structure(5100, 4.2, -0.1), rel=1e-12)


def test_a_missing_corner_is_a_hole() -> None:
    without = atmospheres(missing=(5250, 4.5, 0.0))
    assert without.at(5100, 4.2, -0.1) is None
    assert without.at(5000, 4.2, -0.1) is not None  # a face that does not need it


def test_a_single_missing_model_is_the_mean_of_its_neighbours() -> None:
    nodes = product((5000, 5250), (4.0, 4.5), (-0.25, 0.0, 0.25))
    without = Atmospheres({key_of(*n): structure(*n) for n in nodes if n != (5000, 4.0, 0.0)})
    assert without.at(5000, 4.0, 0.0) == pytest.approx(structure(5000, 4.0, 0.0), rel=1e-12)
    assert without.replaced(5000, 4.0, 0.0)
    assert not without.replaced(5250, 4.0, 0.0)  # a model
    assert not without.replaced(5000, 4.0, 0.5)  # with no model on the other side
    assert without.at(5000, 4.0, 0.5) is None
    assert without.at(5100, 4.0, 0.0) is None  # no interpolation between interpolated models


def test_weights_of_corners() -> None:
    cell = corners((5100, 4.2, -0.1))
    assert len(cell) == 8
    assert sum(weight for _, weight in cell) == pytest.approx(1)
    mean = sum(weight * np.array(node) for node, weight in cell)
    assert mean == pytest.approx([5100, 4.2, -0.1])


def test_model_text_is_read_back() -> None:
    expected = structure(5100, 4.2, -0.1)
    text = model_text(expected).replace("Model structure\nk\n", "Model structure\n k lgTauR\n")
    assert parse(text.splitlines()) == pytest.approx(expected, rel=1e-5, abs=1e-5)
