"""Data products of ESO, and images of its pipelines."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from tests.spectra.formats.truth import (
    AIR,
    ERROR,
    FLUX,
    MASK,
    WAVE,
    expected,
    in_orders,
    merged,
    merged_order,
)

from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.formats import read_spectrum

OBSERVED = Path(__file__).parents[3].parent / "shared" / "data" / "observed"
CASES = OBSERVED.parents[1] / "cases"
NONE = np.zeros(401, bool)
VELOCITY = 12.5
STRETCH = 1.0 + VELOCITY / SPEED_OF_LIGHT


def product(path, columns, primary=None, ucd="em.wl;obs.atmos", unit="angstrom"):
    """A table of one row; columns by name."""
    made = [
        fits.Column(name, f"{len(values)}{kind}", array=[values], unit=unit if not i else None)
        for i, (name, (kind, values)) in enumerate(columns.items())
    ]
    table = fits.BinTableHDU.from_columns(made, name="SPECTRUM")
    table.header["VOCLASS"] = "SPECTRUM v2.0"
    table.header["TUTYP1"] = "spec:Data.SpectralAxis.Value"
    table.header["TUCD1"] = ucd
    header = fits.Header({"ORIGIN": "ESO", **(primary or {})})
    fits.HDUList([fits.PrimaryHDU(header=header), table]).writeto(path, checksum=True)
    return path


def harps_product(folder):
    cards = {"INSTRUME": "HARPS", "TELESCOP": "ESO-3P6", "OBJECT": "HD 1", "SPECSYS": "BARYCENT"}
    cards |= {"SPEC_RES": 115000.0, "HIERARCH ESO DRS BERV": VELOCITY, "SNR": 100.0}
    columns = {"WAVE": ("D", AIR), "FLUX": ("E", FLUX), "ERR": ("E", np.full(401, np.nan))}
    path = product(folder / "ADP.2014-09-16T11:05:44.563.fits", columns, cards)
    meta = {"object": "HD 1", "telescope": "ESO-3P6", "frame": "barycentric"}
    found = {"medium": "air", "error": None, "mask": NONE, "resolution": 115000.0}
    return path, {}, expected("eso-phase3", meta={**meta, "barycentric_correction": 12.5}, **found)


def uves_product(folder):
    """Topocentric; FLUX could not be calibrated; ERR is that of FLUX, which is empty."""
    cards = {"INSTRUME": "UVES", "SPECSYS": "TOPOCENT", "SPEC_RES": 45990.0}
    cards |= {"HIERARCH ESO QC VRAD BARYCOR": VELOCITY}
    columns = {
        "WAVE": ("D", AIR / STRETCH),
        "FLUX": ("E", np.zeros(401)),
        "ERR": ("E", np.zeros(401)),
        "FLUX_REDUCED": ("E", FLUX),
        "ERR_REDUCED": ("E", ERROR),
    }
    path = product(folder / "uves.fits", columns, cards)
    meta = {"frame": "barycentric", "barycentric_correction": VELOCITY, "instrument": "UVES"}
    return path, {}, expected("eso-phase3", medium="air", mask=NONE, resolution=45990.0, meta=meta)


def xshooter_product(folder):
    """In nm. Quality bits 20 and 21 are harmless."""
    quality = np.where(MASK, 1 << 4, 0)
    quality[50:60] = 1 << 21
    columns = {"WAVE": ("D", AIR / 10), "FLUX": ("D", FLUX), "ERR": ("D", ERROR)}
    columns["QUAL"] = ("J", quality)
    cards = {"INSTRUME": "XSHOOTER", "SPECSYS": "TOPOCENT", "SPEC_RES": 8935.0}
    path = product(folder / "xsh.fits", columns, cards, unit="nm")
    found = {"medium": "air", "resolution": 8935.0, "meta": {"frame": "observatory"}}
    return path, {}, expected("eso-phase3", **found)


def espresso_product(folder):
    columns = {"WAVE": ("D", WAVE), "FLUX": ("D", FLUX), "ERR": ("D", ERROR)}
    columns |= {"QUAL": ("J", MASK.astype(int)), "WAVE_AIR": ("D", AIR)}
    cards = {"INSTRUME": "ESPRESSO", "SPECSYS": "BARYCENT", "HIERARCH ESO INS MODE": "SINGLEHR"}
    path = product(folder / "espresso.fits", columns, cards, ucd="em.wl")
    return path, {}, expected("eso-phase3")


def pipeline_image(path, cards, wavelength=AIR, flux=FLUX, extensions=(), unit="Angstrom"):
    """An image on linear wavelengths; those in air are almost linear over 20 Å."""
    step = (wavelength[-1] - wavelength[0]) / 400
    header = fits.Header({"CRVAL1": wavelength[0], "CDELT1": step, "CRPIX1": 1.0})
    if unit is not None:
        header["CUNIT1"] = unit
    header.update(cards)
    hdus = [fits.PrimaryHDU(np.float32(flux), header)]
    hdus += [fits.ImageHDU(image, name=name) for name, image in extensions]
    fits.HDUList(hdus).writeto(path)
    return path


def harps_s1d(folder):
    cards = {"CTYPE1": "Angstrom", "INSTRUME": "HARPS", "TELESCOP": "ESO-3P6"}
    cards |= {"HIERARCH ESO DRS VERSION": "HARPS_3.8", "HIERARCH ESO DRS BERV": VELOCITY}
    path = pipeline_image(folder / "harps_s1d_A.fits", cards, unit=None)
    meta = {"frame": "barycentric", "barycentric_correction": VELOCITY, "instrument": "HARPS"}
    found = {"medium": "air", "error": None, "mask": NONE, "meta": meta}
    return path, {}, expected("eso-image", likely=True, **found)


def uves_image(folder):
    cards = {"INSTRUME": "UVES", "HIERARCH ESO PRO CATG": "RED_SCI_POINT_BLUE"}
    cards |= {"HIERARCH ESO QC VRAD BARYCOR": VELOCITY, "CTYPE1": "PIXEL"}
    path = pipeline_image(folder / "uves.fits", cards, AIR / STRETCH)
    meta = {"frame": "barycentric", "barycentric_correction": VELOCITY}
    found = {"medium": "air", "error": None, "mask": NONE, "meta": meta}
    return path, {}, expected("eso-image", likely=True, **found)


def xshooter_image(folder):
    cards = {"INSTRUME": "XSHOOTER", "HIERARCH ESO PRO CATG": "SCI_SLIT_FLUX_MERGE1D_VIS"}
    planes = [("ERRS", np.float32(ERROR)), ("QUAL", np.where(MASK, 1 << 24, 1 << 20))]
    path = pipeline_image(folder / "xsh.fits", cards, AIR / 10, extensions=planes, unit="nm")
    return path, {}, expected("eso-image", medium="air", likely=True, meta={"frame": "observatory"})


def e2ds(folder, drs="ESO DRS"):
    """Two orders, with wavelengths by polynomials of degree 3, and their blaze in another file."""
    flux, blaze = np.zeros((2, 221)), np.ones((2, 221))
    header = fits.Header({"INSTRUME": "HARPS" if drs == "ESO DRS" else "HARPN"})
    header[f"HIERARCH {drs} CAL TH DEG LL"] = 3
    header[f"HIERARCH {drs} BERV"] = VELOCITY
    header[f"HIERARCH {drs} BLAZE FILE"] = "blaze_A.fits"
    for i, (wave, values) in enumerate(zip(in_orders(AIR), in_orders(FLUX), strict=True)):
        pixel = np.arange(len(wave))
        fitted = np.polynomial.Polynomial.fit(pixel, wave / STRETCH, 3).convert()
        for n, coefficient in enumerate(fitted.coef):
            header[f"HIERARCH {drs} CAL TH COEFF LL{4 * i + n}"] = coefficient
        blaze[i, pixel] = 1e3 * np.sinc(0.4 * (pixel - 110) / 110) ** 2
        relative = blaze[i, pixel] / np.percentile(blaze[i], 99.0)
        flux[i, pixel] = values * relative
    fits.PrimaryHDU(blaze).writeto(folder / "blaze_A.fits")
    fits.PrimaryHDU(flux, header).writeto(folder / "harps_e2ds_A.fits")
    return folder / "harps_e2ds_A.fits"


def harps_e2ds(folder):
    path = e2ds(folder)
    with fits.open(path) as hdus:  # the first order has one pixel less
        flux = hdus[0].data.copy()
        flux[0, 220] = np.nan
        fits.PrimaryHDU(flux, hdus[0].header).writeto(path, overwrite=True)
    meta = {"frame": "barycentric", "barycentric_correction": VELOCITY}
    found = expected("harps-e2ds", medium="air", error=None, meta=meta)
    end = np.searchsorted(merged(WAVE), WAVE[220]) + 1
    for name in ("wavelength", "flux", "mask"):
        values = merged(NONE if name == "mask" else found[name])
        found[name] = np.insert(values, end, values[end - 1] if name != "mask" else True)
    found["wavelength"][end - 1 : end + 1] = WAVE[220]
    found["order"] = np.insert(merged_order(), end - 1, 0)
    found["mask"][[end - 1, end]] = [True, False]
    return path, {}, found


SAMPLES = {
    "ESO phase 3, HARPS": harps_product,
    "ESO phase 3, UVES": uves_product,
    "ESO phase 3, X-shooter": xshooter_product,
    "ESO phase 3, ESPRESSO": espresso_product,
    "HARPS s1d": harps_s1d,
    "UVES image": uves_image,
    "X-shooter image": xshooter_image,
    "HARPS e2ds": harps_e2ds,
}


def test_the_columns_of_a_product_are_found_by_their_utypes(tmp_path):
    columns = {"WL": ("D", WAVE), "INTENSITY": ("D", FLUX), "NOISE": ("D", ERROR)}
    path = product(tmp_path / "star.fits", columns, ucd="em.wl")
    with fits.open(path, mode="update") as hdus:
        hdus[1].header["TUTYP2"] = "Spectrum.Data.FluxAxis.Value"
        hdus[1].header["TUTYP3"] = "Spectrum.Data.FluxAxis.Accuracy.StatError"
    found = read_spectrum(path)
    np.testing.assert_allclose(found.wavelength, WAVE)
    np.testing.assert_allclose(found.error, ERROR)
    assert found.meta["reader"] == "eso-phase3"


def test_a_medium_of_the_pipeline_gives_way_to_the_users(tmp_path):
    path, _, _ = harps_s1d(tmp_path)
    assert "air" in " ".join(read_spectrum(path).meta["guessed"])
    found = read_spectrum(path, "vacuum")
    np.testing.assert_allclose(found.wavelength, AIR, rtol=1e-7)
    assert "converted_from" not in found.meta


def test_a_tile_compressed_image(tmp_path):
    path, _, _ = harps_s1d(tmp_path)
    with fits.open(path) as hdus:
        packed = fits.CompImageHDU(
            hdus[0].data, hdus[0].header, compression_type="GZIP_1", quantize_level=0.0
        )
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "s1d.fits.fz")
    found = read_spectrum(tmp_path / "s1d.fits.fz")
    assert found.meta["reader"] == "eso-image"
    assert found.meta["barycentric_correction"] == VELOCITY
    np.testing.assert_allclose(found.flux, FLUX, rtol=1e-6)


def test_a_spectrum_shifted_to_rest_by_iraf(tmp_path):
    path, _, _ = harps_s1d(tmp_path)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["DOPCOR01"] = "2.011E-5 all"
    meta = read_spectrum(path).meta
    assert meta["frame"] == "star"
    assert meta["barycentric_correction"] == pytest.approx(VELOCITY - 6.029, abs=0.01)
    assert "dopcor" in " ".join(meta["notes"])


def test_orders_without_a_blaze_file_keep_their_blaze(tmp_path):
    path = e2ds(tmp_path, "TNG DRS")
    (tmp_path / "blaze_A.fits").unlink()
    found = read_spectrum(path)
    assert found.flux[found.good].min() < 0.7 * found.flux.max()
    assert found.meta["blaze"] == "included"
    assert found.meta["barycentric_correction"] == VELOCITY


@pytest.mark.parametrize(
    ("name", "reader", "medium"),
    [
        ("01_stale_datasum", "eso-image", "vacuum"),
        ("05_eso_phase3", "eso-phase3", None),
        ("05b_espresso_s1d", "espresso-s1d", None),
        ("08_hires_orders", "echelle-images", "vacuum"),
    ],
)
def test_the_cases(name, reader, medium):
    path = CASES / f"{name}.fits"
    if not path.exists():
        pytest.skip("../shared/cases is not here")
    with pytest.warns(UserWarning, match="checksum") if name[:2] == "01" else nullcontext():
        found = read_spectrum(path, medium)
    assert found.meta["reader"] == reader
    assert found.n_masked == (10 if name[:3] == "05b" else 0)
    assert (found.error is None) == (name[:2] == "01")
    assert len(found) == (6000 if name[:2] == "08" else 5334)


@pytest.mark.parametrize(("name", "velocity"), [("alfcenb", 18.263), ("ganymede", 18.927)])
def test_real_files_of_harps(name, velocity):
    path = OBSERVED / f"harps-s1d-{name}.fits"
    if not path.exists():
        pytest.skip("../shared/data is not here")
    with pytest.warns(UserWarning, match="checksum"):
        found = read_spectrum(path)
    assert found.meta["converted_from"] == "air"
    assert found.resolution == 115_000.0
    assert found.meta["barycentric_correction"] == pytest.approx(velocity, abs=1e-3)
    assert 3290 <= found.n_masked <= 3300  # the gap between the detectors


@pytest.mark.parametrize("name", ["harps-sun", "harps-alfcenb", "harps-procyon", "uves-procyon"])
def test_real_files_of_the_benchmark_library(name):
    path = OBSERVED / f"gbs-{name}.fits"
    if not path.exists():
        pytest.skip("../shared/data is not here")
    found = read_spectrum(path)
    assert found.meta["converted_from"] == "air"
    assert found.wavelength[[0, -1]] == pytest.approx([4801.34, 6801.87], abs=0.1)
    assert (found.error is None) == (name == "harps-procyon")
    assert found.n_masked < 8000  # gaps between detectors
