"""Errors of a model in numbers, and the information in its lines."""

import json
from dataclasses import replace

import numpy as np
import pytest
from toy_models import NARROW as AXES
from toy_models import QUICK, model_of

from blase3d.analysis.fisher import line_information
from blase3d.analysis.line_table import line_table
from blase3d.analysis.validation import validate
from blase3d.errors import ArchiveError, InputError, LabelError
from blase3d.fitting.build import build
from blase3d.fitting.clone_grid import clone
from blase3d.libraries import toy
from blase3d.libraries.grid import grid_of
from blase3d.lines.lines import Lines

BETWEEN = {"teff": (5600.0, 5830.0), "logg": (4.41,), "feh": (0.07,)}
INSIDE = {"teff": 5620.0, "logg": 4.4, "feh": 0.1}

NODE_KEYS = {
    "flux_rms_median",
    "flux_rms_worst",
    "lines_only_rms_median",
    "lines_only_rms_worst",
    "n",
}
HOLDOUT_KEYS = {"flux_rms_median", "flux_rms_p95", "lines_only_rms_median", "labels", "n"}
KEYS = {
    "nodes",
    "holdout",
    "lines",
    "bytes",
    "seconds_per_spectrum",
    "seconds_per_inference",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("validate") / "clones"
    return build(clone(toy.toy_grid(AXES), path, QUICK))


@pytest.fixture(scope="module")
def holdout():
    return toy.toy_grid(BETWEEN)


@pytest.fixture(scope="module")
def noise_free(model, holdout):
    return validate(model, holdout)


@pytest.fixture(scope="module")
def exact():
    """A model whose lines are those of the toy universe at the nodes, and whose small residual
    grows with [Fe/H] near one end."""
    grid = toy.toy_grid(AXES)
    rest = np.zeros((len(grid), grid.wavelength.size), np.float32)
    rest[:, -200:] = 0.01 * (1.0 + grid.labels[:, 2:])
    return model_of(grid, rest=rest)


@pytest.fixture(scope="module")
def stated(exact):
    """The same, with errors of its 12 nodes, as `build` states them."""
    return replace(exact, meta={"node_rms": [1e-5] * 12, "node_lines_rms": [1e-3] * 12})


@pytest.mark.long
def test_document_has_exactly_the_agreed_keys(noise_free):
    found = json.loads(json.dumps(noise_free.to_dict()))
    assert set(found) == KEYS
    assert set(found["nodes"]) == NODE_KEYS
    assert set(found["holdout"]) == HOLDOUT_KEYS
    assert set(found["holdout"]["labels"]) == {"teff", "logg", "feh"}
    for errors in found["holdout"]["labels"].values():
        assert set(errors) == {"mean_abs", "median_abs", "std"}


@pytest.mark.long
def test_a_model_with_a_residual_is_exact_at_its_nodes(noise_free):
    assert noise_free.nodes.n == 12
    assert noise_free.nodes.flux_rms_worst < 1e-4
    assert 1e-4 < noise_free.nodes.lines_only_rms_median < 0.05


@pytest.mark.long
def test_stored_errors_of_nodes_are_those_computed_anew(model, noise_free):
    anew = validate(model, None, nodes=toy.toy_grid(AXES)).nodes
    assert anew.lines_only_rms_median == pytest.approx(
        noise_free.nodes.lines_only_rms_median, rel=1e-3
    )
    assert anew.flux_rms_worst < 1e-4


@pytest.mark.long
def test_held_out_errors_are_those_of_the_flux(model, noise_free, holdout):
    rms = [
        np.sqrt(
            np.mean((np.asarray(model.flux(**labels)) - toy.toy_flux(labels, toy.WAVELENGTH)) ** 2)
        )
        for labels in (holdout.labels_of(i) for i in range(2))
    ]
    assert noise_free.holdout.n == 2
    assert noise_free.holdout.flux_rms_median == pytest.approx(np.median(rms), rel=1e-3)
    assert noise_free.holdout.labels["teff"].mean_abs < 30.0
    assert noise_free.holdout.labels["feh"].mean_abs < 0.02
    assert noise_free.seconds_per_spectrum > 0
    assert noise_free.seconds_per_inference > 0


def test_noise_adds_coverage_and_a_seed_repeats_it(stated, holdout):
    first, second = (validate(stated, holdout, snr=200.0, seed=3) for _ in range(2))
    found = first.to_dict()
    assert set(found) == KEYS | {"coverage"}
    assert set(found["coverage"]["teff"]) == {"68", "95"}
    assert found["coverage"]["teff"]["68"] <= found["coverage"]["teff"]["95"] <= 1.0
    assert first.holdout == second.holdout


@pytest.mark.long
def test_other_pixels_are_interpolated(model, noise_free):
    fine = toy.WAVELENGTH[100:-100] + 0.007
    labels = np.array([[5600.0, 4.41, 0.07]])
    flux = toy.toy_flux(labels[0], fine)[None]
    grid = grid_of(fine, labels, toy.LABELS[:3], flux, np.ones_like(flux))
    found = validate(model, grid).holdout
    assert found.flux_rms_median == pytest.approx(noise_free.holdout.flux_rms_median, rel=0.5)


@pytest.mark.long
def test_spectra_outside_and_at_nodes_are_left_out_and_counted(model):
    mixed = toy.toy_grid({"teff": (5500.0, 5600.0, 6500.0), "logg": (4.25,), "feh": (0.25,)})
    found = validate(model, mixed)
    assert (found.holdout.n, found.n_outside, found.n_at_nodes) == (1, 1, 1)


@pytest.mark.long
def test_nothing_usable_is_said_in_words(model):
    outside = toy.toy_grid({"teff": (6500.0,), "logg": (4.5,), "feh": (0.0,)})
    with pytest.raises(LabelError, match="1 lie outside"):
        validate(model, outside)
    other = toy.toy_grid({**BETWEEN, "alpha": (0.0, 0.2)})
    with pytest.raises(LabelError, match="alpha"):
        validate(model, other)


def test_a_model_without_node_errors_says_so(exact):
    with pytest.raises(ArchiveError, match="build it again"):
        validate(exact, None)


@pytest.mark.long
def test_bytes_are_those_of_the_file(model, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"12345")
    assert validate(model, None, path=path).bytes == 5


@pytest.mark.parametrize("free", [None, ["teff"], ["logg", "feh"]])
@pytest.mark.long
def test_shares_add_up_to_one(exact, free):
    found = line_information(exact, INSIDE, free=free)
    assert found.names == tuple(free or AXES)
    assert (found.share >= 0).all()
    np.testing.assert_allclose(found.share.sum(axis=0) + found.residual_share, 1.0, rtol=1e-6)
    assert found.residual_share[-1] < 0.1


def test_a_residual_that_follows_a_label_has_a_share(exact):
    error = np.where(exact.wavelength > 8516.0, 0.01, np.inf)
    found = line_information(exact, INSIDE, free=["feh"], error=error)
    assert 0.001 < found.residual_share[0] < 0.5


@pytest.mark.long
def test_shares_of_lines_that_compose_as_a_product(exact):
    recipe = replace(exact.recipe, composition="product")
    product = replace(exact, recipe=recipe)
    found = line_information(product, INSIDE)
    np.testing.assert_allclose(found.share.sum(axis=0) + found.residual_share, 1.0, rtol=1e-6)
    as_sum = line_information(exact, INSIDE)
    np.testing.assert_allclose(found.slopes, as_sum.slopes)
    assert (found.depth >= as_sum.depth).all()


def test_slopes_are_those_of_the_formulas(exact):
    """In the toy universe ln area has the slope T + 2 Q t by t, in Teff / 750 K."""
    found = line_information(exact, INSIDE)
    t = (INSIDE["teff"] - 5750.0) / 750.0
    wave, _, _, _, T, Q, G, Z, _, _ = toy.LINES.T
    assert wave.size == len(found.lines)
    np.testing.assert_allclose(found.slopes[:, 1, 0] * 750.0, T + 2.0 * Q * t, atol=2e-3)
    np.testing.assert_allclose(found.slopes[:, 1, 1] * 0.5, G, atol=2e-4)
    np.testing.assert_allclose(found.slopes[:, 1, 2] * 0.5, Z, atol=2e-4)


def finite_differences(model, **sight):
    columns = []
    for name, step in (("teff", 20.0), ("logg", 0.02), ("feh", 0.02)):
        up, down = ({**INSIDE, name: INSIDE[name] + sign * step} for sign in (1, -1))
        difference = np.asarray(model.flux(**up, **sight), float) - np.asarray(
            model.flux(**down, **sight), float
        )
        columns.append(difference / (2.0 * step))
    return np.stack(columns, axis=1)


PIXELS = np.arange(8484.0, 8516.0, 0.08)


@pytest.mark.parametrize(
    "sight",
    [
        {},
        {"rv": 12.0, "resolution": 3e4, "wavelength": PIXELS},
        {"vsini": 15.0, "vmac": 20.0, "limb_darkening": 0.2},
        {"resolution": np.linspace(2e4, 5e4, PIXELS.size), "wavelength": PIXELS},
        {"integrate": True, "wavelength": PIXELS[::4]},
    ],
)
def test_information_is_that_of_finite_differences(exact, sight):
    jacobian = finite_differences(exact, **sight) / 0.02
    expected = np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))
    found = line_information(exact, INSIDE, error=0.02, **sight)
    np.testing.assert_allclose(found.sigma, expected, rtol=2e-2)
    np.testing.assert_allclose(found.share.sum(axis=0) + found.residual_share, 1.0, rtol=1e-6)
    alone = line_information(exact, INSIDE, free=["teff"], error=0.02, **sight)
    np.testing.assert_allclose(alone.sigma, 1.0 / np.linalg.norm(jacobian[:, 0]), rtol=2e-2)


def test_the_share_of_a_line_that_stands_alone_is_what_its_pixels_hold(exact):
    found = line_information(exact, INSIDE, free=["feh"])
    slope = finite_differences(exact)[:, 2]
    line = int(np.argmin(np.abs(exact.reference - 8490.60)))
    own = np.abs(exact.wavelength - 8490.60) < 0.8
    expected = np.sum(slope[own] ** 2) / np.sum(slope**2)
    assert found.share[line, 0] == pytest.approx(expected, rel=0.05)
    assert expected > 0.02


def test_pixels_of_infinite_error_say_nothing(exact):
    error = np.where(exact.wavelength < 8500.0, np.inf, 0.01)
    found = line_information(exact, INSIDE, error=error)
    narrow_and_blue = exact.reference < 8495.0
    assert (found.share[narrow_and_blue] < 1e-3).all()


def test_a_label_that_does_not_vary_is_not_free(exact):
    with pytest.raises(LabelError, match="metals"):
        line_information(exact, INSIDE, free=["metals"])
    with pytest.raises(LabelError, match="no label is free"):
        line_information(exact, INSIDE, free=[])
    with pytest.raises(InputError, match="not positive"):
        line_information(exact, INSIDE, error=0.0)
    with pytest.raises(InputError, match="every pixel has an infinite error"):
        line_information(exact, INSIDE, error=np.inf)


def test_depth_is_that_of_a_line_alone(exact):
    lines = exact.lines(**INSIDE)
    params = np.column_stack([lines.center, lines.params[:, 1:]])
    absorbed = np.diag(toy.absorbed(lines.center, params))
    np.testing.assert_allclose(lines.central_depth(), 1.0 - np.exp(-absorbed), rtol=1e-4)
    weak = Lines([5000.0], [[0.0, -9.0, -2.5, -3.0]])
    assert weak.central_depth("product")[0] == pytest.approx(weak.central_depth()[0], rel=1e-3)


def test_table_of_lines(exact):
    near = line_table(exact, INSIDE, near=8498.0, count=3)
    assert [row.center for row in near] == sorted(row.center for row in near)
    assert any(abs(row.center - 8498.02) < 0.01 for row in near)
    deepest = line_table(exact, INSIDE, count=1)
    assert deepest[0].center == pytest.approx(8498.02, abs=0.01)
    assert deepest[0].constrains in AXES
    assert set(deepest[0].share) == set(deepest[0].d_ln_area) == set(AXES)
