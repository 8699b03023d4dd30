"""Small files in the layouts of spectroscopic surveys, written to their published data models.

Each has the spectrum of `truth`, on the wavelengths of the survey. One of the bad pixels has no
weight or no error, the others are marked in the mask alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from tests.spectra.formats import truth

PIXELS = np.arange(401)
DEAD, *MARKED = truth.MASKED
"""A pixel without weight or error, and pixels that only the mask marks."""
BAD = np.where(np.isin(PIXELS, MARKED), 1, 0)


class Star:
    """The spectrum on one grid: log-linear, or linear."""

    def __init__(self, start: float, step: float, log: bool = True):
        self.axis = {"CRVAL1": start, "CDELT1": step}
        grid = start + step * PIXELS
        self.wavelength = 10.0**grid if log else grid
        self.flux = truth.FLUX
        self.ivar = np.where(PIXELS == DEAD, 0.0, truth.IVAR)
        self.error = np.where(PIXELS == DEAD, 0.0, truth.ERROR)

    def bits(self, bit: int, harmless: int | None = None) -> np.ndarray:
        """The mask with a bad bit at `MARKED`, and maybe a harmless one at all pixels."""
        mask = BAD << bit
        return mask if harmless is None else mask | 1 << harmless


def table(name: str, columns: dict, **cards) -> fits.BinTableHDU:
    hdu = fits.table_to_hdu(Table(columns))
    hdu.name = name
    hdu.header.update(cards)
    return hdu


def save(path: Path, *hdus) -> Path:
    fits.HDUList(list(hdus)).writeto(path)
    return path


def primary(data=None, **cards) -> fits.PrimaryHDU:
    hdu = fits.PrimaryHDU(data)
    hdu.header.update(cards)
    return hdu


def image(data, **cards) -> fits.ImageHDU:
    hdu = fits.ImageHDU(data)
    hdu.header.update(cards)
    return hdu


SDSS = Star(3.75, 1e-4)
SDSS_CARDS = {
    "TELESCOP": "SDSS 2.5-M",
    "PLATEID": 266,
    "MJD": 51602,
    "FIBERID": 31,
    "HELIO_RV": 4.97,
    "RA": 145.9,
    "DEC": 0.06,
    "PLUG_RA": 147.3,
    "PLUG_DEC": -0.007,
}


def sdss_lite(path: Path, **cards) -> Path:
    """spec-lite: the coadd, and the row of the star in the catalogue of all spectra."""
    star = SDSS
    coadd = {
        "flux": np.float32(star.flux),
        "loglam": np.log10(star.wavelength),
        "ivar": star.ivar,
        "and_mask": star.bits(23, 20),
        "or_mask": np.full(401, 1 << 23),
        "wdisp": np.full(401, 0.9),
        "sky": np.ones(401),
        "model": star.flux,
    }
    return save(path, primary(**SDSS_CARDS, **cards), table("COADD", coadd))


def sdss_image(path: Path) -> Path:
    """spSpec: flux, flux minus continuum, error, mask and sky in the rows of an image."""
    star = SDSS
    rows = [star.flux, star.flux - 1.0, star.error, star.bits(22, 12), np.ones(401)]
    cards = SDSS_CARDS | {"COEFF0": 3.75, "COEFF1": 1e-4, "CRVAL1": 3.75, "CD1_1": 1e-4}
    return save(path, primary(np.float32(rows), **cards, DC_FLAG=1))


def sdss_plate(path: Path) -> Path:
    """spPlate: images of all fibres, of which the second has the star, and their table."""
    star = SDSS

    def rows(values):
        return np.array([np.full(401, 5.0), values, np.zeros(401)])

    cards = SDSS_CARDS | {"COEFF0": 3.75, "COEFF1": 1e-4, "FIBERID": 0}
    planes = (star.ivar, star.bits(23), star.bits(19), np.full(401, 0.9))
    images = [image(rows(plane).astype(np.float32)) for plane in planes]
    fibers = {"FIBERID": [1, 2, 3], "RA": [10.0, 11.0, 12.0], "DEC": [0.0, 1.0, 2.0]}
    flux = rows(star.flux).astype(np.float32)
    return save(path, primary(flux, **cards), *images, table("", fibers))


LAMOST = Star(3.75, 1e-4)
LAMOST_CARDS = {
    "TELESCOP": "LAMOST",
    "OBSID": 153901056,
    "DESIG": "LAMOST J004137.41+351733.8",
    "VACUUM": True,
    "HELIO": True,
    "HELIO_RV": -12.5,
    "DATE-OBS": "2013-11-11T12:00:00.00",
}


def lamost_image(path: Path, pilot: bool = False) -> Path:
    """LRS up to release 7: rows of an image. In the pilot survey without wavelengths."""
    star = LAMOST
    third = star.flux if pilot else star.wavelength
    rows = [star.flux, star.ivar, third, star.bits(0), star.bits(0) | 1]
    cards = LAMOST_CARDS | {"COEFF0": 3.75, "COEFF1": 1e-4}
    return save(path, primary(np.float32(rows), **cards))


def lamost_vectors(star: Star, mask: str) -> dict:
    columns = {
        "FLUX": np.float32(star.flux),
        "IVAR": np.float32(star.ivar),
        "WAVELENGTH": star.wavelength,
        mask: star.bits(2),
        "NORMALIZATION": np.ones(401),
    }
    return {name: values[None] for name, values in columns.items()}


def lamost_table(path: Path) -> Path:
    """LRS since release 8: one row of vectors."""
    columns = lamost_vectors(LAMOST, "ANDMASK") | {"ORMASK": np.ones((1, 401), int)}
    return save(path, primary(**LAMOST_CARDS), table("COADD", columns))


MRS = [Star(3.70, 1e-5), Star(3.80, 1e-5)]


def lamost_mrs(path: Path, coadded: bool = True) -> Path:
    """MRS: coadds of the blue and the red arm, and their single exposures."""
    hdus = [primary(**LAMOST_CARDS)]
    for arm, star in zip("BR", MRS, strict=True):
        if coadded:
            hdus.append(table(f"COADD_{arm}", lamost_vectors(star, "ANDMASK")))
        hdus.append(table(f"{arm}-84448123", lamost_vectors(star, "PIXMASK")))
    return save(path, *hdus)


def lamost_mrs_rows(path: Path) -> Path:
    """MRS of releases 6 and 7: a row for each pixel, with the logarithm of the wavelength."""
    hdus = [primary(**LAMOST_CARDS)]
    for arm, star in zip("BR", MRS, strict=True):
        columns = {
            "FLUX": star.flux,
            "IVAR": star.ivar,
            "LOGLAM": np.log10(star.wavelength),
            "ANDMASK": star.bits(2),
            "ORMASK": np.ones(401, int),
        }
        hdus.append(table(f"COADD_{arm}", columns))
    return save(path, *hdus)


APOGEE = Star(4.179, 6e-6)
APOGEE_CARDS = {"APRED": "dr17", "OBJID": "2M00000000+7472074", "VHELIO": 12.3, "NVISITS": 2}


def apogee_star(path: Path, visits: int = 2) -> Path:
    """apStar: the combined spectrum in the first row, then another combination and the visits."""
    star = APOGEE
    axis = star.axis | {"CRPIX1": 1.0, "CTYPE1": "LOG-LINEAR", "DC-FLAG": 1}
    others = [np.full(401, 7.0)] * (visits + 1)
    one = visits == 1

    def rows(values, kind):
        return np.asarray(values if one else [values, *others], kind)

    unit = "Flux (10^-17 erg/s/cm^2/Ang)"
    return save(
        path,
        primary(**APOGEE_CARDS),
        image(rows(star.flux, ">f4"), BUNIT=unit, **axis),
        image(rows(star.error, ">f4"), BUNIT="Err (10^-17 erg/s/cm^2/Ang)", **axis),
        image(rows(star.bits(3, 13), ">i2"), **axis),
        *(image(rows(star.flux, ">f4"), **axis) for _ in range(4)),
    )


def apogee_aspcap(path: Path) -> Path:
    """aspcapStar: normalised flux, its error, and the best-fitting model."""
    star = APOGEE
    axis = star.axis | {"CTYPE1": "LOG-LINEAR"}
    error = np.where(BAD == 1, np.nan, star.error)
    images = [image(values, **axis) for values in (star.flux, error, star.flux)]
    return save(path, primary(**APOGEE_CARDS), *images, table("", {"PARAM": np.zeros((1, 9))}))


VISIT = [Star(start, 4e-6) for start in (4.220, 4.200, 4.180)]


def apogee_visit(path: Path, **cards) -> Path:
    """apVisit: one row for each of three detectors, the reddest first, wavelengths descending."""
    planes = {
        "Flux (10^-17 ergs/s/cm^2/Ang)": [star.flux for star in VISIT],
        "Flux error": [star.error for star in VISIT],
        "Mask": [star.bits(12, 13).astype(np.int16) for star in VISIT],
        "Wavelength (Ang)": [star.wavelength for star in VISIT],
    }
    hdus = [image(np.array(rows)[:, ::-1], BUNIT=name) for name, rows in planes.items()]
    return save(path, primary(**(APOGEE_CARDS | cards)), *hdus)


def relative_error(star: Star) -> np.ndarray:
    """Of a survey without masks: bad pixels have no error."""
    return np.where(BAD == 1, np.nan, star.error / star.flux)


GALAH = Star(4713.0, 0.046, log=False)
GALAH_AXIS = GALAH.axis | {"CRPIX1": 1.0, "CTYPE1": "Wavelength"}


def galah(path: Path, **cards) -> Path:
    """Releases 2 and 3: the error is relative to the flux."""
    star = GALAH
    relative = relative_error(star)
    cards = {"ORIGIN": "GALAH", "OBJECT": "a star", "TELESCOP": "AAT", **GALAH_AXIS, **cards}
    names = ("input_sigma", "no_sky_spectrum", "no_sky_sigma", "normalised_spectrum")
    planes = (relative, star.flux, relative**2.0, star.flux)
    hdus = [fits.ImageHDU(plane, name=name) for plane, name in zip(planes, names, strict=True)]
    return save(path, primary(star.flux, **cards), *hdus)


def galah_dr4(path: Path) -> Path:
    """Release 4: other extensions, and the widths of lines in Å."""
    star = GALAH
    planes = {
        "normalized": star.flux,
        "relative_error": relative_error(star),
        "sky": star.flux,
        "teluric": star.flux,
        "scattered": star.flux,
        "cross_talk": star.flux,
        "resolution_profile": star.wavelength / 26000.0,
    }
    hdus = [fits.ImageHDU(np.float32(plane), name=name) for name, plane in planes.items()]
    cards = GALAH_AXIS | {"SLITMASK": "OUT"} | {f"KEY{i}": i for i in range(36)}
    return save(path, primary(np.float32(star.flux), **cards), *hdus)


DESI = {arm: Star(low, 0.8, log=False) for arm, low in (("B", 5500.0), ("R", 5760.0))}
DESI_TARGETS = [39628473198710603, 39628473198710604]


def desi_diagonals(sigma: float) -> np.ndarray:
    """The eleven diagonals of the resolution matrix, from the highest to the lowest."""
    response = np.exp(-0.5 * (np.arange(5, -6, -1) / sigma) ** 2)
    return response / response.sum()


def desi(path: Path, targets=DESI_TARGETS, sigma: float = 1.0) -> Path:
    """A coadd of several targets; the first is the star. Arms overlap."""
    count = len(targets)
    fibermap = {"TARGETID": np.array(targets), "TARGET_RA": np.arange(count) + 210.5}
    hdus = [primary(HPXPIXEL=1), table("FIBERMAP", fibermap)]
    matrix = desi_diagonals(sigma)[:, None] * np.ones(401)
    for arm, star in DESI.items():
        planes = {
            "WAVELENGTH": star.wavelength,
            "FLUX": np.array([star.flux] + [np.full(401, 5.0)] * (count - 1)),
            "IVAR": np.array([star.ivar] * count),
            "MASK": np.array([star.bits(6)] * count, np.int32),
            "RESOLUTION": np.array([matrix] * count, np.float32),
        }
        hdus += [fits.ImageHDU(plane, name=f"{arm}_{name}") for name, plane in planes.items()]
    return save(path, *hdus)


RAVE = Star(8410.0, 0.37, log=False)


def rave(path: Path) -> Path:
    """Release 6: normalised flux, and its relative error."""
    star = RAVE
    axis = star.axis | {"CRPIX1": 1.0}
    flux, error = image(star.flux, **axis), image(relative_error(star), **axis)
    flux.name, error.name = "SPECTRUM", "ERROR"
    return save(path, primary(ROI="20100313_0823m14_113"), flux, error)


def mwm(path: Path) -> Path:
    """mwmStar: a table for each instrument and observatory, of which three are empty."""
    star = APOGEE
    vectors = {
        "flux": star.flux,
        "ivar": star.ivar,
        "pixel_flags": star.bits(2, 10),
        "wavelength": star.wavelength,
    }
    empty = {name: np.zeros((0, 401)) for name in vectors}
    names = ("BOSS/APO", "BOSS/LCO", "APOGEE/APO", "APOGEE/LCO")
    full = {name: values[None] for name, values in vectors.items()}
    hdus = [table(name, full if name == "APOGEE/APO" else empty) for name in names]
    return save(path, primary(SDSS_ID=54392544, V_ASTRA="0.6.0"), *hdus)


MASTAR = Star(3.6, 1e-4)
MASTAR_SIGMA = 1.3
"""Å."""


def mastar(path: Path, visits=(("7-1001", 57800), ("7-1002", 57801), ("7-1001", 57900))) -> Path:
    """mastar-goodspec: a row for each visit; all but the second have five times the flux."""
    star, count = MASTAR, len(visits)
    level = np.where(np.arange(count) == 1, 1.0, 5.0)[:, None]
    columns = {
        "MANGAID": [name for name, _ in visits],
        "PLATE": np.full(count, 7957),
        "MJD": [mjd for _, mjd in visits],
        "RA": 210.5 + np.arange(count),
        "HELIOV": np.full(count, -12.5),
        "WAVE": np.tile(star.wavelength, (count, 1)),
        "FLUX": np.float32(level * star.flux),
        "IVAR": star.ivar / level**2,
        "MASK": np.tile(star.bits(26), (count, 1)),
        "DISP": np.full((count, 401), MASTAR_SIGMA, np.float32),
        "PREDISP": np.full((count, 401), 1.1, np.float32),
    }
    return save(path, primary(), table("GOODSPEC", columns))
