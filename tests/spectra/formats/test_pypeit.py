"""Spectra of PypeIt: extracted objects and orders, and coadds."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from tests.spectra.formats import orders
from tests.spectra.formats.truth import ERROR, FLUX, IVAR, MASK, MASKED, WAVE, expected

from blase3d.errors import SpectrumError
from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.formats import read_spectrum

PRIMARY = {"VERSPYP": "1.17.4", "PYP_SPEC": "keck_hires", "TARGET": "HD 1", "MJD": 60000.5}
VELOCITY = 12.5
SHIFT = {"VEL_TYPE": "heliocentric", "VEL_CORR": 1.0 + VELOCITY / SPEED_OF_LIGHT}
META = {"object": "HD 1", "mjd": 60000.5}
HELIOCENTRIC = {**META, "frame": "heliocentric"}


def table(name, columns, **cards):
    hdu = fits.table_to_hdu(Table(columns))
    hdu.name = name
    long = {f"HIERARCH {card}": value for card, value in cards.items() if len(card) > 8}
    hdu.header.update({card: value for card, value in cards.items() if len(card) <= 8} | long)
    return hdu


def save(path, *tables, **cards):
    primary = fits.PrimaryHDU()
    primary.header.update({**PRIMARY, **cards})
    fits.HDUList([primary, *tables]).writeto(path)
    return path


def extracted(wave, flux, error, mask, kind="OPT", unit="COUNTS"):
    """Columns of an extraction, with others that are no star."""
    return {
        f"{kind}_WAVE": wave,
        f"{kind}_{unit}": np.where(mask, 7.0, flux),
        f"{kind}_{unit}_IVAR": error**-2.0,
        f"{kind}_{unit}_SIG": error,
        f"{kind}_COUNTS_SKY": np.ones(len(wave)),
        f"{kind}_MASK": ~mask,
        "TRACE_SPAT": np.full(len(wave), 333.0),
    }


def long_slit(folder):
    """Two objects in two slits, of which the second has the star."""
    star = extracted(WAVE, FLUX, ERROR, MASK)
    other = extracted(WAVE, 5.0 * FLUX, ERROR, MASK)
    path = save(
        folder / "spec1d_star.fits",
        table("SPAT0071-SLIT0069-DET01", other, DMODCLS="SpecObj", **SHIFT),
        table("SPAT0186-SLIT0178-DET02", star, DMODCLS="SpecObj", RA=147.3, **SHIFT),
        table("DET01-DETECTOR", {"spec": [1.0, 2.0]}),
        DMODCLS="SpecObjs",
        RA=147.0,
    )
    meta = {**HELIOCENTRIC, "ra": 147.3, "barycentric_correction": pytest.approx(VELOCITY)}
    options = {"source": "SPAT0186-SLIT0178-DET02"}
    return path, options, expected("pypeit", meta=meta)


def echelle(folder):
    """Orders of one object, in the frame of the observatory."""
    tables = [
        table(
            f"OBJ0500-MSC01-ORDER{number:04d}",
            extracted(
                *(values[row] for values in (orders.OBSERVED, orders.FLUX, orders.ERROR)),
                orders.BAD[row],
            ),
            DMODCLS="SpecObj",
            ECH_ORDER=number,
            ECH_NAME="OBJ0500-MSC01",
        )
        for row, number in enumerate((56, 55, 54))
    ]
    path = save(folder / "spec1d_hires.fits", *tables)
    meta = {**META, "frame": "observatory", "telescope": None, "date": None}
    return path, {}, orders.expected_orders("pypeit", orders.OBSERVED, (56, 55, 54), meta=meta)


def coadd(folder):
    """A coadd that is corrected for telluric lines, one of which is opaque."""
    telluric = np.ones(401)
    telluric[MASKED[0]] = 0.2
    columns = {
        "wave": np.where(np.arange(401) == MASKED[1], 0.0, WAVE),
        "wave_grid_mid": WAVE + 0.01,
        "flux": np.where(MASK, 7.0, FLUX),
        "ivar": IVAR,
        "sigma": ERROR,
        "mask": np.where(np.arange(401) == MASKED[2], 0, 1),
        "telluric": telluric,
        "obj_model": 3.0 * FLUX,
    }
    path = save(folder / "coadd.fits", table("SPECTRUM", columns, DMODCLS="OneSpec", FLUXED=True))
    kept = np.arange(401) != MASKED[1]
    arrays = {"wavelength": WAVE, "flux": FLUX, "error": ERROR, "mask": MASK}
    arrays = {name: values[kept] for name, values in arrays.items()}
    return path, {}, expected("pypeit-coadd", meta=HELIOCENTRIC, **arrays)


SAMPLES = {"PypeIt": long_slit, "PypeIt, orders": echelle, "PypeIt, coadd": coadd}


def test_one_of_several_objects_is_chosen(tmp_path):
    path, options, _ = long_slit(tmp_path)
    with pytest.raises(SpectrumError, match=r"has 2 spectra \(SPAT0071-SLIT0069-DET01, SPAT0186"):
        read_spectrum(path)
    star = read_spectrum(path, **options)
    assert star.flux[~star.mask].max() < 2.0


def test_the_calibrated_flux_is_preferred(tmp_path):
    columns = extracted(WAVE, 5.0 * FLUX, ERROR, MASK) | extracted(
        WAVE, FLUX, ERROR, MASK, unit="FLAM"
    )
    star = read_spectrum(save(tmp_path / "star.fits", table("SPAT0071-SLIT0069-DET01", columns)))
    np.testing.assert_allclose(star.flux[~star.mask], FLUX[~MASK])


def test_without_an_optimal_extraction_that_of_the_box_is_read(tmp_path):
    columns = extracted(WAVE, FLUX, ERROR, MASK, kind="BOX")
    star = read_spectrum(save(tmp_path / "star.fits", table("SPAT0071-SLIT0069-DET01", columns)))
    np.testing.assert_allclose(star.error[~star.mask], ERROR[~MASK])


def test_the_name_of_a_star_in_a_mask_is_that_of_the_design(tmp_path):
    columns = extracted(WAVE, FLUX, ERROR, MASK)
    hdu = table("SPAT0071-SLIT0069-DET01", columns, MASKDEF_OBJNAME="star 7")
    assert read_spectrum(save(tmp_path / "star.fits", hdu)).meta["object"] == "star 7"


def test_orders_of_different_lengths(tmp_path):
    tables = [
        table(
            f"OBJ0500-DET01-ORDER{number}",
            extracted(*(one[part] for one in (WAVE, FLUX, ERROR, MASK))),
        )
        for number, part in ((56, slice(0, 220)), (55, slice(180, 401)))
    ]
    star = read_spectrum(save(tmp_path / "star.fits", *tables))
    assert [int((star.order == number).sum()) for number in (55, 56)] == [221, 220]
