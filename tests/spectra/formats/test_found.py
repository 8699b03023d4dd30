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
    units = {name: "Angstrom" for name in ("wavelength",) if name in columns}
    hdus = [fits.table_to_hdu(Table(columns, units=units)), *others]
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


MASKS = ({"SPEC_DQ": MASK * 4}, {"mask": GOOD}, {"spec_mask": MASK})


@pytest.mark.parametrize("mask", MASKS)
def test_masks_by_the_name_of_the_flux_and_masks_of_good_pixels(tmp_path, mask):
    columns = {"wavelength": WAVE, "spec": GARBAGE, "err": ERROR}
    padded = {name: np.tile(values, 1) for name, values in {**columns, **mask}.items()}
    if "mask" in mask:  # most pixels are good
        padded["spec"], padded["mask"] = np.where(NINTH, 7.0, FLUX), ~NINTH
    star = read_spectrum(table(tmp_path / "star.fits", padded), "vacuum")
    assert star.mask[NINTH if "mask" in mask else MASK].all()
    assert (star.flux[~star.mask] < 7.0).all()


NINTH = np.arange(len(WAVE)) == 9


def test_errors_and_masks_of_the_user_replace_those_with_known_names(tmp_path):
    columns = {"wavelength": WAVE, "flux": GARBAGE, "err": 9.0 * ERROR, "v": VARIANCE, "mask": GOOD}
    path = table(tmp_path / "star.fits", columns)
    star = right(path, columns={"variance": "v", "good": "mask"})
    np.testing.assert_allclose(star.error[GOOD], ERROR[GOOD])


def test_rows_of_an_image_are_flux_errors_and_mask(tmp_path):
    cards = {"CRVAL1": WAVE[0], "CDELT1": WAVE[1] - WAVE[0], "CUNIT1": "Angstrom"}
    path = image(tmp_path / "star.fits", np.stack([GARBAGE, ERROR, MASK]), cards)
    assert read_spectrum(path, "vacuum").mask[MASK].all()


def test_natural_logarithms_called_log(tmp_path):
    steps = np.log(WAVE[0]) + 1e-5 * np.arange(len(FLUX))
    cards = {"CRVAL1": steps[0], "CDELT1": 1e-5, "CUNIT1": "log(Angstrom)", "CTYPE1": "log(wave)"}
    star = read_spectrum(image(tmp_path / "star.fits", FLUX, cards), "vacuum")
    np.testing.assert_allclose(star.wavelength, np.exp(steps))


def test_wavelengths_of_no_star_are_refused(tmp_path):
    path = table(tmp_path / "star.fits", {"wavelength": WAVE * 1e-5, "flux": FLUX})
    with pytest.raises(SpectrumError, match="expected those of a star"):
        read_spectrum(path, "vacuum")


def test_errors_are_those_of_the_flux_beside_a_normalised_one(tmp_path):
    cards = {"CRVAL1": WAVE[0], "CDELT1": WAVE[1] - WAVE[0], "CUNIT1": "Angstrom"}
    planes = ("SIGMA", ERROR), ("NORMALISED", FLUX / 5.0)
    star = read_spectrum(image(tmp_path / "star.fits", FLUX, cards, *planes), "vacuum")
    np.testing.assert_allclose(star.flux, FLUX)


def test_orders_of_different_lengths_in_a_table(tmp_path):
    def orders(values):
        found = np.empty(2, object)
        found[:] = [values[:200], values[200:]]
        return found

    columns = [fits.Column("WAVE", "PD()", array=orders(WAVE), unit="Angstrom")]
    columns += [fits.Column("FLUX", "PD()", array=orders(FLUX))]
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]
    fits.HDUList(hdus).writeto(tmp_path / "star.fits")
    star = right(tmp_path / "star.fits")
    assert set(star.order) == {0, 1}


def test_a_text_that_ends_as_in_ms_dos(tmp_path):
    rows = "\r\n".join(f"{w!r} {f!r}" for w, f in zip(WAVE.tolist(), FLUX.tolist(), strict=True))
    (tmp_path / "star.txt").write_bytes(rows.encode() + b"\r\n\x1a")
    right(tmp_path / "star.txt")


def test_coefficients_of_sdss_without_its_other_keywords(tmp_path):
    cards = {"COEFF0": np.log10(WAVE[0]), "COEFF1": 1e-5, "DC-FLAG": 1}
    star = read_spectrum(image(tmp_path / "star.fits", FLUX, cards), "vacuum")
    np.testing.assert_allclose(star.wavelength, WAVE[0] * 10.0 ** (1e-5 * np.arange(len(FLUX))))


CARDS = {"CRVAL1": WAVE[0], "CDELT1": WAVE[1] - WAVE[0], "CUNIT1": "Angstrom"}


def test_images_without_names_are_errors_and_mask(tmp_path):
    planes = ("", ERROR), ("", MASK.astype(float))
    star = right(image(tmp_path / "star.fits", GARBAGE, CARDS, *planes))
    assert star.mask[MASK].all()
    np.testing.assert_allclose(star.error[GOOD], ERROR[GOOD])
    assert len(star.meta["guessed"]) == 2


def test_the_band_of_the_object_is_read(tmp_path):
    names = {"BANDID1": "sky spectrum", "BANDID2": "object", "BANDID3": "noise", "BANDID4": "flat"}
    bands = np.stack([GARBAGE, FLUX, ERROR, FLUX])[:, None, :]
    star = right(image(tmp_path / "star.fits", bands, {**CARDS, **names}))
    np.testing.assert_allclose(star.error, ERROR)


@pytest.mark.parametrize("named", [True, False])
def test_seven_bands_of_mike(tmp_path, named):
    names = ("sky", "object", "noise", "signal-to-noise", "lamp", "flat", "object / flat")
    bands = (GARBAGE, FLUX, ERROR, FLUX / ERROR, GARBAGE, GARBAGE, GARBAGE)
    orders = np.stack([np.stack([band[:200], band[-200:]]) for band in bands])
    cards = {"CTYPE1": "MULTISPE", "WAT0_001": "system=multispec", "INSTRUME": "MIKE-Blue"}
    step = WAVE[1] - WAVE[0]
    rows = [
        f'spec{i + 1} = "{95 - i} {i} 0 {WAVE[k]} {step} 200 0. 1. 2."'
        for i, k in ((0, 0), (1, 201))
    ]
    text = "wtype=multispec " + " ".join(rows)
    cards |= {f"WAT2_{i + 1:03d}": text[68 * i : 68 * (i + 1)] for i in range(4)}
    cards |= {f"BANDID{i + 1}": name for i, name in enumerate(names)} if named else {}
    star = read_spectrum(image(tmp_path / "star.fits", orders, cards), "vacuum")
    np.testing.assert_allclose(star.flux[star.order == 0], FLUX[:200])
    np.testing.assert_allclose(star.error[star.order == 1], ERROR[-200:])
    np.testing.assert_allclose(star.wavelength[star.order == 1], WAVE[-200:])
    assert ("CarPy" in "".join(star.meta.get("guessed", ()))) == (not named)


def test_an_extracted_spectrum_of_jwst(tmp_path):
    columns = {
        "WAVELENGTH": WAVE * 1e-4,
        "FLUX": GARBAGE,
        "FLUX_ERROR": ERROR,
        "FLUX_VAR_POISSON": VARIANCE,
        "SURF_BRIGHT": FLUX * 9.0,
        "SB_ERROR": ERROR * 9.0,
        "DQ": MASK * 1,
        "BACKGROUND": GARBAGE,
    }
    hdu = fits.table_to_hdu(Table(columns, units={"WAVELENGTH": "um", "FLUX": "Jy"}))
    hdu.name = "EXTRACT1D"
    asdf = fits.table_to_hdu(Table({"ASDF_METADATA": [[1, 2]]}))
    fits.HDUList([fits.PrimaryHDU(), hdu, asdf]).writeto(tmp_path / "star_x1d.fits")
    star = right(tmp_path / "star_x1d.fits")
    assert star.mask[MASK].all()
    np.testing.assert_allclose(star.error[GOOD], ERROR[GOOD])


def test_the_x_shooter_spectral_library_is_at_rest(tmp_path):
    columns = {"WAVE": WAVE / 10.0, "FLUX": FLUX, "ERR": ERROR, "FLUX_DR": FLUX * 3.0}
    hdu = fits.table_to_hdu(Table(columns, units={"WAVE": "nm"}))
    cards = {"XSL_ID": "X0001", "OBJECT": "a star", "REST_COR": True, "REST_VAL": 12.5}
    hdus = [fits.PrimaryHDU(header=fits.Header(cards)), hdu]
    fits.HDUList(hdus).writeto(tmp_path / "xsl_spectrum_X0001_merged.fits")
    star = right(tmp_path / "xsl_spectrum_X0001_merged.fits")
    np.testing.assert_allclose(star.error, ERROR)
    assert star.meta["frame"] == "star"


@pytest.mark.parametrize("second", [{"dq": MASK * 4}, {"ivar": IVAR * GOOD}])
def test_bad_pixels_that_a_second_column_knows(tmp_path, second):
    columns = {"wavelength": WAVE, "flux": GARBAGE, "err": ERROR, "mask": 0 * MASK, **second}
    star = right(table(tmp_path / "star.fits", columns))
    usable = ~star.mask & np.isfinite(star.error)
    assert not usable[MASK].any()


@pytest.mark.parametrize("unit", ["Angstrom (air)", "Angstrom (in air)", "Angstrom, air"])
def test_a_medium_in_the_unit(tmp_path, unit):
    path = table(tmp_path / "star.fits", {"wavelength": WAVE, "flux": FLUX})
    fits.setval(path, "TUNIT1", value=unit, ext=1)
    star = read_spectrum(path)
    assert star.meta["converted_from"] == "air"


def test_numbers_of_columns_count_all_columns(tmp_path):
    columns = {"name": ["x"] * len(WAVE), "wavelength": WAVE, "a": FLUX * 2.0, "b": FLUX}
    right(table(tmp_path / "star.fits", columns), columns={"flux": "4"})


def test_one_of_several_images_with_other_wavelengths_is_chosen(tmp_path):
    path = image(tmp_path / "star.fits", None, {}, ("ORDER1", FLUX), ("ORDER2", FLUX / 9.0))
    for number, start in enumerate((4000.0, WAVE[0]), 1):
        for name, value in {**CARDS, "CRVAL1": start}.items():
            fits.setval(path, name, value=value, ext=number)
    with pytest.raises(SpectrumError, match=r"has 2 spectra \(ORDER1, ORDER2\)"):
        read_spectrum(path, "vacuum")
    np.testing.assert_allclose(read_spectrum(path, "vacuum", source="ORDER2").flux, FLUX / 9.0)


def test_a_mask_that_the_user_names_is_not_judged(tmp_path):
    columns = {"wavelength": WAVE, "flux": FLUX, "bad": np.arange(len(WAVE)) > 9}
    path = table(tmp_path / "star.fits", columns)
    assert read_spectrum(path, "vacuum").mask.sum() == 10
    assert read_spectrum(path, "vacuum", columns={"mask": "bad"}).mask.sum() == len(WAVE) - 10


def test_orders_as_stacks_of_wavelength_flux_and_errors(tmp_path):
    rows = np.stack([WAVE * 1e-4, FLUX, ERROR, 0.0 * FLUX])
    orders = np.stack([rows[:, :220], rows[:, -220:]])
    star = read_spectrum(image(tmp_path / "star.fits", orders, {"XUNITS": "um"}), "vacuum")
    assert star.order.tolist().count(0) == 220
    first = star.order == 0
    np.testing.assert_allclose(star.wavelength[first], WAVE[:220])
    np.testing.assert_allclose(star.error[first & ~star.mask], ERROR[:220][~star.mask[first]])


def test_a_normalised_row_is_not_the_errors(tmp_path):
    noisy = 1000.0 * FLUX * (1.0 + 0.01 * np.random.default_rng(1).normal(size=len(FLUX)))
    path = image(tmp_path / "star.fits", np.stack([noisy, noisy / 1000.0]), CARDS)
    with pytest.raises(SpectrumError, match="2 spectra"):
        read_spectrum(path, "vacuum")
