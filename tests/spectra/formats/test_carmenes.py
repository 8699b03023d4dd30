"""Spectra of CARMENES, written as Ribas et al. 2023 (A&A 670, A139) describe them."""

from __future__ import annotations

import numpy as np
from tests.spectra.formats.orders import (
    BAD,
    ERROR,
    FLUX,
    OBSERVED,
    barycentric,
    expected_orders,
    shifted,
    write,
)

from blase3d.spectra.formats import read_spectrum
from blase3d.spectra.formats.carmenes import RESOLUTION


def images(wavelength=OBSERVED):
    """Extensions in the order of the pipeline; the bad pixel has no flux."""
    return {
        "SPEC": np.where(BAD, np.nan, FLUX).astype(np.float32),
        "CONT": np.ones_like(FLUX),
        "SIG": ERROR.astype(np.float32),
        "WAVE": wavelength,
    }


def carmenes(folder):
    header = {"INSTRUME": "CARMENES", "HIERARCH CARACAL BERV": 12.5}
    path = write(folder / "car-20160701T00h49m36s-sci-gtoc-vis_A.fits", header, images())
    meta = {"instrument": "CARMENES", **barycentric(12.5)}
    return path, {}, expected_orders("carmenes", shifted(12.5), resolution=94_600.0, meta=meta)


def bare(folder):
    path = write(folder / "bare.fits", {}, images())
    return path, {}, expected_orders("carmenes", OBSERVED, meta={"frame": "observatory"})


SAMPLES = {"carmenes": carmenes, "carmenes without a header": bare}


def test_the_resolution_is_that_of_the_arm(tmp_path):
    header = {"INSTRUME": "CARMENES"}
    path = write(tmp_path / "nir.fits", header, images(OBSERVED + 6000.0))
    assert read_spectrum(path).resolution == RESOLUTION["NIR"]


def test_a_template_has_logarithms_in_an_unknown_frame(tmp_path):
    header = {"INSTRUME": "CARMENES", "HIERARCH CARACAL BERV": 12.5}
    path = write(tmp_path / "template.fits", header, images(np.log(OBSERVED)))
    spectrum = read_spectrum(path)
    np.testing.assert_allclose(spectrum.wavelength, np.sort(OBSERVED.ravel()))
    assert not {"frame", "barycentric_correction"} & set(spectrum.meta)
