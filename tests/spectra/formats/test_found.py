"""Layouts, spellings and damage that were once read wrong or refused."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from tests.spectra.formats.truth import ERROR, FLUX, IVAR, MASK, VARIANCE, WAVE

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import read_spectrum

GARBAGE = np.where(MASK, 7.0, FLUX)
"""A flux whose bad pixels must be recognised."""
GOOD = ~MASK


def image(path, data, cards, *planes):
    hdus = [fits.PrimaryHDU(data), *(fits.ImageHDU(plane, name=name) for name, plane in planes)]
    hdus[0].header.update(cards)
    fits.HDUList(hdus).writeto(path)
    return path


def table(path, columns, *others):
    hdus = [fits.table_to_hdu(Table(columns, units={"wavelength": "Angstrom"})), *others]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def right(path, **options):
    """Check the pixels of a file whose bad ones have a wrong flux; return its spectrum."""
    star = read_spectrum(path, **{"medium": "vacuum", **options})
    assert not star.mask[GOOD].any()
    np.testing.assert_allclose(star.wavelength, WAVE, rtol=1e-7)
    np.testing.assert_allclose(star.flux[GOOD], FLUX[GOOD], rtol=1e-5)
    return star


AXES = ({}, {"CTYPE1": "PIXEL", "CRVAL1": 1.0, "CDELT1": 1.0}, {"CRVAL1": 1.0, "CDELT1": 1.0})


@pytest.mark.parametrize("cards", AXES)
def test_numbers_of_pixels_are_no_wavelengths(tmp_path, cards):
    path = image(tmp_path / "star.fits", np.tile(FLUX, 3), cards)
    with pytest.raises(SpectrumError, match="numbers of pixels"):
        read_spectrum(path, "vacuum")


def test_a_mask_that_leaves_only_pixels_without_data_marks_the_good_ones(tmp_path):
    columns = {"wavelength": WAVE, "flux": GARBAGE, "ivar": IVAR * GOOD, "mask": GOOD}
    star = right(table(tmp_path / "star.fits", columns))
    assert star.mask[MASK].all()
    assert "zero was taken for bad" in star.meta["guessed"][0]


def test_columns_of_optimal_extraction(tmp_path):
    columns = {"OPT_WAVE": WAVE, "OPT_COUNTS": GARBAGE, "OPT_COUNTS_IVAR": IVAR, "OPT_MASK": GOOD}
    star = right(table(tmp_path / "star.fits", columns))
    assert star.mask[MASK].all()
    np.testing.assert_allclose(star.error[GOOD], ERROR[GOOD])


def test_an_image_named_stat_is_the_variance(tmp_path):
    cards = {"CRVAL1": WAVE[0], "CDELT1": WAVE[1] - WAVE[0], "CUNIT1": "Angstrom"}
    star = read_spectrum(image(tmp_path / "star.fits", FLUX, cards, ("STAT", VARIANCE)), "vacuum")
    np.testing.assert_allclose(star.error[GOOD], ERROR[GOOD])


def test_a_cube_of_one_spatial_pixel(tmp_path):
    cards = {"CTYPE3": "WAVE", "CRVAL3": 6000.0, "CDELT3": 0.1, "CUNIT3": "Angstrom"}
    star = read_spectrum(image(tmp_path / "star.fits", FLUX[:, None, None], cards))
    np.testing.assert_allclose(star.wavelength, 6000.0 + 0.1 * np.arange(len(FLUX)))
    np.testing.assert_allclose(star.flux, FLUX)


def test_one_of_several_tables_is_chosen_and_the_sky_is_none(tmp_path):
    columns = {"wavelength": WAVE, "flux": FLUX}
    named = [fits.table_to_hdu(Table(columns)) for _ in range(2)]
    named[0].name, named[1].name = "SKY", "ARM2"
    path = table(tmp_path / "star.fits", columns, named[0])
    right(path)
    path = table(tmp_path / "arms.fits", columns, *named)
    with pytest.raises(SpectrumError, match="has 2 spectra"):
        read_spectrum(path, "vacuum")
    right(path, source="ARM2")


@pytest.mark.parametrize("good", [True, False])
def test_a_column_of_zeros_and_ones_without_a_name_is_a_mask(tmp_path, good):
    np.savetxt(tmp_path / "star.txt", np.c_[WAVE, GARBAGE, ERROR, GOOD if good else MASK])
    star = right(tmp_path / "star.txt")
    assert star.mask[MASK].all()
    assert any("column 4 was taken for the" in guess for guess in star.meta["guessed"])


def test_an_ipac_table(tmp_path):
    columns = {"wavelength": WAVE, "flux": FLUX, "error": ERROR}
    Table(columns).write(tmp_path / "star.tbl", format="ascii.ipac")
    np.testing.assert_allclose(right(tmp_path / "star.tbl").error[GOOD], ERROR[GOOD])


CATALOGUES = (
    "star,teff,logg\n" + "\n".join(f"s{i},{5000 + i},4.4" for i in range(30)),
    "# bjd rv e_rv\n" + "\n".join(f"{58000 + i * 0.9} {(-1) ** i} 0.1" for i in range(30)),
    "\n".join(f"{2458000 + i * 0.9} {(-1) ** i}" for i in range(30)),
)


@pytest.mark.parametrize("text", CATALOGUES)
def test_tables_of_stars_and_velocities_are_no_spectra(tmp_path, text):
    (tmp_path / "stars.csv").write_text(text)
    with pytest.raises(SpectrumError, match="has no wavelength"):
        read_spectrum(tmp_path / "stars.csv", "vacuum")


def test_arrays_of_other_names_in_an_npz_file(tmp_path):
    np.savez(tmp_path / "star.npz", wave=WAVE, flux=GARBAGE, ivar=IVAR)
    np.testing.assert_allclose(right(tmp_path / "star.npz").error[GOOD], ERROR[GOOD])
    np.savez(tmp_path / "star.npz", a=WAVE, b=GARBAGE, ivar=IVAR)
    right(tmp_path / "star.npz", columns={"wavelength": "a", "flux": "b"})


OTHERS = {
    b"": "is empty",
    b"<!DOCTYPE html>\n<p>1 2</p>\n": "a web page",
    b"\x89PNG\r\n\x1a\n": "an image",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"%PDF-1.5": "PDF",
}


@pytest.mark.parametrize("content", OTHERS)
def test_files_of_other_kinds_are_called_by_their_kind(tmp_path, content):
    (tmp_path / "star.fits").write_bytes(content)
    with pytest.raises(SpectrumError, match=OTHERS[content]):
        read_spectrum(tmp_path / "star.fits")
