"""Spectra that are given to the dashboard: read, refused by size, and harmless."""

from __future__ import annotations

import zipfile
from base64 import b64encode
from io import BytesIO

import numpy as np
import pytest

from blase3d.errors import Blase3dError, SpectrumError
from blase3d.spectra.formats import write_spectrum
from blase3d.spectra.spectrum import Spectrum
from blase3d.views.dashboard.uploads import decoded, read_upload, too_large


def file_of(tmp_path, ending, medium="vacuum"):
    wavelength = np.linspace(8490.0, 8510.0, 500)
    path = tmp_path / f"star{ending}"
    write_spectrum(Spectrum(wavelength, np.ones(500)), path)
    content = path.read_bytes()
    return content if medium else content.replace(b"medium: vacuum", b"nothing: x")


@pytest.mark.parametrize("ending", [".npz", ".ecsv", ".csv", ".fits"])
def test_spectra_are_read_from_bytes(tmp_path, ending):
    assert len(read_upload(f"star{ending}", file_of(tmp_path, ending))) == 500


def bomb():
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("wavelength.npy", b"\0" * 3_000_000)
    return packed.getvalue()


def claims(shape):
    """An .npz whose array says that it is larger than it is."""
    header = BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("wavelength.npy", header.getvalue() + b"\0" * 64)
    return packed.getvalue()


HOSTILE = {
    "empty.npz": b"",
    "noise.npz": bytes(range(256)) * 40,
    "noise.fits": b"SIMPLE  =" + bytes(range(256)) * 40,
    "noise.csv": bytes(range(256)) * 40,
    "words.csv": b"wavelength,flux\n<script>alert(1)</script>,2\n",
    "header.ecsv": b"# %ECSV 1.0\n# ---\n# datatype: !!python/object/apply:os.system ['x']\na b\n",
    "packed.fits": b"\x1f\x8b" + b"\0" * 100,
    "huge.npz": claims((10**15,)),
    "negative.npz": claims((-5,)),
    "picture.png": b"\x89PNG",
    "../../etc/passwd": b"root",
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_damaged_files_give_one_sentence(name):
    with pytest.raises(Blase3dError) as caught:
        read_upload(name, HOSTILE[name])
    said = str(caught.value)
    assert "\n" not in said
    assert "Traceback" not in said
    assert "blase3d-" not in said  # nothing of the folder that it was read from
    assert said.endswith(".")
    assert name.split("/")[-1] in said


def test_files_over_the_stated_size_are_refused(tmp_path):
    content = file_of(tmp_path, ".csv")
    with pytest.raises(SpectrumError, match="at the most"):
        read_upload("star.csv", content, largest=len(content) - 1)
    assert len(read_upload("star.csv", content, largest=len(content))) == 500
    sent = {"name": ["star.csv"], "content": [b64encode(content).decode()], "medium": [""]}
    assert decoded(sent) == ("star.csv", content, None)
    with pytest.raises(SpectrumError, match="at the most"):
        decoded(sent, largest=len(content) - 10)
    with pytest.raises(SpectrumError, match="unpacks to"):
        read_upload("star.npz", bomb(), largest=300_000)
    assert "64 MB" in str(too_large("star.csv", 10**9, 64_000_000))


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"name": [], "content": [], "medium": []},
        {"name": ["a.csv"], "content": ["%%%"], "medium": [""]},
        {"name": 3, "content": 4, "medium": 5},
    ],
)
def test_what_is_no_file_is_refused(sent):
    with pytest.raises(SpectrumError):
        decoded(sent)


def test_the_medium_is_asked_for(tmp_path):
    content = file_of(tmp_path, ".csv", medium=None)
    with pytest.raises(SpectrumError, match=r"star\.csv does not state .* choose one above"):
        read_upload("star.csv", content)
    air = read_upload("star.csv", content, "air")
    assert air.wavelength[0] > read_upload("star.csv", content, "vacuum").wavelength[0] + 2.0
