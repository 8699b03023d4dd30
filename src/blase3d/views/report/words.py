"""Names and units of what is inferred, and flags in plain words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TITLES = {
    "teff": ("Teff", "K"),
    "logg": ("log g", "dex of cm/s²"),
    "feh": ("[Fe/H]", "dex"),
    "alpha": ("[α/Fe]", "dex"),
    "rv": ("Radial velocity", "km/s"),
    "vsini": ("v sin i", "km/s"),
    "vmac": ("Macroturbulence", "km/s"),
    "resolution": ("Resolution λ/Δλ", ""),
}


def title(name: str) -> str:
    """The name of a parameter as the field writes it."""
    return _TITLES.get(name, (name, ""))[0]


def unit(name: str) -> str:
    """The unit of a parameter; empty where there is none, or it is not known."""
    return _TITLES.get(name, ("", ""))[1]


def decimals(sigma: float, value: float) -> int:
    """Decimals that show two digits of the uncertainty, or else five of the value."""
    if np.isfinite(sigma) and sigma > 0:
        return int(np.clip(1 - np.floor(np.log10(sigma)), 0, 6))
    size = abs(value)
    return int(np.clip(4 - np.floor(np.log10(size)), 0, 4)) if size > 0 else 2


@dataclass(frozen=True)
class Advice:
    """What a flag that contains `key` means and what to do about it; `grave` if the answer may be
    wrong for it."""

    key: str
    grave: bool
    meaning: str
    to_do: str


_ADVICE = (
    Advice(
        "at a bound",
        True,
        "the best value lies on the edge of what the library or the prior allows: the star may "
        "lie beyond it, and the value has no uncertainty.",
        "Use a library that reaches further, or widen the prior; do not quote this value.",
    ),
    Advice(
        "not converged",
        True,
        "the search ended before it found a best fit, or the draws do not agree with each other.",
        "Do not rely on the values. Give a prior on Teff, or draw more (--draws).",
    ),
    Advice(
        "poor fit",
        True,
        "the model differs from the spectrum by more than the errors allow.",
        "Look at the residuals and at the lines that fit worst: wrong resolution, continuum, "
        "medium (air or vacuum) and kind of star are the usual reasons.",
    ),
    Advice(
        "no lines found",
        True,
        "the spectrum shows none of the lines of the library: noise, emission, or no star of this "
        "kind.",
        "Do not believe the values; check the file, its medium and its range.",
    ),
    Advice(
        "another solution",
        True,
        "quite different labels fit almost as well.",
        "A prior on one label (--prior teff=5500+-100, from a colour, say) decides between them.",
    ),
    Advice(
        "not constrained",
        True,
        "the spectrum says little about this label: its uncertainty is nearly that of the prior.",
        "Fix it, give a prior, or use a wider range of wavelengths.",
    ),
    Advice(
        "beside a node that the library lacks",
        True,
        "the library has a hole next to these labels, where the model is filled in from further "
        "away.",
        "Take the uncertainties as too small; compare with another library.",
    ),
    Advice(
        "given less weight",
        False,
        "pixels that no model comes near (cosmic rays, lines of the sky, lines that the library "
        "lacks) pull less than the others.",
        "They are marked in the spectrum; mask them if they are no part of the star.",
    ),
    Advice(
        "telluric",
        False,
        "where the Earth's atmosphere absorbs, the spectrum was not used.",
        "Give --no-telluric if the spectrum is corrected for it.",
    ),
    Advice(
        "barycentre",
        False,
        "velocities are with respect to the barycentre of the Solar System.",
        "Nothing, unless the file was corrected before.",
    ),
    Advice(
        "cut to the range",
        False,
        "the rest of the spectrum lies outside the model and was not used.",
        "Nothing; a model of a wider range would use more of it.",
    ),
)


def advice(flag: str) -> Advice | None:
    """What is known about a flag."""
    return next((entry for entry in _ADVICE if entry.key in flag), None)
