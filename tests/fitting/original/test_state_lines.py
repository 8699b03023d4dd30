"""Lines of state dictionaries in the parameters of blase3D, and those that nodes share."""

from __future__ import annotations

import numpy as np
import pytest
from state_files import state_of

from blase3d.fitting.original.state_lines import at_shared, match, shared_lines, to_lines
from blase3d.fitting.original.states import UNFITTED, State, original_flux


def profile_of(x: np.ndarray, params: np.ndarray) -> np.ndarray:
    """aV of one line of ours, in float64, from its parameters."""
    area, sigma, gamma = np.exp(params[1:])
    fg, fl = np.sqrt(8 * np.log(2)) * sigma, 2 * gamma
    weights = (1, 2.69269, 2.42843, 4.47163, 0.07842, 1)
    f = sum(c * fg ** (5 - k) * fl**k for k, c in enumerate(weights)) ** 0.2
    eta = 1.36603 * fl / f - 0.47719 * (fl / f) ** 2 + 0.11116 * (fl / f) ** 3
    lorentz = f / 2 / np.pi / ((f / 2) ** 2 + x**2)
    gauss = np.exp(-4 * np.log(2) * (x / f) ** 2) * np.sqrt(4 * np.log(2) / np.pi) / f
    return area * (eta * lorentz + (1 - eta) * gauss)


@pytest.mark.parametrize("ratio", [-1.2, -0.3, UNFITTED, 0.6, 1.5])
def test_our_line_is_the_closest_to_the_original_s(ratio: float) -> None:
    """No change of area or width brings it closer, in the integral of the squared difference."""
    state = State(*(np.array([v]) for v in (9000.0, -3.0, -2.5, -2.5 + ratio, 9000.0)))
    x = np.linspace(-40, 40, 160_001)
    wanted = 1.0 - original_flux(state, 9000.0 + x)
    params = to_lines(state).params[0].astype(float)

    def distance(change: np.ndarray) -> float:
        return float(np.sum((profile_of(x, params + change) - wanted) ** 2))

    best = distance(np.zeros(4))
    for column in (1, 2, 3):
        for size in (-0.05, 0.05):
            assert distance(size * np.eye(4)[column]) >= best * (1 - 1e-3)
    assert best < 0.2**2 * np.sum(wanted**2)


def test_a_gaussian_and_a_lorentzian_stay_what_they_are() -> None:
    state = state_of([9000.0, 9010.0], [0.05, 0.05], [0.1, 1e-4], [1e-5, 0.1])
    lines = to_lines(state)
    np.testing.assert_allclose(np.exp(lines.ln_area), 0.05, rtol=5e-3)
    assert lines.sigma[0] == pytest.approx(0.1, rel=1e-2)
    assert lines.gamma[1] == pytest.approx(0.1, rel=1e-2)


def test_lines_are_named_by_where_they_were_detected() -> None:
    state = State(
        np.array([9000.013, 9000.004, 9002.02]),
        *np.full((3, 3), -3.0),
        np.array([9000.01, 9000.01, 9002.02]),
    )
    lines = to_lines(state)
    np.testing.assert_allclose(lines.reference, [9000.01, 9000.02, 9002.02])
    np.testing.assert_allclose(lines.center, state.center, atol=1e-6)


def test_shared_lines_and_nodes_that_lack_one() -> None:
    one = to_lines(state_of([9000.0, 9010.0, 9020.0], [0.02, 0.03, 0.04], [0.1] * 3, [0.1] * 3))
    other = to_lines(state_of([9000.02, 9020.01], [0.01, 0.05], [0.2] * 2, [0.1] * 2))
    catalogue = shared_lines([one, other], 1.0)
    assert len(catalogue) == 3
    which, place = match(other, catalogue, 1.0)
    assert which.tolist() == [1, 0] or which.tolist() == [0, 1]
    assert sorted(place.tolist()) == [0, 2]
    filled = at_shared(other, catalogue, 1.0)
    np.testing.assert_allclose(filled.center[[0, 2]], [9000.02, 9020.01], atol=1e-5)
    np.testing.assert_allclose(filled.ln_area[[0, 2]], other.ln_area)
    assert filled.ln_area[1] == pytest.approx(one.ln_area[1] - np.log(4), abs=1e-5)
    assert filled.sigma[1] == pytest.approx(one.sigma[1], rel=1e-5)
