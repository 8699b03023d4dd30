"""The flags of an answer: what each means, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """The explanation of every flag that contains a phrase.

    Attributes
    ----------
    phrase : str
        The phrase.
    severe : bool
        Whether the answer may be wrong.
    meaning, action : str
        What the flag means, and what to do.
    """

    phrase: str
    severe: bool
    meaning: str
    action: str


_ADVICE = (
    Advice(
        "at a bound",
        True,
        "the best value lies on the edge of the range that the library or the prior allows: the "
        "star may lie beyond it, and the value has no uncertainty.",
        "Use a library that reaches further, or widen the prior; do not quote this value.",
    ),
    Advice(
        "not converged",
        True,
        "the search ended before it found a best fit, or the chains disagree.",
        "Do not rely on the values. Give a prior on Teff, or draw more samples (--draws).",
    ),
    Advice(
        "poor fit",
        True,
        "the model differs from the spectrum by more than the errors allow.",
        "Look at the residuals and at the lines that fit worst. Common reasons are a wrong "
        "resolution, continuum, medium (air or vacuum) or kind of star.",
    ),
    Advice(
        "no lines found",
        True,
        "the spectrum shows no lines of the library: it is noise, has emission, or is not of a "
        "star of this kind.",
        "Do not believe the values; check the file, its medium and its range.",
    ),
    Advice(
        "another solution",
        True,
        "quite different labels fit almost as well.",
        "A prior on one label (for example --prior teff=5500+-100, from a colour) decides "
        "between them.",
    ),
    Advice(
        "not constrained",
        True,
        "the spectrum says little about this label: its uncertainty is nearly that of the prior.",
        "Fix the label, give a prior, or use a wider range of wavelengths.",
    ),
    Advice(
        "beside a node that the library lacks",
        True,
        "the library has a hole next to these labels, where the model is extrapolated from nodes "
        "further away.",
        "Expect larger errors than stated; compare with another library.",
    ),
    Advice(
        "given less weight",
        False,
        "pixels far from every model (cosmic rays, sky lines, lines that are not in the library) "
        "count less than the others.",
        "They are marked in the spectrum; mask them if they do not belong to the star.",
    ),
    Advice(
        "telluric",
        False,
        "pixels in bands of the Earth's atmosphere were not used.",
        "Give --no-telluric if the spectrum is corrected for them.",
    ),
    Advice(
        "barycentre",
        False,
        "velocities are with respect to the barycentre of the Solar System.",
        "Nothing, unless the file was corrected before.",
    ),
    Advice(
        "includes the blaze",
        False,
        "the flux of the orders has the blaze of the spectrograph, which the continuum follows.",
        "Nothing, or --continuum for another degree; below 6, an A0 star by HPF has a poor fit.",
    ),
    Advice(
        "cut to the range",
        False,
        "the spectrum extends beyond the model; the pixels outside were not used.",
        "Nothing; a model of a wider range would use more of the spectrum.",
    ),
)


def advice(flag: str) -> Advice | None:
    """Return the explanation of a flag; None for an unknown one."""
    return next((entry for entry in _ADVICE if entry.phrase in flag), None)
