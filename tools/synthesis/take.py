"""Spectra of an earlier grid file that count as computed.

Three of them are computed again, and have to agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blase3d.runtime.units import air_to_vacuum

from .described import Described, Labels, Ranges
from .jobs import Store, name_of
from .packages import PreparationError
from .turbospectrum import Computed, Hole

AGREEMENT = 2e-4
"""Largest difference of the normalised flux. Models of giants differ by up to 1e-4 between
versions of `atmospheres.model_text`: the code keeps the radius in single precision."""
WAVELENGTH_AGREEMENT = 1e-3
"""Å; formulae of the refractive index of air differ by less."""


def parse_ranges(texts: Sequence[str]) -> Ranges:
    """Read ranges of labels from `NAME=LO:HI`."""
    ranges = {}
    for text in texts:
        name, _, values = text.partition("=")
        low, _, high = values.partition(":")
        ranges[name] = float(low), float(high or low)
    return ranges


def take(
    path: Path,
    library: Described,
    store: Store,
    compute: Callable[[Labels], Computed],
    ranges: Ranges,
) -> int:
    """Store the nodes of a grid file that are in the library and within ranges; return how many.

    Raises `PreparationError` if the pixels, or one of three spectra, are not those of the library.
    """
    with np.load(path, allow_pickle=False) as arrays:
        _require_pixels(arrays["wavelength"], library, path)
        names = tuple(str(name) for name in arrays["label_names"])
        rows = _rows(arrays["labels"], names, library, store, ranges)
        flux, continuum = arrays["flux"], arrays["continuum"]
    spectra = {labels: _pair(flux[i], continuum[i]) for labels, i in rows.items()}
    for labels in _spread(list(spectra)):
        _require_agreement(labels, spectra[labels], compute, path)
    for labels, spectrum in spectra.items():
        store.save(labels, spectrum)
    return len(spectra)


def _require_pixels(wavelength: NDArray[np.float64], library: Described, path: Path) -> None:
    expected = air_to_vacuum(library.air)
    if wavelength.shape != expected.shape or (
        np.abs(wavelength - expected).max() > WAVELENGTH_AGREEMENT
    ):
        raise PreparationError(
            f"{path} has {wavelength.size} pixels from {wavelength[0]:.2f} Å, expected "
            f"{expected.size} from {expected[0]:.2f} Å; give a grid of the same range and step."
        )


def _rows(
    labels: NDArray[np.float64],
    names: tuple[str, ...],
    library: Described,
    store: Store,
    ranges: Ranges,
) -> dict[Labels, int]:
    if names != library.label_names:
        raise PreparationError(f"got labels {names}, expected {library.label_names}.")
    nodes = {name_of(x): x for x in library.nodes()}
    chosen = {}
    for i, row in enumerate(labels.tolist()):
        inside = all(low <= row[names.index(n)] <= high for n, (low, high) in ranges.items())
        node = nodes.get(name_of(tuple(row)))
        if inside and node is not None and not store.done(node):
            chosen[node] = i
    return chosen


def _pair(flux: NDArray[np.float32], continuum: NDArray[np.float32]) -> Computed:
    return np.array([flux / continuum.astype(np.float64), flux], np.float32)


def _spread(labels: list[Labels]) -> list[Labels]:
    """First, middle and last in the order of the labels."""
    ordered = sorted(labels)
    return list(dict.fromkeys(ordered[i] for i in (0, len(ordered) // 2, -1) if ordered))


def _require_agreement(
    labels: Labels, spectrum: Computed, compute: Callable[[Labels], Computed], path: Path
) -> None:
    try:
        difference = float(np.abs(compute(labels)[0] - spectrum[0]).max())
    except Hole as hole:
        raise PreparationError(
            f"{path} has {name_of(labels)}, which is a hole here: {hole}."
        ) from hole
    if difference > AGREEMENT:
        raise PreparationError(
            f"{path} at {name_of(labels)} differs by {difference:.1e} from the spectrum computed "
            f"here, expected at most {AGREEMENT:.0e}; take fewer nodes with --only."
        )
