"""Components of a line are one row of the table of lines."""

from __future__ import annotations

import numpy as np
import pytest
from toy_models import model_of

from blase3d.analysis.line_table import line_table, main_components
from blase3d.libraries.toy import toy_grid
from blase3d.lines.lines import Lines


def lines_at(*rows: tuple[float, float]) -> Lines:
    """Lines of these centres (Å) and areas (Å), 0.08 Å wide."""
    center, area = np.array(rows).T
    sigma, gamma = np.full(len(center), np.log(0.03)), np.full(len(center), np.log(0.005))
    return Lines(center, np.stack([0.0 * center, np.log(area), sigma, gamma], axis=1))


def test_lesser_lines_beside_a_strong_one_are_its_components() -> None:
    lines = lines_at((5000.0, 0.3), (5000.05, 0.03), (4999.9, 0.02), (5000.3, 0.02))
    assert main_components(lines).tolist() == [0, 0, 0, 3]


def test_a_blend_of_similar_lines_is_two_lines() -> None:
    lines = lines_at((5000.0, 0.3), (5000.05, 0.2), (5000.1, 0.01))
    assert main_components(lines).tolist() == [0, 1, 0]


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_the_order_of_lines_does_not_matter(shift: int) -> None:
    rows = [(5000.0, 0.3), (5000.05, 0.03), (5001.0, 0.1)]
    rolled = rows[shift:] + rows[:shift]
    main = main_components(lines_at(*rolled))
    assert {rolled[k][0]: rolled[i][0] for k, i in enumerate(main)} == {
        5000.0: 5000.0,
        5000.05: 5000.0,
        5001.0: 5001.0,
    }


def test_depth_of_lines_together_is_the_composed_depth() -> None:
    lines = lines_at((5000.0, 0.03), (5000.0, 0.03))
    alone = lines.take(np.array([0])).depth_at(5000.0)
    assert alone == pytest.approx(lines.central_depth()[0], rel=1e-6)
    assert lines.depth_at(5000.0) == pytest.approx(1.0 - (1.0 - alone) ** 2, rel=1e-5)


def test_lines_of_a_single_node_constrain_no_label() -> None:
    node = {"teff": 5500.0, "logg": 4.5, "feh": 0.0}
    model = model_of(toy_grid({name: (value,) for name, value in node.items()}))
    (row,) = line_table(model, node, count=1)
    assert row.center == pytest.approx(8498.02, abs=0.01)
    assert row.constrains == ""
    assert row.share == dict.fromkeys(node, 0.0)
