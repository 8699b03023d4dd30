"""`blase3d spectrum`: what was understood, what was guessed, and a picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits

WAVE = np.linspace(6110.0, 6130.0, 201)
FLUX = 1.0 - 0.5 * np.exp(-(((WAVE - 6120.0) / 0.3) ** 2))


@pytest.fixture
def star(tmp_path):
    path = tmp_path / "star.dat"
    lines = (f"{w / 10} {f} 0.01\n" for w, f in zip(WAVE, FLUX, strict=True))
    path.write_text("# object: HD [red]1\n# resolution: 48000\n" + "".join(lines))
    return path


def test_the_content_is_shown(run, star):
    done = run("spectrum", star, "--medium", "air")
    assert done.status == 0
    shown = {line.split("  ")[0].strip(): line for line in done.out.splitlines()}
    assert "201, 0 masked" in shown["pixels"]
    assert "6111.69 to 6131.70 Å in vacuum" in shown["wavelength"]
    assert "air" in shown["medium"]
    assert "48000" in shown["resolution"]
    assert "nm" in shown["unit"]
    assert "HD [red]1" in shown["object"]
    assert "column 3 was taken for the error" in done.out
    assert "without a unit were taken for nm" in done.out


def test_a_medium_that_is_not_stated_is_asked_for(run, star):
    done = run("spectrum", star)
    assert done.status == 0
    assert "medium      not stated; give --medium air or --medium vacuum" in done.out
    (row,) = json.loads(run("spectrum", star, "--json").out)
    assert row["medium"] is None
    assert row["wavelength"] == pytest.approx([6110.0, 6130.0])
    assert row["snr"] == pytest.approx(100.0, rel=0.01)
    assert row["columns"]["error"] == "column 3"


def test_one_bad_file_stops_no_other(run, star, tmp_path):
    (tmp_path / "bad.csv").write_text("nothing\n")
    done = run("spectrum", tmp_path / "absent", tmp_path / "bad.csv", star, "--json")
    assert done.status == 1
    rows = json.loads(done.out)
    assert [sorted(row)[:1] for row in rows[:2]] == [["error"], ["error"]]
    assert "there is no file" in rows[0]["error"]
    assert rows[2]["reader"] == "text"
    done = run("spectrum", tmp_path / "bad.csv", star)
    assert done.status == 1
    assert "bad.csv cannot be read as a table" in done.err
    assert "201, 0 masked" in done.out


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_spectra_are_drawn(run, star, tmp_path, ending):
    picture = tmp_path / f"star.{ending}"
    assert run("spectrum", star, star, "-o", picture).status == 0
    head = {"png": b"\x89PNG", "svg": b"<?xml"}[ending]
    assert picture.read_bytes().startswith(head)


def test_a_picture_has_its_ending(run, star, tmp_path):
    done = run("spectrum", star, "-o", tmp_path / "star.txt")
    assert done.status == 1
    assert "expected one of .png, .svg, .pdf" in done.err


def test_columns_and_unit_are_given(run, tmp_path):
    path = tmp_path / "star.csv"
    lines = (f"{f},{w / 10}\n" for w, f in zip(WAVE, FLUX, strict=True))
    path.write_text("a,b\n" + "".join(lines))
    words = ("--columns", "wavelength=b,flux=1", "--unit", "nm", "--json")
    (row,) = json.loads(run("spectrum", path, *words).out)
    assert row["columns"] == {"wavelength": "b", "flux": "a"}
    assert row["unit"] == "nm"
    done = run("spectrum", path, "--columns", "b", "--unit", "nm")
    assert done.status == 1
    assert "expected NAME=VALUE" in done.err


def test_wavelengths_are_in_another_file(run, tmp_path):
    orders = np.stack([WAVE, WAVE + 15.0])
    fits.PrimaryHDU(np.stack([FLUX, FLUX])).writeto(tmp_path / "flux.fits")
    (tmp_path / "solution").mkdir()
    fits.PrimaryHDU(orders).writeto(tmp_path / "solution" / "w.fits")
    options = ("--medium", "vacuum", "--json")
    refused = run("spectrum", tmp_path / "flux.fits", *options)
    assert refused.status == 1
    assert "--wavelengths FILE" in refused.out
    named = ("--wavelengths", tmp_path / "solution" / "w.fits")
    (row,) = json.loads(run("spectrum", tmp_path / "flux.fits", *options, *named).out)
    assert row["orders"] == 2
    assert row["wavelength"] == pytest.approx([6110.0, 6145.0])
