"""A short spectrum that the tests of readers write in each format, and compare with."""

from __future__ import annotations

from typing import Any

import numpy as np

from blase3d.runtime.units import vacuum_to_air

WAVE = np.linspace(6110.0, 6130.0, 401)
"""(401,) Å in vacuum, steps of 0.05 Å."""
AIR = vacuum_to_air(WAVE)
FLUX = 1.0 - 0.5 * np.exp(-(((WAVE - 6120.0) / 0.3) ** 2)) + 0.002 * np.sin(7.0 * WAVE)
ERROR = 0.01 + 0.005 * np.linspace(0.0, 1.0, 401) ** 2
"""One standard deviation."""
IVAR = ERROR**-2.0
VARIANCE = ERROR**2
MASKED = [30, 31, 200]
MASK = np.isin(np.arange(401), MASKED)
"""True: ignore."""
ORDERS = (slice(0, 220), slice(180, 401))
"""Two echelle orders that overlap in 40 pixels."""

for _array in (WAVE, AIR, FLUX, ERROR, IVAR, VARIANCE, MASK):
    _array.flags.writeable = False  # astropy scales images in place


def expected(reader: str, **changes: Any) -> dict[str, Any]:
    """The spectrum that a reader returns for a file of the truth, with changes.

    Keys: reader; wavelength, flux, error (or None), mask and order (or None), arrays (P,), of
    several orders in any sequence; medium of the file, and whether only its pipeline is known for
    it (likely); resolution (or None); meta, the entries that must be there.
    """
    same = {
        "reader": reader,
        "wavelength": WAVE,
        "flux": FLUX,
        "error": ERROR,
        "mask": MASK,
        "order": None,
        "medium": "vacuum",
        "resolution": None,
        "meta": {},
        "likely": False,
    }
    if unknown := set(changes) - set(same):
        raise KeyError(f"no such expectation: {unknown}")
    return {**same, **changes}


def in_orders(values: np.ndarray) -> list[np.ndarray]:
    """Values (401,) cut into the two overlapping orders."""
    return [values[order] for order in ORDERS]


def merged(values: np.ndarray) -> np.ndarray:
    """Values (401,) as a reader returns them for the two orders: in order of wavelength.

    Where the orders overlap the pixels of the first come first.
    """
    pixel = np.concatenate(in_orders(np.arange(401)))
    return values[np.sort(pixel)]


def merged_order(first: int = 0) -> np.ndarray:
    """The numbers of the orders of `merged` pixels, that of the first order given."""
    pixel = np.concatenate(in_orders(np.arange(401)))
    order = np.repeat([first, first + 1], [len(part) for part in in_orders(WAVE)])
    return order[np.lexsort((order, pixel))]
