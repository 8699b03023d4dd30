"""Atomic transitions, levels, ionisation energies and abundances, from the tables of PyEMILI.

PyEMILI (Tu, Fang et al. 2025, ApJS; MIT licence) has 1.2 million transitions of H to Kr, mostly
from Kurucz, NIST and the Atomic Line List, with air wavelengths, energies and statistical weights
of both levels, and transition probabilities for five in six. Heavier elements and molecules are
missing. Only its files are read; the package itself is for nebulae. Wavelengths follow from the
energies of the levels, hence in vacuum,

    λ = 10⁸ / (E_u − E_l),      g_l f = 1.4992·10⁻¹⁶ λ² g_u A

with E in 1/cm, λ in Å, A in 1/s. A transition without a probability gets a typical one,
and a large uncertainty. The tables list levels of hydrogen by their principal quantum number n,
with 2n instead of the weight 2n².
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ...errors import InputError, MissingExtra
from ...runtime.arrays import Bools, Floats, Integers
from ...runtime.units import BOLTZMANN, ELECTRONVOLT, PLANCK, SPEED_OF_LIGHT, air_to_vacuum

_NAMES = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
"""
SYMBOLS = tuple(_NAMES.split())
"""Symbols of the elements in the tables."""
ROMAN = ("I", "II", "III")
STAGES = len(ROMAN)
"""Number of ionisation stages considered."""
_EV_PER_WAVENUMBER = PLANCK * SPEED_OF_LIGHT * 1e5 / ELECTRONVOLT
"""eV cm"""
_KELVIN_PER_WAVENUMBER = PLANCK * SPEED_OF_LIGHT * 1e5 / BOLTZMANN
"""K cm"""
_OSCILLATOR = 1.4992e-16
"""g f over λ² g A, s/Å²."""
_KNOWN, _UNKNOWN = 0.2, 1.2
"""Uncertainty of log gf with and without a tabulated probability, dex."""
_TYPICAL = {0: -3.0, 1: -5.0}
"""log gf of a permitted and of an intercombination transition without a probability."""
_PERMITTED = 1
"""Largest type used: permitted (0) and intercombination (1), not forbidden (2)."""
_HIGHEST_LEVEL = 52_000.0
"""Highest level in the partition functions, 1/cm: higher ones are hardly populated."""
_SHARP = 0.5
"""Largest disagreement of wavelength and energies, Å. Beyond it the energies are averages over
levels, and the tabulated wavelength is used."""


@dataclass(frozen=True, eq=False)
class Transitions:
    """N transitions, in order of wavelength.

    Attributes
    ----------
    wavelength : (N,)
        Å, vacuum.
    element, stage : (N,) int
        Nuclear charge; 1 for the neutral atom.
    lower, upper : (N,)
        Energies of the levels, eV.
    log_gf, uncertainty : (N,)
        log of the weight of the lower level times the oscillator strength, and its error, dex.
    quantum : (N, 2)
        Principal quantum numbers of hydrogen; zero for other elements.
    """

    wavelength: Floats
    element: Integers
    stage: Integers
    lower: Floats
    upper: Floats
    log_gf: Floats
    uncertainty: Floats
    quantum: Floats

    def __len__(self) -> int:
        return self.wavelength.size

    def take(self, which: Integers | Bools) -> Transitions:
        """The transitions of given indices (in their order), or of a mask."""
        return Transitions(*(values[which] for values in vars(self).values()))

    def between(self, low: float, high: float) -> Transitions:
        """The transitions in a range of wavelength (Å, vacuum)."""
        first, last = np.searchsorted(self.wavelength, [low, high])
        return self.take(np.arange(first, last))

    def species(self, i: int) -> str:
        """The ion of a transition, such as Fe I."""
        return f"{SYMBOLS[self.element[i] - 1]} {ROMAN[self.stage[i] - 1]}"


@dataclass(frozen=True, eq=False)
class Atoms:
    """Data on atoms.

    Attributes
    ----------
    transitions : Transitions
        Their lines.
    levels : (M, 4)
        Nuclear charge, stage, energy (1/cm) and weight of every low level.
    ionisation : (Z, 3)
        Ionisation energies of each stage, eV; infinite for bare nuclei.
    abundance : (Z,)
        Solar abundances by number relative to hydrogen.
    """

    transitions: Transitions
    levels: Floats
    ionisation: Floats
    abundance: Floats

    def partition(self, temperature: Floats) -> Floats:
        """Partition functions (G, Z, 3) at temperatures (G,) in K, without high levels."""
        element, stage, energy, weight = self.levels.T
        boltzmann = weight * np.exp(-_KELVIN_PER_WAVENUMBER * energy / temperature[:, None])
        ion = (element.astype(int) - 1) * STAGES + stage.astype(int) - 1
        size = len(SYMBOLS) * STAGES
        sums = np.stack([np.bincount(ion, row, size) for row in boltzmann])
        return np.maximum(sums, 1.0).reshape(-1, len(SYMBOLS), STAGES)


@lru_cache(maxsize=1)
def load_atoms() -> Atoms:
    """Read the tables of PyEMILI, once.

    Raises
    ------
    MissingExtra
        PyEMILI is not installed.
    InputError
        Its tables are missing or damaged.
    """
    spec = find_spec("pyemili")
    if spec is None or spec.origin is None:
        raise MissingExtra("pyemili", "identify", "the identification of lines")
    folder = Path(spec.origin).parent
    try:
        name = max((folder / "Line_dataset").glob("Linedb_v*.npz"))
        with np.load(name, allow_pickle=False) as file:
            table = file["arr_0"]
        energies = np.load(folder / "Line_dataset" / "ioni_energy.npy", allow_pickle=False)
        abundances = _abundances(folder / "abundance" / "abun_solar.dat")
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"the tables of pyemili in {folder} cannot be read ({error}), expected those of "
            "version 1.2; install it again."
        ) from None
    ionisation = energies[: len(SYMBOLS), 1 : STAGES + 1]
    return Atoms(
        _transitions(table),
        _levels(table),
        np.where(ionisation > 9e4, np.inf, ionisation),
        abundances,
    )


def _transitions(table: Floats) -> Transitions:
    """The transitions in a table.

    Its columns are air wavelength, charge, stage, type, weights of the lower and upper level, type,
    branching ratio, energies of both levels, probability, and terms.
    """
    charge, stage, kind = table[:, 1], table[:, 2], table[:, 3]
    use = (stage <= STAGES) & (kind <= _PERMITTED) & (charge <= len(SYMBOLS))
    air, charge, stage, kind, lower_weight, weight = table[use, :6].T
    lower, upper, probability = table[use, 8:11].T
    known, hydrogen = probability > 0, charge == 1
    listed = air_to_vacuum(air)
    with np.errstate(divide="ignore"):
        of_levels = 1e8 / (upper - lower)
    wavelength = np.where(np.abs(of_levels - listed) < _SHARP, of_levels, listed)
    weight = np.where(hydrogen, weight**2 / 2.0, weight)
    strength = _OSCILLATOR * wavelength**2 * weight * np.where(known, probability, 1.0)
    typical = np.where(kind == 0, _TYPICAL[0], _TYPICAL[1])
    quantum = np.stack([lower_weight, weight], axis=1)
    quantum[:, 1] = np.sqrt(2.0 * quantum[:, 1])
    quantum = np.where(hydrogen[:, None], quantum / 2.0, 0.0)
    found = Transitions(
        wavelength,
        charge.astype(np.int64),
        stage.astype(np.int64),
        lower * _EV_PER_WAVENUMBER,
        upper * _EV_PER_WAVENUMBER,
        np.where(known, np.log10(strength), typical),
        np.where(known, _KNOWN, _UNKNOWN),
        quantum,
    )
    return found.take(np.argsort(wavelength, kind="stable"))


def _levels(table: Floats) -> Floats:
    """Every low level of the transitions, once."""
    ends = [table[:, [1, 2, energy, weight]] for energy, weight in ((8, 4), (9, 5))]
    levels = np.concatenate(ends)
    levels = levels[(levels[:, 1] <= STAGES) & (levels[:, 2] < _HIGHEST_LEVEL)]
    levels = levels[levels[:, 0] <= len(SYMBOLS)]
    name = (levels[:, 0] * 4 + levels[:, 1]) * 1e7 + np.round(levels[:, 2] * 10.0)
    _, first = np.unique(name.astype(np.int64), return_index=True)
    return levels[first]


def _abundances(path: Path) -> Floats:
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    known = {row[0]: float(row[1]) for row in rows if len(row) == 2}
    return np.array([known.get(symbol, 0.0) for symbol in SYMBOLS])
