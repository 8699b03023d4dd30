"""An inference keeps everything in its file, and shows itself in tables and notebooks."""

from __future__ import annotations

import copy
import json
import pickle
from contextlib import suppress
from dataclasses import fields, replace

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, vstack

import blase3d as b3
from blase3d.inference.problem import Options
from blase3d.inference.result import Estimate, WindowFit

PIXELS = 50


@pytest.fixture
def answer():
    """An inference with all fields, numbers that are not finite among them."""
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.normal(size=PIXELS)
        for name in ("wavelength", "flux", "model", "error", "weight", "continuum")
    }
    return b3.Inference(
        labels={
            "teff": Estimate.normal(5777.0, 20.0),
            "logg": Estimate.normal(5.0, np.nan),
            "feh": Estimate.normal(0.1, 0.0),
        },
        nuisance={"rv": Estimate.normal(23.4, 0.1)},
        fixed={"resolution": np.inf, "vsini": 0.0, "feh": 0.1},
        names=("teff", "logg", "rv"),
        covariance=rng.normal(size=(3, 3)),
        chi2_red=np.nan,
        method="posterior",
        seconds=1.5,
        flags=("logg at a bound", "poor fit"),
        n_pixels=PIXELS,
        n_masked=2,
        jitter=0.01,
        draws=rng.normal(size=(4, 10, 3)),
        draw_stats={"lp": rng.normal(size=(4, 10)), "diverging": rng.normal(size=(4, 10)) > 1.0},
        diagnostics={"r_hat": {"teff": np.float64(1.01)}, "divergent": float("nan")},
        order=np.arange(PIXELS) // 10,
        pixel_resolution=np.full(PIXELS, 1e4),
        masked=np.array([1.0, 2.0]),
        options=Options(continuum_degree=5),
        model_identity={"library": "toy", "checksum": "ab" * 32},
        **arrays,
    )


@pytest.fixture
def joint(answer):
    """An inference of two windows."""
    other = replace(answer, draws=None, weight=None, flags=("poor fit",))
    windows = (WindowFit("a.fits", "vis", answer), WindowFit("b.fits", "rvs", other))
    return replace(answer, windows=windows)


def test_windows_are_kept_in_the_file(joint, tmp_path):
    joint.save(tmp_path / "answer.npz")
    found = b3.Inference.load(tmp_path / "answer.npz")
    assert_same(replace(found, windows=()), replace(joint, windows=()))
    for window, expected in zip(found.windows, joint.windows, strict=True):
        assert (window.spectrum, window.model) == (expected.spectrum, expected.model)
        assert_same(window.fit, expected.fit)
    listed = found.to_dict()["windows"]
    assert [one["model"] for one in listed] == ["vis", "rvs"]
    assert listed[1]["flags"] == ["poor fit"]


def test_a_file_of_version_1_is_read(answer, tmp_path):
    path = tmp_path / "answer.npz"
    answer.save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    record = json.loads(str(arrays["record"]))
    del record["windows"]
    arrays = {name: one for name, one in arrays.items() if not name.startswith("draw_stats")}
    arrays["record"] = np.array(json.dumps({**record, "version": 1}))
    np.savez(path, **arrays)
    assert_same(b3.Inference.load(path), replace(answer, draw_stats={}))


def plain(value):
    """A value of a record, its numbers as Python's."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def assert_same(found, expected):
    for one in fields(expected):
        value, wanted = getattr(found, one.name), getattr(expected, one.name)
        if one.name == "draw_stats":
            assert value.keys() == wanted.keys()
            for name, array in wanted.items():
                np.testing.assert_array_equal(value[name], array)
        elif isinstance(wanted, np.ndarray):
            np.testing.assert_array_equal(value, wanted, one.name)
            assert value.dtype == wanted.dtype
        else:
            assert repr(plain(value)) == repr(plain(wanted)), one.name


def test_nothing_is_lost_in_the_file(answer, tmp_path):
    answer.save(tmp_path / "answer.npz")
    assert_same(b3.Inference.load(tmp_path / "answer.npz"), answer)
    bare = replace(answer, draws=None, weight=None, order=None, options=None, continuum=None)
    bare.save(tmp_path / "answer.npz")
    assert_same(b3.Inference.load(tmp_path / "answer.npz"), bare)
    assert [path.name for path in tmp_path.iterdir()] == ["answer.npz"]


def test_pickles_and_copies_are_equal(answer):
    assert_same(pickle.loads(pickle.dumps(answer)), answer)
    assert_same(copy.deepcopy(answer), answer)


def test_damaged_and_foreign_files_are_refused(answer, tmp_path):
    path = tmp_path / "answer.npz"
    answer.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(b3.InputError, match="cut short"):
        b3.Inference.load(path)
    for place in range(40, len(content), len(content) // 30):
        path.write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
        with suppress(b3.InputError):
            assert_same(b3.Inference.load(path), answer)  # a flip of a time, which nobody reads
    b3.write_spectrum(b3.Spectrum([5000.0, 5001.0], [1.0, 1.0]), path)
    with pytest.raises(b3.InputError, match="is no inference of blase3D"):
        b3.Inference.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 4}, "has format version 4"),
        ({"covariance": np.zeros((2, 2))}, "is damaged .*covariance of shape"),
        ({"flux": np.zeros(3)}, "is damaged .*different lengths"),
        ({"labels": {"teff": 3}}, "is damaged"),
        ({"unheard": 3}, "is damaged"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(answer, tmp_path, change, message):
    path = tmp_path / "answer.npz"
    answer.save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    record = json.loads(str(arrays["record"]))
    for name, value in change.items():
        (arrays if isinstance(value, np.ndarray) else record)[name] = value
    arrays["record"] = np.array(json.dumps(record))
    np.savez(path, **arrays)
    with pytest.raises(b3.InputError, match=message):
        b3.Inference.load(path)


def test_the_table_has_units_and_is_read_again(answer, tmp_path):
    table = answer.to_table()
    assert isinstance(table, QTable)
    assert table["teff"][0] == 5777.0 * u.K
    assert table["teff_sigma"][0] == 20.0 * u.K
    assert table["rv"][0] == 23.4 * u.km / u.s
    assert table["logg"].unit == u.Unit("dex(cm/s2)")
    assert table["resolution"][0] == np.inf
    assert table["flags"][0] == "logg at a bound; poor fit"
    assert table.meta["model"]["library"] == "toy"
    table.write(tmp_path / "answer.ecsv")
    found = QTable.read(tmp_path / "answer.ecsv")
    assert found["teff"][0] == 5777.0 * u.K
    assert len(vstack([table, table], metadata_conflicts="silent")) == 2


def test_it_shows_itself_briefly(answer):
    assert len(repr(answer)) < 200
    page = answer._repr_html_()
    for words in ("Teff (K)", "5777", "poor fit", "fixed"):
        assert words in page
