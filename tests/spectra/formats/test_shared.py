"""The files of `../shared/cases`, against the spectrum in them, and the real ones.

The cases have 6110 to 6270 Å of one computed spectrum, in vacuum; two of them call these numbers
wavelengths in air. All that have errors have 0.01.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from blase3d.runtime.units import vacuum_to_air
from blase3d.spectra.formats import read_spectrum

SHARED = Path(__file__).parents[3].parent / "shared"
CASES = sorted((SHARED / "cases").glob("[0-9]*"))
OBSERVED = sorted((SHARED / "data" / "observed").glob("*.*"))
STATE_AIR = ("02_unit_NM", "05_eso_phase3")
WITH_ERRORS = ("02", "04", "05", "06", "08", "09", "10")
MASKED = {"05b_espresso_s1d": 10}


def read(path, **options):
    """The spectrum in a file; stale checksums and a stated medium are warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_spectrum(path, **options)


@pytest.fixture(scope="module")
def truth():
    return read(SHARED / "cases" / "12_descending.csv", medium="vacuum")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_a_case_is_read_right(path, truth):
    found = read(path, medium="vacuum")
    name = path.name.split(".")[0]
    wavelength = vacuum_to_air(found.wavelength) if name in STATE_AIR else found.wavelength
    inside = found.good & (wavelength < 6269.9)
    assert inside.sum() > 0.97 * len(truth)
    wanted = np.interp(wavelength[inside], truth.wavelength, truth.flux)
    np.testing.assert_allclose(found.flux[inside], wanted, atol=0.003)
    if name.startswith(WITH_ERRORS):
        np.testing.assert_allclose(found.error[inside], 0.01, rtol=1e-5)
    else:
        assert found.error is None
    assert found.n_masked == MASKED.get(name, 0)
    assert (found.order is not None) == name.startswith(("08", "14"))


@pytest.mark.parametrize("path", OBSERVED, ids=lambda path: path.name)
def test_a_real_file_opens(path):
    if path.name == "apf-wavelength.fits":
        pytest.skip("wavelengths, no spectrum")
    found = read(path, medium="air" if "harps-s1d" in path.name else "vacuum")
    assert found.good.mean() > 0.85
    assert 3000 < found.wavelength[0] < found.wavelength[-1] < 13_000
    assert np.median(np.abs(np.diff(found.flux[found.good]))) < np.median(found.flux[found.good])


def test_the_folders_are_here():
    if not SHARED.exists():
        pytest.skip("../shared is not here")
    assert len(CASES) >= 20
    assert len(OBSERVED) >= 18
