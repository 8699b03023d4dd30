"""Extracted spectra of STIS and COS."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from tests.spectra.formats.truth import (
    ERROR,
    FLUX,
    MASK,
    MASKED,
    WAVE,
    expected,
    in_orders,
    merged,
    merged_order,
)

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import read_spectrum

SERIOUS, HARMLESS = 16, 1024
FLAGS = np.where(MASK, SERIOUS, 0) | np.where(np.arange(401) == 7, HARMLESS, 0)
META = {"telescope": "HST", "object": "HD 1", "frame": "heliocentric"}


def exposure(columns):
    hdu = fits.table_to_hdu(Table(columns))
    hdu.name = "SCI"
    hdu.header["SDQFLAGS"] = 31743
    return hdu


def save(path, instrument, *exposures, **cards):
    primary = fits.PrimaryHDU()
    primary.header.update({"TELESCOP": "HST", "INSTRUME": instrument, "TARGNAME": "HD 1"})
    primary.header.update({"HELCORR": "COMPLETE", **cards})
    fits.HDUList([primary, *exposures]).writeto(path)
    return path


def spectrum(level=1.0):
    """One row of vectors."""
    columns = {"WAVELENGTH": WAVE, "FLUX": level * FLUX, "ERROR": ERROR, "DQ": FLAGS}
    columns |= {"GROSS": FLUX, "BACKGROUND": 0.0 * FLUX, "NET": FLUX}
    return exposure({name: values[None] for name, values in columns.items()})


def stis(folder):
    path = save(folder / "o4d103010_x1d.fits", "STIS", spectrum())
    return path, {}, expected("hst", meta={**META, "instrument": "STIS"})


def padded(values, filler=0.0):
    """The two orders (2, 221), the shorter one filled up with zeros as the pipeline does."""
    return np.stack(
        [
            np.pad(order, (0, 221 - len(order)), constant_values=filler)
            for order in in_orders(values)
        ]
    )


def echelle(folder):
    columns = {
        "SPORDER": np.array([300, 301], np.int16),
        "NELEM": np.array([220, 221], np.int16),
        **{name: padded(values) for name, values in (("WAVELENGTH", WAVE), ("FLUX", FLUX))},
        **{name: padded(values) for name, values in (("ERROR", ERROR), ("DQ", FLAGS))},
    }
    path = save(folder / "o61s01010_x1d.fits", "STIS", exposure(columns), HELCORR="OMIT")
    arrays = {"wavelength": WAVE, "flux": FLUX, "error": ERROR, "mask": MASK}
    arrays = {name: merged(values) for name, values in arrays.items()}
    meta = {**META, "frame": "observatory"}
    return path, {}, expected("hst", order=merged_order(300), meta=meta, **arrays)


def cos(folder):
    path = save(folder / "lb4q01010_x1d.fits", "COS", spectrum())
    return path, {}, expected("hst", meta={**META, "instrument": "COS"})


SAMPLES = {"STIS": stis, "STIS, orders": echelle, "COS": cos}


def test_one_of_several_exposures_is_chosen(tmp_path):
    path = save(tmp_path / "star_x1d.fits", "STIS", spectrum(), spectrum(2.0))
    with pytest.raises(SpectrumError, match=r"has 2 spectra \(1, 2\)"):
        read_spectrum(path)
    np.testing.assert_allclose(read_spectrum(path, source="2").flux, 2.0 * FLUX)


def test_without_serious_flags_all_are_serious(tmp_path):
    hdu = spectrum()
    del hdu.header["SDQFLAGS"]
    star = read_spectrum(save(tmp_path / "star_x1d.fits", "STIS", hdu))
    assert np.flatnonzero(star.mask).tolist() == [7, *MASKED]
