"""The libraries that can be computed: range, step, axes, molecules, microturbulence, order.

To change a library, edit its row. Spectra are kept under a fingerprint of the settings that affect
a spectrum (`Described.settings`), so that spectra of other settings never count as done; axes,
order and held-out points can be changed freely.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np

Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest value of some labels, both included."""
Labels = tuple[float, ...]
"""Teff (K), log g (dex of cm/s²), [M/H] and, where it is an axis, [alpha/M]."""

RELATIONS = (2.5, 3.5)
"""log g up to which the microturbulence is that of giants, and from which on that of dwarfs."""
FORM = 1
"""Form of the synthesis; raised when the code in this folder changes the spectra."""


@dataclass(frozen=True)
class Part:
    """Nodes that are computed together: those within ranges, at every n-th value of some axes."""

    name: str
    ranges: Ranges
    strides: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class HeldOut:
    """Random points between the nodes, for tests of an emulator."""

    count: int
    ranges: Ranges
    seed: int
    alphas: tuple[float, ...] = ()
    """[alpha/M] at which each point is computed, where it is an axis."""


@dataclass(frozen=True)
class Described:
    """A library: the settings of its spectra, its axes, and the order in which it is computed."""

    name: str
    title: str
    low: float
    """First wavelength, Å in air."""
    high: float
    step: float
    """Å; the same over the whole range."""
    axes: Mapping[str, tuple[float, ...]]
    hydrogen: int
    """Lower level of the hydrogen lines: 2 Balmer, 3 Paschen."""
    molecules: tuple[str, ...]
    """Names in `linelists.MOLECULES`."""
    held_out: tuple[HeldOut, ...]
    parts: tuple[Part, ...]
    """Computed in this order after the held-out points; all other nodes follow."""
    limits: str
    """Where the spectra should not be believed."""

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(self.axes)

    @property
    def pixels(self) -> int:
        return round((self.high - self.low) / self.step) + 1

    @property
    def air(self) -> np.ndarray:
        """(P,) wavelengths in air, Å."""
        return self.low + self.step * np.arange(self.pixels)

    @property
    def settings(self) -> dict[str, object]:
        """All settings that affect a single spectrum."""
        return {
            "form": FORM,
            "air_range": [self.low, self.high],
            "step": self.step,
            "hydrogen": self.hydrogen,
            "molecules": list(self.molecules),
        }

    @property
    def fingerprint(self) -> str:
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def nodes(self, part: Part | None = None) -> list[Labels]:
        """All nodes, or those of a part, the last label varying fastest."""
        return list(product(*(_chosen(name, axis, part) for name, axis in self.axes.items())))


def _chosen(name: str, axis: tuple[float, ...], part: Part | None) -> list[float]:
    if part is None:
        return list(axis)
    low, high = part.ranges.get(name, (-np.inf, np.inf))
    return [x for x in axis if low <= x <= high][:: part.strides.get(name, 1)]


def steps(low: float, high: float, step: float) -> tuple[float, ...]:
    """Values from `low` to `high`, both included, free of rounding noise."""
    count = round((high - low) / step) + 1
    return tuple(round(low + i * step, 6) for i in range(count))


def microturbulence(teff: float, logg: float, feh: float) -> float:
    """Return the microturbulence in km/s.

    Two relations of M. Bergemann for the Gaia-ESO survey, of dwarfs and subgiants (log g >= 3.5)
    and of giants, as published in iSpec (Blanco-Cuaresma et al. 2014, A&A 569, A111). They differ
    by up to 0.9 km/s where they meet. Here they are blended from log g 3.5 (dwarfs) to 2.5
    (giants), so that the spectra are a smooth function of the labels. Above 7000 K the relation of
    giants keeps its value at 7000 K; below 5000 K that of dwarfs keeps its value at 5000 K.
    """
    common = -0.14 * (logg - 4) - 0.005 * (logg - 4) ** 2 + 0.05 * feh + 0.01 * feh**2
    hot = max(teff, 5000.0) - 5500.0
    dwarf = 1.05 + 2.51e-4 * hot + 1.5e-7 * hot**2
    cool = min(teff, 7000.0) - 5500.0
    giant = 1.25 + 4.01e-4 * cool + 3.1e-7 * cool**2
    giants, dwarfs = RELATIONS
    x = min(max((dwarfs - logg) / (dwarfs - giants), 0.0), 1.0)
    return dwarf + (giant - dwarf) * x**2 * (3 - 2 * x) + common


RVS = Described(
    name="rvs",
    title="window of Gaia's Radial Velocity Spectrometer",
    low=8430.0,
    high=8730.0,
    step=0.02,
    axes={
        "teff": steps(3500, 8000, 250),
        "logg": steps(0, 5, 0.5),
        "feh": steps(-2.5, 0.5, 0.5),
        "alpha": (0.0, 0.2, 0.4),
    },
    hydrogen=3,
    molecules=("12C14N", "13C14N", "12C12C", "FeH"),
    held_out=(
        HeldOut(
            16,
            {"teff": (4000, 6500), "logg": (1, 5), "feh": (-1, 0.5)},
            seed=20261128,
            alphas=(0.0, 0.4, 0.2, 0.1),
        ),
        HeldOut(
            12,
            {"teff": (3500, 8000), "logg": (0, 5), "feh": (-2.5, 0.5)},
            seed=20261129,
            alphas=(0.0, 0.4, 0.2, 0.1),
        ),
    ),
    parts=(
        Part(
            "coarse",
            {"teff": (4000, 6500), "logg": (1, 5), "feh": (-1, 0.5)},
            {"teff": 2, "logg": 2, "alpha": 2},
        ),
        Part("main", {"teff": (4000, 6500), "logg": (1, 5), "feh": (-1, 0.5)}, {"alpha": 2}),
        Part("metal-poor", {"teff": (4000, 6500), "logg": (1, 5)}, {"alpha": 2}),
        Part("hot", {"teff": (4000, 8000), "logg": (1, 5)}, {"alpha": 2}),
        Part("low-gravity", {"teff": (4000, 8000)}, {"alpha": 2}),
        Part("cool", {"logg": (3, 5)}, {"alpha": 2}),
        Part("alpha", {"teff": (4000, 8000)}),
        Part("cool-alpha", {"logg": (3, 5)}),
        Part("wide", {}, {"alpha": 2}),
    ),
    limits="no TiO: spectra below about 4000 K are too clean; LTE: the cores of the Ca II triplet "
    "are too shallow",
)

VIS = Described(
    name="vis",
    title="5150–6500 Å, for spectrographs in the visual",
    low=5150.0,
    high=6500.0,
    step=0.02,
    axes={
        "teff": steps(4000, 7000, 250),
        "logg": steps(0, 5, 0.5),
        "feh": steps(-2, 0.5, 0.5),
    },
    hydrogen=2,
    molecules=(
        "24MgH",
        "25MgH",
        "26MgH",
        "12C12C",
        "12C13C",
        "12C14N",
        "13C14N",
        "12CH",
        "13CH",
    ),
    held_out=(
        HeldOut(12, {"teff": (4000, 7000), "logg": (3, 5), "feh": (-1, 0.5)}, seed=20261130),
        HeldOut(12, {"teff": (4000, 7000), "logg": (0, 5), "feh": (-2, 0.5)}, seed=20261201),
    ),
    parts=(
        Part("dwarfs", {"logg": (3.5, 5), "feh": (-1, 0.5)}),
        Part("subgiants", {"logg": (3, 3), "feh": (-1, 0.5)}),
        Part("giants", {"logg": (1, 2.5), "feh": (-1, 0.5), "teff": (4000, 6000)}),
        Part("metal-poor", {"logg": (3, 5)}),
    ),
    limits="no TiO: spectra below about 4500 K are too clean; LTE: the cores of Na D and Hα are "
    "not those of stars",
)

LIBRARIES = {library.name: library for library in (RVS, VIS)}
