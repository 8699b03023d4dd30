"""Pixels without data, and wavelengths in disorder, as files of observed spectra have them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from ..runtime.arrays import Bools, Floats, Integers
from ..runtime.units import SIGMA_PER_MAD

SENTINELS = (-99.0, -999.0, -9999.0, -99999.0, -32768.0)
"""Values that stand for a missing flux."""
LARGEST_FLUX = 1e30
"""No flux is larger, in any unit; IRAF's INDEF and other fillers are."""
_SENTINEL_COUNT = 3
"""Pixels with the same sentinel from which on none of them is a measurement ..."""
_SENTINEL_FACTOR = 10.0
"""... unless it is this much larger than the median of the absolute flux: then one is enough."""
_SHORTEST_GAP = 5
"""Fewest pixels of exactly zero flux that are a gap. At the ends of an order, one is enough."""
_NEIGHBOURS = 21
"""Pixels whose median is the level of the flux around a pixel."""
_LEAST_NOISE = 1e-4
"""Noise over flux below which a spectrum counts as computed."""
_CLEARLY = 5.0
"""Level of the flux, in units of the noise, at which a flux of exactly zero is none."""
_REPEATED = 8
"""Neighbouring pixels with exactly the same flux that are no measurements ..."""
_COINCIDENCES = 0.02
"""... unless more than this fraction of the pixels repeat a value a few times."""
_SHORTEST_ORDER = 16
"""Mean number of pixels between steps back in wavelength from which on they separate orders."""

_SHORTEST_EIGHTH = 8
"""Fewest pixels in an eighth of an order, by which a blaze is recognised ..."""
_FEWEST_ORDERS = 3
"""... and fewest orders."""
_BLAZED = 0.85
"""Level at the ends of orders, relative to their middle, below which they have a blaze. It is 0.75
for HPF and 0.4 for APF; a slope and lines change it by less than 0.1."""

PixelColumns = Mapping[str, NDArray[Any]]
"""Arrays (P,) by name; wavelength is among them."""


def without_data(flux: Floats, order: Integers | None = None) -> Bools:
    """Return whether pixels (P,), in the order of the file, have no measured flux.

    These are values that are not finite, sentinels, and zeros at the ends of an order or in a gap.
    """
    missing = ~(np.abs(flux) < LARGEST_FLUX)
    measured = np.abs(flux[~missing & (flux != 0.0)])
    typical = np.median(measured) if measured.size else 0.0
    for value in SENTINELS:
        same = flux == value
        if same.sum() >= _SENTINEL_COUNT or abs(value) > _SENTINEL_FACTOR * typical:
            missing |= same
    return missing | _gaps(missing | (flux == 0.0), order)


def _gaps(empty: Bools, order: Integers | None) -> Bools:
    """Whether pixels belong to a long run of empty ones, or to one at an end of an order."""
    step = np.zeros(len(empty) - 1, bool) if order is None else np.diff(order) != 0
    first, last = np.append(True, step), np.append(step, True)
    run = np.cumsum(first | np.append(True, np.diff(empty))) - 1
    gap = np.bincount(run) >= _SHORTEST_GAP
    gap[run[first | last]] = True
    return empty & gap[run]


def has_blaze(flux: Floats) -> bool:
    """Return whether a flux (orders, pixels) falls to both ends of most orders, as a blaze does.

    Pixels to be left out are NaN. The level is the 90th percentile in each eighth of an order.
    """
    orders, width = len(flux), flux.shape[1] // 8
    if orders < _FEWEST_ORDERS or width < _SHORTEST_EIGHTH:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an eighth without pixels
        level = np.nanpercentile(flux[:, : 8 * width].reshape(orders, 8, width), 90.0, axis=2)
        middle = np.median(level[:, 2:6], axis=1)
        ends = np.where(middle > 0.0, (level[:, 0] + level[:, 7]) / 2.0, np.nan)
        return bool(np.nanmedian(ends / middle) < _BLAZED)


def dead_pixels(flux: Floats) -> Bools:
    """Return whether pixels (P,) are exactly zero amid flux, or repeat one value many times.

    In a spectrum with noise neither is a measurement. Spectra without noise, and those in whole
    numbers that are smaller than their noise, may repeat values.
    """
    dead = np.zeros(len(flux), bool)
    step = np.diff(flux, prepend=np.nan)
    if (flux != 0.0).all() and (step != 0.0).all():
        return dead  # as are most spectra, and what follows takes longer
    level = median_filter(np.abs(flux), _NEIGHBOURS)
    third = np.abs(np.diff(flux, 3)) / np.sqrt(20.0)
    noise = SIGMA_PER_MAD * np.median(third) if third.size else 0.0
    if noise <= _LEAST_NOISE * np.median(level):
        return dead
    dead |= (flux == 0.0) & (level > _CLEARLY * noise)
    run = np.cumsum(step != 0.0) - 1
    count = np.bincount(run)
    if count[(count > 1) & (count < _REPEATED)].sum() < _COINCIDENCES * len(flux):
        dead |= (count >= _REPEATED)[run]
    return dead


def with_wavelength(columns: PixelColumns) -> dict[str, NDArray[Any]]:
    """Return the pixels whose wavelength is finite and positive."""
    wavelength = columns["wavelength"]
    return _taken(columns, np.isfinite(wavelength) & (wavelength > 0.0))


def ascending(columns: PixelColumns) -> dict[str, NDArray[Any]]:
    """Return the columns reversed if most of their wavelengths descend."""
    step = np.diff(columns["wavelength"])
    descends = (step < 0).sum() > (step > 0).sum()
    return _taken(columns, slice(None, None, -1 if descends else 1))


def orders_of(wavelength: Floats) -> Integers | None:
    """Return the number of the echelle order of each pixel, or None if there is only one.

    Where wavelengths step back a few times only, each step begins another order.
    """
    back = np.append(False, np.diff(wavelength) < 0)
    if not back.any() or len(wavelength) < _SHORTEST_ORDER * (back.sum() + 1):
        return None
    return np.cumsum(back)


def by_wavelength(columns: PixelColumns) -> dict[str, NDArray[Any]]:
    """Return the columns in strictly increasing wavelength; `mask` is among them.

    Of equal wavelengths in one order the first usable pixel is kept; those of different orders are
    moved by the least possible amount.
    """
    wavelength = columns["wavelength"]
    if (np.diff(wavelength) > 0).all():
        return dict(columns)
    order = columns.get("order", np.zeros(len(wavelength), np.int64))
    unusable = columns["mask"] | ~np.isfinite(columns["flux"])
    by = np.lexsort((unusable, order, wavelength))
    found = _taken({**columns, "_order": order}, by)
    order = found.pop("_order")
    again = (np.diff(found["wavelength"]) == 0) & (np.diff(order) == 0)
    found = _taken(found, np.append(True, ~again))
    found["wavelength"] = _separated(found["wavelength"])
    return found


def _separated(wavelength: Floats) -> Floats:
    """Sorted wavelengths, with equal ones moved up until all differ."""
    moved = wavelength.copy()
    while (late := np.flatnonzero(np.diff(moved) <= 0)).size:
        moved[late + 1] = np.nextafter(moved[late], np.inf)
    return moved


def _taken(columns: PixelColumns, keep: Any) -> dict[str, NDArray[Any]]:
    return {name: values[keep] for name, values in columns.items()}
