"""Files of any program: tables and images with usual names, and the files of blase3D."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from tests.spectra.formats.truth import (
    AIR,
    ERROR,
    FLUX,
    IVAR,
    MASK,
    VARIANCE,
    WAVE,
    expected,
    in_orders,
    merged,
    merged_order,
)

from blase3d.errors import SpectrumError
from blase3d.runtime.units import air_to_vacuum
from blase3d.spectra.formats import SpectrumFile, read_spectrum
from blase3d.spectra.formats.fits import FITS_IMAGE
from blase3d.spectra.formats.iraf import dispersions

NONE = np.zeros(401, bool)


def npz(folder):
    meta = json.dumps({"medium": "air", "wavelength_unit": "nm", "resolution": 5e4})
    path = folder / "star.npz"
    np.savez(path, wavelength=AIR / 10, flux=FLUX, error=ERROR, mask=MASK, meta=meta)
    return path, {}, expected("npz", medium="air", resolution=5e4)


def csv(folder):
    path = folder / "star.csv"
    rows = [f"{w},{f},{e},{int(m)}" for w, f, e, m in zip(WAVE, FLUX, ERROR, MASK, strict=True)]
    path.write_text("\n".join(["Wavelength,FLUX,flux_err,Quality", *rows]))
    return path, {"medium": "vacuum"}, expected("text")


def table(folder, name="star.fits"):
    columns = [
        fits.Column("LAMBDA", "D", unit="NM", array=AIR / 10),
        fits.Column("FLUX", "E", unit="erg/s/cm2/Angstrom", array=FLUX),
        fits.Column("IVAR", "E", array=IVAR),
        fits.Column("DQ", "I", array=MASK.astype(np.int16)),
    ]
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]
    fits.HDUList(hdus).writeto(folder / name)
    return folder / name, {"medium": "air"}, expected("fits-table", medium="air")


def pepsi(folder):
    columns = [
        fits.Column("Arg", "D", unit="Angstrom", array=WAVE),
        fits.Column("Fun", "D", array=FLUX),
        fits.Column("Var", "D", array=ERROR**2),
        fits.Column("Mask", "I", array=MASK.astype(np.int16)),
    ]
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]
    fits.HDUList(hdus).writeto(folder / "pepsib.20150409.006.dxt.nor")
    path = folder / "pepsib.20150409.006.dxt.nor"
    return path, {"medium": "vacuum"}, expected("fits-table")


def packed_table(folder):
    path, options, found = table(folder)
    packed = folder / "star.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed, options, found


def image(folder):
    cards = {"CRVAL1": 611.0, "CDELT1": 0.005, "CUNIT1": "NM", "CTYPE1": "WAVE"}
    hdus = [fits.PrimaryHDU(FLUX, fits.Header(cards)), fits.ImageHDU(ERROR, name="ERRS")]
    fits.HDUList(hdus).writeto(folder / "star.fit")
    return folder / "star.fit", {}, expected("fits-image", mask=NONE)


def row_of_vectors(folder):
    cells = {"WAVE": WAVE / 1e4, "FLUX_REDUCED": FLUX, "ERRS": ERROR, "GOOD": ~MASK}
    formats = {"WAVE": "401D", "FLUX_REDUCED": "401E", "ERRS": "401E", "GOOD": "401L"}
    columns = [
        fits.Column(name, formats[name], unit="microns" if name == "WAVE" else None, array=[cell])
        for name, cell in cells.items()
    ]
    header = fits.Header({"OBJECT": "a star", "SPEC_RES": 47_000.0, "SPECSYS": "BARYCENT"})
    table = fits.BinTableHDU.from_columns(columns)
    path = folder / "vectors.fits"
    fits.HDUList([fits.PrimaryHDU(header=header), table]).writeto(path)
    meta = {"object": "a star", "frame": "barycentric"}
    found = expected("fits-table", resolution=47_000.0, meta=meta)
    return path, {"medium": "vacuum"}, found


def extensions(folder):
    """Flux, variance and data quality in extensions, as scaled integers and in air."""
    cards = {"CRVAL1": AIR[0], "CD1_1": 0.05, "CDELT1": 1.0, "CTYPE1": "AWAV", "CUNIT1": "A"}
    flux = fits.ImageHDU(FLUX.copy(), fits.Header(cards), name="SCI")
    flux.scale("int32", bscale=1e-9, bzero=1.0)
    planes = {"VAR": VARIANCE.astype("f4"), "DQ": 16 * MASK.astype("i2")}
    hdus = [fits.PrimaryHDU(), flux, *(fits.ImageHDU(v, name=n) for n, v in planes.items())]
    fits.HDUList(hdus).writeto(folder / "sci.fits")
    wave = air_to_vacuum(AIR[0] + 0.05 * np.arange(401))
    return folder / "sci.fits", {}, expected("fits-image", wavelength=wave, medium="air")


def multispec(folder, name="orders.fits"):
    """Two orders: a Legendre and a Chebyshev polynomial, with a Doppler factor."""
    flux, specs = np.zeros((2, 221), "f4"), []
    for i, (wave, values, kind) in enumerate(
        zip(*map(in_orders, (WAVE, FLUX)), (2, 1), strict=True)
    ):
        flux[i, : len(wave)] = values
        low, high = 1.001 * wave[[0, -1]]
        numbers = f"{i + 1} {60 + i} 2 {low} 0.05 {len(wave)} 0.001 1. 9."
        terms = f"1. 0. {kind} 2 1. {len(wave)}. {(low + high) / 2} {(high - low) / 2}"
        specs.append(f'spec{i + 1} = "{numbers} {terms}"')
    header = fits.Header({"WCSDIM": 2, "CTYPE1": "MULTISPE", "CTYPE2": "MULTISPE"})
    header["WAT0_001"] = "system=multispec"
    header["WAT1_001"] = "wtype=multispec label=Wavelength units=angstroms"
    text = "wtype=multispec " + " ".join(specs)
    for i in range(0, len(text), 68):
        header[f"WAT2_{i // 68 + 1:03d}"] = text[i : i + 68]
    fits.PrimaryHDU(flux, header).writeto(folder / name)
    wave, values = map(merged, (WAVE, FLUX))
    found = expected("fits-image", wavelength=wave, flux=values, error=None, order=merged_order(60))
    return folder / name, {"medium": "vacuum"}, {**found, "mask": np.zeros(len(wave), bool)}


def tiles(folder):
    """A compressed image, as fpack writes it."""
    cards = fits.Header({"CRVAL1": 6110.0, "CDELT1": 0.05, "MEDIUM": "vacuum"})
    image = fits.CompImageHDU(
        FLUX[None].astype("f4"), cards, compression_type="GZIP_1", quantize_level=0.0
    )
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(folder / "star.fits.fz")
    return folder / "star.fits.fz", {}, expected("fits-image", error=None, mask=NONE)


SAMPLES = {
    "npz": npz,
    "csv": csv,
    "fits table": table,
    "fits table, gzip": packed_table,
    "fits table, PEPSI": pepsi,
    "fits image": image,
    "fits table, one row": row_of_vectors,
    "fits image, extensions": extensions,
    "fits image, multispec": multispec,
    "fits image, tiles": tiles,
}


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["star", "star.dat", "star.csv", "star.fits.fz", "star.fts"])
def test_the_content_decides_not_the_name(tmp_path, name):
    path, options, _ = table(tmp_path, name)
    np.testing.assert_allclose(read_spectrum(path, **options).wavelength, WAVE, rtol=1e-9)


def test_a_bomb_is_refused(tmp_path):
    path = tmp_path / "star.fits.gz"
    path.write_bytes(gzip.compress(b"SIMPLE  =" + bytes(2**27), 1))
    with pytest.raises(SpectrumError, match=r"star.fits.gz unpacks to more than"):
        read_spectrum(path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xef\xbb\xbfa b\r\n1 2\r\n", "a b\n1 2\n"),
        ("Å b\n".encode("utf-16"), "Å b\n"),
        ("Å b\n".encode("latin-1"), "Å b\n"),
        (b"a\rb", "a\nb"),
        (b"a\x00b", ""),
        (gzip.compress(b"1 2", mtime=0), "1 2"),
    ],
    ids=["utf-8 with a mark", "utf-16", "latin-1", "old line ends", "binary", "gzip"],
)
def test_text_is_decoded(tmp_path, content, text):
    (tmp_path / "star").write_bytes(content)
    with SpectrumFile(tmp_path / "star") as file:
        assert file.text == text
        assert not file.is_fits


def test_a_stale_checksum_warns(tmp_path):
    path, options, _ = table(tmp_path)
    with fits.open(path, mode="update") as hdus:
        hdus[1].header["DATASUM"] = "0"
    with pytest.warns(UserWarning, match="checksum in the header"):
        found = read_spectrum(path, **options)
    np.testing.assert_allclose(found.wavelength, WAVE, rtol=1e-9)
    assert "checksum" in found.meta["notes"][0]


def test_padding_missing_at_the_end_of_the_file_is_no_damage(tmp_path):
    path, options, _ = table(tmp_path)
    with fits.open(path) as hdus:
        size, start = hdus[1].size, hdus[1].fileinfo()["datLoc"]
    path.write_bytes(path.read_bytes()[: start + size])
    assert len(read_spectrum(path, **options)) == 401
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SpectrumError, match="damaged"):
        read_spectrum(path, **options)


# --- tables ----------------------------------------------------------------------------------


def table_of(path, units=(), **columns):
    units = dict(units)
    found = [
        fits.Column(name, "D" if np.ndim(v) == 1 else f"{v.shape[1]}D", units.get(name), array=v)
        for name, v in columns.items()
    ]
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(found)]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize(
    ("name", "unit", "scale"),
    [
        *[("WAVE", unit, 0.1) for unit in ("NM", "nm", "nanometers", "[nm]", "Nanometer")],
        *[("lambda", unit, 1.0) for unit in ("Angstroms", "ANGSTROMS", "A", "Ang", "AA")],
        *[("LAM", unit, 1e-4) for unit in ("um", "micron", "MICRONS", "micrometer")],
        ("waveobs", "m", 1e-10),
        ("Wavelength (nm)", None, 0.1),
        ("wavelength_nm", None, 0.1),
        ("wave", None, 0.1),
        ("wave", None, 1e-4),
        ("wave", None, 1.0),
    ],
)
def test_units_of_wavelength(tmp_path, name, unit, scale):
    path = table_of(tmp_path / "t.fits", {name: unit}, **{name: WAVE * scale, "flux": FLUX})
    found = read_spectrum(path, "vacuum")
    np.testing.assert_allclose(found.wavelength, WAVE, rtol=1e-12)
    assert bool(found.meta.get("guessed")) == (name == "wave" and scale != 1.0)


@pytest.mark.parametrize("name", ["loglam", "LOGLAM", "log_wave", "lnwave", "wave"])
def test_logarithms_of_wavelength(tmp_path, name):
    values = np.log(WAVE) if name == "lnwave" else np.log10(WAVE)
    path = table_of(tmp_path / "t.fits", **{name: values, "flux": FLUX})
    np.testing.assert_allclose(read_spectrum(path, "vacuum").wavelength, WAVE, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *[(name, ERROR) for name in ("err", "FLUX_ERR", "eflux", "Uncertainty", "SIGMA", "e_flux")],
        *[(name, IVAR) for name in ("IVAR", "invvar", "weight")],
        *[(name, VARIANCE) for name in ("var", "VARIANCE")],
    ],
)
def test_errors_under_any_name(tmp_path, name, values):
    noisy = FLUX + ERROR * np.random.default_rng(1).normal(size=401)
    path = table_of(tmp_path / "t.fits", wave=WAVE, flux=noisy, **{name: values})
    np.testing.assert_allclose(read_spectrum(path, "vacuum").error, ERROR, rtol=1e-12)


def test_relative_weights_are_scaled_to_the_noise_and_zeros_and_ones_are_a_mask(tmp_path):
    noisy = FLUX + ERROR * np.random.default_rng(1).normal(size=401)
    path = table_of(tmp_path / "t.fits", wave=WAVE, flux=noisy, weight=1e-9 * IVAR)
    found = read_spectrum(path, "vacuum")
    assert np.ptp(found.error / ERROR) < 1e-10
    assert np.median(found.error / ERROR) == pytest.approx(1.0, abs=0.3)
    assert "relative weights" in found.meta["guessed"][0]
    path = table_of(tmp_path / "t.fits", wave=WAVE, flux=noisy, weight=1.0 - MASK)
    found = read_spectrum(path, "vacuum")
    assert found.error is None
    np.testing.assert_array_equal(found.mask, MASK)


def test_pixels_without_weight_are_masked(tmp_path):
    path = table_of(tmp_path / "t.fits", wave=WAVE, flux=FLUX, ivar=np.where(MASK, 0.0, IVAR))
    np.testing.assert_array_equal(read_spectrum(path, "vacuum").mask, MASK)


def test_the_medium_in_the_name_of_a_column(tmp_path):
    both = {"wavelength": WAVE, "wavelength_air": AIR, "flux": FLUX}
    found = read_spectrum(table_of(tmp_path / "t.fits", **both))
    np.testing.assert_array_equal(found.wavelength, WAVE)
    with pytest.warns(UserWarning, match="air is not used"):
        again = read_spectrum(tmp_path / "t.fits", "air")
    np.testing.assert_array_equal(again.wavelength, WAVE)
    found = read_spectrum(table_of(tmp_path / "t.fits", wave_air=AIR, flux=FLUX))
    np.testing.assert_allclose(found.wavelength, WAVE, rtol=1e-10)


def test_columns_and_unit_of_the_user(tmp_path):
    path = table_of(tmp_path / "t.fits", x=WAVE / 10, y=FLUX, z=ERROR)
    columns = {"wavelength": "X", "flux": "y", "error": "z"}
    found = read_spectrum(path, "vacuum", columns=columns, unit="nm")
    np.testing.assert_allclose(found.wavelength, WAVE, rtol=1e-12)
    np.testing.assert_array_equal(found.error, ERROR)


def test_rows_are_orders_unless_they_have_the_same_wavelengths(tmp_path):
    wave, flux = (np.stack([v[:200], v[200:400]]) for v in (WAVE, FLUX))
    found = read_spectrum(table_of(tmp_path / "t.fits", wave=wave, flux=flux), "vacuum")
    np.testing.assert_array_equal(found.wavelength, WAVE[:400])
    np.testing.assert_array_equal(found.order, np.repeat([0, 1], 200))
    same = {"wave": np.stack([WAVE, WAVE]), "flux": np.stack([FLUX, 2.0 * FLUX])}
    path = table_of(tmp_path / "t.fits", **same)
    with pytest.raises(SpectrumError, match=r"has 2 spectra \(0, 1\); choose one"):
        read_spectrum(path, "vacuum")
    np.testing.assert_array_equal(read_spectrum(path, "vacuum", source="1").flux, 2.0 * FLUX)
    path = tmp_path / "named.fits"
    Table({**same, "star": ["Vega", "Sirius"]}).write(path)
    found = read_spectrum(path, "vacuum", source="Vega")
    np.testing.assert_array_equal(found.flux, FLUX)
    assert found.meta["object"] == "Vega"


def test_tables_of_text_are_read_and_compressed_ones_are_not(tmp_path):
    columns = [fits.Column("Wave", "D20.10", array=WAVE), fits.Column("Flux", "D20.10", array=FLUX)]
    table = fits.TableHDU.from_columns(columns)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "ascii.fits")
    found = read_spectrum(tmp_path / "ascii.fits", "vacuum")
    np.testing.assert_allclose(found.flux, FLUX, rtol=1e-9)
    path = table_of(tmp_path / "t.fits", wave=WAVE, flux=FLUX)
    fits.setval(path, "ZTABLE", value=True, ext=1)
    with pytest.raises(SpectrumError, match="unpack it with funpack"):
        read_spectrum(path, "vacuum")


def test_a_quality_that_is_nowhere_zero_is_no_mask(tmp_path):
    path = table_of(tmp_path / "t.fits", wave=WAVE, flux=FLUX, quality=np.ones(401))
    found = read_spectrum(path, "vacuum")
    assert not found.mask.any()
    assert "not taken for a mask" in found.meta["guessed"][0]


# --- images ----------------------------------------------------------------------------------


def image_of(path, data, cards=(), **extensions):
    hdus = [fits.PrimaryHDU(data, fits.Header(dict(cards)))]
    hdus += [fits.ImageHDU(values, name=name) for name, values in extensions.items()]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


LINEAR = {"CRVAL1": 6110.0, "CDELT1": 0.05}
LOG = np.log10(6110.0)


@pytest.mark.parametrize(
    "cards",
    [
        {"CRVAL1": 6110.0, "CD1_1": 0.05},
        {"CRVAL1": 6110.0, "CD1_1": 0.05, "CDELT1": 1.0},
        {"CRVAL1": 6110.0, "CD1_1": 1.0, "CDELT1": 0.05},
        {"CRVAL1": 6110.5, "CDELT1": 0.05, "CRPIX1": 11.0, "CTYPE1": "LINEAR", "DC-FLAG": 0},
        {"CRVAL1": 611.0, "CDELT1": 0.005, "CUNIT1": "NM"},
        {"CRVAL1": 611.0, "CDELT1": 0.005},
        {"CRVAL1": 6.11e-7, "CDELT1": 5e-12},
        {"CRVAL1": 6110.0, "CDELT1": 0.05, "CTYPE1": "Angstrom"},
        {"CRVAL1": 611.0, "CDELT1": 0.005, "WAT1_001": "wtype=linear units=nanometers"},
        {"W0": 6110.0, "WPC": 0.05},
    ],
)
def test_linear_wavelengths(tmp_path, cards):
    path = image_of(tmp_path / "i.fits", FLUX, cards)
    np.testing.assert_allclose(read_spectrum(path, "vacuum").wavelength, WAVE, rtol=1e-12)


@pytest.mark.parametrize(
    ("cards", "power"),
    [
        ({"CRVAL1": LOG, "CD1_1": 1e-6, "DC-FLAG": 1}, 10.0),
        ({"CRVAL1": LOG, "CDELT1": 1e-6, "CTYPE1": "LOG-LINEAR"}, 10.0),
        ({"CRVAL1": LOG, "CDELT1": 1e-6, "CTYPE1": "WAVE-LOG", "CUNIT1": "Angstrom"}, 10.0),
        ({"CRVAL1": LOG, "CDELT1": 1e-6}, 10.0),
        ({"CRVAL1": LOG, "CDELT1": 1e-6, "CUNIT1": "Angstrom"}, 10.0),
        ({"CRVAL1": LOG - 1.0, "CDELT1": 1e-6, "CUNIT1": "log(nm)"}, 10.0),
        ({"CRVAL1": np.log(6110.0), "CDELT1": 1e-6}, np.e),
        ({"CRVAL1": 6110.0, "CDELT1": 6.11e-3, "CTYPE1": "AWAV-LOG"}, np.e),
        ({"CRVAL1": 6.11e-7, "CDELT1": 6.11e-13, "CTYPE1": "WAVE-LOG", "CUNIT1": "m"}, np.e),
    ],
)
def test_logarithmic_wavelengths(tmp_path, cards, power):
    path = image_of(tmp_path / "i.fits", FLUX, cards)
    air = cards.get("CTYPE1") == "AWAV-LOG"
    vacuum = cards.get("CTYPE1") == "WAVE-LOG"
    found = read_spectrum(path, None if air or vacuum else "vacuum")
    wanted = 6110.0 * power ** (1e-6 * np.arange(401))
    np.testing.assert_allclose(
        found.wavelength, air_to_vacuum(wanted) if air else wanted, rtol=1e-10
    )


def test_a_type_that_is_no_code_of_the_standard_states_no_medium(tmp_path):
    for kind in ("WAVELENGTH", "LAMBDA", "WAVE-LENGTH", "AWAVELENGTH", "Wavelength"):
        path = image_of(tmp_path / "i.fits", FLUX, {**LINEAR, "CTYPE1": kind})
        with pytest.raises(SpectrumError, match="states no medium"):
            read_spectrum(path)


@pytest.mark.parametrize(
    "data",
    [
        FLUX[None],
        FLUX[None, None],
        FLUX.astype(">f8"),
        np.stack([FLUX, ERROR]),
        np.stack([FLUX, 0.05 + 0.0 * FLUX, ERROR]),
        np.stack([FLUX, 0.9 * FLUX, 0.1 * FLUX, ERROR])[:, None],
    ],
)
def test_shapes(tmp_path, data):
    noise = ERROR * np.random.default_rng(1).normal(size=401)
    with_errors = data.shape[0] in (2, 3, 4)
    if with_errors:
        data = data.copy()
        data[(0,) * (data.ndim - 1)] += noise
    found = read_spectrum(image_of(tmp_path / "i.fits", data, LINEAR), "vacuum")
    np.testing.assert_allclose(found.flux, FLUX + noise * with_errors, rtol=1e-12)
    np.testing.assert_allclose(found.wavelength, WAVE, rtol=1e-12)
    assert (found.error is not None) == with_errors
    if with_errors:
        np.testing.assert_array_equal(found.error, ERROR)


def test_errors_in_a_row_beside_a_flux_without_noise(tmp_path):
    smooth = 1.0 - 0.5 * np.exp(-(((WAVE - 6120.0) / 2.0) ** 2))
    path = image_of(tmp_path / "i.fits", np.stack([smooth, ERROR]), LINEAR)
    found = read_spectrum(path, "vacuum")
    np.testing.assert_array_equal(found.flux, smooth)
    np.testing.assert_array_equal(found.error, ERROR)


def test_blank_integers_and_descending_axes(tmp_path):
    counts = np.rint(1000.0 * FLUX).astype(np.int16)[::-1].copy()
    counts[MASK[::-1]] = -32768
    cards = {"CRVAL1": 6130.0, "CDELT1": -0.05, "BLANK": -32768}
    found = read_spectrum(image_of(tmp_path / "i.fits", counts, cards), "vacuum")
    np.testing.assert_allclose(found.wavelength, WAVE, rtol=1e-12)
    np.testing.assert_array_equal(found.mask, MASK)
    np.testing.assert_allclose(found.flux[~MASK], 1000.0 * FLUX[~MASK], atol=0.5)


@pytest.mark.parametrize("turned", [False, True])
def test_rows_of_wavelength_flux_and_errors(tmp_path, turned):
    noisy = FLUX + ERROR * np.random.default_rng(1).normal(size=401)
    data = np.stack([WAVE, noisy, ERROR])
    path = image_of(tmp_path / "i.fits", data.T if turned else data)
    found = read_spectrum(path, "vacuum")
    np.testing.assert_array_equal(found.wavelength, WAVE)
    np.testing.assert_array_equal(found.flux, noisy)
    np.testing.assert_array_equal(found.error, ERROR)
    assert "errors, by its size" in found.meta["guessed"][0]


def test_bands_are_named_by_the_header(tmp_path):
    cards = {**LINEAR, "BANDID1": "spectrum - weights variance", "BANDID2": "sigma - weights none"}
    data = np.stack([FLUX, ERROR])[:, None]
    found = read_spectrum(image_of(tmp_path / "i.fits", data, cards), "vacuum")
    np.testing.assert_array_equal(found.error, ERROR)


def test_images_of_several_stars_and_of_no_wavelength_are_refused(tmp_path):
    stars = np.stack([FLUX, 2.0 * FLUX, 3.0 * FLUX])
    with pytest.raises(SpectrumError, match="has 3 spectra at the same wavelengths"):
        read_spectrum(image_of(tmp_path / "i.fits", stars, LINEAR), "vacuum")
    for cards in ({**LINEAR, "DC-FLAG": -1}, {**LINEAR, "CTYPE1": "VELO-LSR"}):
        path = image_of(tmp_path / "i.fits", FLUX, cards)
        with SpectrumFile(path) as file:
            assert not FITS_IMAGE.matches(file)


def test_wavelengths_in_an_image(tmp_path):
    planes = {"WAVELENGTH": np.stack(in_orders(WAVE[:-1])[:1] * 2), "IVAR": np.full((2, 220), 4.0)}
    planes["WAVELENGTH"][1] += 10.0
    path = image_of(tmp_path / "i.fits", np.ones((2, 220)), **planes)
    found = read_spectrum(path, "vacuum")
    assert len(found) == 440
    np.testing.assert_array_equal(found.error, 0.5)
    np.testing.assert_array_equal(np.bincount(found.order), [220, 220])


# --- IRAF ------------------------------------------------------------------------------------


def dispersed(function, rows=1, cut=68, **cards):
    header = fits.Header({"WAT0_001": "system=multispec", "WAT1_001": "units=Angstroms", **cards})
    text = f'wtype=multispec spec1 = "1 1 {function}"'
    for i in range(0, len(text), cut):
        header[f"WAT2_{i // cut + 1:03d}"] = text[i : i + cut]
    return dispersions(fits.Header.fromstring(header.tostring()), rows, 50).wavelength[0]


PIXEL = np.arange(50) + 1.0
X = (2.0 * PIXEL - 51.0) / 49.0


@pytest.mark.parametrize("cut", [68, 67, 20])
@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        ("0 5000. 0.1 50 0. 1 2", 5000.0 + 0.1 * (PIXEL - 1.0)),
        ("0 5000. 0.1 50 0.001 1 2", (5000.0 + 0.1 * (PIXEL - 1.0)) / 1.001),
        ("1 3.7 1e-5 50 0.001 1 2", 10.0 ** (3.7 + 1e-5 * (PIXEL - 1.0)) / 1.001),
        (
            "2 5000 0.1 50 0. 1 2 1. 0. 2 4 1. 50. 5000. 10. 0.2 0.03",
            5000.0 + 10.0 * X + 0.1 * (3 * X**2 - 1) + 0.015 * (5 * X**3 - 3 * X),
        ),
        (
            "2 5000 0.1 50 0. 1 2 1. 3. 1 4 1. 50. 5000. 10. 0.2 0.03",
            5003.0 + 10.0 * X + 0.2 * (2 * X**2 - 1) + 0.03 * (4 * X**3 - 3 * X),
        ),
        (
            "2 5000 0.1 50 0. 1 2 3. 0. 1 1 1. 50. 5000. 1. 0. 2 2 1. 50. 6000. 4.",
            5250.0 + X,
        ),
        ("2 5000 0.1 50 0. 1 2 1. 0. 4 2 1. 50. 5000. 5010. 5030.", None),
        ("2 5000 0.1 50 0. 1 2 1. 0. 3 1 1. 50. 0. 1. 2. 3.", 6.0 + 3.0 * (X + 1.0)),
        ("2 5000 0.1 50 0. 1 2 1. 0. 6 2 1. 5000. 50. 5049.", 4999.0 + PIXEL),
    ],
)
def test_dispersion_functions(function, wanted, cut):
    if wanted is None:
        wanted = np.interp(PIXEL, [1.0, 25.5, 50.0], [5000.0, 5010.0, 5030.0])
    np.testing.assert_allclose(dispersed(function, cut=cut), wanted, rtol=1e-12)


def test_an_image_section_is_in_physical_pixels():
    found = dispersed("0 5000. 0.1 150 0. 1 2", LTV1=-10.0, LTM1_1=0.5)
    np.testing.assert_allclose(found, 5000.0 + 0.1 * (2.0 * (PIXEL + 10.0) - 1.0), rtol=1e-12)


def test_a_row_without_a_dispersion_function_is_refused():
    with pytest.raises(ValueError, match="row 2 has no dispersion function"):
        dispersed("0 5000. 0.1 50 0. 1 2", rows=2)
