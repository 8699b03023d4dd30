"""Expected opacity and width of every listed transition in a model, at its labels and at nodes.

Strong lines saturate: however opaque they are, light is left from the heights at which the lines
become transparent. A transition of opacity η relative to the continuum therefore absorbs

    A₀ η/(1 + η),    which is the opacity p = A₀ η/(1 + (1 − A₀) η)

in a model whose lines become black, with A₀ = 0.65. The width at half of p is that of the Gaussian
core or of the Lorentzian wings, whichever is wider there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...runtime.arrays import Floats, Integers
from .layer import line_areas, line_widths, make_layers
from .transitions import Atoms, Transitions

_DARKEST = 0.65
"""Depth of a fully saturated line, A₀."""
_LEAST = 1e-4
"""Least opacity, relative to the continuum, of transitions that are considered."""
_DOUBT = 2.0
"""Standard deviations of its strength by which a transition may exceed its tabulated opacity."""
_NARROWEST = 0.03
"""Least full width of a line at 8000 Å, Å."""
_VISIBLE, _EXAMPLES = 0.02, 40
"""Least opacity of the transitions used as examples, and their number."""
_WING = 0.02
"""Opacity at which the wings of a transition end."""


@dataclass(frozen=True, eq=False)
class Expected:
    """N transitions as expected in a model, at its labels and at G nodes.

    Attributes
    ----------
    transitions : Transitions
        The transitions that may be visible.
    ln_peak : (N,)
        ln of the opacity p at the centre, at the labels.
    ln_peaks : (G, N)
        The same at the nodes.
    saturation : (N,)
        Opacity η at the centre, at the labels.
    half : (N,)
        Half width of p at half of its peak, Å.
    wing : (N,)
        Half width where p ends, Å.
    examples : (E,) int
        A sample of the visible transitions, of all ions and energies.
    """

    transitions: Transitions
    ln_peak: Floats
    ln_peaks: Floats
    saturation: Floats
    half: Floats
    wing: Floats
    examples: Integers


def expect(
    atoms: Atoms,
    labels: Mapping[str, float],
    nodes: Mapping[str, Floats],
    low: float,
    high: float,
) -> Expected:
    """The transitions in a range of wavelength (Å, vacuum) at labels, and at nodes of labels (G,).

    Transitions that are visible nowhere, within the errors of their strengths, are left out.
    """
    together = {name: np.concatenate([[labels[name]], nodes[name]]) for name in nodes}
    layers = make_layers(atoms, together)
    lines = atoms.transitions.between(low, high)
    doubt = np.log(10.0) * _DOUBT * lines.uncertainty
    areas = line_areas(layers, lines) if len(lines) else np.empty((len(layers.temperature), 0))
    # The highest peak possible is that of a line of the least width.
    highest = areas.max(axis=0) + doubt - np.log(_NARROWEST * lines.wavelength / 8000.0)
    visible = highest > np.log(_LEAST)
    lines, areas = lines.take(visible), np.exp(areas[:, visible])
    sigma, gamma = line_widths(layers, lines, atoms.ionisation)
    # FWHM of a Voigt profile: Olivero & Longbothum (1977, JQSRT 17, 233); 5.545 = 8 ln 2.
    fwhm = 0.5346 * 2.0 * gamma + np.sqrt(0.2166 * 4.0 * gamma**2 + 5.545 * sigma**2)
    peak = areas / (1.06 * fwhm)
    ln_peaks = np.log(np.maximum(_in_model(peak), 1e-30))
    half_peak = 0.5 * _in_model(peak[0])
    half = _reach(areas[0], sigma[0], gamma[0], peak[0], half_peak)
    wing = _reach(areas[0], sigma[0], gamma[0], peak[0], np.minimum(_WING, half_peak))
    examples = _examples(lines, ln_peaks[0])
    return Expected(lines, ln_peaks[0], ln_peaks[1:], peak[0], half, wing, examples)


def _examples(lines: Transitions, ln_peak: Floats) -> Integers:
    """A sample of the visible transitions, of every ion and energy."""
    visible = np.flatnonzero(ln_peak > np.log(_VISIBLE))
    order = np.lexsort([lines.lower[visible], lines.stage[visible], lines.element[visible]])
    return visible[order][:: max(-(-visible.size // _EXAMPLES), 1)]


def _in_model(opacity: Floats) -> Floats:
    """The opacity p in a model for a true opacity η."""
    return _DARKEST * opacity / (1.0 + (1.0 - _DARKEST) * opacity)


def _reach(area: Floats, sigma: Floats, gamma: Floats, peak: Floats, level: Floats) -> Floats:
    """Distance (Å) from the centre at which p falls to a level."""
    opacity = level / (_DARKEST - (1.0 - _DARKEST) * level)
    core = sigma * np.sqrt(2.0 * np.log(np.maximum(peak / opacity, 1.0)))
    wing = np.sqrt(np.maximum(area * gamma / (np.pi * opacity) - gamma**2, 0.0))
    return np.maximum(core, wing)
