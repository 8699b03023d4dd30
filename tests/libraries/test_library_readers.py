"""The contract of library readers, on one universe written in every format.

A reader that another package adds by an entry point meets the same contract.
"""

from __future__ import annotations

import json
import pickle
import sys
import textwrap

import numpy as np
import pytest
from library_files import CASES, NODES, WAVE, Case, continuum_of, flux_of

from blase3d.errors import GridError
from blase3d.libraries import known_readers, open_grid, write_grid
from blase3d.libraries.readers import READERS

RTOL = 3e-6
"""What the digits of the files allow."""

PLUGIN = """
    import json
    from blase3d.libraries.grid import grid_of
    from blase3d.libraries import LibraryReader
    from blase3d.libraries.readers.spectrum_files import Columns, grid_of_files

    def read(path):
        try:
            return Columns(**{k: __import__("numpy").array(v) for k, v in
                              json.loads(path.read_text()).items()})
        except ValueError as failure:
            from blase3d.errors import GridError
            raise GridError(f"{path} is damaged: copy it again.") from failure

    def name(path):
        teff, logg, feh = path.stem.split("_")
        return {"teff": float(teff), "logg": float(logg), "feh": float(feh)}

    def open_odd(path, medium):
        return grid_of_files([(p, name(p)) for p in path.glob("*.odd")], read, {"library": "odd"})

    def matches(path):
        return any(path.glob("*.odd"))

    SOURCE = LibraryReader("odd", "a folder of .odd files", matches, open_odd, "a test")
    WRONG = "no source"
"""


def plugin_case(node_name="{0}_{1}_{2}.odd"):
    def write(folder):
        folder.mkdir()

        def file_of(n):
            return folder / node_name.format(n[0], n[1], (-0.5, 0.0)[n[2]])

        for node in NODES:
            columns = {"wavelength": WAVE.tolist(), "flux": flux_of(node).tolist()}
            file_of(node).write_text(json.dumps(columns))
        return file_of

    return Case("odd", write, ("feh", -0.5, 0.0))


ODD = plugin_case()


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package whose entry points name a source, a wrong thing and nothing."""
    site = tmp_path / "site"
    told = site / "odd_library-1.0.dist-info"
    told.mkdir(parents=True)
    (site / "odd_library.py").write_text(textwrap.dedent(PLUGIN))
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-library\nVersion: 1.0\n")
    points = "odd = odd_library:SOURCE\nwrong = odd_library:WRONG\nlost = nowhere:SOURCE\n"
    (told / "entry_points.txt").write_text(f"[blase3d.sources]\n{points}")
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("odd_library", None)


@pytest.fixture(params=[*CASES, ODD], ids=str)
def case(request):
    if request.param is ODD:
        request.getfixturevalue("plugin")
    return request.param


@pytest.fixture
def path(tmp_path, case):
    return tmp_path / case.name


@pytest.fixture
def file_of(path, case):
    """The library, written; tells the file of a node."""
    return case.write(path)


@pytest.fixture
def grid(path, file_of):
    return open_grid(path)


def test_every_reader_has_its_case():
    assert {case.source for case in CASES} == {reader.name for reader in READERS}


def test_it_is_recognised_by_one_reader_alone(path, file_of, case):
    known = [reader for reader in known_readers() if reader.matches(path)]
    assert [reader.name for reader in known] == [case.source]
    assert open_grid(path, source=case.source).labels.shape == (len(NODES), 3)


def test_wavelengths_increase_in_vacuum(grid):
    assert (np.diff(grid.wavelength) > 0).all()
    np.testing.assert_allclose(grid.wavelength, WAVE, rtol=0, atol=1e-3)
    assert grid.meta["medium"] == "vacuum"


def test_labels_are_finite_and_those_written(grid, case):
    assert np.isfinite(grid.labels).all()
    assert grid.label_names == ("teff", "logg", case.third[0])
    assert all(grid.find(**case.labels(node)) is not None for node in NODES)


def test_holes_are_named(grid, case):
    assert grid.holes() == [case.labels((1100, 4.5, 1))]


def test_the_same_spectra_come_out_of_every_form(grid, case):
    for node in NODES:
        found = grid[grid.find(**case.labels(node))]
        np.testing.assert_allclose(found.flux, flux_of(node), rtol=RTOL)
        if case.continuum:
            np.testing.assert_allclose(found.continuum, continuum_of(node), rtol=RTOL)
        else:
            assert found.continuum is None


def test_a_damaged_file_is_named_when_it_is_read(path, file_of, case):
    hurt = file_of((1100, 5.0, 1))
    hurt.write_bytes(hurt.read_bytes()[: hurt.stat().st_size // 4] + b"\nnonsense\n")
    if not case.lazy:  # all of it is in one compressed file
        with pytest.raises(GridError, match=path.name):
            open_grid(path)
        return
    grid = open_grid(path)
    bad = grid.find(**case.labels((1100, 5.0, 1)))
    name = path.name if case.source == "zarr" else hurt.name
    with pytest.raises(GridError, match=rf"teff=1100 logg=5 .*{name}".replace("+", r"\+")):
        grid[bad]
    assert all(len(grid[i]) == WAVE.size for i in range(len(grid)) if i != bad)


def test_a_cut_reads_the_part(grid):
    part = grid.cut(9999, 10005)
    inside = (grid.wavelength >= 9999) & (grid.wavelength <= 10005)
    np.testing.assert_array_equal(part[2].flux, grid[2].flux[inside])


def test_the_fingerprint_stays_and_tells_another_library(path, file_of, grid):
    mark = open_grid(path).fingerprint()
    assert mark == grid.fingerprint()
    assert mark != grid.take(np.arange(len(grid) - 1)).fingerprint()
    assert mark != grid.cut(9995, 10010).fingerprint()


def test_it_can_be_sent_to_workers(grid):
    again = pickle.loads(pickle.dumps(grid))
    np.testing.assert_array_equal(again[3].flux, grid[3].flux)
    assert again.fingerprint() == grid.fingerprint()


@pytest.mark.parametrize("name", ["copy.npz", "copy.zarr"])
def test_it_can_be_written_and_read_again(grid, tmp_path, name):
    write_grid(grid, tmp_path / name)
    again = open_grid(tmp_path / name)
    np.testing.assert_array_equal(again.wavelength, grid.wavelength)
    np.testing.assert_array_equal(again.labels, grid.labels)
    assert again.label_names == grid.label_names
    assert again.meta["library"] == grid.meta.get("library") if "library" in grid.meta else True
    for i in range(len(grid)):
        np.testing.assert_array_equal(again[i].flux, grid[i].flux)
        assert (again[i].continuum is None) == (grid[i].continuum is None)


# --- what is not recognised --------------------------------------------------------------------


def test_what_is_unknown_is_told_what_is_known(tmp_path):
    (tmp_path / "notes.txt").write_text("no library")
    with pytest.raises(GridError, match="no library in a known format") as caught:
        open_grid(tmp_path)
    assert all(reader.what in str(caught.value) for reader in READERS)
    with pytest.raises(GridError, match=r"source 'atlas', expected one of npz, zarr, table"):
        open_grid(tmp_path, source="atlas")


def test_readers_that_cannot_be_loaded_are_named(tmp_path, plugin):
    (tmp_path / "empty").mkdir()
    with pytest.raises(GridError, match=r"folder of \.odd files") as caught:
        open_grid(tmp_path / "empty")
    assert "reader wrong (odd_library:WRONG) is a str, expected" in str(caught.value)
    assert "reader lost (nowhere:SOURCE) cannot be loaded: No module" in str(caught.value)
    assert "odd" in [reader.name for reader in known_readers()]


def test_a_fault_of_a_reader_is_a_sentence(tmp_path, plugin):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "x.odd").write_text("{}")  # its name says no labels
    with pytest.raises(GridError, match=r"cannot be read by the library reader odd \(ValueError"):
        open_grid(tmp_path / "library")


def test_state_dictionaries_are_lines_already(tmp_path):
    (tmp_path / "T5800G4.5Z0.0.pt").write_bytes(b"")
    for path in (tmp_path, tmp_path / "T5800G4.5Z0.0.pt"):
        with pytest.raises(GridError, match="import-states"):
            open_grid(path)


@pytest.mark.parametrize("case", [c for c in CASES if c.source in ("bt-settl", "phoenix")], ids=str)
def test_what_is_in_vacuum_is_not_taken_for_air(case, tmp_path):
    case.write(tmp_path / case.name)
    with pytest.raises(GridError, match="leave out medium"):
        open_grid(tmp_path / case.name, "air")
    assert len(open_grid(tmp_path / case.name, "vacuum")) == len(NODES)


def test_the_former_names_warn():
    from blase3d import libraries

    with pytest.warns(DeprecationWarning, match="Source is now LibraryReader"):
        assert libraries.Source is libraries.LibraryReader
    with pytest.warns(DeprecationWarning, match="known_sources is now known_readers"):
        assert libraries.known_sources is known_readers
