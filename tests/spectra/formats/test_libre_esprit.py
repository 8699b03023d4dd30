"""Texts of Libre-ESpRIT: intensity alone, polarised, and with sky."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from tests.spectra.formats.truth import AIR, ERROR, FLUX, ORDERS, expected

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import read_spectrum

BOTH = np.concatenate([np.arange(401)[part] for part in ORDERS])
"""Pixels of two orders that overlap, one after the other."""


def write(folder, kind, wavelength=AIR / 10, scale=1.0):
    error = scale * ERROR
    columns = {
        "intensity": (FLUX, error),
        "polarised": (FLUX, 0.001 * FLUX, 0.0 * FLUX, 0.0 * FLUX, error),
        "sky": (FLUX, FLUX + 0.1, 0.0 * FLUX + 0.1, error, 2 * error, 3 * error),
    }[kind]
    values = np.column_stack([wavelength, *columns])[BOTH]
    lines = [" ".join([f"{row[0]:10.6f}", *(f"{v:12.8e}" for v in row[1:])]) for row in values]
    head = f"***Reduced spectrum of 'HD 22879'\n {len(lines)} {len(columns)}\n"
    (folder / "star.s").write_text(head + "\n".join(lines) + "\n")
    return folder / "star.s"


def sample(folder):
    by = np.lexsort(([0] * 220 + [1] * 221, BOTH))
    found = expected(
        "libre-esprit",
        wavelength=None,
        medium="air",
        meta={"object": "HD 22879", "frame": "heliocentric"},
    )
    arrays = {name: found[name] for name in ("flux", "error")}
    wavelength = expected("")["wavelength"]
    found |= {name: values[BOTH][by] for name, values in arrays.items()}
    found |= {"wavelength": wavelength[BOTH][by], "mask": np.zeros(441, bool)}
    found["order"] = np.array([0] * 220 + [1] * 221)[by]
    return write(folder, "polarised"), {}, found


def image(folder, kind="intensity"):
    """Blocks of rows: normalised, then not, on other wavelengths with padding."""
    names = {
        "intensity": ("Wavelength", "Intensity", "ErrorBar"),
        "polarised": ("Wavelength", "Intensity", "Polarization", "N1", "N2", "ErrorBar"),
        "sky": ("Wavelength", "Star", "Star+Sky", "Sky", "ErrorBar1", "ErrorBar2", "ErrorBar3"),
    }[kind]
    rows = np.zeros((len(names), 441))
    rows[0], rows[1] = AIR[BOTH] / 10.0, FLUX[BOTH]
    for k, name in enumerate(names):
        if name.startswith("ErrorBar"):
            rows[k] = ERROR[BOTH] * int(name[8:] or 1)
    other = 900.0 * rows
    other[0] = np.where(np.arange(441) < 400, rows[0] + 0.01, 0.0)
    cards = {f"COL{k}": name for k, name in enumerate(2 * names, 1)}
    header = fits.Header({"INSTRUME": "ESPaDOnS", "OBJECT": "HD 22879", **cards})
    path = folder / f"1095448{kind[0]}.fits"
    fits.PrimaryHDU(np.concatenate([rows, other]), header).writeto(path)
    return path


def sample_of_image(folder):
    _, _, found = sample(folder)
    meta = {**found["meta"], "instrument": "ESPaDOnS"}
    return image(folder), {}, {**found, "reader": "libre-esprit-image", "meta": meta}


SAMPLES = {"Libre-ESpRIT": sample, "Libre-ESpRIT, CFHT": sample_of_image}


@pytest.mark.parametrize("kind", ["polarised", "sky"])
def test_errors_of_an_image_are_those_of_the_intensity(tmp_path, kind):
    found = read_spectrum(image(tmp_path, kind))
    np.testing.assert_allclose(np.sort(found.error), np.sort(ERROR[BOTH]), rtol=1e-6)


@pytest.mark.parametrize("kind", ["intensity", "polarised", "sky"])
def test_errors_are_those_of_the_intensity(tmp_path, kind):
    found = read_spectrum(write(tmp_path, kind))
    np.testing.assert_allclose(np.sort(found.error), np.sort(ERROR[BOTH]), rtol=1e-6)
    assert found.meta["converted_from"] == "air"
    assert len(np.unique(found.order)) == 2


def test_infrared_spectra_state_no_medium(tmp_path):
    path = write(tmp_path, "polarised", wavelength=AIR / 10 + 900.0)
    with pytest.raises(SpectrumError, match="states no medium"):
        read_spectrum(path)


def test_a_mean_line_over_velocity_is_refused(tmp_path):
    path = write(tmp_path, "sky", wavelength=np.linspace(-100.0, 100.0, 401))
    with pytest.raises(SpectrumError, match="mean line over velocity"):
        read_spectrum(path)
