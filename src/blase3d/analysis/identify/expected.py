"""What every listed transition should look like in a model, at some labels and over the grid.

Opacity that is strong saturates: however much there is, light is left from where the lines become
transparent, so that a transition of opacity η over the continuum darkens by

    A₀ η/(1 + η),    seen as the opacity p = A₀ η/(1 + (1 − A₀) η)

in a model whose lines go to the dark, with A₀ = 0.65. The width at half of p is that of a Gaussian
core or of its Lorentzian wings, whichever is wider there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .layer import line_areas, line_widths, make_layers
from .transitions import Atoms, Transitions

Floats = NDArray[np.float64]

_DARKEST = 0.65
_LEAST = 1e-4
"""Opacity, over the continuum, that a transition may reach for some node to be looked at."""
_DOUBT = 2.0
"""Uncertainties of its strength that a transition is given for that."""
_VISIBLE, _EXAMPLES = 0.02, 40
"""Opacity from which transitions serve as examples, and how many do."""
_WING = 0.02
"""Opacity where the wings of a transition count as ended."""


@dataclass(frozen=True, eq=False)
class Expected:
    """N transitions as they should be in a model, at its labels and at G nodes.

    Attributes
    ----------
    transitions : Transitions
        Those that may be seen.
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
        Some visible transitions of all sorts.
    """

    transitions: Transitions
    ln_peak: Floats
    ln_peaks: Floats
    saturation: Floats
    half: Floats
    wing: Floats
    examples: NDArray[np.int64]


def expect(
    atoms: Atoms,
    labels: Mapping[str, float],
    nodes: Mapping[str, Floats],
    low: float,
    high: float,
) -> Expected:
    """The transitions of a range of wavelength (Å, vacuum) at labels, and at nodes of labels (G,).

    Those that are seen nowhere, whatever their strengths may be, are left out.
    """
    together = {name: np.concatenate([[labels[name]], nodes[name]]) for name in nodes}
    layers = make_layers(atoms, together)
    lines = atoms.transitions.between(low, high)
    doubt = np.log(10.0) * _DOUBT * lines.uncertainty
    areas = line_areas(layers, lines) if len(lines) else np.empty((len(layers.temperature), 0))
    # a Gaussian of the least width that there is: nothing can be more seen than by that
    may = (areas.max(axis=0) + doubt - np.log(0.03 * lines.wavelength / 8000.0)) > np.log(_LEAST)
    lines, areas = lines.take(may), np.exp(areas[:, may])
    sigma, gamma = line_widths(layers, lines, atoms.ionisation)
    fwhm = 0.5346 * 2.0 * gamma + np.sqrt(0.2166 * 4.0 * gamma**2 + 5.545 * sigma**2)
    peak = areas / (1.06 * fwhm)
    seen = np.log(np.maximum(_seen(peak), 1e-30))
    half = _reach(areas[0], sigma[0], gamma[0], peak[0], 0.5 * _seen(peak[0]))
    wing = _reach(areas[0], sigma[0], gamma[0], peak[0], np.minimum(_WING, 0.5 * _seen(peak[0])))
    return Expected(lines, seen[0], seen[1:], peak[0], half, wing, _examples(lines, seen[0]))


def _examples(lines: Transitions, ln_peak: Floats) -> NDArray[np.int64]:
    """Some of the transitions that are strong enough to be seen, of every ion and energy."""
    visible = np.flatnonzero(ln_peak > np.log(_VISIBLE))
    order = np.lexsort([lines.lower[visible], lines.stage[visible], lines.element[visible]])
    return visible[order][:: max(-(-visible.size // _EXAMPLES), 1)]


def _seen(opacity: Floats) -> Floats:
    return _DARKEST * opacity / (1.0 + (1.0 - _DARKEST) * opacity)


def _reach(area: Floats, sigma: Floats, gamma: Floats, peak: Floats, level: Floats) -> Floats:
    """How far from the centre p falls to a level."""
    opacity = level / (_DARKEST - (1.0 - _DARKEST) * level)
    core = sigma * np.sqrt(2.0 * np.log(np.maximum(peak / opacity, 1.0)))
    wing = np.sqrt(np.maximum(area * gamma / (np.pi * opacity) - gamma**2, 0.0))
    return np.maximum(core, wing)
