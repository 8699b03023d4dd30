"""The contract of all spectrum readers, on one small file of each format (`samples.py`)."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from tests.spectra.formats.samples import SAMPLES

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import READERS, SpectrumFile, read_spectrum

pytestmark = pytest.mark.lowest

WITHOUT = {"specutils"}
"""Readers without a sample here: HPF has tests of its own."""
TEXTS = {"text", "gaia-rvs"}
"""Readers of texts, of which the beginning is a shorter text."""


@pytest.fixture(params=sorted(SAMPLES))
def sample(request, tmp_path):
    return SAMPLES[request.param](tmp_path)


def test_every_reader_has_a_sample(tmp_path):
    found = set()
    for name, write in SAMPLES.items():
        (tmp_path / name).mkdir()
        found.add(write(tmp_path / name)[2]["reader"])
    assert found == {reader.name for reader in (*READERS.members, *READERS.fallback)} - WITHOUT


def test_a_file_has_one_reader(sample):
    path, _, expected = sample
    with SpectrumFile(path) as file:
        assert READERS.choose(file, path).name == expected["reader"]
        specific = [reader.name for reader in READERS.members if reader.matches(file)]
    assert set(specific) <= {expected["reader"]}


def test_the_spectrum_is_read(sample):
    path, options, expected = sample
    found = read_spectrum(path, **options)
    names = ("wavelength", "flux", "error", "mask", "order")
    got, wanted = ({name: part[name] for name in names} for part in (vars(found), expected))
    for part in (got, wanted):
        order = np.zeros(len(part["wavelength"])) if part["order"] is None else part["order"]
        by = np.lexsort((part["wavelength"], order))
        part |= {name: values[by] for name, values in part.items() if values is not None}
    assert got["mask"].tolist() == wanted["mask"].tolist()
    good = ~got["mask"]
    np.testing.assert_allclose(got["wavelength"], wanted["wavelength"], rtol=1e-7)
    np.testing.assert_allclose(got["flux"][good], wanted["flux"][good], rtol=1e-5)
    for name in ("error", "order"):
        assert (got[name] is None) == (wanted[name] is None)
        if got[name] is not None:
            np.testing.assert_allclose(got[name][good], wanted[name][good], rtol=1e-5)
    assert found.resolution == pytest.approx(expected["resolution"])


def test_medium_and_metadata_are_kept(sample):
    path, options, expected = sample
    meta = read_spectrum(path, **options).meta
    assert meta["medium"] == "vacuum"
    assert meta.get("converted_from") == ("air" if expected["medium"] == "air" else None)
    assert meta.get("reader", expected["reader"]) == expected["reader"]
    assert json.loads(json.dumps(meta)) == meta  # plain values
    assert {key: meta.get(key) for key in expected["meta"]} == expected["meta"]


def test_a_medium_that_is_not_stated_is_asked_for(sample):
    path, options, expected = sample
    if expected["likely"]:
        assert "states no medium" in " ".join(read_spectrum(path).meta["guessed"])
    elif "medium" in options:
        with pytest.raises(SpectrumError, match="states no medium"):
            read_spectrum(path, **{**options, "medium": None})
    else:
        other = {"air": "vacuum", "vacuum": "air"}[_medium(read_spectrum(path, **options).meta)]
        with pytest.warns(UserWarning, match=f"{other} is not used"):
            found = read_spectrum(path, other, **options)
        np.testing.assert_array_equal(found.wavelength, read_spectrum(path, **options).wavelength)


def _medium(meta):
    return meta.get("converted_from", "vacuum")


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6])
def test_a_file_cut_short_is_refused_in_one_sentence(sample, keep):
    path, options, expected = sample
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    if expected["reader"] in TEXTS and keep:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shorter = _read_or_refused(path, options)
        assert shorter is None or len(shorter) < len(expected["wavelength"])
        return
    with pytest.raises(SpectrumError, match=path.name) as caught:
        read_spectrum(path, **options)
    assert "\n" not in str(caught.value)


def _read_or_refused(path, options):
    """The spectrum in a shorter text, which may be sound, or None if it is refused."""
    try:
        return read_spectrum(path, **options)
    except SpectrumError:
        return None


def test_another_file_under_the_name_is_refused_in_one_sentence(sample):
    path, options, _ = sample
    for content in (b"\x00\xff nothing of the kind\n1 2", b"<html>Log in!</html>", os.urandom(99)):
        path.write_bytes(content)
        with pytest.raises(SpectrumError, match=path.name) as caught:
            read_spectrum(path, **options)
        assert "\n" not in str(caught.value)


class _Harmful:
    """Content that makes a folder when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_nothing_is_unpickled(tmp_path, sample):
    import pickle

    path, options, _ = sample
    path.write_bytes(pickle.dumps(_Harmful(tmp_path / "mark")))
    with pytest.raises(SpectrumError, match=path.name):
        read_spectrum(path, **options)
    assert not (tmp_path / "mark").exists()
