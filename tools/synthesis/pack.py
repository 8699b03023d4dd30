"""Grid files of a library: its nodes, and its held-out points beside them.

The form is that of `docs/files.md`: wavelength in vacuum, labels, flux, continuum and meta.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from blase3d.runtime.files import replacing
from blase3d.runtime.units import air_to_vacuum

from .atmospheres import Atmospheres
from .described import RELATIONS, Described, Labels
from .jobs import Batch, Store
from .packages import PACKAGES, PATCHES

CITATIONS = (
    "Plez 2012, ASCL 1205.004 (Turbospectrum)",
    "Alvarez & Plez 1998, A&A 330, 1109 (Turbospectrum)",
    "Gerber et al. 2023, A&A 669, A43 (Turbospectrum 20)",
    "Gustafsson et al. 2008, A&A 486, 951 (MARCS)",
    "Jönsson et al. 2020, AJ 160, 120 (MARCS models of APOGEE)",
    "Heiter et al. 2021, A&A 645, A106 (Gaia-ESO lines)",
    "Placco et al. 2021, RNAAS 5, 92 (linemake)",
    "Barklem & Piskunov 2003, IAU Symp. 210, E28 (hydrogen lines)",
    "Grevesse, Asplund & Sauval 2007, SSRv 130, 105 (solar abundances)",
    "Blanco-Cuaresma et al. 2014, A&A 569, A111 (iSpec: Gaia-ESO relations of microturbulence)",
)
CODE = (
    "Turbospectrum 20.1, LTE, plane-parallel transfer (also on the spherical models of giants); "
    "MARCS atmospheres, solar-scaled; Gaia-ESO atomic lines; no rotation, macroturbulence or "
    "instrument"
)
LICENCE = (
    "computed for this project; Turbospectrum is GPL-3.0 (its output is ours), the MARCS models "
    "and line lists are free to use with citation"
)


def held_out_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}-heldout.npz")


def pack(
    library: Described,
    batches: Sequence[Batch],
    store: Store,
    atmospheres: Atmospheres,
    path: Path,
) -> str:
    """Write the spectra that are done; return one line that says how many of how many."""
    nodes = sorted(x for batch in batches[1:] for x in batch.labels)
    meta = describe(library, nodes, store) | {
        "interpolated_atmospheres": [list(x) for x in nodes if atmospheres.replaced(*x[:3])]
    }
    count = _write(library, nodes, store, path, meta)
    points = batches[0].labels
    meta = describe(library, points, store) | {"content": "held-out points, between the nodes"}
    held = _write(library, points, store, held_out_path(path), meta)
    return f"{path}: {count} of {len(nodes)} nodes; beside it {held} of {len(points)} held-out"


def _write(
    library: Described,
    labels: Sequence[Labels],
    store: Store,
    path: Path,
    meta: dict[str, object],
) -> int:
    done = [x for x in labels if store.spectrum_path(x).exists()]
    if not done:
        return 0
    flux = np.empty((len(done), library.pixels), np.float32)
    continuum = np.empty_like(flux)
    for i, each in enumerate(done):
        normalised, flux[i] = np.load(store.spectrum_path(each), allow_pickle=False)
        continuum[i] = flux[i].astype(np.float64) / normalised
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            wavelength=air_to_vacuum(library.air),
            labels=np.array(done, np.float64),
            label_names=np.array(library.label_names),
            flux=flux,
            continuum=continuum,
            meta=np.array(json.dumps(meta, ensure_ascii=False)),
        )
    return len(done)


def describe(library: Described, labels: Sequence[Labels], store: Store) -> dict[str, object]:
    """Return the meta of a grid file: code, settings, citations, provenance, holes."""
    holes = {x: store.hole(x) for x in labels if store.hole_path(x).exists()}
    waiting = [x for x in labels if not store.done(x)]
    axes = {name: list(values) for name, values in library.axes.items()}
    return {
        "library": f"turbospectrum-marcs-{library.name}",
        "title": library.title,
        "content": "nodes",
        "code": CODE + f"; molecules: {', '.join(library.molecules)}",
        "limits": library.limits,
        "flux_unit": "erg s-1 cm-2 Angstrom-1 at the stellar surface",
        "medium": "vacuum",
        "computed_in_air": [library.low, library.high, library.step],
        "axes": axes,
        "abundances": _abundances(library),
        "microturbulence": "Gaia-ESO relations of dwarfs (log g >= 3.5) and giants (<= 2.5), "
        "blended between them",
        "transitions": {"logg": list(RELATIONS)},
        "citation": list(CITATIONS),
        "licence": LICENCE,
        "provenance": _provenance(library),
        "holes": [{"labels": list(x), "reason": reason} for x, reason in holes.items()],
        "not_computed": [list(x) for x in waiting],
    }


def _abundances(library: Described) -> str:
    solar = "Grevesse et al. 2007 (A(Fe) = 7.45), scaled by [M/H]"
    if "alpha" not in library.axes:
        return solar
    return (
        f"{solar}; [alpha/M] (O, Ne, Mg, Si, S, Ar, Ca, Ti) in the synthesis alone: the "
        "atmospheres have [alpha/M] = 0"
    )


def _provenance(library: Described) -> dict[str, object]:
    return {
        "command": f"python tools/compute_library.py {library.name}",
        "settings": library.settings,
        "packages": [f"{p.name} {p.version} sha256:{p.sha256}" for p in PACKAGES],
        "patches": [f"{p.file}: {p.why}" for p in PATCHES],
    }
