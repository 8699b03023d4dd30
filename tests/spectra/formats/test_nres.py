"""Spectra of NRES: the orders of two fibres in one table."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from tests.spectra.formats.orders import (
    BAD,
    BLAZE,
    DARK,
    OBSERVED,
    RAW,
    RAW_ERROR,
    barycentric,
    expected_orders,
    shifted,
    write,
)

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import read_spectrum

NUMBERS = (52, 53, 54)


def nres(folder, objects="thar&HD 1&none", fibres=(0, 1)):
    """Rows of the fibres take turns; the lamp has other wavelengths, and lines in emission."""
    lamp = np.where(np.arange(80) % 7 == 3, 5e5, 10.0) * np.ones((3, 1))
    values = {
        "wavelength": (OBSERVED + 0.02, OBSERVED),
        "flux": (lamp, RAW),
        "uncertainty": (np.sqrt(lamp), RAW_ERROR),
        "blaze": (BLAZE, BLAZE),
        "mask": (0 * BAD, 1 * BAD),
    }
    columns = [
        fits.Column("fiber", "J", array=np.tile(fibres, 3)),
        fits.Column("order", "J", array=np.repeat(NUMBERS, 2)),
        *(
            fits.Column(name, "80D", array=np.stack(both, axis=1).reshape(6, 80))
            for name, both in values.items()
        ),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    header = {"INSTRUME": "nres01", "OBJECTS": objects, "BARYCORR": 12500.0}
    return write(folder / "lscnrs01-e92-1d.fits", header, {}, [table])


def sample(folder):
    meta = {"instrument": "nres01", **barycentric(12.5)}
    found = expected_orders("nres", shifted(12.5), NUMBERS, mask=BAD | DARK, meta=meta)
    return nres(folder), {"medium": "vacuum"}, found


SAMPLES = {"NRES": sample}


def test_two_stars_in_one_file_are_refused(tmp_path):
    with pytest.raises(SpectrumError, match="2 fibres"):
        read_spectrum(nres(tmp_path, objects="HD 1&HD 2&none"), medium="vacuum")
