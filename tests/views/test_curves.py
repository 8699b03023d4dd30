"""Long curves are thinned without loss of a line."""

import numpy as np

from blase3d.views.curves import thinned


def test_thinned_curves_keep_their_extremes():
    values = np.sin(np.arange(10_000) / 7.0)
    values[[17, 9123]] = [-9.0, 9.0]
    chosen = thinned(values, 200)
    assert chosen.size <= 402
    assert {0, 17, 9123, 9999} <= set(chosen.tolist())
    assert thinned(values[:300], 200).size == 300
