"""Spectra of SPIRou and NIRPS, written as APERO does: Cook et al. 2022 (PASP 134, 114509)."""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from tests.spectra.formats.orders import (
    BAD,
    BLAZE,
    DARK,
    FLUX,
    OBSERVED,
    RAW,
    RELATIVE,
    barycentric,
    expected_orders,
    shifted,
    write,
)
from tests.spectra.formats.truth import ERROR as ONE_ERROR
from tests.spectra.formats.truth import FLUX as ONE_FLUX
from tests.spectra.formats.truth import MASK, WAVE, expected

from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.formats import read_spectrum

RATIO = np.array([100.0, 150.0, 200.0])
STATED = {"BERV": 12.5, **{f"EXTSN{row:03d}": ratio for row, ratio in enumerate(RATIO)}}


def images(fibre, **further):
    flux = np.where(BAD, np.nan, RAW)
    return {
        f"Flux{fibre}": (flux, STATED),
        f"Wave{fibre}": (OBSERVED / 10.0, {"BUNIT": "nm"}),
        f"Blaze{fibre}": BLAZE,
        **further,
    }


def photon_noise(transmission=1.0):
    """Errors of the flux without blaze: RATIO is that at the typical flux of each order."""
    counts = np.where(BAD, np.nan, RAW * transmission)
    typical = np.nanmedian(counts[:, 20:60], axis=1, keepdims=True)
    return np.sqrt(RAW * transmission * typical) / RATIO[:, None] / transmission / RELATIVE


def spirou(folder):
    # B and C are other fibres, which are not read.
    others = {"FluxB": np.ones_like(FLUX), "WaveB": OBSERVED, "FluxC": np.ones_like(FLUX)}
    path = write(folder / "2400000e.fits", {"INSTRUME": "SPIRou"}, images("AB", **others))
    wanted = expected_orders(
        "apero",
        shifted(12.5),
        mask=BAD | DARK,
        error=photon_noise(),
        resolution=70_000.0,
        meta={"instrument": "SPIRou", **barycentric(12.5)},
    )
    return path, {}, wanted


def nirps(folder):
    """Corrected for telluric lines; one pixel is hidden by the atmosphere."""
    transmission = np.full_like(FLUX, 0.8)
    transmission[2, 70] = 0.1
    header = {"INSTRUME": "NIRPS", "HIERARCH ESO INS MODE": "HE"}
    path = write(folder / "NIRPS.t.fits", header, images("A", Recon=transmission))
    wanted = expected_orders(
        "apero",
        shifted(12.5),
        mask=BAD | DARK | (transmission < 0.5),
        error=photon_noise(transmission),
        resolution=75_200.0,
        meta=barycentric(12.5),
    )
    return path, {}, wanted


def s1d(folder):
    """A table of one spectrum; pixels of no weight are those of the mask."""
    columns = [
        fits.Column("wavelength", "D", unit="nm", array=WAVE / 10.0),
        fits.Column("flux", "D", array=ONE_FLUX),
        fits.Column("eflux", "D", array=ONE_ERROR),
        fits.Column("weight", "D", array=np.where(MASK, 0.0, 1.0)),
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update({"BERV": 12.5, "DRSMODE": "SPECTROSCOPY", "INSTRUME": "SPIRou"})
    path = write(folder / "2400000o_pp_s1d_v_AB.fits", {}, {}, [table])
    wave = WAVE * (1.0 + 12.5 / SPEED_OF_LIGHT)
    wanted = expected("apero", wavelength=wave, resolution=70_000.0, meta=barycentric(12.5))
    return path, {}, wanted


def merged(folder):
    """`s.fits` of the archives, with a spectrum that is corrected for telluric lines."""
    flux = np.where(MASK, np.nan, ONE_FLUX)
    arrays = {
        "Wave": WAVE / 10.0,
        "FluxAB": 0.5 * ONE_FLUX,
        "FluxErrAB": ONE_ERROR,
        "FluxABTelluCorrected": flux,
        "FluxErrABTelluCorrected": ONE_ERROR,
    }
    columns = [fits.Column(name, "D", array=values) for name, values in arrays.items()]
    tables = [
        fits.BinTableHDU.from_columns(columns, name=name)
        for name in ("UniformWavelength", "UniformVelocity")
    ]
    tables[1].header["BERV"] = 12.5
    path = write(folder / "2400000s.fits", {"INSTRUME": "SPIRou"}, {}, tables)
    wave = WAVE * (1.0 + 12.5 / SPEED_OF_LIGHT)
    wanted = expected("apero", wavelength=wave, resolution=70_000.0, meta=barycentric(12.5))
    return path, {}, wanted


SAMPLES = {"spirou": spirou, "nirps": nirps, "apero s1d": s1d, "apero s": merged}


def test_without_signal_to_noise_there_are_no_errors(tmp_path):
    found = images("AB")
    found["FluxAB"] = (RAW, {"BERV": 12.5})
    spectrum = read_spectrum(write(tmp_path / "e.fits", {"INSTRUME": "SPIRou"}, found))
    assert spectrum.error is None
    assert "EXTSN" not in str(spectrum.meta["guessed"])


def test_estimated_errors_are_said_to_be_so(tmp_path):
    resolution, errors = read_spectrum(spirou(tmp_path)[0]).meta["guessed"]
    assert "70000 is the nominal one" in resolution
    assert "EXTSN" in errors


def test_a_template_is_at_the_barycentre(tmp_path):
    found = images("A")
    found["FluxA"] = (RAW, {"BERV": 12.5, "DRSOUTID": "TELLU_TEMP"})
    spectrum = read_spectrum(write(tmp_path / "Template.fits", {}, found))
    np.testing.assert_allclose(spectrum.wavelength, np.sort(OBSERVED.ravel()))
    assert spectrum.meta["frame"] == "barycentric"
