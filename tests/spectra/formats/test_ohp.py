"""Spectra of SOPHIE and ELODIE, in the layout of the archive of the OHP."""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from tests.spectra.formats.orders import (
    BLAZE,
    DARK,
    OBSERVED,
    RAW,
    barycentric,
    expected_orders,
    shifted,
    write,
)
from tests.spectra.formats.truth import expected

from blase3d.runtime.units import SPEED_OF_LIGHT, air_to_vacuum
from blase3d.spectra.formats import read_spectrum
from blase3d.spectra.formats.ohp import RESOLUTION

AXIS = {"CRVAL1": 6110.0, "CDELT1": 0.05, "CRPIX1": 1.0, "CTYPE1": "AWAV", "CUNIT1": "Angstrom"}
PIXELS = 4000
STEPS = 6110.0 + 0.05 * np.arange(PIXELS)
"""Å in air."""
STAR = (1000.0 - 600.0 * np.exp(-0.5 * (STEPS % 9.0 - 4.5) ** 2)).astype(np.float32)


def images(path, instrument, cards, **extensions):
    """One-dimensional images on `STEPS`; the first is the primary one."""
    header = {"INSTRUME": instrument, "OBJECT": "HD 1", **cards}
    hdus = [
        fits.ImageHDU(values, fits.Header(AXIS | (header if k == 0 else {})), name=name)
        for k, (name, values) in enumerate(extensions.items())
    ]
    primary = fits.PrimaryHDU(hdus[0].data, hdus[0].header)
    fits.HDUList([primary, *hdus[1:]]).writeto(path)
    return path


def spectrum(reader, velocity, applied, **changes):
    factor = 1.0 if applied else 1.0 + velocity / SPEED_OF_LIGHT
    same = {"flux": STAR, "error": None, "mask": np.zeros(PIXELS, bool), "medium": "air"}
    wavelength = air_to_vacuum(STEPS * factor)
    meta = {"object": "HD 1", **barycentric(velocity)}
    return expected(reader, wavelength=wavelength, meta=meta, **{**same, **changes})


def sophie(folder):
    """In the frame of the barycentre, beside the light of the other fibre."""
    cards, other = {"HIERARCH OHP DRS BERV": 27.65}, np.full(PIXELS, 3.0, np.float32)
    path = images(folder / "sophie.fits", "SOPHIE", cards, S1D_A=STAR, S1D_B=other)
    return path, {}, spectrum("ohp-image", 27.65, applied=True)


def elodie(folder):
    """In the frame of the observatory."""
    noise = np.sqrt(STAR)
    arrays = {"INTENSITY": STAR, "FCANOR": np.ones(PIXELS, np.float32), "NOISE": noise}
    path = images(folder / "elodie.fits", "ELODIE", {"BERV": -15.0}, **arrays)
    return path, {}, spectrum("ohp-image", -15.0, applied=False, error=noise)


def e2ds(folder):
    header = {
        "INSTRUME": "SOPHIE",
        "HIERARCH OHP DRS BERV": 12.5,
        "HIERARCH OHP INS FIBER": "HR",
        "HIERARCH OHP TARG NAME": "HD 2",
    }
    other = {"E2DS_B": 0.1 * RAW, "WAVE_B": OBSERVED, "BLAZE_B": BLAZE}
    arrays = {"E2DS_A": RAW, "WAVE_A": OBSERVED, "BLAZE_A": BLAZE, **other}
    path = write(folder / "sophie_e2ds.fits", header, arrays)
    changes = {
        "error": None,
        "mask": DARK,
        "resolution": RESOLUTION["HR"],
        "medium": "air",
        "meta": {"object": "HD 2", **barycentric(12.5)},
    }
    found = expected_orders("sophie-e2ds", shifted(12.5), **changes)
    return path, {}, {**found, "wavelength": air_to_vacuum(found["wavelength"])}


SAMPLES = {"SOPHIE s1d": sophie, "SOPHIE e2ds": e2ds, "ELODIE s1d": elodie}


def test_without_a_correction_the_frame_is_that_of_the_pipeline(tmp_path):
    frames = {}
    for name in ("SOPHIE", "ELODIE"):
        path = images(tmp_path / f"{name}.fits", name, {}, S1D_A=STAR)
        frames[name] = read_spectrum(path).meta["frame"]
    assert frames == {"SOPHIE": "barycentric", "ELODIE": "observatory"}
