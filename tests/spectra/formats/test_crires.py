"""Spectra of CRIRES+, in the tables that its pipeline (cr2res) writes."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from tests.spectra.formats.orders import (
    BAD,
    ERROR,
    FLUX,
    OBSERVED,
    SHAPE,
    expected_orders,
    write,
)
from tests.spectra.formats.test_eso import product

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import read_spectrum

WAVE = OBSERVED * 3.0
"""Å, near 1.8 µm."""
CARDS = {"INSTRUME": "CRIRES", "HIERARCH ESO INS SLIT1 ID": "w_0.2"}
META = {"object": "HD 1", "instrument": "CRIRES", "frame": "observatory"}
PIECES = ((1, 2, 0), (2, 2, 1), (2, 3, 2))
"""Detector, order, and row of the arrays: the second detector has two orders."""
NUMBERS = (21, 22, 32)


def tables(traces=("01",)):
    """A table for each detector, with columns for each order and trace, in nm."""
    columns = {1: [], 2: [], 3: []}
    for detector, order, row in PIECES:
        for trace in traces:
            values = {
                "SPEC": np.where(BAD, np.nan, FLUX)[row] / float(trace),
                "ERR": ERROR[row],
                "WL": WAVE[row] / 10.0,
            }
            columns[detector] += [
                fits.Column(f"{order:02d}_{trace}_{name}", "D", array=array)
                for name, array in values.items()
            ]
    return [
        fits.BinTableHDU.from_columns(found, nrows=80, name=f"CHIP{detector}.INT1")
        for detector, found in columns.items()
    ]


def extracted(folder, traces=("01",), **cards):
    name = "cr2res_obs_nodding_extracted_combined.fits"
    return write(folder / name, {**CARDS, **cards}, {}, tables(traces))


def crires(folder):
    found = expected_orders("crires", WAVE, NUMBERS, resolution=86_000.0, meta=META)
    return extracted(folder), {}, found


def archived(folder):
    """A data product of the archive: one row, sorted by wavelength, so that orders are mixed."""
    by = np.argsort(WAVE.ravel(), kind="stable")
    detector, order, _ = np.repeat(np.array(PIECES).T, SHAPE[1], axis=1)[:, by]
    columns = {
        "WAVE": ("D", WAVE.ravel()[by] / 10.0),
        "FLUX": ("D", FLUX.ravel()[by]),
        "ERR": ("D", ERROR.ravel()[by]),
        "QUAL": ("J", 2 * BAD.ravel()[by]),
        "ORDER": ("J", order),
        "DETEC": ("J", detector),
    }
    cards = {**CARDS, "OBJECT": "HD 1", "SPECSYS": "TOPOCENT", "SPEC_RES": 86_000.0}
    path = product(folder / "ADP.fits", columns, cards, ucd="em.wl", unit="nm")
    meta = {**META, "telescope": None, "date": None}
    return path, {}, expected_orders("eso-phase3", WAVE, NUMBERS, resolution=86_000.0, meta=meta)


SAMPLES = {"CRIRES+": crires, "CRIRES+ of the archive": archived}


def test_the_resolution_is_that_of_the_slit(tmp_path):
    path = extracted(tmp_path, **{"HIERARCH ESO INS SLIT1 ID": "w_0.4"})
    assert read_spectrum(path).resolution == 43_000.0


def test_one_of_several_traces_is_chosen(tmp_path):
    path = extracted(tmp_path, ("01", "02"))
    with pytest.raises(SpectrumError, match=r"has 2 spectra \(1, 2\)"):
        read_spectrum(path)
    star = read_spectrum(path, source="2")
    assert np.nanmax(star.flux) == pytest.approx(FLUX.max() / 2.0)


def test_the_edges_of_a_detector_are_masked(tmp_path):
    pixel = np.arange(2048)
    values = {"SPEC": np.full(2048, 9.0), "ERR": np.ones(2048), "WL": 1800.0 + 0.005 * pixel}
    columns = [fits.Column(f"02_01_{name}", "D", array=array) for name, array in values.items()]
    table = fits.BinTableHDU.from_columns(columns, name="CHIP2.INT1")
    star = read_spectrum(write(tmp_path / "star.fits", CARDS, {}, [table]))
    assert np.flatnonzero(star.mask).tolist() == [*range(5), *range(2043, 2048)]
