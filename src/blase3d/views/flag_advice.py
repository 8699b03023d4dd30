"""The flags of an answer: what each means, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """The explanation of every flag that contains a phrase, and none of those before it.

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
        "errors of other labels widened",
        False,
        "a label is held on the edge of the library. The errors of the others include how far it "
        "would move beyond, to first order.",
        "Use a library that reaches further; the values themselves may be biased.",
    ),
    Advice(
        "beyond the library",
        True,
        "two or more labels lie on edges of the library: the star is of a kind that it does not "
        "have, such as a giant in a library of dwarfs. The other labels are those of the nearest "
        "star that it has.",
        "Use a library that includes such stars; do not quote these values.",
    ),
    Advice(
        "vsini at a bound",
        False,
        "at 0, the spectrum shows no rotation beyond its resolution, and the labels are those "
        "without rotation. At the largest value, lines are wider than the search allows.",
        "Nothing at 0. At the largest value, look at the spectrum: it may be of another kind of "
        "star, or of no star.",
    ),
    Advice(
        "at a bound",
        True,
        "the best value lies on the edge of the range that the library or the prior allows: the "
        "star may lie beyond it, and the value has no uncertainty.",
        "Use a library that reaches further, or widen the prior; do not quote this value. A joint "
        "fit has the range that all its models have: try those that reach further alone (--model).",
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
        "the residuals exceed the stated errors by far, and are large compared with the lines.",
        "Look at the residuals and at the lines that fit worst. Common reasons are a wrong "
        "resolution, continuum, medium (air or vacuum) or kind of star.",
    ),
    Advice(
        "windows disagree",
        True,
        "a spectrum, or the range of a model, would give another value by itself: the spectra are "
        "not of one star, or a model is wrong in its range.",
        "Infer from each by itself, and look at the residuals of both; the errors do not include "
        "the disagreement.",
    ),
    Advice(
        "second star",
        True,
        "the residuals have the lines of the star again, at another velocity: a companion, a star "
        "in the background, or moonlight. The labels are those of a mixture.",
        "Do not quote the labels; take a spectrum at another phase, or model two stars.",
    ),
    Advice(
        "a fitted dilution",
        True,
        "all lines are shallower by more than spectrographs scatter light: sky that was not "
        "subtracted, veiling, or the light of another star. The amount is fitted with the labels.",
        "Check the sky subtraction; --fix dilution=0 shows what it changes.",
    ),
    Advice(
        "than any labels allow",
        True,
        "all lines are shallower or deeper together than those of any star of the library, as with "
        "light of the sky, scattered light or veiling (positive dilution), or too much sky "
        "subtracted (negative). The amount is to first order, and too small for large ones. Lines "
        "that are wrong together in the library look alike.",
        "Free it: --prior dilution=-0.2:0.9, and see whether labels change; check the sky "
        "subtraction.",
    ),
    Advice(
        "than a resolution of",
        True,
        "lines are narrower than the stated resolution and no rotation make them, or wider than "
        "the fixed broadening does. Depths and labels are then wrong.",
        "Correct the resolution (--resolution), or free it: --prior resolution=10000:200000 "
        "--fix vsini=0.",
    ),
    Advice(
        "filled in",
        True,
        "the core of a strong line is less deep than in the model: a chromosphere, or a core that "
        "the library computes wrongly.",
        "Mask the core; labels that rely on this line are biased.",
    ),
    Advice(
        "emission over the continuum",
        True,
        "several neighbouring pixels exceed the continuum: emission of the star or a nebula, "
        "residuals of sky lines, or a broad cosmic ray.",
        "Mask it if it is not of the star; an active star may not suit the library.",
    ),
    Advice(
        "telluric lines",
        True,
        "residuals in bands of the Earth's atmosphere are too low, and these are not masked.",
        "Give --telluric, or correct the spectrum.",
    ),
    Advice(
        "times too large",
        False,
        "the residuals are much smaller than the stated errors: these may be those of another "
        "binning, or variances. Uncertainties of the labels by noise are too large.",
        "Correct the errors, or leave them out; they are then estimated from the residuals.",
    ),
    Advice(
        "times too small",
        False,
        "neighbouring pixels scatter much more than their stated errors. Uncertainties of the "
        "labels are scaled for it, but other checks are less certain.",
        "Correct the errors, leave them out, or give --jitter.",
    ),
    Advice(
        "velocity as of wavelengths in",
        False,
        "the velocity is near 83 km/s, the shift between wavelengths in air and in vacuum. The "
        "fit is as good with either, unless the flag says that the spacing shows it too.",
        "Check the medium of the file (--medium); the velocity may also be real.",
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
        "beside a hole of the library",
        True,
        "a node next to these labels is missing in the library, and the model is extrapolated from "
        "nodes further away.",
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
        "light without lines",
        False,
        "all lines are shallower than in the calibrated model, by a few per cent: light that the "
        "spectrograph scattered, or sky. Its amount is fitted with the labels, and is in their "
        "errors.",
        "Nothing; --fix dilution=0 shows what it changes.",
    ),
    Advice(
        "telluric",
        False,
        "pixels in bands of the Earth's atmosphere were not used.",
        "Give --no-telluric if the spectrum is corrected for them.",
    ),
    Advice(
        "without data masked",
        False,
        "pixels have no measured flux: zeros at the ends or in gaps, dead pixels, one value many "
        "times, or values such as −999.",
        "Nothing, unless they are real.",
    ),
    Advice(
        "shifted to rest",
        False,
        "the file gives wavelengths in the frame of the star, corrected for a velocity that was "
        "measured before. The velocity here is the difference from it, and should be small.",
        "Add the velocity that the file states, if the star's is wanted; labels do not depend on "
        "it.",
    ),
    Advice(
        "not corrected to the barycentre",
        False,
        "the velocity includes the motion of the observatory, up to 30 km/s, as far as is known.",
        "Subtract it (for example with astropy's SkyCoord.radial_velocity_correction) before "
        "velocities are compared. The labels do not depend on it.",
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
