"""Catalogue: lines shared by a grid, from the detections at its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from ..runtime.units import SPEED_OF_LIGHT
from .lines import Lines, first_guess

NODES_AT_ONCE = 512
"""Nodes whose detections are in memory. Of more nodes, those of equal reference are merged."""
_BINS_PER_KERNEL = 4
"""Bins in ln λ per standard deviation of the kernel."""
_KERNEL_REACH = 2.0
"""Distance, in standard deviations, within which detections belong to a peak."""


def equal_lines(detections: Sequence[Lines]) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """Return the references of all nodes, (C,), and for each node the indices of its lines in them.

    Lines of equal detected centre are one line, as in the paper.
    """
    if not detections:
        return np.empty(0), []
    reference, index = np.unique(
        np.concatenate([lines.reference for lines in detections]), return_inverse=True
    )
    return reference, np.split(index, np.cumsum([len(lines) for lines in detections])[:-1])


def cluster(detections: Iterable[Lines], tolerance: float, known: Lines | None = None) -> Lines:
    """Return lines at the peaks of the density of detections over wavelength.

    Every detection adds a Gaussian of standard deviation `tolerance`, weighted by the square
    root of its area so that strong lines dominate. The peaks of the sum are the catalogue. The
    cost is linear in the number of detections, and a further node moves a peak only a little.

    Parameters
    ----------
    detections : iterable of Lines
        One entry per node.
    tolerance : float
        km/s.
    known : Lines, optional
        Lines already in a catalogue. Peaks within half the tolerance of one are dropped.

    Returns
    -------
    Lines
        With `reference` at the peaks (Å), and the parameters of the strongest detection there.
    """
    found, weight = _strongest_first(detections)
    if len(found) == 0:
        return found
    grid = _BINS_PER_KERNEL * SPEED_OF_LIGHT / tolerance
    position = np.log(found.reference) * grid
    origin = np.floor(position.min()) - 4 * _BINS_PER_KERNEL
    bins = np.round(position - origin).astype(np.int64)
    density = np.bincount(bins, weight, minlength=bins.max() + 4 * _BINS_PER_KERNEL)
    peaks, _ = find_peaks(gaussian_filter1d(density, _BINS_PER_KERNEL))
    reference, strongest = _name_peaks(peaks, bins, found.reference, weight)
    if known is not None and len(known):
        near = _distance_to_nearest(reference, np.sort(known.reference)) / reference
        fresh = near > 0.5 * tolerance / SPEED_OF_LIGHT
        reference, strongest = reference[fresh], strongest[fresh]
    params = found.params[strongest].copy()
    params[:, 0] = 0.0
    return Lines(reference, params)


def _strongest_first(detections: Iterable[Lines]) -> tuple[Lines, NDArray[np.float64]]:
    """Return detections in order of their areas, and their weights."""
    nodes, found, weight = iter(detections), first_guess([], [], []), np.empty(0)
    while some := list(islice(nodes, NODES_AT_ONCE)):
        before = len(found)
        reference = np.concatenate([lines.reference for lines in (found, *some)])
        params = np.concatenate([lines.params for lines in (found, *some)])
        added = np.exp(0.5 * params[before:, 1].astype(np.float64))
        order = np.argsort(-params[:, 1], kind="stable")
        found, weight = Lines(reference[order], params[order]), np.append(weight, added)[order]
        if before:
            found, weight = _merged(found, weight)
    return found, weight


def _merged(found: Lines, weight: NDArray[np.float64]) -> tuple[Lines, NDArray[np.float64]]:
    """Return the strongest detection at every reference, with the weight of all.

    References are pixels: there are no more of them, however many the nodes.
    """
    _, first, same = np.unique(found.reference, return_index=True, return_inverse=True)
    total, strongest = np.zeros(first.size), np.sort(first)
    np.add.at(total, same, weight)
    return found.take(strongest), total[same[strongest]]


def _name_peaks(
    peaks: NDArray[np.int64],
    bins: NDArray[np.int64],
    reference: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Wavelength of each peak, and index of its strongest detection: the first."""
    border = 0.5 * (peaks[1:] + peaks[:-1])
    nearest = np.searchsorted(border, bins)
    near = np.abs(bins - peaks[nearest]) <= _KERNEL_REACH * _BINS_PER_KERNEL
    weight = np.where(near, weight, 0.0)
    total = np.bincount(nearest, weight, minlength=peaks.size)
    moment = np.bincount(nearest, weight * reference, minlength=peaks.size)
    index = np.flatnonzero(near)
    members, first = np.unique(nearest[index], return_index=True)
    return moment[members] / total[members], index[first]


def _distance_to_nearest(
    values: NDArray[np.float64], among: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance of each value to the nearest of `among` (sorted)."""
    padded = np.concatenate([[-np.inf], among, [np.inf]])
    right = np.searchsorted(among, values)
    return np.minimum(values - padded[right], padded[right + 1] - values)
