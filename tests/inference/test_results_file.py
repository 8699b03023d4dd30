"""Tables of results, and results that survive the end of the program."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from quick_survey import answer_of

from blase3d.errors import InputError, MissingExtra
from blase3d.inference.flag_bits import FLAG_BITS, SEVERE, flag_bits
from blase3d.inference.results_file import SurveyResults, require_table_ending, write_results
from blase3d.inference.table import flat_row
from blase3d.views.flag_advice import _ADVICE, advice

ROWS = [
    flat_row({"spectrum": "a", "model": "toy", **answer_of({"teff": 5000.5}).to_dict()}),
    flat_row({"spectrum": "b", "error": "no spectrum, not even −1 Å"}),
    flat_row({"spectrum": "c", **answer_of({"teff": 6.0, "logg": 4.0}, ("poor fit",)).to_dict()}),
]
RUN = {"models": {"toy": "abc"}, "options": {"fixed": {}, "continuum_degree": 3}}
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("ending", ["ecsv", "fits", "parquet"])
def test_all_formats_have_the_same_rows(tmp_path, monkeypatch, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr("blase3d.inference.results_file._GROUP", 2)
    path = tmp_path / f"table.{ending}"
    write_results(lambda: iter(ROWS), path, {"run": "{}"})
    table = Table.read(path)
    assert [str(name) for name in table["spectrum"]] == ["a", "b", "c"]
    np.testing.assert_array_equal(np.ma.filled(table["teff"], np.nan), [5000.5, np.nan, 6.0])
    np.testing.assert_array_equal(np.ma.filled(table["logg"], np.nan), [np.nan, np.nan, 4.0])
    assert list(table["flag_bits"]) == [0, 0, 8]
    assert str(table["teff"].unit) == "K"
    assert str(table["rv_sigma"].unit) == "km / s"
    assert "not even" in str(table["error"][1])


def test_parquet_opens_in_pandas_in_groups_of_rows(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    pandas = pytest.importorskip("pandas")
    monkeypatch.setattr("blase3d.inference.results_file._GROUP", 2)
    path = tmp_path / "table.parquet"
    write_results(lambda: iter(ROWS), path, {})
    assert parquet.ParquetFile(path).num_row_groups == 2
    frame = pandas.read_parquet(path)
    assert list(frame["error"]) == ["", "no spectrum, not even −1 Å", ""]
    assert frame["teff"].dtype == np.float64


def test_parquet_without_its_package_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"blase3d\[parquet\]"):
        require_table_ending(tmp_path / "table.parquet")
    require_table_ending(tmp_path / "table.ecsv")


# --- results as they come ----------------------------------------------------------------------


def interrupted(path: Path, rows=ROWS) -> SurveyResults:
    """Results of a survey that was killed after some stars."""
    results = SurveyResults(path, RUN)
    results.begin(())
    for row in rows:
        results.add(row)
    return results


def test_what_was_added_is_found_by_the_next_run(tmp_path):
    interrupted(tmp_path / "t.ecsv")
    again = SurveyResults(tmp_path / "t.ecsv", RUN)
    assert again.done() == {"a", "c"}  # b failed, and is tried again
    again.begin(again.done())
    again.add(ROWS[1])
    assert [row["spectrum"] for row in again.rows()] == ["a", "c", "b"]
    again.finish(complete=True)
    assert not again.path.exists()
    assert list(Table.read(tmp_path / "t.ecsv")["spectrum"]) == ["a", "c", "b"]


def test_an_unfinished_line_is_left_out(tmp_path):
    results = interrupted(tmp_path / "t.ecsv")
    with open(results.path, "ab") as stream:
        stream.write(b'{"spectrum": "d", "te')
    again = SurveyResults(tmp_path / "t.ecsv", RUN)
    assert again.done() == {"a", "c"}
    again.begin(again.done())
    again.add(flat_row({"spectrum": "d", "error": ""}))
    assert [row["spectrum"] for row in again.rows()] == ["a", "c", "d"]


def test_an_empty_file_of_results_is_begun_again(tmp_path):
    """As a crash of the machine can leave it."""
    results = SurveyResults(tmp_path / "t.ecsv", RUN)
    results.path.touch()
    assert results.done() == set()
    results.begin(())
    results.add(ROWS[0])
    assert [row["spectrum"] for row in results.rows()] == ["a"]


@pytest.mark.parametrize("ending", ["ecsv", "fits", "parquet"])
def test_a_finished_table_is_continued(tmp_path, ending):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"t.{ending}"
    interrupted(path).finish(complete=True)
    again = SurveyResults(path, RUN)
    assert again.done() == {"a", "c"}
    again.begin({"a"})
    again.add(ROWS[2])
    again.finish(complete=True)
    table = Table.read(path)
    assert [str(name) for name in table["spectrum"]] == ["a", "c"]
    assert list(table["teff"]) == [5000.5, 6.0]
    assert table["teff_sigma"][0] == 10.0


def test_a_survey_that_is_stopped_leaves_a_table_and_its_lines(tmp_path):
    results = interrupted(tmp_path / "t.ecsv")
    results.finish(complete=False)
    assert results.path.exists()
    assert Table.read(tmp_path / "t.ecsv").meta["complete"] is False
    assert SurveyResults(tmp_path / "t.ecsv", RUN).done() == {"a", "c"}


def test_other_settings_are_refused_by_name(tmp_path):
    interrupted(tmp_path / "t.ecsv")
    other = {**RUN, "options": {"fixed": {"vsini": "0"}, "continuum_degree": 3}}
    with pytest.raises(InputError, match=r"fixed.vsini None, expected 0 as now"):
        SurveyResults(tmp_path / "t.ecsv", other).done()


def test_other_files_are_not_overwritten(tmp_path):
    path = tmp_path / "t.ecsv"
    path.write_text("a thesis")
    with pytest.raises(InputError, match="cannot be read as a table of results"):
        SurveyResults(path, RUN).done()
    Table({"a": [1]}).write(path, format="ascii.ecsv", overwrite=True)
    with pytest.raises(InputError, match="not the table of a survey"):
        SurveyResults(path, RUN).done()


# --- flags as bits -----------------------------------------------------------------------------


def test_bits_are_distinct_and_documented():
    bits = [bit for bit, _, _ in FLAG_BITS]
    assert sorted(bits) == list(range(30))
    page = (DOCS / "survey.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (.+?) \|$", page, re.MULTILINE))
    assert rows == {str(bit): title for bit, title, _ in FLAG_BITS}


def test_every_flag_that_is_explained_has_a_bit():
    unknown = flag_bits(["a new flag"])
    assert unknown == 1 << 15
    for one in _ADVICE:
        assert flag_bits([f"teff {one.phrase} 3"]) != unknown, one.phrase


def test_every_flag_that_has_a_bit_is_explained():
    titles = [
        title
        for bit, title, pattern in FLAG_BITS
        if bit != 15 and not (advice(title) or advice(pattern))
    ]
    assert titles == []


def test_labels_and_parameters_of_the_observation_have_bits_of_their_own():
    assert flag_bits(["teff at a bound"]) & SEVERE
    notes = ["vsini at a bound", "rv_2 at a bound", "9 pixels in telluric bands masked"]
    assert not flag_bits(notes) & SEVERE
