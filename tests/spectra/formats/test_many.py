"""Many spectra: which files folders, lists and tables stand for, and the rows of stacks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from tests.spectra.formats import survey_files as files

from blase3d.errors import SpectrumError
from blase3d.runtime.units import air_to_vacuum
from blase3d.spectra.formats import read_spectrum, write_spectrum
from blase3d.spectra.formats.many import find_spectra
from blase3d.spectra.spectrum import Spectrum

WAVELENGTH = 8500.0 + 0.1 * np.arange(50)


def star(level: float) -> Spectrum:
    return Spectrum(WAVELENGTH, np.full(50, level), np.full(50, 0.1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two spectra, one of them in a folder below, and files that are no spectra."""
    (tmp_path / "stars" / "more").mkdir(parents=True)
    write_spectrum(star(1.0), tmp_path / "stars" / "a.npz")
    write_spectrum(star(2.0), tmp_path / "stars" / "more" / "b.fits")
    (tmp_path / "stars" / "notes.md").write_text("no spectrum")
    (tmp_path / "stars" / ".hidden.npz").write_text("no spectrum")
    return tmp_path


def levels(found) -> list[float]:
    return [float(np.median(one.read(medium=None).flux)) for one in found.each()]


def test_a_folder_stands_for_the_spectra_below_it(folder):
    (folder / "stars" / "results.fits").write_text("")
    found = find_spectra([folder / "stars"], {}, [folder / "stars" / "results.fits"])
    assert [Path(name).name for name in found.names] == ["a.npz", "b.fits"]
    assert levels(found) == [1.0, 2.0]
    assert found.collected


def test_files_stand_for_themselves_and_may_be_missing(folder):
    found = find_spectra([folder / "stars" / "a.npz", folder / "absent.npz"])
    assert list(found.paths) == [folder / "stars" / "a.npz", folder / "absent.npz"]
    assert not found.collected


@pytest.mark.parametrize("name", ["stars.lst", "stars.txt"])
def test_a_list_is_relative_to_itself(folder, name):
    (folder / name).write_text("# two stars\nstars/a.npz\n\nstars/more/b.fits\n")
    assert find_spectra([folder / name]).names == ["stars/a.npz", "stars/more/b.fits"]
    assert levels(find_spectra([folder / name])) == [1.0, 2.0]


def test_a_list_may_be_relative_to_the_current_folder(folder, monkeypatch, tmp_path):
    (folder / "lists").mkdir()
    (folder / "lists" / "stars.lst").write_text("stars/a.npz\n")
    monkeypatch.chdir(folder)
    assert levels(find_spectra([folder / "lists" / "stars.lst"])) == [1.0]


def test_a_spectrum_in_text_is_no_list(folder):
    path = folder / "star.txt"
    np.savetxt(path, np.c_[WAVELENGTH, np.ones(50)])
    assert list(find_spectra([path]).paths) == [path]


TABLES = {"ecsv": "ascii.ecsv", "csv": "ascii.csv", "fits": "fits", "vot": "votable"}


@pytest.mark.parametrize("ending", [*TABLES, "h5", "parquet"])
def test_a_table_has_settings_of_each_file(folder, ending):
    if ending == "h5":
        pytest.importorskip("h5py")
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    np.savetxt(folder / "air.txt", np.c_[WAVELENGTH, np.full(50, 3.0)])
    table = Table(
        {
            "File": ["stars/a.npz", "air.txt"],
            "name": ["one", "two"],
            "medium": ["", "air"],
            "resolution": [np.nan, 12000.0],
            "teff": [5000.0, 6000.0],
        }
    )
    path = folder / f"list.{ending}"
    kinds = {"h5": {"format": "hdf5", "path": "stars"}, "parquet": {"format": "parquet"}}
    table.write(path, **kinds.get(ending, {"format": TABLES.get(ending)}))
    found = find_spectra([path])
    one, two = (entry.read() for entry in found.each())
    assert list(found.names) == ["one", "two"]
    assert one.resolution is None
    assert two.resolution == 12000.0
    np.testing.assert_allclose(two.wavelength, air_to_vacuum(WAVELENGTH), atol=1e-4)


def test_a_table_of_a_spectrum_is_a_spectrum(folder):
    for ending in ("ecsv", "csv", "fits"):
        path = folder / f"star.{ending}"
        write_spectrum(star(1.0), path)
        assert list(find_spectra([path]).paths) == [path]
        assert not find_spectra([path]).collected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("file\na.npz\na.npz\n", "a.npz twice"),
        ("file,resolution\na.npz,high\n", "resolution"),
        ("file,name\na.npz,two\n,one\n", "row without a file"),
    ],
)
def test_what_a_table_cannot_have(tmp_path, content, words):
    path = tmp_path / "list.csv"
    path.write_text(content)
    with pytest.raises(SpectrumError, match=words):
        find_spectra([path])


def test_empty_folders_and_lists_are_refused(tmp_path):
    (tmp_path / "empty.lst").write_text("# nothing\n")
    (tmp_path / "latin.lst").write_text("étoile.fits\n", "latin-1")
    for path, words in (
        (tmp_path / "latin.lst", "not in UTF-8"),
        (tmp_path / "empty.lst", "lists no files"),
        (tmp_path / "none", "no spec"),
    ):
        (tmp_path / "none").mkdir(exist_ok=True)
        with pytest.raises(SpectrumError, match=words):
            find_spectra([path])


# --- stacks ------------------------------------------------------------------------------------

ARRAYS = {
    "wavelength": WAVELENGTH,
    "flux": np.arange(1.0, 8.0)[:, None] * np.ones(50, np.float32),
    "error": np.full((7, 50), 0.1, np.float32),
    "mask": np.arange(50) == np.zeros((7, 1)),
    "name": np.array([f"star {i}" for i in range(7)]),
}


def write_stack(path: Path, arrays=ARRAYS, **meta) -> Path:
    """Write a stack of seven spectra as the ending says."""
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays, meta=json.dumps(meta))
        return path
    import zarr

    group = zarr.create_group(path, attributes={"meta": meta})
    for name, values in arrays.items():
        text = values.dtype.kind == "U"  # of any length, as Zarr version 3 specifies it
        dtype = np.dtypes.StringDType() if text else values.dtype
        group.create_array(name, shape=values.shape, dtype=dtype)[:] = values.astype(dtype)
    return path


@pytest.mark.parametrize("ending", ["npz", "zarr"])
def test_the_rows_of_a_stack(tmp_path, monkeypatch, ending):
    monkeypatch.setattr("blase3d.spectra.formats.stack._BLOCK", 120)  # two spectra of 50 pixels
    path = write_stack(tmp_path / f"stack.{ending}", medium="air", resolution=11500.0)
    found = find_spectra([path])
    assert list(found.names) == [f"star {i}" for i in range(7)]
    assert levels(found) == list(range(1, 8))
    first = next(found.each()).read()
    assert first.resolution == 11500.0
    assert first.mask[0]
    assert first.n_masked == 1
    np.testing.assert_allclose(first.wavelength, air_to_vacuum(WAVELENGTH))


def test_a_stack_that_is_stored_by_columns(tmp_path):
    arrays = {**ARRAYS, "flux": np.asfortranarray(ARRAYS["flux"])}
    found = find_spectra([write_stack(tmp_path / "stack.npz", arrays, medium="vacuum")])
    assert levels(found) == list(range(1, 8))


def test_the_medium_of_a_stack_is_asked_for(tmp_path):
    path = write_stack(tmp_path / "stack.npz")
    with pytest.raises(SpectrumError, match="--medium"):
        find_spectra([path])
    assert len(find_spectra([path], {"medium": "vacuum"}).names) == 7


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": np.array(["a"] * 7)}, "1 different names for 7"),
        ({"error": np.ones((6, 50))}, "error of shape"),
        ({"wavelength": WAVELENGTH[:-1]}, "49 wavelengths and 50 pixels"),
    ],
)
def test_stacks_that_do_not_match(tmp_path, changed, words):
    path = write_stack(tmp_path / "stack.npz", {**ARRAYS, **changed}, medium="vacuum")
    with pytest.raises(SpectrumError, match=words):
        list(find_spectra([path]).each())


def test_a_stack_that_is_cut_short(tmp_path):
    path = write_stack(tmp_path / "stack.npz", medium="vacuum")
    content = bytearray(path.read_bytes())
    content[400:420] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(SpectrumError):
        [one.read() for one in find_spectra([path]).each()]


MASTAR = (("7-1001", 57800), ("7-1002", 57801), ("7-1001", 57900))


def test_a_table_of_mastar_is_a_stack(tmp_path, monkeypatch):
    monkeypatch.setattr("blase3d.spectra.formats.stack._BLOCK", 802)  # two spectra
    path = files.mastar(tmp_path / "mastar-goodspec.fits", MASTAR)
    found = find_spectra([path])
    assert list(found.names) == [f"{name}-7957-{mjd}" for name, mjd in MASTAR]
    for one in found.each():
        star, alone = one.read(), read_spectrum(path, source=one.name)
        np.testing.assert_array_equal(star.flux, alone.flux)
        np.testing.assert_array_equal(star.error, alone.error)
        np.testing.assert_array_equal(star.mask, alone.mask)
        np.testing.assert_array_equal(star.pixel_resolution, alone.pixel_resolution)
        assert star.meta["frame"] == "star"


@pytest.mark.parametrize("kind", ["fits", "npz"])
def test_one_of_the_spectra_of_a_stack(tmp_path, kind):
    if kind == "fits":
        path, name = files.mastar(tmp_path / "stars.fits", MASTAR), "7-1002-7957-57801"
    else:
        path, name = write_stack(tmp_path / "stack.npz", medium="vacuum"), "star 3"
    found = find_spectra([path], {"source": name})
    assert (found.names, found.collected, found.stack) == ([name], False, None)
    assert len(levels(found)) == 1
    with pytest.raises(SpectrumError, match="none is Vega; choose one"):
        find_spectra([path], {"source": "Vega"})


def test_one_of_the_spectra_of_a_file_that_is_larger_than_a_spectrum(tmp_path, monkeypatch):
    path = files.mastar(tmp_path / "stars.fits", MASTAR)
    whole = read_spectrum(path, source="7-1002-7957-57801")
    monkeypatch.setattr("blase3d.spectra.formats.LARGEST_SPECTRUM", 10_000)
    star = read_spectrum(path, source="7-1002-7957-57801", resolution=1800.0)
    np.testing.assert_array_equal(star.flux, whole.flux)
    assert star.resolution == 1800.0
    with pytest.raises(SpectrumError, match=r"has 3 spectra \(7-1001-7957-57800, .*choose one"):
        read_spectrum(path)


def test_tables_of_mastar_that_are_no_stack(tmp_path):
    path = files.mastar(tmp_path / "stars.fits", MASTAR)
    with fits.open(path, mode="update") as hdus:
        hdus[1].data["WAVE"][1] += 0.5
    with pytest.raises(SpectrumError, match="rows differ in their wavelengths"):
        list(find_spectra([path]).each())
    path.write_bytes(path.read_bytes()[: 3 * 2880])
    with pytest.raises(SpectrumError):
        [one.read() for one in find_spectra([path]).each()]


def test_a_resolution_of_pixels_in_a_stack(tmp_path):
    varying = np.full((7, 50), 9000.0) + np.arange(50)
    varying[2] = np.nan
    arrays = {**ARRAYS, "pixel_resolution": varying}
    found = find_spectra(
        [write_stack(tmp_path / "stack.npz", arrays, medium="vacuum", resolution=7.0)]
    )
    stars = [one.read() for one in found.each()]
    np.testing.assert_array_equal(stars[0].pixel_resolution, varying[0])
    assert stars[2].pixel_resolution is None
    assert stars[2].resolution is None


def test_changed_files_are_known(folder):
    found = find_spectra([folder / "stars"])
    times = sorted(path.stat().st_mtime for path in found.paths)
    assert found.changed_since(times[-1]) == set()
    assert found.changed_since(times[0] - 1.0) == set(found.names)
