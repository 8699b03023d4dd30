"""The figures of a model: what they draw is what is known of the toy universe."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from scipy.interpolate import make_interp_spline
from toy_models import model_of, true_params

from blase3d.errors import ArchiveError, InputError, LabelError
from blase3d.libraries import toy
from blase3d.model.model_file import save_model
from blase3d.model.queries import choose_line, without_node
from blase3d.views.figures import (
    Settings,
    draw_figures,
    label_residuals,
    line_counts,
    line_maps,
    line_or_pixel,
    nodes_of,
    process,
    reconstruction,
    speed,
)
from blase3d.views.figures.gallery import figures_of
from blase3d.views.style import axis_title, edges

AXES = {
    "teff": (5250.0, 5500.0, 5750.0, 6000.0),
    "logg": (4.25, 4.75),
    "feh": (-0.25, 0.0, 0.25),
}
META = {"library": {"library": "toy"}, "fingerprint": "abc"}


def toy_model(axes, meta=None):
    grid = toy.toy_grid(axes)
    return model_of(grid, meta={**META, "nodes": grid.labels.tolist(), **(meta or {})})


@pytest.fixture(scope="module")
def model():
    return toy_model(AXES)


@pytest.fixture(scope="module")
def broken():
    """A model of which one line is missing at the two coolest temperatures."""
    grid = toy.toy_grid(AXES)
    params = true_params(grid)
    params[grid.labels[:, 0] < 5600.0, 0, 1] = -1000.0
    return model_of(grid, params, meta=META)


def mesh_of(drawing, k=0):
    """The values of a map, in the order of its labels."""
    mesh = next(c for c in drawing.figure.axes[k].collections if isinstance(c, QuadMesh))
    return np.asarray(mesh.get_array()).T


def curves_of(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def sentence(drawing):
    """The caption, checked to be of whole sentences."""
    assert drawing.caption[0].isupper()
    assert drawing.caption.endswith(".")
    return drawing.caption


# Maps.


def test_lines_are_counted_where_they_are_deep_enough(model):
    drawing = line_counts(model, depth=0.3)
    counts = mesh_of(drawing)
    inside = toy.LINES[:, 0] <= model.wavelength[-1]
    for i, teff in enumerate(AXES["teff"]):
        for k, logg in enumerate(AXES["logg"]):
            lines = toy.toy_lines({"teff": teff, "logg": logg, "feh": 0.0})
            seen = lines.central_depth(model.recipe.composition) >= 0.3
            assert counts[i, k] == (seen & inside).sum() == drawing.numbers["counts"][i][k]
    assert len(np.unique(counts)) > 1
    assert "[Fe/H] 0" in sentence(drawing)


def test_counts_over_another_pair_and_with_missing_lines(model, broken):
    whole = line_counts(model, over=("feh", "teff"), depth=1e-4)
    torn = line_counts(broken, over=("feh", "teff"), depth=1e-4)
    lost = np.array(whole.numbers["counts"]) - np.array(torn.numbers["counts"])
    assert np.array_equal(lost, [[1, 1, 0, 0]] * 3)


def test_maps_show_the_formulas_at_the_nodes(model):
    drawing = line_maps(model, line=8498.0)
    assert drawing.numbers["line"] == pytest.approx(8498.02)
    area = mesh_of(drawing)
    for i, teff in ((0, 5250.0), (-1, 6000.0)):
        for k, logg in ((0, 4.25), (-1, 4.75)):
            lines = toy.toy_lines({"teff": teff, "logg": logg, "feh": 0.0})
            assert area[i, k] == pytest.approx(lines.ln_area[11], abs=1e-4)
            assert mesh_of(drawing, 1)[i, k] == pytest.approx(1e3 * lines.sigma[11], rel=1e-4)
    assert drawing.numbers["missing"] == 0.0
    assert "8498.02" in sentence(drawing)


def test_a_parameter_that_does_not_change_is_said_to_be_constant(model):
    drawing = line_maps(model, line=8498.0)  # its centre stays
    assert "everywhere" in drawing.figure.axes[3].texts[0].get_text()


def test_maps_leave_out_where_a_line_is_missing(broken):
    drawing = line_maps(broken, line=toy.LINES[0, 0])
    area = np.ma.masked_invalid(mesh_of(drawing))
    assert area.mask.tolist() == [[True, True]] * 2 + [[False, False]] * 2
    assert drawing.numbers["missing"] == 0.5
    assert "missing" in sentence(drawing)


def test_maps_over_any_pair_of_any_labels():
    axes = {"teff": (5500.0, 6000.0), "logg": (4.5,), "feh": (-0.2, 0.2), "alpha": (0.0, 0.4)}
    drawing = line_maps(toy_model(axes), over=("alpha", "feh"), line=8498.0)
    assert mesh_of(drawing)[-1, 0] - mesh_of(drawing)[0, 0] == pytest.approx(0.4, abs=1e-4)
    assert drawing.figure.axes[0].get_xlabel() == axis_title("alpha")


@pytest.mark.parametrize("over", [("teff", "age"), ("teff", "teff"), ("mass", "age")])
def test_unknown_pairs_are_refused(model, over):
    with pytest.raises(LabelError, match="expected two labels that vary"):
        line_maps(model, over=over)


def test_a_line_that_is_everywhere_is_preferred(broken):
    area = broken.line_grid.area.copy()
    area[:, 0] = np.where(area[:, 0] < -100.0, -1000.0, 5.0)
    strong = replace(broken, line_grid=replace(broken.line_grid, area=area))
    labels = {"teff": 6000.0, "logg": 4.25, "feh": 0.0}
    assert strong.lines(**labels).ln_area.argmax() == 0
    assert choose_line(strong, labels) == 11


def test_lines_beyond_the_model_are_refused(model):
    with pytest.raises(InputError, match="within the model"):
        choose_line(model, {"teff": 5500.0, "logg": 4.25, "feh": 0.0}, 6562.8)


# Between the nodes.


def test_the_reconstruction_is_that_of_the_model(model):
    drawing = reconstruction(model, line=8498.0)
    place = drawing.numbers["at"]
    assert place == {"teff": 5625.0, "logg": 4.5, "feh": 0.0}
    curves = curves_of(drawing.figure.axes[0])
    drawn = curves.pop("5625 K, log g 4.5, model")
    flux = np.interp(drawn[:, 0], model.wavelength, np.asarray(model.flux(**place)))
    assert drawn[:, 1] == pytest.approx(flux, abs=1e-6)
    assert set(curves) == {f"{t} K, log g {g}" for t in (5500, 5750) for g in (4.25, 4.75)}
    for name, curve in curves.items():
        teff, logg = (float(word) for word in name.replace("K, log g ", "").split())
        truth = toy.toy_flux({"teff": teff, "logg": logg, "feh": 0.0}, curve[:, 0])
        assert curve[:, 1] == pytest.approx(truth, abs=1e-4)


def test_pixels_are_interpolated_as_scipy_does(model):
    drawing = line_or_pixel(model)
    numbers = drawing.numbers
    assert (numbers["at"]["teff"], numbers["from"]) == (5500.0, [5250.0, 5750.0])
    others = (5250.0, 5750.0, 6000.0)
    table = np.array([model.flux(**{**numbers["at"], "teff": teff}) for teff in others], float)
    truth = np.asarray(model.flux(**numbers["at"]), float)
    spline = make_interp_spline(np.log(others), table, k=2)(np.log(5500.0))
    for name, flux in (("linear pixels", table[:2].mean(axis=0)), ("spline pixels", spline)):
        expected = np.sqrt(np.mean((flux - truth) ** 2))
        assert numbers["rms"][name] == pytest.approx(expected, rel=1e-3)
    assert numbers["rms"]["lines alone"] < numbers["rms"]["linear pixels"]
    assert "5500 K" in sentence(drawing)


def test_leaving_a_node_out_is_a_model_of_the_others(model):
    alone = without_node(model, "teff", 5500.0)
    smaller = toy_model({**AXES, "teff": (5250.0, 5750.0, 6000.0)})
    labels = {"teff": 5430.0, "logg": 4.4, "feh": 0.1}
    assert np.asarray(alone.flux(**labels)) == pytest.approx(
        np.asarray(smaller.flux(**labels)), abs=1e-6
    )


def test_without_three_values_nothing_can_be_left_out():
    with pytest.raises(LabelError, match="three values"):
        line_or_pixel(toy_model({"teff": (5500.0, 6000.0), "logg": (4.5,), "feh": (0.0,)}))


def test_overview_draws_a_node_its_lines_and_a_place_between(model):
    drawing = process(model, line=8498.0)
    first, second, _, last = drawing.figure.axes[:4]
    node, place = drawing.numbers["node"], drawing.numbers["place"]
    assert first.lines[0].get_ydata() == pytest.approx(
        toy.toy_flux(node, first.lines[0].get_xdata()), abs=1e-4
    )
    at = last.lines[0].get_xdata()
    drawn = np.interp(at, model.wavelength, np.asarray(model.flux(**place)))
    assert last.lines[0].get_ydata() == pytest.approx(drawn, abs=1e-6)
    assert len(second.lines) == 2 * drawing.numbers["lines_shown"] > 10


# Time and inference.


def test_times_are_those_of_the_clock(model):
    ticks = iter(range(10_000))
    drawing = speed(model, counts=(1, 2), clock=lambda: float(next(ticks)))
    assert drawing.numbers["serial_ms"] == [1000.0, 500.0]
    assert drawing.numbers["batched_ms"] == [1000.0, 500.0]
    assert drawing.numbers["speed_up"] == [1.0, 1.0]
    assert "cores" in sentence(drawing)


@pytest.mark.long
def test_residuals_of_nodes_and_of_held_out_spectra_are_apart(model):
    holdout = toy.toy_grid({"teff": (5500.0, 5600.0), "logg": (4.25,), "feh": (0.0, 0.1)})
    told = []
    drawing = label_residuals(
        model, count=3, seed=1, holdout=holdout, progress=lambda *step: told.append(step)
    )
    numbers = drawing.numbers
    assert (numbers["nodes"]["n"], numbers["held out"]["n"]) == (3, 3)  # one of 4 is a node
    assert numbers["nodes"]["teff"]["worst"] < 1.0
    assert 0.0 < numbers["held out"]["teff"]["worst"] < 20.0
    assert [axes.get_title() for axes in drawing.figure.axes[:2]] == [
        "3 nodes",
        "3 held-out spectra",
    ]
    assert told[-1] == ("held-out", 3, 3)
    assert "3 of 24" in sentence(drawing)


def test_held_out_spectra_need_the_same_labels_and_new_places(model):
    other = toy.toy_grid({"teff": (5600.0,), "logg": (4.4,), "feh": (0.0,), "alpha": (0.1,)})
    with pytest.raises(LabelError, match="expected teff, logg, feh"):
        label_residuals(model, count=1, holdout=other)
    with pytest.raises(LabelError, match="at its nodes"):
        label_residuals(model, count=1, holdout=toy.toy_grid(AXES))


# All of them.


@pytest.mark.long
def test_figures_are_written_with_an_index_and_are_the_same_again(model, tmp_path):
    names = ("line-counts", "line-maps")
    for folder in ("a", "b"):
        draw_figures(model, tmp_path / folder, only=names, ending="pdf")
    for name in names:
        first, second = (tmp_path / folder / f"{name}.pdf" for folder in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
    index = json.loads((tmp_path / "a" / "index.json").read_text())
    assert [entry["name"] for entry in index["figures"]] == list(names)
    text = (tmp_path / "a" / "index.md").read_text()
    for entry in index["figures"]:
        assert entry["caption"] in text
        assert (tmp_path / "a" / entry["file"]).exists()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "index.json",
        "index.md",
        "line-counts.pdf",
        "line-maps.pdf",
    ]
    open_windows = sys.modules.get("matplotlib._pylab_helpers")
    assert open_windows is None or not open_windows.Gcf.figs


@pytest.mark.long
def test_a_model_of_one_label_has_the_figures_that_it_can_have(tmp_path):
    single = toy_model({"teff": (5500.0, 6000.0), "logg": (4.5,), "feh": (0.0,)})
    names = ("process", "line-counts", "line-maps", "reconstruction", "line-or-pixel")
    found = {
        figure.name: figure for figure in draw_figures(single, tmp_path, only=names, ending="svg")
    }
    assert found["process"].file == "process.svg"
    assert found["reconstruction"].file == "reconstruction.svg"
    for name in ("line-counts", "line-maps", "line-or-pixel"):
        assert found[name].file is None
        assert "Left out" in found[name].caption


def test_what_is_unknown_is_refused(model, tmp_path):
    with pytest.raises(InputError, match="got the figure cake, expected one of process"):
        draw_figures(model, tmp_path, only=("cake",))
    with pytest.raises(InputError, match="got the format gif"):
        draw_figures(model, tmp_path, ending="gif")
    with pytest.raises(LabelError, match="age"):
        figures_of(model, Settings(over=("teff", "age")))
    foreign = SimpleNamespace(meta={"fingerprint": "other"}, path="clones.zarr")
    with pytest.raises(ArchiveError, match="another library"):
        nodes_of(model, foreign)


def test_command(model, tmp_path, run):
    save_model(model, tmp_path / "model.zip")
    words = ("figures", tmp_path / "model.zip", "-o", tmp_path / "f", "--format", "svg")
    status, out, _ = run(*words, "--only", "line-counts", "--over", "teff,feh", "--depth", "0.05")
    assert status == 0
    assert "line-counts.svg" in out
    assert (tmp_path / "f" / "line-counts.svg").read_text().startswith("<?xml")
    status, _, err = run(*words, "--over", "teff")
    assert status == 1
    assert "expected two labels, e.g. teff,logg" in err


def test_edges_are_midway():
    assert edges(np.array([1.0, 2.0, 4.0])).tolist() == [0.5, 1.5, 3.0, 5.0]
