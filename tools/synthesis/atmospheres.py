"""MARCS atmospheres: those of the package, and those interpolated between them.

The models are the solar-scaled MARCS models that were computed for APOGEE (Gustafsson et al. 2008;
Jönsson et al. 2020). Models whose file name ends in `.filled` are copies of neighbours, and are
left out.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPACING = (250.0, 0.5, 0.25)
"""Spacing of the models in Teff (K), log g and [M/H] that is used for interpolation."""
DEPTHS = 56
"""Depth points of a MARCS model."""
LOGARITHMIC = [3, 4]
"""Columns of a structure that are interpolated as logarithms: electron and gas pressure."""

Structure = NDArray[np.float64]
"""(D, 5): lg tau(5000 Å), depth (cm), temperature (K), electron and gas pressure (dyn/cm²)."""
Node = tuple[float, float, float]
"""Teff (K), log g (dex of cm/s²), [M/H]."""
Cell = list[tuple[Node, float]]
"""Nodes and their weights."""
Key = tuple[int, int, int]
"""Teff (K), 100 log g, 100 [M/H]."""


def key_of(teff: float, logg: float, feh: float) -> Key:
    return round(teff), round(100 * logg), round(100 * feh)


@dataclass(frozen=True)
class Atmospheres:
    """Structures of all models by their key."""

    structures: Mapping[Key, Structure]

    def at(self, teff: float, logg: float, feh: float) -> Structure | None:
        """Return the structure at these labels; None where a model that it needs is missing.

        Between models, the neighbours (up to eight) are interpolated linearly at fixed Rosseland
        depth, the pressures in their logarithm. A single missing model is the mean of its
        neighbours on both sides in [M/H], Teff or log g, in this order.
        """
        cell = corners((teff, logg, feh))
        if len(cell) == 1 and not self.has(teff, logg, feh):
            cell = self._neighbours(teff, logg, feh)
        if not cell or not all(self.has(*node) for node, _ in cell):
            return None
        total = np.zeros((DEPTHS, 5))
        for node, weight in cell:
            total += weight * _scaled(self.structures[key_of(*node)], np.log)
        return _scaled(total, np.exp)

    def has(self, teff: float, logg: float, feh: float) -> bool:
        """Whether there is a model at these labels."""
        return key_of(teff, logg, feh) in self.structures

    def replaced(self, teff: float, logg: float, feh: float) -> bool:
        """Whether a missing model is replaced by the mean of its neighbours."""
        return not self.has(teff, logg, feh) and bool(self._neighbours(teff, logg, feh))

    def _neighbours(self, *labels: float) -> Cell:
        for axis in (2, 0, 1):
            below, above = list(labels), list(labels)
            below[axis] -= SPACING[axis]
            above[axis] += SPACING[axis]
            if self.has(*below) and self.has(*above):
                return [((t, g, z), 0.5) for t, g, z in (below, above)]
        return []


def _scaled(structure: Structure, function: np.ufunc) -> Structure:
    scaled = structure.copy()
    scaled[:, LOGARITHMIC] = function(scaled[:, LOGARITHMIC])
    return scaled


def corners(labels: Node, spacing: Node = SPACING) -> Cell:
    """Return the corners of the cell around some labels, and their weights (sum 1)."""
    sides = [_bracket(x, step) for x, step in zip(labels, spacing, strict=True)]
    return [((t, g, z), wt * wg * wz) for (t, wt), (g, wg), (z, wz) in product(*sides)]


def _bracket(x: float, step: float) -> list[tuple[float, float]]:
    lower = float(np.floor(x / step + 1e-9)) * step
    weight = (x - lower) / step
    if weight < 1e-9:
        return [(lower, 1.0)]
    return [(lower, 1.0 - weight), (lower + step, weight)]


def model_text(structure: Structure) -> str:
    """Return a structure as the lines of a MARCS file that babsma reads."""
    rows = "".join(
        f"{k:3d} 0.0 {tau:9.5f} {depth:12.5E} {t:9.3f} {pe:13.6E} {pg:13.6E} 0.0 0.0\n"
        for k, (tau, depth, t, pe, pg) in enumerate(structure, start=1)
    )
    return (
        "plane-parallel\n  1.0000E+00 Radius [cm]\n"
        f"{len(structure):4d} Number of depth points\nModel structure\nk\n{rows}"
    )


def load_atmospheres(package: Path, cache: Path) -> Atmospheres:
    """Read the atmospheres of the package, by way of a smaller file in the cache."""
    if not cache.is_file():
        partial = cache.with_suffix(".partial.npz")
        keys, structures = zip(*_read(package), strict=True)
        np.savez(partial, keys=np.array(keys), structures=np.array(structures))
        partial.rename(cache)
    with np.load(cache, allow_pickle=False) as arrays:
        keys, structures = arrays["keys"], arrays["structures"]
    return Atmospheres({tuple(k): s for k, s in zip(keys.tolist(), structures, strict=True)})


def _read(package: Path) -> Iterator[tuple[Key, Structure]]:
    from astropy.io import fits

    folder = package / "roland" / "atmos"
    with gzip.open(folder / "marcs_data.txt.gz", "rt") as text:
        for row in fits.getdata(folder / "marcs_index.fits"):
            lines = list(islice(text, int(row["nlines"])))
            if str(row["filename"]).strip().endswith(".mod") and row["alpha"] == 0:
                structure = parse(lines)
                if len(structure) == DEPTHS:
                    yield key_of(row["teff"], row["logg"], row["metal"]), structure


def parse(lines: Iterable[str]) -> Structure:
    """Read the structure from the lines of a MARCS file."""
    lines = list(lines)
    start = next(i for i, line in enumerate(lines) if line.startswith("Model structure"))
    depths = int(lines[start - 1].split()[0])
    table = np.array([line.split() for line in lines[start + 2 : start + 2 + depths]], float)
    return table[:, [2, 3, 4, 5, 6]]
