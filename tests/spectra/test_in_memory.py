"""Spectra of specutils and astropy tables become ours and back, with every unit converted."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import (
    InverseVariance,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.table import QTable, Table
from astropy.utils.masked import Masked

import blase3d as b3
from blase3d.runtime.units import air_to_vacuum
from blase3d.spectra.formats.in_memory import as_spectrum

WAVELENGTH = np.linspace(500.0, 510.0, 101)
"""nm"""
FLUX = 1.0 + 0.1 * np.sin(WAVELENGTH)
FIELDS = (
    *("wavelength", "flux", "error", "mask", "continuum", "order", "pixel_resolution"),
    "resolution",
)


def full_spectrum():
    """A spectrum with every field."""
    return b3.Spectrum(
        WAVELENGTH * 10,
        FLUX,
        error=0.01 * FLUX,
        mask=WAVELENGTH < 502,
        continuum=2 * FLUX,
        order=np.arange(101) // 51,
        pixel_resolution=np.linspace(1e4, 2e4, 101),
        meta={"flux_unit": "erg / (s cm2 Angstrom)", "object": "a star"},
    )


def assert_equal(found, expected):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)


# --- units of Spectrum --------------------------------------------------------------------------


def test_quantities_are_converted():
    spectrum = b3.Spectrum(
        WAVELENGTH * u.nm, FLUX * u.Jy, error=10 * FLUX * u.mJy, resolution=5e4 * u.one
    )
    np.testing.assert_allclose(spectrum.wavelength, WAVELENGTH * 10)
    np.testing.assert_allclose(spectrum.error, 0.01 * FLUX)
    assert spectrum.meta["flux_unit"] == "Jy"
    assert spectrum.resolution == 5e4


def test_frequencies_and_masked_columns_are_converted():
    frequency = (WAVELENGTH[::-1] * u.nm).to(u.THz, u.spectral())
    spectrum = b3.Spectrum(frequency[::-1], FLUX)
    np.testing.assert_allclose(spectrum.wavelength, WAVELENGTH * 10)
    masked = Masked(FLUX * u.Jy, mask=WAVELENGTH > 509)
    assert b3.Spectrum(WAVELENGTH * u.nm, masked).n_masked == (WAVELENGTH > 509).sum()
    column = Table({"f": np.ma.array(FLUX, mask=WAVELENGTH > 509)})["f"]
    assert b3.Spectrum(WAVELENGTH * 10, column).n_masked == (WAVELENGTH > 509).sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((WAVELENGTH * u.K, FLUX), "got wavelengths in K, expected Angstrom; convert it."),
        ((WAVELENGTH, FLUX, FLUX * u.Jy), "got the error in Jy, expected no unit; convert it."),
        ((WAVELENGTH, FLUX * u.Jy, FLUX * u.K), "got the error in K, expected Jy; convert it."),
        ((WAVELENGTH, FLUX * u.ABmag), r"got a flux in mag\(AB\), expected a linear unit"),
    ],
)
def test_other_units_are_refused(arguments, message):
    with pytest.raises(b3.InputError, match=message):
        b3.Spectrum(*arguments)


def test_copies_and_pickles_are_equal_and_read_only():
    spectrum = full_spectrum()
    for found in (pickle.loads(pickle.dumps(spectrum)), copy.deepcopy(spectrum)):
        assert_equal(found, spectrum)
        assert found.meta == spectrum.meta
        assert not found.flux.flags.writeable


def test_the_html_names_the_star():
    assert "a star" in full_spectrum()._repr_html_()


# --- astropy tables ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Table, QTable])
def test_a_table_is_a_spectrum(kind):
    table = kind({"wave": WAVELENGTH * u.nm, "flux": FLUX * u.Jy, "flux_err": FLUX * u.mJy})
    found = b3.read_spectrum(table, "air")
    np.testing.assert_allclose(found.wavelength, air_to_vacuum(WAVELENGTH * 10))
    np.testing.assert_allclose(found.error, 1e-3 * FLUX)
    assert found.meta["flux_unit"] == "Jy"
    table.meta["medium"] = "vacuum"
    np.testing.assert_allclose(b3.read_spectrum(table).wavelength, WAVELENGTH * 10)


def test_a_table_without_a_medium_is_asked_for_it():
    with pytest.raises(b3.InputError, match="the table states no medium"):
        b3.read_spectrum(Table({"wavelength": WAVELENGTH, "flux": FLUX}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("star.fits", "got the path star.fits, .* read it with read_spectrum"),
        ([1.0, 2.0], "got a list, .* give its spectra one by one"),
        (FLUX * u.Jy, "got a Quantity, expected a Spectrum"),
        (None, "got a NoneType, expected a Spectrum"),
    ],
)
def test_other_objects_are_refused(given, message):
    with pytest.raises(b3.InputError, match=message):
        as_spectrum(given)


# --- specutils -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def specutils():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("specutils")


def test_there_and_back_is_the_same(specutils):
    spectrum = full_spectrum()
    there = spectrum.to_specutils()
    assert there.flux.unit == u.Unit("erg / (s cm2 Angstrom)")
    assert there.spectral_axis.unit == u.AA
    back = b3.Spectrum.from_specutils(there)
    assert_equal(back, spectrum)
    assert back.meta["object"] == "a star"


@pytest.mark.parametrize(
    "uncertainty",
    [
        StdDevUncertainty(10 * FLUX * u.mJy),
        StdDevUncertainty(0.01 * FLUX),
        VarianceUncertainty((0.01 * FLUX) ** 2 * u.Jy**2),
        InverseVariance((0.01 * FLUX) ** -2 / u.Jy**2),
    ],
)
def test_every_uncertainty_becomes_a_standard_deviation(specutils, uncertainty):
    given = specutils.Spectrum(
        spectral_axis=WAVELENGTH * u.nm,
        flux=FLUX * u.Jy,
        uncertainty=uncertainty,
        meta={"medium": "vacuum"},
    )
    found = b3.Spectrum.from_specutils(given)
    np.testing.assert_allclose(found.error, 0.01 * FLUX)
    np.testing.assert_allclose(found.wavelength, WAVELENGTH * 10)


def test_a_descending_axis_of_frequency_in_air_is_read(specutils):
    axis = (WAVELENGTH * u.nm).to(u.THz, u.spectral())
    given = specutils.Spectrum(spectral_axis=axis, flux=FLUX * u.Jy)
    found = b3.read_spectrum(given, "air")
    np.testing.assert_allclose(found.wavelength, air_to_vacuum(WAVELENGTH * 10))
    np.testing.assert_allclose(found.flux, FLUX)


def test_what_cannot_be_known_is_asked_for(specutils):
    def made(**changes):
        arguments = {"spectral_axis": WAVELENGTH * u.nm, "flux": FLUX * u.Jy, **changes}
        return specutils.Spectrum(**arguments)

    for given, message in (
        (made(), "states no medium"),
        (made(flux=np.ones((2, 101)) * u.Jy), "of shape \\(2, 101\\), expected one spectrum"),
        (made(uncertainty=UnknownUncertainty(FLUX)), "got errors of kind UnknownUncertainty"),
    ):
        with pytest.raises(b3.InputError, match=message):
            b3.Spectrum.from_specutils(given)


@pytest.mark.parametrize("ending", ["fits", "ecsv"])
@pytest.mark.parametrize("unit", ["erg / (s cm2 Angstrom)", None])
def test_specutils_reads_the_files_that_are_written(specutils, tmp_path, ending, unit):
    path = tmp_path / f"star.{ending}"
    spectrum = b3.Spectrum(WAVELENGTH * 10, FLUX, error=0.01 * FLUX, meta={"flux_unit": unit})
    b3.write_spectrum(spectrum, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = specutils.Spectrum.read(str(path))
    np.testing.assert_allclose(found.flux.value, FLUX)
    np.testing.assert_allclose(found.uncertainty.array, 0.01 * FLUX)
    assert found.flux.unit == u.Unit(unit or "adu")
    assert b3.read_spectrum(path).meta["flux_unit"] == unit


def test_specutils_opens_the_formats_of_this_package(specutils, tmp_path):
    path = tmp_path / "star.npz"
    b3.write_spectrum(full_spectrum(), path)
    b3.register_specutils()
    b3.register_specutils()  # a second time changes nothing
    for options in ({}, {"format": "blase3d"}):
        found = specutils.Spectrum.read(str(path), **options)
        assert_equal(b3.Spectrum.from_specutils(found), full_spectrum())
