"""Files of any program: tables and images with usual names, and the files of blase3D."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from astropy.io import fits
from tests.spectra.formats.truth import AIR, ERROR, FLUX, IVAR, MASK, WAVE, expected

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import SpectrumFile, read_spectrum


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


def packed_table(folder):
    path, options, found = table(folder)
    packed = folder / "star.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed, options, found


def image(folder):
    cards = {"CRVAL1": 611.0, "CDELT1": 0.005, "CUNIT1": "NM", "CTYPE1": "WAVE"}
    hdus = [fits.PrimaryHDU(FLUX, fits.Header(cards)), fits.ImageHDU(ERROR, name="ERRS")]
    fits.HDUList(hdus).writeto(folder / "star.fit")
    none = np.zeros(401, bool)
    return folder / "star.fit", {}, expected("fits-image", mask=none)


SAMPLES = {
    "npz": npz,
    "csv": csv,
    "fits table": table,
    "fits table, gzip": packed_table,
    "fits image": image,
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
        (gzip.compress(b"1 2"), "1 2"),
    ],
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
