"""S1D and S2D files of the pipeline of ESPRESSO."""

from __future__ import annotations

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

from blase3d.spectra.formats import read_spectrum
from blase3d.spectra.formats.eso import resolution_of

CARDS = {"INSTRUME": "ESPRESSO", "TELESCOP": "ESO-VLT-U3", "OBJECT": "tau Cet"}
HIERARCH = {"HIERARCH ESO QC BERV": -3.25, "HIERARCH ESO INS MODE": "SINGLEHR"}
META = {"object": "tau Cet", "frame": "barycentric", "barycentric_correction": -3.25}


def s1d(folder, cards=CARDS | HIERARCH):
    values = {"wavelength": WAVE, "wavelength_air": AIR, "flux": FLUX, "error": ERROR}
    columns = [
        fits.Column(name, "D", array=column, unit="Angstrom" if "wave" in name else "e-")
        for name, column in values.items()
    ]
    columns += [fits.Column("quality", "J", array=np.where(MASK, 16384, 0))]
    hdus = [fits.PrimaryHDU(header=fits.Header(cards)), fits.BinTableHDU.from_columns(columns)]
    fits.HDUList(hdus).writeto(folder / "S1D_A.fits", checksum=True)
    found = expected("espresso-s1d", meta=META)
    return folder / "S1D_A.fits", {}, found


def orders(values, padding):
    """Values (401,) as an image of two orders by 221 pixels."""
    image = np.full((2, 221), padding, np.result_type(values, padding))
    for row, part in zip(image, in_orders(values), strict=True):
        row[: len(part)] = part
    return image


def s2d(folder, medium="VAC"):
    width = 0.05 + 0.01 * np.linspace(-1.0, 1.0, 401)
    images = {
        "SCIDATA": np.float32(orders(FLUX * width, 0.0)),
        "ERRDATA": np.float32(orders(ERROR * width, 0.0)),
        "QUALDATA": orders(np.where(MASK, 4, 0), 0).astype(np.uint16),
        f"WAVEDATA_{medium}_BARY": orders(WAVE if medium == "VAC" else AIR, 0.0),
        f"DLLDATA_{medium}_BARY": orders(width, 0.0),
    }
    hdus = [fits.PrimaryHDU(header=fits.Header(CARDS | HIERARCH))]
    hdus += [fits.ImageHDU(image, name=name) for name, image in images.items()]
    path = folder / f"S2D_{medium}.fits"
    fits.HDUList(hdus).writeto(path, checksum=True)
    found = expected("espresso-s2d", meta=META, order=merged_order())
    for name in ("wavelength", "flux", "error", "mask"):
        found[name] = merged(found[name])
    return path, {}, {**found, "medium": "vacuum" if medium == "VAC" else "air"}


SAMPLES = {
    "ESPRESSO S1D": s1d,
    "ESPRESSO S2D": s2d,
    "ESPRESSO S2D, air": lambda folder: s2d(folder, "AIR"),
}


def test_the_medium_of_the_user_changes_nothing(tmp_path):
    path, _, _ = s1d(tmp_path)
    with pytest.warns(UserWarning, match="air is not used"):
        found = read_spectrum(path, "air")
    np.testing.assert_allclose(found.wavelength, WAVE)
    assert found.n_masked == MASK.sum()


@pytest.mark.parametrize(
    ("cards", "resolution"),
    [
        ({"INSTRUME": "NIRPS", "HIERARCH ESO INS MODE": "HE"}, 75_200.0),
        ({"INSTRUME": "HARPS"}, 115_000.0),
        ({"INSTRUME": "HARPS", "HIERARCH ESO INS MODE": "EGGS"}, 80_000.0),
        ({"INSTRUME": "ESPRESSO", "SPEC_RES": 140_000.0}, 140_000.0),
        ({"INSTRUME": "ESPRESSO", "HIERARCH ESO INS MODE": "new"}, None),
        ({"INSTRUME": "CORALIE"}, None),
    ],
)
def test_nominal_resolutions_of_whole_spectra_are_said_to_be_guessed(cards, resolution):
    header = fits.Header(cards)
    found, guessed = resolution_of(header, 300_000)
    assert found == resolution
    assert bool(guessed) == (resolution is not None and "SPEC_RES" not in cards)
    assert resolution_of(header, 5000)[0] == cards.get("SPEC_RES")


def test_orders_with_their_blaze_are_said_to_have_it(tmp_path):
    assert "blaze" not in read_spectrum(s2d(tmp_path)[0]).meta
    path = s2d(tmp_path, "AIR")[0]
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["HIERARCH ESO PRO CATG"] = "S2D_BLAZE_A"
    assert read_spectrum(path).meta["blaze"] == "included"
