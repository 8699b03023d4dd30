"""Echelle orders without names: HIRES and APF; tables of SpecMatch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from tests.spectra.formats.truth import (
    AIR,
    ERROR,
    FLUX,
    MASK,
    WAVE,
    expected,
    in_orders,
    merged,
    merged_order,
)

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import SpectrumFile, read_spectrum
from blase3d.spectra.formats.echelle_images import ECHELLE_IMAGES

OBSERVED = Path(__file__).parents[3].parent / "shared" / "data" / "observed"
NONE = np.zeros(401, bool)


def orders(values, padding=0.0):
    """Values (401,) as an image of two orders by 221 pixels."""
    image = np.full((2, 221), padding)
    for row, part in zip(image, in_orders(values), strict=True):
        row[: len(part)] = part
    return image


def of_orders(reader, **changes):
    """The spectrum of two overlapping orders."""
    found = expected(reader, order=merged_order(), **{"mask": NONE, **changes})
    for name in ("wavelength", "flux", "error", "mask"):
        if found[name] is not None:
            found[name] = merged(found[name])
    return found


def hires(folder):
    images = [np.float32(orders(FLUX)), np.float32(orders(ERROR)), orders(WAVE)]
    header = fits.Header({"TARGNAME": "HD 1", "TELESCOP": "Keck I"})
    hdus = [fits.PrimaryHDU(images[0], header), *map(fits.ImageHDU, images[1:])]
    fits.HDUList(hdus).writeto(folder / "rj76.279.fits")
    found = of_orders("echelle-images", meta={"telescope": "Keck I", "object": "HD 1"})
    return folder / "rj76.279.fits", {"medium": "vacuum"}, found


def with_blaze(folder):
    """Extensions with names: an inverse variance, a mask, and the blaze of each order."""
    blaze = orders(50.0 * np.sinc(0.3 * np.linspace(-1.0, 1.0, 401)) ** 2)
    relative = blaze / np.percentile(blaze, 99.0, axis=1, keepdims=True)
    error = np.where(relative > 0.0, orders(ERROR) * relative, np.inf)
    images = {
        "FLUX": orders(FLUX) * relative,
        "IVAR": error**-2.0,
        "MASK": orders(MASK.astype(float)),
        "BLAZE": blaze,
        "WAVE": orders(AIR),
    }
    hdus = [fits.ImageHDU(image, name=name) for name, image in images.items()]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(folder / "star.fits")
    return (
        folder / "star.fits",
        {"medium": "air"},
        of_orders("echelle-images", mask=MASK, medium="air"),
    )


def makee(folder):
    """Columns are counted from 23 on."""
    header = fits.Header({"CRVAL1": 23, "CDELT1": 1, "CRPIX1": 1})
    for number, wave in enumerate(in_orders(WAVE), 1):
        column = 23 + np.arange(len(wave))
        low = np.polynomial.Polynomial.fit(column, wave, 6).convert().coef
        numbers = [f"{value:.9E}" for value in (*low, *np.zeros(8 - len(low)))]
        header[f"WV_0_{number:02d}"] = " ".join(numbers[:4])
        header[f"WV_4_{number:02d}"] = " ".join(numbers[4:])
    fits.PrimaryHDU(orders(FLUX), header).writeto(folder / "Flux-023.fits")
    fits.PrimaryHDU(orders(ERROR)).writeto(folder / "Err-023.fits")
    path = folder / "Flux-023.fits"
    return path, {"medium": "vacuum"}, _last_pixel_masked(of_orders("makee"))


def _last_pixel_masked(found):
    """The first order's last column has a wavelength and no flux."""
    at = np.searchsorted(found["wavelength"], WAVE[220])
    for name, value in (("wavelength", WAVE[220]), ("flux", 0), ("error", 1), ("mask", True)):
        found[name] = np.insert(found[name], at, value)
    found["order"] = np.insert(found["order"], at, 0)
    return {**found, "meta": {"frame": "heliocentric"}}


def apf(folder):
    fits.PrimaryHDU(np.float32(orders(FLUX)), fits.Header({"OBJECT": "moon"})).writeto(
        folder / "rabc.1.fits"
    )
    fits.PrimaryHDU(orders(WAVE)).writeto(folder / "apf_wav.fits")
    found = of_orders("echelle-flux", error=None, meta={"object": "moon"})
    return folder / "rabc.1.fits", {"medium": "vacuum"}, found


def chiron(folder):
    """The flux includes the blaze."""
    cube = np.stack([orders(WAVE), orders(FLUX)], axis=-1)
    header = fits.Header({"OBJECT": "HD 1", "DECKER": "slicer"})
    fits.PrimaryHDU(cube, header).writeto(folder / "achi120606.1124.fits")
    meta = {"object": "HD 1", "frame": "observatory", "blaze": "included"}
    found = of_orders("echelle-cube", error=None, meta=meta)
    return folder / "achi120606.1124.fits", {"medium": "vacuum"}, found


def specmatch(folder):
    columns = [
        fits.Column("s", "D", array=FLUX),
        fits.Column("serr", "D", array=ERROR),
        fits.Column("mask", "L", array=~MASK),
        fits.Column("w", "D", array=WAVE),
    ]
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]
    fits.HDUList(hdus).writeto(folder / "star_adj.fits")
    return (
        folder / "star_adj.fits",
        {"medium": "vacuum"},
        expected("specmatch", meta={"frame": "star"}),
    )


SAMPLES = {
    "HIRES, planet search": hires,
    "echelle orders with their blaze": with_blaze,
    "HIRES by MAKEE": makee,
    "APF": apf,
    "CHIRON": chiron,
    "SpecMatch": specmatch,
}


def test_a_file_of_wavelengths_can_be_named(tmp_path):
    path, options, wanted = apf(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    named = (tmp_path / "apf_wav.fits").rename(tmp_path / "elsewhere" / "solution.fits")
    with pytest.raises(SpectrumError, match="--wavelengths FILE"):
        read_spectrum(path, **options)
    found = read_spectrum(path, **options, wavelengths=named)
    np.testing.assert_allclose(found.wavelength, wanted["wavelength"])
    with pytest.raises(SpectrumError, match="no image of 2 x 221 wavelengths"):
        read_spectrum(path, **options, wavelengths=path)
    with pytest.raises(SpectrumError, match="there is no file"):
        read_spectrum(path, **options, wavelengths=tmp_path / "none.fits")


def test_of_two_files_of_wavelengths_none_is_taken(tmp_path):
    path, options, _ = apf(tmp_path)
    fits.PrimaryHDU(orders(WAVE + 1.0)).writeto(tmp_path / "other_wav.fits")
    with pytest.raises(SpectrumError, match="no single file beside it"):
        read_spectrum(path, **options)


def test_a_file_of_wavelengths_is_no_spectrum(tmp_path):
    apf(tmp_path)
    with pytest.raises(SpectrumError, match="expected one of flux"):
        read_spectrum(tmp_path / "apf_wav.fits", "vacuum")


def test_the_real_file_of_apf():
    path = OBSERVED / "apf-moon.fits"
    if not path.exists():
        pytest.skip("../shared/data is not here")
    found = read_spectrum(path, "air")
    assert np.unique(found.order).size == 79
    assert found.meta["object"] == "moon"
    assert "apf-wavelength.fits" in " ".join(found.meta["notes"])
    assert found.error is None


def test_images_with_unknown_names_are_left_to_other_readers(tmp_path):
    path, _, _ = with_blaze(tmp_path)
    with fits.open(path, mode="update") as hdus:
        hdus["IVAR"].name = "SCIVAR"
    with SpectrumFile(path) as file:
        assert not ECHELLE_IMAGES.matches(file)
