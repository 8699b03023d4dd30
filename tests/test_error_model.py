"""What a model expects to be wrong by between its nodes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from blase3d.emulator import emulate, flux_of_strength, strength
from blase3d.error_model import emulator_error, error_shares
from blase3d.manifold import coordinates
from blase3d.toy import toy_grid
from worlds import model_of

AXES = {
    "teff": np.linspace(4800.0, 6800.0, 5),
    "logg": np.array([4.0, 4.5, 5.0]),
    "feh": np.array([-0.5, 0.0]),
}


@pytest.fixture(scope="module")
def grid():
    return toy_grid(AXES)


@pytest.fixture(scope="module")
def model(grid):
    return model_of(grid)


def normalised(grid):
    spectra = [grid[i] for i in range(len(grid))]
    return np.array([spectrum.flux / spectrum.continuum for spectrum in spectra])


def shares_of(model, grid):
    return error_shares(model, normalised(grid).astype(np.float32), np.eye(len(grid)))


def test_labels_of_two_nodes_have_no_share(model, grid):
    assert set(shares_of(model, grid)) == {"teff", "logg"}


def test_three_nodes_have_the_share_of_parabolas_along_the_other_labels(model, grid):
    """Against polynomials through the three nodes, one after the other."""
    flux = normalised(grid).reshape(5, 3, 2, -1)
    x, value = coordinates(AXES)[0], np.asarray(strength(jnp.asarray(flux, jnp.float32)), float)

    def through(nodes, i, degree):
        """Straight lines between neighbours, or one parabola, at the node i."""
        if degree == 1:
            nodes = nodes[:2] if x[nodes[1]] > x[i] else nodes[1:]
        found = np.polyfit(x[nodes], value[nodes].reshape(len(nodes), -1), degree)
        return flux_of(np.sum([c * x[i] ** k for k, c in enumerate(found[::-1])], axis=0))

    def flux_of(values):
        return np.asarray(flux_of_strength(jnp.asarray(values))).reshape(value[0].shape)

    error = step = 0.0
    for i, nodes in ((1, [0, 2, 4]), (2, [1, 3, 4]), (3, [0, 2, 4])):
        best, lowered = (through(nodes, i, degree) for degree in (2, 1))
        error += np.sum((best - flux[i]) ** 2)
        step += np.sum((best - lowered) ** 2)
    assert shares_of(model, grid)["logg"] == pytest.approx(np.sqrt(error / step), rel=0.02)


def test_where_no_label_tells_the_whole_difference_counts():
    grid = toy_grid({**AXES, "teff": AXES["teff"][:3]})
    assert set(shares_of(model_of(grid), grid).values()) == {1.0}


def test_modes_have_the_variance_of_the_differences(model):
    """Of the two splines, in the middle of the cells, times the shares."""
    whole = emulator_error(model, {"teff": 1.0})
    half = emulator_error(model, {"teff": 0.5})
    assert whole.shape[1] == model.wavelength.size
    np.testing.assert_allclose((half**2).sum(axis=0), 0.25 * (whole**2).sum(axis=0), rtol=1e-3)
    assert emulator_error(model, {}).shape == (0, model.wavelength.size)


def test_expected_errors_are_about_as_large_as_true_ones(model, grid):
    """In the middle of the cells along Teff, where all else is at a node."""
    expected = emulator_error(model, {"teff": shares_of(model, grid)["teff"]})
    middles = {**AXES, "teff": 0.5 * (AXES["teff"][1:] + AXES["teff"][:-1])}
    between = toy_grid(middles)
    found = [
        np.asarray(emulate(model.emulator, jnp.asarray(list(labels.values()), jnp.float32)))
        for labels in map(between.labels_of, range(len(between)))
    ]
    true = np.sqrt(np.mean((np.array(found) - normalised(between)) ** 2))
    stated = np.sqrt(np.mean((expected**2).sum(axis=0)))
    assert 0.5 * true < stated < 4.0 * true
