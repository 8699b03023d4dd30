"""Strengths of atomic lines in a star, from one layer of gas.

The layer represents the line-forming region: T = 0.92 Teff at the optical depth τ = 0.5 of the
continuum. Its electron pressure Pₑ (dyn/cm²) follows from hydrostatic equilibrium,

    P κ = τ g,    P = Pₑ (ΣA + Q) / Q

with A the abundances by number relative to hydrogen, Q(T, Pₑ) the electrons per hydrogen nucleus
(Saha's equation), and κ the continuous opacity of negative and neutral hydrogen (Gray 2005, The
Observation and Analysis of Stellar Photospheres, eqs. 8.8 to 8.15 and 1.21). The opacity of a line
relative to that of the continuum has the area

    a = 8.853·10⁻²¹ λ² g f N e^{−χ/kT}/U (1 − e^{−hc/λkT}) / κ      (Å)

which is the area of a line in a model that adds opacities. `match` allows for the errors of this
simple atmosphere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ...runtime.arrays import Floats
from ...runtime.units import ATOMIC_MASS, BOLTZMANN, ELECTRONVOLT, PLANCK, SPEED_OF_LIGHT
from .transitions import SYMBOLS, Atoms, Transitions

_TEMPERATURE, _OPTICAL_DEPTH = 0.92, 0.5
"""Temperature of the layer over Teff, and its optical depth in the continuum."""
_WAVELENGTH = np.array([8000.0])
"""Wavelength of the opacity in the hydrostatic equation, Å."""
_EV = ELECTRONVOLT * 1e7
"""erg"""
_K = BOLTZMANN * 1e7
"""erg/K"""
_HC = PLANCK * 1e7 * SPEED_OF_LIGHT * 1e13
"""erg Å"""
_LIGHT = SPEED_OF_LIGHT * 1e5
"""cm/s"""
_GRAMS_PER_HYDROGEN = 2.35e-24
"""Mass of the gas per hydrogen nucleus, helium and metals included, g."""
_NATURAL = 2e8
"""Damping constant of natural broadening, 1/s: typical of permitted lines."""
_ALPHA = ("O", "Ne", "Mg", "Si", "S", "Ar", "Ca", "Ti")
"""Elements whose abundances follow [α/Fe]."""
_MICROTURBULENCE = 1.2
"""km/s, as in the Sun."""
_LN_PRESSURES, _BISECTIONS = (-8.0, 18.0), 60
"""Range of ln Pₑ that is bisected, and steps: to machine precision."""
_HYDROGEN = 13.598
"""Ionisation energy of hydrogen, eV."""
_DETACHING = 16_400.0
"""Longest wavelength that detaches the second electron of negative hydrogen, Å."""
_BOUND_FREE = (
    *(1.99654, -1.18267e-5, 2.64243e-6, -4.40524e-10),
    *(3.23992e-14, -1.39568e-18, 2.78701e-23),
)
_FREE_FREE = (
    (-2.2763, -1.6850, 0.76661, -0.0533464),
    (15.2827, -9.2846, 1.99381, -0.142631),
    (-197.789, 190.266, -67.9775, 10.6913, -0.625151),
)
"""Coefficients of Gray's eqs. 8.11 and 8.13, in powers of λ (Å) and of log₁₀ λ."""


@dataclass(frozen=True, eq=False)
class Layers:
    """The layers of G stars.

    Attributes
    ----------
    temperature, electron_pressure, gas_pressure : (G,)
        K, dyn/cm².
    population : (G, Z, 3)
        Atoms of each ionisation stage per hydrogen nucleus, divided by the partition function.
    """

    temperature: Floats
    electron_pressure: Floats
    gas_pressure: Floats
    population: Floats


def make_layers(atoms: Atoms, labels: Mapping[str, Floats]) -> Layers:
    """Layers of stars with labels (G,) by name.

    They are teff (K) and, optionally, logg, feh and alpha (dex; by default 4.44, 0 and 0).

    Raises
    ------
    InputError
        There is no teff.
    """
    if "teff" not in labels:
        raise InputError(
            f"got a model of {', '.join(labels)}, expected teff among its labels; line strengths "
            "cannot be estimated without it."
        )
    teff = np.atleast_1d(np.asarray(labels["teff"], np.float64))
    gravity = 10.0 ** np.broadcast_to(labels.get("logg", np.float64(4.44)), teff.shape)
    abundance = _abundances(atoms, labels, teff.size)
    temperature = _TEMPERATURE * teff
    partition = atoms.partition(temperature)
    ratios = _ionisation(temperature, atoms.ionisation, partition)
    low, high = (np.full(teff.size, end) for end in _LN_PRESSURES)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        pressure = np.exp(middle)
        fractions = _fractions(ratios, pressure)
        gas = _gas_pressure(abundance, fractions, pressure)
        opacity = _continuum(_WAVELENGTH, temperature, pressure, fractions[:, 0, 0])[:, 0]
        heavy = gas * opacity / _GRAMS_PER_HYDROGEN > _OPTICAL_DEPTH * gravity
        low, high = np.where(heavy, low, middle), np.where(heavy, middle, high)
    population = abundance[:, :, None] * fractions / partition
    return Layers(temperature, pressure, gas, population)


def _abundances(atoms: Atoms, labels: Mapping[str, Floats], count: int) -> Floats:
    """Abundances (G, Z): solar, metals scaled by 10^[Fe/H], α elements also by 10^[α/Fe]."""
    change = np.zeros((count, len(SYMBOLS)))
    change[:, 2:] += np.broadcast_to(labels.get("feh", np.float64(0.0)), count)[:, None]
    alpha = [SYMBOLS.index(name) for name in _ALPHA]
    change[:, alpha] += np.broadcast_to(labels.get("alpha", np.float64(0.0)), count)[:, None]
    return atoms.abundance * 10.0**change


def _ionisation(temperature: Floats, energy: Floats, partition: Floats) -> Floats:
    """Pₑ times the ratios of the second and third stage to the one below, (G, Z, 2): Saha."""
    t = temperature[:, None, None]
    steps = partition[:, :, 1:] / partition[:, :, :-1]
    return 0.6665 * steps * t**2.5 * np.exp(-energy[:, :2] * _EV / (_K * t))


def _fractions(ratios: Floats, pressure: Floats) -> Floats:
    """Fractions of each element in its ionisation stages, (G, Z, 3)."""
    first, second = np.moveaxis(ratios / pressure[:, None, None], -1, 0)
    relative = np.stack([np.ones_like(first), first, first * second], axis=-1)
    return relative / relative.sum(axis=-1, keepdims=True)


def _gas_pressure(abundance: Floats, fractions: Floats, pressure: Floats) -> Floats:
    electrons = np.sum(abundance * (fractions[..., 1] + 2.0 * fractions[..., 2]), axis=1)
    return pressure * (abundance.sum(axis=1) + electrons) / electrons


def _continuum(wavelength: Floats, temperature: Floats, pressure: Floats, atoms: Floats) -> Floats:
    """Opacity (G, W) per hydrogen nucleus, cm²; a fraction `atoms` (G,) of them is neutral."""
    t, p = temperature[:, None], pressure[:, None]
    stimulated = 1.0 - np.exp(-_HC / (wavelength * _K * t))
    bound, free = _negative_hydrogen(wavelength, 5040.0 / t, p)
    neutral = _neutral_hydrogen(wavelength, 5040.0 / t)
    return ((bound + neutral) * stimulated + free) * atoms[:, None]


def _negative_hydrogen(wavelength: Floats, theta: Floats, p: Floats) -> tuple[Floats, Floats]:
    """Opacity of negative hydrogen per atom, bound–free and free–free (eqs. 8.11–8.14)."""
    cross_section = np.polynomial.polynomial.polyval(wavelength, _BOUND_FREE) * 1e-18
    cross_section = np.where(wavelength < _DETACHING, np.maximum(cross_section, 0.0), 0.0)
    bound = 4.158e-10 * cross_section * p * theta**2.5 * 10.0 ** (0.754 * theta)
    log, s = np.log10(wavelength), np.log10(theta)
    f0, f1, f2 = (np.polynomial.polynomial.polyval(log, terms) for terms in _FREE_FREE)
    return bound, 1e-26 * p * 10.0 ** (f0 + f1 * s + f2 * s**2)


def _neutral_hydrogen(wavelength: Floats, theta: Floats) -> Floats:
    """Opacity of neutral hydrogen per atom, without stimulated emission (eqs. 8.8–8.10).

    Gaunt factors are one. Three levels are summed, the higher ones are integrated.
    """
    decay = np.log(10.0) * theta
    first = np.ceil(np.sqrt(wavelength / 911.75) - 1e-9)
    levels = np.zeros(np.broadcast_shapes(theta.shape, wavelength.shape))
    for step in range(3):
        n = first + step
        levels = levels + np.exp(-_HYDROGEN * (1.0 - n**-2.0) * decay) / n**3
    last = _HYDROGEN * (1.0 - (first + 3.0) ** -2.0)
    higher = np.exp(-last * decay) / (2.0 * decay * _HYDROGEN)
    return 1.0449e-26 * wavelength**3 * (levels + higher)


def line_areas(layers: Layers, lines: Transitions) -> Floats:
    """ln of the areas a (G, N), ln Å, of transitions in order of wavelength."""
    t = layers.temperature[:, None]
    wavelength = lines.wavelength
    coarse = np.linspace(wavelength[0] - 1.0, wavelength[-1] + 1.0, 64)
    neutral = 2.0 * layers.population[:, 0, 0]  # the ground level of hydrogen has two states
    opacity = _continuum(coarse, layers.temperature, layers.electron_pressure, neutral)
    continuum = np.stack([np.interp(wavelength, coarse, row) for row in opacity])
    atoms = layers.population[:, lines.element - 1, lines.stage - 1]
    stimulated = 1.0 - np.exp(-_HC / (wavelength * _K * t))
    with np.errstate(divide="ignore"):
        return (
            np.log(8.853e-21 * wavelength**2 * stimulated / continuum)
            + np.log(10.0) * lines.log_gf
            + np.log(atoms)
            - lines.lower * _EV / (_K * t)
        )


def line_widths(layers: Layers, lines: Transitions, energy: Floats) -> tuple[Floats, Floats]:
    """Gaussian standard deviation and Lorentzian half width (Å) of transitions, both (G, N).

    The first is by thermal motion and microturbulence; the second by natural, collisional and Stark
    broadening. `energy` (Z, 3) are ionisation energies, eV.
    """
    mass = np.where(lines.element == 1, 1.0, 2.1 * lines.element) * (ATOMIC_MASS * 1e3)
    speed = np.sqrt(_K * layers.temperature[:, None] / mass + (_MICROTURBULENCE * 1e5) ** 2 / 2.0)
    damping = _NATURAL + _collisions(layers, lines, energy[lines.element - 1, lines.stage - 1])
    lorentz = damping * lines.wavelength**2 * 1e-8 / (4.0 * np.pi * _LIGHT)
    return lines.wavelength * speed / _LIGHT, lorentz + _stark(layers, lines)


def _collisions(layers: Layers, lines: Transitions, bound: Floats) -> Floats:
    """Damping constants (G, N) by collisions with hydrogen, 1/s.

    They are a fifth of Unsöld's (Gray, eq. 11.29): wings form deeper, where the continuum is more
    opaque.
    """
    upper, lower = (np.maximum(bound - level, 0.3) ** -2.0 for level in (lines.upper, lines.lower))
    c6 = 0.3e-30 * lines.stage**2 * np.maximum(upper - lower, 1e-3)
    pressure, temperature = np.log10(layers.gas_pressure), np.log10(layers.temperature)
    return 0.2 * 10.0 ** (20.0 + 0.4 * np.log10(c6) + (pressure - 0.7 * temperature)[:, None])


def _stark(layers: Layers, lines: Transitions) -> Floats:
    """Half widths (G, N) by the linear Stark effect of hydrogen, Å; zero for other elements.

    They are half of the shift in the normal field of the ions, F₀ = 1.25·10⁻⁹ Nₑ^⅔ (Gray, eq.
    11.33).
    """
    electrons = layers.electron_pressure / (_K * layers.temperature)
    field = 1.25e-9 * electrons[:, None] ** (2.0 / 3.0)
    low, high = np.maximum(lines.quantum.T, 1.0)
    pull = 5.5e-5 * (low * high) ** 4 / np.maximum(high**2 - low**2, 1.0)
    return np.where(lines.quantum[:, 1] > 0, 0.5 * pull * field, 0.0)
