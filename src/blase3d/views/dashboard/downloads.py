"""What can be taken from the page: spectra and lines, as ECSV."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from astropy import units
from astropy.table import Table

from ...analysis.fisher import LineInformation
from ...model.model import Model
from ...runtime.files import plain
from ...spectra.formats import write_spectrum
from ...spectra.spectrum import Spectrum
from .curves import Floats
from .observed import Observed
from .settings import Settings
from .visible_lines import InView, Names, species_of


def meta_of(model: Model, settings: Settings) -> dict[str, Any]:
    """What files say of how they were made."""
    library = model.meta.get("library", {})
    return dict(plain({"labels": dict(settings.labels), **settings.sight, "library": library}))


def model_file(model: Model, settings: Settings) -> str:
    """The model in the window, on its own pixels."""
    low, high = settings.window
    inside = (model.wavelength >= low) & (model.wavelength <= high)
    wavelength = model.wavelength[inside]
    spectrum = Spectrum(
        wavelength,
        _flux(model, settings, wavelength),
        resolution=settings.sight["resolution"],
        meta=meta_of(model, settings),
    )
    with TemporaryDirectory(prefix="blase3d-") as folder:
        path = Path(folder) / "model.ecsv"
        write_spectrum(spectrum, path)
        return path.read_text(encoding="utf-8")


def star_file(model: Model, settings: Settings, star: Observed) -> str:
    """The observation in the window in units of its continuum, the model there, and what is left.
    It is read back as a spectrum is."""
    low, high = settings.window
    inside = (star.wavelength >= low) & (star.wavelength <= high)
    sort = np.flatnonzero(inside)[np.argsort(star.wavelength[inside], kind="stable")]
    wavelength, flux = star.wavelength[sort], star.flux[sort]
    seen = _flux(model, settings, wavelength)
    meta = {**meta_of(model, settings), "medium": "vacuum", "spectrum": star.name}
    table = Table(
        {
            "wavelength": wavelength * units.AA,
            "flux": flux,
            "model": seen,
            "residual": flux - seen,
        },
        meta=meta,
    )
    if np.unique(star.order).size > 1:
        table["order"] = star.order[sort]
    return _text(table)


def lines_file(
    model: Model,
    settings: Settings,
    lines: InView,
    names: Names,
    found: LineInformation | None,
) -> str:
    """The lines in view, in order of wavelength."""
    sort = np.argsort(lines.seen, kind="stable")
    index, known = lines.index[sort], names.known(settings)
    chosen = lines.lines.take(index)
    table = Table(
        {
            "wavelength": chosen.center * units.AA,
            "observed": lines.seen[sort] * units.AA,
            "reference": chosen.reference * units.AA,
            "depth": lines.depth[sort],
            "area": np.exp(chosen.ln_area.astype(np.float64)) * units.AA,
            "sigma": chosen.sigma.astype(np.float64) * units.AA,
            "gamma": chosen.gamma.astype(np.float64) * units.AA,
            "species": [species_of(known.get(int(i))) for i in index],
        },
        meta={**meta_of(model, settings), "medium": "vacuum"},
    )
    for k, name in enumerate(() if found is None else found.names):
        table[f"share_{name}"] = found.share[index, k]  # type: ignore[union-attr]
    return _text(table)


def _flux(model: Model, settings: Settings, wavelength: Floats) -> Floats:
    """The model as it is set, exactly."""
    sight = settings.sight
    flux = model.flux(
        rv=sight["rv"],
        vsini=sight["vsini"],
        resolution=sight["resolution"],
        wavelength=wavelength,
        residual=True,
        integrate=False,
        **settings.labels,
    )
    return np.asarray(flux, np.float64)


def _text(table: Table) -> str:
    stream = StringIO()
    table.write(stream, format="ascii.ecsv")
    return stream.getvalue()
