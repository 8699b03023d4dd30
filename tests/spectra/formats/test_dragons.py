"""Spectra of DRAGONS, whose exact wavelengths are a gWCS in a table."""

from __future__ import annotations

import functools
import io

import asdf
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.modeling import models
from gwcs import WCS
from gwcs import coordinate_frames as frames
from tests.spectra.formats.truth import ERROR, FLUX, MASK, VARIANCE, expected

from blase3d.errors import SpectrumError
from blase3d.spectra.formats import read_spectrum

STEP = 1e-3
WAVE = 4000.0 * np.exp(STEP * np.arange(401))
"""Å, logarithmic: the middle of the linear approximation is 80 Å off."""
APPROXIMATE = {
    "FITS-WCS": "APPROXIMATE",
    "CTYPE1": "WAVE",
    "CUNIT1": "nm",
    "CRPIX1": 201.0,
    "CRVAL1": WAVE[200] / 10.0,
    "CD1_1": (WAVE[-1] - WAVE[0]) / 4000.0,
}


@functools.cache
def text(axis):
    """The lines of the wavelengths in nm."""
    pixels = frames.CoordinateFrame(
        1, ["SPATIAL"], (0,), unit=[u.pix], axes_names=("x",), name="pixels"
    )
    world = frames.SpectralFrame(axes_order=(0,), unit=u.nm, axes_names=(axis,), name="world")
    model = models.Exponential1D(amplitude=400.0, tau=1.0 / STEP)
    tree = {"wcs": WCS([(pixels, model), (world, None)])}
    buffer = io.BytesIO()
    asdf.AsdfFile(tree).write_to(buffer, all_array_storage="inline")
    return buffer.getvalue().decode("ascii").splitlines()


def exact(version, axis, changed=("", "")):
    """The table with the wavelengths."""
    lines = [line.replace(*changed) for line in text(axis)]
    column = fits.Column("gWCS", f"A{max(map(len, lines))}", array=lines, ascii=True)
    return fits.TableHDU.from_columns([column], name="WCS", ver=version)


def save(path, instrument="GHOST", axis="WAVE", levels=(1.0,)):
    """A spectrum for each level."""
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": instrument, "OBJECT": "HD 1", "TELESCOP": "Gemini-South"})
    hdus = [primary]
    for version, level in enumerate(levels, 1):
        planes = {"SCI": level * FLUX, "VAR": level**2 * VARIANCE, "DQ": 8 * MASK}
        for name, plane in planes.items():
            hdus.append(fits.ImageHDU(plane, fits.Header(APPROXIMATE), name=name, ver=version))
        hdus.append(exact(version, axis))
    fits.HDUList(hdus).writeto(path)
    return path


def ghost(folder):
    """Two stars, of which the second is read."""
    path = save(folder / "S20230416S0079_red001_dragons.fits", levels=(0.1, 1.0))
    meta = {"object": "HD 1", "instrument": "GHOST", "frame": "barycentric"}
    return path, {"source": "2"}, expected("dragons", wavelength=WAVE, meta=meta)


SAMPLES = {"GHOST": ghost}


def test_the_medium_is_known_for_ghost_and_in_air(tmp_path):
    star = read_spectrum(save(tmp_path / "air.fits", "GMOS-S", "AWAV"))
    assert star.meta["converted_from"] == "air"
    with pytest.raises(SpectrumError, match="states no medium"):
        read_spectrum(save(tmp_path / "other.fits", "GNIRS"))


def test_one_of_several_spectra_is_chosen(tmp_path):
    path, options, _ = ghost(tmp_path)
    with pytest.raises(SpectrumError, match=r"has 2 spectra \(1, 2\)"):
        read_spectrum(path)
    star = read_spectrum(path, **options)
    np.testing.assert_allclose(star.error, ERROR)


@pytest.mark.parametrize(
    "amplitude",
    [
        "!!python/object/apply:os.mkdir [{}]",
        "!core/ndarray-1.1.0 {{source: 'file://{}', datatype: float64, shape: [1]}}",
        "{{$ref: 'file://{}'}}",
    ],
)
def test_nothing_is_executed_or_taken_from_elsewhere(tmp_path, amplitude):
    mark = tmp_path / "mark"
    path = save(tmp_path / "star.fits")
    changed = ("amplitude: 400.0", f"amplitude: {amplitude.format(mark)}")
    with fits.open(path, mode="update") as hdus:
        hdus["WCS"] = exact(1, "WAVE", changed)
    with pytest.raises(SpectrumError, match=r"star\.fits"):
        read_spectrum(path)
    assert not mark.exists()


def test_an_approximation_alone_is_refused(tmp_path):
    path = save(tmp_path / "star.fits")
    with fits.open(path, mode="update") as hdus:
        del hdus["WCS"]
    with pytest.raises(SpectrumError, match=r"FITS-WCS.*write1DSpectra"):
        read_spectrum(path)
