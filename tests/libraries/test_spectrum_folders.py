"""Folders of spectra: resampling, settings, file names, numbers of Fortran, real spectra."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from blase3d.errors import GridError, MissingExtra
from blase3d.libraries import open_grid
from blase3d.libraries.readers import sonora
from blase3d.libraries.readers.described import describe
from blase3d.libraries.readers.resample import resample
from blase3d.libraries.readers.spectrum_files import increasing
from blase3d.libraries.readers.synthesis import pattern_of
from blase3d.libraries.readers.text import numbers
from blase3d.runtime.units import air_to_vacuum, vacuum_to_air

DATA = Path(__file__).parents[3] / "shared" / "data"
FINE = np.linspace(5000.0, 5010.0, 1001)


def line(wavelength, width=0.06):
    """A line, and its integral from far left, in closed form."""
    return 1 - 0.7 * np.exp(-0.5 * ((wavelength - 5005.0) / width) ** 2)


def write(folder, spectra, names=None, **stated):
    """Two-column files and a table of `x` from 0 on, or settings with `names`."""
    folder.mkdir(exist_ok=True)
    for i, (wavelength, flux) in enumerate(spectra):
        np.savetxt(folder / f"x{i}.dat", np.c_[wavelength, flux], fmt="%.9f")
    if names is not None:
        (folder / "library.json").write_text(json.dumps({"names": names, **stated}))
        return folder
    header = [f"# {key}: {json.dumps(value)}" for key, value in stated.items()]
    header = [text.replace('"', "") for text in header]
    rows = [f"x{i}.dat,{i}" for i in range(len(spectra))]
    (folder / "library.csv").write_text("\n".join([*header, "file,x", *rows]))
    return folder


# --- other pixels ------------------------------------------------------------------------------


def test_the_same_pixels_are_left_alone():
    assert resample(FINE, line(FINE), FINE + 1e-7).tolist() == line(FINE).tolist()


def test_between_points_a_smooth_line_is_read_off():
    pixels = np.linspace(5000.3, 5009.7, 1200)
    error = resample(FINE, line(FINE), pixels) - line(pixels)
    assert np.abs(error).max() < 2e-3
    assert np.sqrt(np.mean(error**2)) < 2e-4


@pytest.mark.parametrize("step", [0.05, 0.4, 1.0])
def test_wide_pixels_keep_the_integral(step):
    pixels = np.arange(5001.0, 5009.0, step)
    total = resample(FINE, line(FINE), pixels).sum() * step
    inside = (pixels[0] - step / 2 <= FINE) & (pixels[-1] + step / 2 >= FINE)
    exact = np.trapezoid(line(FINE[inside]), FINE[inside])
    absorbed = 0.7 * 0.06 * np.sqrt(2 * np.pi)
    assert abs((pixels.size * step - total) - absorbed) < 2e-3 * absorbed
    assert abs(total - exact) < 0.02  # the ends of the range are cut between points


def test_beyond_the_ends_nothing_is_known_and_nothing_overshoots():
    pixels = np.linspace(4999.0, 5011.0, 700)
    found = resample(FINE, np.where(FINE < 5005, 1.0, 0.0), pixels)
    assert np.isnan(found[(pixels < 5000) | (pixels > 5010)]).all()
    known = found[(pixels >= 5000) & (pixels <= 5010)]
    assert known.min() >= 0.0
    assert known.max() <= 1.0
    assert np.isnan(resample(FINE, line(FINE), pixels + 100)).all()


def test_what_is_not_finite_stays_so():
    flux = line(FINE)
    flux[300] = np.nan
    found = resample(FINE, flux, FINE[:-1] + 0.004)
    assert np.flatnonzero(np.isnan(found)).tolist() == [299, 300]


def test_spectra_on_other_pixels_come_onto_those_of_the_first(tmp_path):
    others = [FINE, np.linspace(5000.0, 5010.0, 1501), np.linspace(5002.0, 5008.0, 900)]
    grid = open_grid(write(tmp_path / "a", [(w, line(w)) for w in others], medium="vacuum"))
    np.testing.assert_allclose(grid.wavelength, FINE)
    np.testing.assert_allclose(grid[1].flux, line(FINE), atol=2e-3)
    with pytest.raises(GridError, match="node x=2 has 400 pixels that are not finite"):
        grid[2]
    part = grid.cut(5002.01, 5007.99)  # which all of them have
    np.testing.assert_allclose(part[2].flux, line(part.wavelength), atol=2e-3)


def test_the_common_pixels_can_be_stated(tmp_path):
    stated = {"medium": "vacuum", "wave": "5001:5009", "step": "0.02"}
    grid = open_grid(write(tmp_path / "a", [(FINE, line(FINE))] * 2, **stated))
    assert (grid.wavelength[0], grid.wavelength[-1], len(grid.wavelength)) == (5001, 5009, 401)
    with pytest.raises(GridError, match="state both, or neither"):
        open_grid(write(tmp_path / "b", [(FINE, line(FINE))], medium="vacuum", step=0.1))


def test_a_lost_file_is_its_node_alone(tmp_path):
    folder = write(tmp_path / "a", [(FINE, line(FINE))] * 3, medium="vacuum")
    (folder / "x0.dat").unlink()
    grid = open_grid(folder)
    with pytest.raises(GridError, match=r"node x=0 .*there is no file .*x0.dat"):
        grid[0]
    assert len(grid[1]) == FINE.size
    mark = grid.fingerprint()
    (folder / "x0.dat").write_text((folder / "x1.dat").read_text())
    assert len(grid[0]) == FINE.size
    assert grid.fingerprint() != mark


# --- settings ----------------------------------------------------------------------------------


def test_a_medium_is_asked_for_and_air_converted(tmp_path):
    folder = write(tmp_path / "a", [(vacuum_to_air(FINE), line(FINE))])
    with pytest.raises(GridError, match=r"x0.dat states no medium .* air or vacuum"):
        open_grid(folder)
    np.testing.assert_allclose(open_grid(folder, "air").wavelength, FINE, atol=1e-7)
    write(tmp_path / "b", [(FINE / 10, line(FINE))], medium="vacuum", wavelength_unit="nm")
    np.testing.assert_allclose(open_grid(tmp_path / "b").wavelength, FINE, atol=1e-7)
    with pytest.raises(GridError, match="medium vacuum, but air was asked for"):
        open_grid(tmp_path / "b", "air")


def test_vacuum_below_2000_and_air_above(tmp_path):
    wavelength = np.array([1990.0, 1999.0, 2001.0, 2010.0])
    folder = write(tmp_path / "a", [(wavelength, [1, 1, 1, 1])], medium="air above 2000")
    expected = [1990.0, 1999.0, *air_to_vacuum([2001.0, 2010.0])]
    np.testing.assert_allclose(open_grid(folder).wavelength, expected, atol=1e-8)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"colour": "red"}, "states colour, expected of medium"),
        ({"columns": "wavelength depth"}, "the columns wavelength depth, expected"),
        ({"columns": "flux continuum"}, "expected wavelength, flux or normalised"),
        ({"medium": "water"}, "the medium 'water', expected air, vacuum"),
        ({"wavelength_unit": "kg"}, "expected one of length"),
        ({"wavelength_unit": "furlongs"}, "furlongs"),
        ({"format": "moog"}, "format 'moog', expected turbospectrum or synspec"),
        ({"wave": "5010:5000", "step": 1}, "expected LO below HI"),
        ({"wave": "5000:5010", "step": -1}, "a step of -1 .*, expected a positive one"),
        ({"flux_factor": "much"}, "a wrong setting"),
        ({"continuum_ending": "cont"}, "expected one such as .cont"),
    ],
)
def test_settings_of_no_use_are_named(stated, message):
    with pytest.raises(GridError, match=message) as caught:
        describe(stated, None, Path("library.json"))
    assert "library.json" in str(caught.value)


def test_columns_that_are_not_told_are_not_guessed(tmp_path):
    folder = write(tmp_path / "a", [(FINE, line(FINE))] * 2, medium="vacuum")
    three = "\n".join(f"{w:.3f} {f:.6f} 1.0" for w, f in zip(FINE, line(FINE), strict=True))
    (folder / "x1.dat").write_text(three)
    with pytest.raises(
        GridError, match=r"x1.dat has 3 columns, expected 2 .*list them in `columns`"
    ):
        open_grid(folder)[1]


@pytest.mark.parametrize(
    ("columns", "flux", "continuum"),
    [
        ("wavelength normalised - -", lambda n, f, c: n, lambda c: np.ones_like(c)),
        ("wavelength normalised - continuum", lambda n, f, c: n * c, lambda c: c),
        ("wavelength normalised flux -", lambda n, f, c: f, lambda c: c),
        ("wavelength - flux continuum", lambda n, f, c: f, lambda c: c),
        ("wavelength - flux -", lambda n, f, c: f, None),
    ],
)
def test_what_columns_are(columns, flux, continuum, tmp_path):
    c = 3e5 * (1 + (FINE - 5000) / 100)
    n = np.round(line(FINE), 6)
    f = n * c
    np.savetxt(tmp_path / "x0.dat", np.c_[FINE, n, f, c], fmt="%.9e")
    stated = {"names": "x{x}.dat", "medium": "vacuum", "columns": columns}
    (tmp_path / "library.json").write_text(json.dumps(stated))
    node = open_grid(tmp_path)[0]
    np.testing.assert_allclose(node.flux, flux(n, f, c), rtol=1e-6)
    if continuum is None:
        assert node.continuum is None
    else:
        np.testing.assert_allclose(node.continuum, continuum(c), rtol=1e-6)


# --- names and tables --------------------------------------------------------------------------


def test_forms_of_names():
    form = pattern_of("p{teff}_g{logg}_*z{feh}.spec", Path("library.json"))
    found = form.fullmatch("p5777_g+4.44_t01_z-0.50.spec")
    assert found.groupdict() == {"teff": "5777", "logg": "+4.44", "feh": "-0.50"}
    assert form.fullmatch("p5777_g4.4_t01_z-0.50xspec") is None
    for wrong in ("star.spec", "{}.spec", "{a}_{a}.spec", "{1}.spec"):
        with pytest.raises(GridError, match="each label once in braces"):
            pattern_of(wrong, Path("library.json"))


def test_labels_may_be_any(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    for fsed in (1.0, 2.0, 8.0):
        for ratio in (0.5, 1.0):
            np.savetxt(folder / f"f{fsed:g}_co{ratio}.txt", np.c_[FINE, line(FINE) * fsed])
    stated = {"names": "f{fsed}_co{co}.txt", "medium": "vacuum"}
    (folder / "library.json").write_text(json.dumps(stated))
    grid = open_grid(folder)
    assert grid.label_names == ("fsed", "co")
    assert grid[grid.find(fsed=8, co=0.5)].flux.max() == pytest.approx(8)


def test_two_files_of_one_node_are_named(tmp_path):
    write(tmp_path / "a", [(FINE, line(FINE))] * 2)
    (tmp_path / "a" / "library.csv").write_text("# medium: vacuum\nfile,x\nx0.dat,1\nx1.dat,1\n")
    with pytest.raises(GridError, match=r"x0.dat and .*x1.dat both have x=1; keep one"):
        open_grid(tmp_path / "a")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,x\n", "no labels or no rows"),
        ("file\nx0.dat\n", "no labels or no rows"),
        ("file,x\nx0.dat,hot\n", "column x that is not numeric"),
        ("file,x\nx0.dat,\n", "no x for x0.dat"),
        ("file,x\nx0.dat,1,2\n", "cannot be read as a table"),
        ("# medium: fog\nfile,x\nx0.dat,1\n", "the medium 'fog'"),
    ],
)
def test_tables_of_no_use_are_named(table, message, tmp_path):
    write(tmp_path, [(FINE, line(FINE))])
    (tmp_path / "library.csv").write_text(table)
    with pytest.raises(GridError, match=message) as caught:
        open_grid(tmp_path, "vacuum")
    assert "library.csv" in str(caught.value)


def test_a_table_may_have_another_name(tmp_path):
    folder = write(tmp_path / "a", [(FINE, line(FINE))] * 2, medium="vacuum")
    (folder / "library.csv").rename(folder / "mine.csv")
    assert len(open_grid(folder / "mine.csv")) == 2
    with pytest.raises(GridError, match="no library in a known format"):
        open_grid(folder)
    (folder / "library.json").write_text("{}")
    with pytest.raises(GridError, match='does not state "names"'):
        open_grid(folder)


def test_names_that_no_file_has(tmp_path):
    folder = write(tmp_path / "a", [(FINE, line(FINE))], names="t{teff}.spec", medium="vacuum")
    with pytest.raises(GridError, match=r"no file with a name like t\{teff\}\.spec"):
        open_grid(folder)


# --- text --------------------------------------------------------------------------------------


def test_numbers_as_fortran_writes_them(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("a header\n 5000.0D0 1.5D-05\n 5001.0-2.5D+01\n 5002.0 1.5-100\n5003,4\n")
    found = numbers(path, (0, 1))
    assert found[0].tolist() == [5000, 5001, 5002, 5003]
    assert found[1].tolist() == [1.5e-5, -25, 1.5e-100, 4]
    for wrong in ("", "words alone\n", "1 2\n", "1 2\n3\n4 5\n"):
        path.write_text(wrong)
        with pytest.raises(GridError, match=r"f.txt is no table of numbers"):
            numbers(path, (0, 1))


def test_wavelengths_in_order_each_once():
    wave, flux = increasing(np.array([3.0, 2.0, 3.0, 1.0]), np.array([30.0, 20.0, 31.0, 10.0]))
    assert wave.tolist() == [1, 2, 3]
    assert flux.tolist() == [10, 20, 30]


def test_netcdf_of_the_newer_kind_says_which_extra_it_needs(tmp_path, monkeypatch):
    path = tmp_path / "spectra_logzz_2.0_teff_500.0_grav_316.0_mh_0.0_co_1.0.nc"
    path.write_bytes(b"\x89HDF")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"blase3d\[netcdf\]"):
        sonora.read_netcdf(path)


# --- spectra of real codes ---------------------------------------------------------------------

REAL = [("turbo-cat.npz", "turbospectrum"), ("synspec-cat.npz", "synspec"), ("turbo-opt.npz", "-")]


@pytest.mark.parametrize(("name", "kind"), REAL)
def test_real_spectra_come_out_of_the_columns_of_their_codes(name, kind, tmp_path):
    if not (DATA / name).is_file():
        pytest.skip(f"{DATA / name} is not there")
    whole = open_grid(DATA / name)
    some = whole.take(np.linspace(0, len(whole) - 1, 3).astype(int)).cut(6110, 8560)
    some = some.cut(some.wavelength[0], some.wavelength[0] + 60)
    labels = [some.labels_of(i) for i in range(3)]
    for i, star in enumerate(some):
        write_as(kind, tmp_path, labels[i], star)
    stated = {"format": kind} if kind != "-" else {"medium": "vacuum"}
    names = "t{teff}_g{logg}_z{feh}.7"
    (tmp_path / "library.json").write_text(json.dumps({"names": names, **stated}))
    again = open_grid(tmp_path)
    np.testing.assert_allclose(again.wavelength, some.wavelength, rtol=0, atol=6e-5)
    for i, star in enumerate(some):
        found = again[again.find(**labels[i])]
        np.testing.assert_allclose(found.flux, star.flux, rtol=2e-6)
        if kind != "-":
            np.testing.assert_allclose(found.continuum, star.continuum, rtol=2e-5)


def write_as(kind, folder, labels, star):
    """A spectrum as a code writes it, in the digits that it gives."""
    path = folder / "t{teff:g}_g{logg:g}_z{feh:g}.7".format(**labels)
    air = vacuum_to_air(star.wavelength)
    if kind == "turbospectrum":
        columns, form = (air, star.flux / star.continuum, star.flux), "%11.4f %10.7f %13.6e"
    elif kind == "synspec":
        columns, form = (air, star.flux / (4 * np.pi)), "%10.4f %14.7e"
        few = np.unique(np.r_[0 : air.size : 50, air.size - 1])
        continuum = np.c_[air, star.continuum / (4 * np.pi)][few]
        np.savetxt(path.with_suffix(".17"), continuum, fmt=form)
    else:
        columns, form = (star.wavelength, star.flux), "%11.5f %14.7e"
    np.savetxt(path, np.column_stack(columns), fmt=form)
