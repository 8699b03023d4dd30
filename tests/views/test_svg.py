"""Ticks and curves of the plain pictures of the report."""

from itertools import pairwise

import numpy as np

from blase3d.views.report.svg import thinned, tick_text, ticks


def test_ticks_are_round_and_within():
    for low, high in ((0.0, 1.0), (8484.3, 8517.2), (-0.013, 0.021), (5000.0, 5000.4)):
        found = ticks(low, high)
        assert 2 <= found.size <= 6
        assert low <= found[0] < found[-1] <= high
        steps = {f"{b - a:.6g}" for a, b in pairwise(found)}
        assert len(steps) == 1
        assert tick_text(found) == [text for text in dict.fromkeys(tick_text(found))]
    assert tick_text(np.array([-0.5, 0.0, 0.5])) == ["−0.5", "0.0", "0.5"]


def test_thinned_curves_keep_their_extremes():
    values = np.sin(np.arange(10_000) / 7.0)
    values[[17, 9123]] = [-9.0, 9.0]
    chosen = thinned(values, 200)
    assert chosen.size <= 402
    assert {0, 17, 9123, 9999} <= set(chosen.tolist())
    assert thinned(values[:300], 200).size == 300
