"""Columns, units and metadata of the files that blase3D writes."""

from __future__ import annotations

from typing import Any

from astropy import units
from numpy.typing import NDArray

from ...runtime.files import plain
from ..spectrum import Spectrum
from . import quantities

COLUMNS = ("wavelength", "flux", "error", "mask", "continuum", "order", "pixel_resolution")
"""Names of columns in files, and of the fields of `Spectrum`."""
FORMAT = "blase3d-spectrum"
VERSION = 2
"""Version of the files that are written. Files of others state none, and are read too."""


def stated_unit(spectrum: Spectrum) -> units.UnitBase | None:
    """Return the unit of the flux, as `meta["flux_unit"]` states it; None if it is not known."""
    stated = spectrum.meta.get("flux_unit")
    # libraries add "at the stellar surface"
    return None if stated is None else quantities.flux_unit(str(stated).split(" at ")[0])


def units_of(spectrum: Spectrum) -> dict[str, units.UnitBase]:
    """Return the units of the columns of a file of this spectrum.

    A flux that is relative, or of unknown unit, is in adu: without a unit, specutils does not
    recognise it.
    """
    flux = stated_unit(spectrum)
    if flux is None or flux == units.one:
        flux = units.adu
    return {"wavelength": units.AA, "flux": flux, "error": flux, "continuum": flux}


def columns_of(spectrum: Spectrum) -> dict[str, NDArray[Any]]:
    """Return the columns of a file of this spectrum."""
    columns = {name: getattr(spectrum, name) for name in COLUMNS}
    return {name: values for name, values in columns.items() if values is not None}


def meta_of(spectrum: Spectrum) -> dict[str, Any]:
    """Return the metadata of a file of this spectrum, as plain values."""
    stated: dict[str, object] = {"medium": "vacuum", "wavelength_unit": "Angstrom"}
    stated |= {"format": FORMAT, "version": VERSION}
    if spectrum.resolution is not None:
        stated["resolution"] = spectrum.resolution
    return dict(plain({**spectrum.meta, **stated}))
