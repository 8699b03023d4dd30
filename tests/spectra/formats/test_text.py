"""Tables in text: separators, names, units and comments as people write them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.spectra.formats.truth import AIR, ERROR, FLUX, MASK, WAVE, expected

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import read_spectrum
from blase3d.spectra.formats.text_parser import has_numbers, parse_table

DATA = Path(__file__).parents[4] / "shared"
NONE = np.zeros(401, bool)


def rows(*columns, separator=" ", comma=False):
    lines = [separator.join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join(lines).replace(".", "," if comma else ".") + "\n"


def written(folder, name, text, **changes):
    (folder / name).write_text(text, encoding="utf-8")
    found = {"error": None, "mask": NONE, **changes}
    return folder / name, {"medium": "vacuum"}, expected("text", **found)


def two_columns(folder):
    return written(folder, "star.txt", rows(WAVE, FLUX))


def ispec(folder):
    text = "waveobs\tflux\terr\n" + rows(WAVE / 10, FLUX, ERROR, separator="\t")
    return written(folder, "star.txt", text, error=ERROR)


def excel(folder):
    head = "\ufeffWellenlänge (nm);Fluss;Fehler\n"
    text = head + rows(WAVE / 10, FLUX, ERROR, separator=";", comma=True)
    return written(folder, "star.csv", text, error=ERROR)


def described(folder):
    head = "% object: HD 1\n% medium: air\n% resolution = 48000\n%  lambda[A]  I  sigma  mask\n"
    path, _, found = written(
        folder,
        "star.dat",
        head + rows(AIR, FLUX, ERROR, MASK.astype(int)),
        error=ERROR,
        mask=MASK,
        medium="air",
        resolution=48000.0,
        meta={"object": "HD 1"},
    )
    return path, {}, found


SAMPLES = {
    "text, two columns": two_columns,
    "text, iSpec": ispec,
    "text, decimal commas": excel,
    "text, header": described,
}

NAMES = {
    "csv": "Wavelength,FLUX,Flux_Err\n{commas}",
    "spaces": "WAVE   FLUX   SIGMA\n{blanks}",
    "aligned": "wave , flux , err\n{aligned}",
    "hash": "# wavelength flux error\n{blanks}",
    "units in brackets": "# lambda (Angstrom)  flux (erg / s / A)  error (erg / s / A)\n{blanks}",
    "line of units": "lam\tflux\teflux\nA\tJy\tJy\n{tabs}",
    "one line for each column": "# 1 WAVELENGTH  [Angstrom]\n# 2 FLUX\n# 3 ERR\n{blanks}",
    "columns in words": "! Column 1: wave (A)\n! Column 2: flux\n! Column 3: noise\n{blanks}",
    "number of rows": "401\n{blanks}",
    "number of rows and columns": "401 3\n{blanks}",
    "index": ",wavelength,flux,error\n{indexed}",
    "unknown names": "x y dy\n{blanks}",
    "names that are related": "wavelength,normalised flux,norm flux err\n{commas}",
    "another flux beside": "wavelength flux_norm flux_norm_unc\n{blanks}",
    "a remark after a row": "6110.0 1.0 0.01 # first\n{blanks}",
    "title and comments": "Spectrum of a star\n\n# by nobody\n; no name\n{blanks}\n# end\n",
    "bars": "| wave | flux | noise |\n|------|------|-------|\n{bars}",
    "trailing comma": "wavelength,flux,error,\n{trailing}",
    "quoted": '"wavelength","flux","error"\n{quoted}',
    "fortran": "{fortran}",
    "carriage returns": "wave flux error\r\n{returns}",
}


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_recognised(tmp_path, name):
    columns = (WAVE, FLUX, ERROR)
    numbers = [[repr(float(value)) for value in column] for column in columns]
    index = list(map(str, range(401)))
    text = NAMES[name].format(
        commas=rows(*numbers, separator=","),
        blanks=rows(*numbers, separator="  "),
        aligned=rows(*numbers, separator=" , "),
        tabs=rows(*numbers, separator="\t"),
        indexed=rows(index, *numbers, separator=","),
        bars="".join(f"| {' | '.join(row)} |\n" for row in zip(*numbers, strict=True)),
        trailing="".join(",".join(row) + ",\n" for row in zip(*numbers, strict=True)),
        quoted=rows(*([f'"{word}"' for word in column] for column in numbers), separator=","),
        fortran=rows(*([f"{value:.10E}".replace("E", "D") for value in c] for c in columns)),
        returns=rows(*numbers).replace("\n", "\r\n"),
    )
    (tmp_path / "star.asc").write_bytes(text.encode())
    found = read_spectrum(tmp_path / "star.asc", "vacuum")
    np.testing.assert_allclose(found.wavelength, WAVE, rtol=1e-9)
    np.testing.assert_allclose(found.flux[1:], FLUX[1:], rtol=1e-9)
    np.testing.assert_allclose(found.error[1:], ERROR[1:], rtol=1e-9)


@pytest.mark.parametrize(
    ("head", "values", "guess"),
    [
        ("wavelength flux", WAVE / 10, "nm"),
        ("wave flux", WAVE / 1e4, "um"),
        ("# wavelength_nm flux", WAVE / 10, None),
        ("loglam flux", np.log10(WAVE), None),
        ("a b", np.log10(WAVE), "log"),
    ],
)
def test_the_unit_is_stated_or_guessed(tmp_path, head, values, guess):
    (tmp_path / "star.dat").write_text(f"{head}\n{rows(values, FLUX)}")
    found = read_spectrum(tmp_path / "star.dat", "vacuum")
    np.testing.assert_allclose(found.wavelength, WAVE, rtol=1e-12)
    guessed = [text for text in found.meta.get("guessed", ()) if "unit" in text]
    assert len(guessed) == (guess is not None)
    assert guess is None or guess in guessed[0]


def test_wavenumbers_are_in_vacuum(tmp_path):
    path = tmp_path / "star.txt"
    path.write_text("wavenumber flux\n" + rows(1e8 / WAVE, FLUX))
    np.testing.assert_allclose(read_spectrum(path).wavelength, WAVE, rtol=1e-12)


def test_columns_that_are_not_used_are_named(tmp_path):
    path = tmp_path / "star.txt"
    path.write_text("wavelength flux quantity\n" + rows(WAVE, FLUX, ERROR))
    guessed = read_spectrum(path, "vacuum").meta["guessed"]
    assert guessed == ["no errors: columns not used are quantity"]


def test_a_width_is_no_resolving_power(tmp_path):
    path = tmp_path / "star.txt"
    path.write_text("# resolution: 0.1 A\n" + rows(WAVE, FLUX))
    found = read_spectrum(path, "vacuum")
    assert found.resolution is None
    assert found.meta["stated_resolution"] == "0.1 A"


@pytest.mark.parametrize(
    ("line", "medium"),
    [
        ("# wavelengths in air", "air"),
        ("# Wavelength (vacuum), normalised flux", "vacuum"),
        ("# airmass: 1.2", None),
        ("# not clear whether the wavelengths are in air or vacuum", None),
    ],
)
def test_the_medium_is_in_the_header(tmp_path, line, medium):
    path = tmp_path / "star.txt"
    path.write_text(f"{line}\n{rows(AIR if medium == 'air' else WAVE, FLUX)}")
    if medium is None:
        with pytest.raises(SpectrumError, match="states no medium"):
            read_spectrum(path)
    else:
        np.testing.assert_allclose(read_spectrum(path).wavelength, WAVE, rtol=1e-9)
        assert "header" in read_spectrum(path).meta["guessed"][-1]


def test_columns_that_are_not_recognised_are_named(tmp_path):
    path = tmp_path / "star.csv"
    text = "a,b,c,d\n" + rows(FLUX, ERROR, MASK.astype(int), WAVE / 10, separator=",")
    path.write_text(text)
    with pytest.raises(SpectrumError, match="--columns wavelength=NAME"):
        read_spectrum(path, "vacuum")
    columns = {"wavelength": "D", "flux": "1", "error": "b", "mask": 3}
    found = read_spectrum(path, "vacuum", columns=columns, unit="nm")
    np.testing.assert_allclose(found.wavelength, WAVE, rtol=1e-9)
    np.testing.assert_allclose(found.error[found.good], ERROR[~MASK], rtol=1e-9)
    assert found.mask.tolist() == MASK.tolist()
    assert "guessed" not in found.meta
    with pytest.raises(SpectrumError, match="no column e, it has a, b, c, d"):
        read_spectrum(path, "vacuum", columns={"flux": "e"})
    with pytest.raises(SpectrumError, match=r"got columns fluxes=\.\.\., expected wave"):
        read_spectrum(path, "vacuum", columns={"fluxes": "a"})


@pytest.mark.parametrize(
    ("third", "error"),
    [
        (ERROR, True),
        (np.where(WAVE > 6129.0, -999.0, ERROR), True),
        (1.0 + ERROR, False),  # a continuum
        (FLUX - 1.0, False),
        (MASK.astype(int), False),
    ],
)
def test_a_third_column_without_a_name_is_the_error_if_it_can_be(tmp_path, third, error):
    (tmp_path / "star.dat").write_text(rows(WAVE, FLUX, third))
    found = read_spectrum(tmp_path / "star.dat", "vacuum")
    assert (found.error is not None) == error
    assert ("column 3 was taken for the error" in found.meta["guessed"]) == error


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("6110 0.5\n6111\n6112 0.3\n6113 0.4\n", "line 2 has 1 cells, the others 2"),
        ("6110 0.5\n6111 0.6\n6112 0.3\n6113", "line 4, the last one has 1 cells"),
        ("wavelength,flux\n6110,high\n6111,low\n", "flux is not numeric"),
        ("wavelength,flux\nhigh,low\n", "no lines of numbers"),
        ("wavelength,flux\n6110,high\n6111,0.5\n6112,0.6\n", "flux is not numeric"),
        ("velocity,flux\n10,0.5\n15,0.6\n20,0.4\n", "no wavelength"),
        ("velocity,flux\n-10,0.5\n-5,0.6\n0,0.4\n", "no wavelength"),
    ],
)
def test_faults_are_named(tmp_path, text, fault):
    (tmp_path / "star.csv").write_text(text)
    with pytest.raises(SpectrumError, match=fault):
        read_spectrum(tmp_path / "star.csv", "vacuum")


def test_empty_cells_are_nan():
    found = parse_table("wavelength,flux,error,word\n6110,,0.1,a\n6111,0.5,,b\n6112,nan,--,c\n")
    assert np.isnan(found.columns["flux"]).tolist() == [True, False, True]
    assert np.isnan(found.columns["error"]).tolist() == [False, True, True]
    assert found.columns["word"].tolist() == ["a", "b", "c"]


def test_texts_without_a_table_have_no_numbers():
    for text in ("", "a page\nof words\n", '{"wavelength": [6110.0, 6111.0, 6112.0]}', "1\n2\n3\n"):
        assert not has_numbers(text)


def test_a_table_in_a_journal(tmp_path):
    """Byte-by-byte descriptions, as journals and CDS publish tables."""
    head = """Title: A spectrum
Authors: Nobody
Table: A spectrum
================================================================================
Byte-by-byte Description of file: datafile1.txt
--------------------------------------------------------------------------------
   Bytes Format Units    Label  Explanations
--------------------------------------------------------------------------------
   1-  9 F9.5   nm       Wave   Wavelength in vacuum
  11- 17 F7.5   ---      Flux   Normalised flux
--------------------------------------------------------------------------------
"""
    lines = "".join(f"{w:9.5f} {f:7.5f}\n" for w, f in zip(WAVE / 10, FLUX, strict=True))
    (tmp_path / "star.txt").write_text(head + lines)
    found = read_spectrum(tmp_path / "star.txt", "vacuum")
    np.testing.assert_allclose(found.wavelength, WAVE, rtol=1e-8)
    np.testing.assert_allclose(found.flux, FLUX, atol=1e-5)


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared is not there")
@pytest.mark.parametrize(
    ("name", "count", "error"),
    [
        ("03_two_columns.dat", 5334, None),
        ("03_two_columns.txt", 5334, None),
        ("04_flux_error.csv", 5334, 0.01),
        ("09_nm.csv", 5334, 0.01),
        ("10_ispec.txt", 5334, 0.01),
        ("11_duplicates.csv", 5334, None),
        ("12_descending.csv", 5334, None),
        ("13_zero_errors.csv", 5334, None),
    ],
)
def test_cases(name, count, error):
    found = read_spectrum(DATA / "cases" / name, "vacuum")
    assert (len(found), found.n_masked) == (count, 0)
    np.testing.assert_allclose(found.wavelength[[0, -1]], [6110.0, 6269.99], rtol=1e-6)
    assert found.error is None if error is None else set(found.error.tolist()) == {error}


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared is not there")
def test_the_sun_at_low_resolution():
    found = read_spectrum(DATA / "data" / "observed" / "sun-low-resolution.csv", "air")
    assert len(found) == 10799
    np.testing.assert_allclose(found.wavelength[0], 4200.25 + 1.18, atol=0.02)
    assert found.error is None
    assert "errors are zero" in found.meta["notes"][-1]


@pytest.mark.parametrize("sign", list("[(,.|\\ -"))
def test_a_header_of_one_sign_takes_no_time(tmp_path, sign):
    """Time grows with the length of a header, not with its square, which is minutes here."""
    path = tmp_path / "star.csv"
    for long in (f"# a{100_000 * sign}b", f"a{100_000 * sign}b"):
        path.write_text(f"{long}\nwavelength,flux\n8490,1\n8491,2\n8492,1\n")
        with suppress(SpectrumError):
            read_spectrum(path, medium="vacuum")
