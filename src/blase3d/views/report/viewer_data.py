"""The spectrum in compact form for the viewer of the page (viewer.js).

Of a long spectrum, the pixels of least and greatest flux and model in each stretch of a few pixels
are kept; nothing is averaged. Arrays are integers times a step, except the residual, which spans
too many orders of magnitude.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ...parameters import parameter
from ..curves import thinned
from .misfit import WrongLine
from .report_data import Floats, ReportData

_MOST_PIXELS = 100_000
"""Largest number of pixels in the viewer, apart from outliers."""
_LINES = 10
"""Lines that are named for each label."""
_OUTLIER, _GAP = 1, 2
"""Bits of the flags."""
_WAVELENGTH_STEP = 1e-4
"""Resolution of the wavelengths, Å."""


def kept_pixels(data: ReportData) -> NDArray[np.int64]:
    """Return the indices of the pixels (of Q) that the viewer shows."""
    pixels = data.pixels
    if pixels.wavelength.size <= _MOST_PIXELS:
        return np.arange(pixels.wavelength.size)
    kept = [np.flatnonzero(pixels.outlier)]
    for order in data.orders:
        fraction = (order.stop - order.start) / pixels.wavelength.size
        count = max(int(_MOST_PIXELS / 4 * fraction), 1)
        for values in (pixels.flux[order], pixels.model[order]):
            kept.append(order.start + thinned(values, count))
    return np.unique(np.concatenate(kept))


def viewer_data(data: ReportData, wrong: Sequence[WrongLine], species: Mapping[int, str]) -> str:
    """Return the content of the viewer as JSON that is safe inside a script element."""
    kept = kept_pixels(data)
    pixels = data.pixels.take(kept)
    starts = [int(np.searchsorted(kept, order.start)) for order in data.orders]
    document = {
        "pixels": int(data.pixels.wavelength.size),
        "kept": int(kept.size),
        "orders": [*starts, int(kept.size)],
        "wavelength": _stepped(pixels.wavelength, _WAVELENGTH_STEP, np.uint32),
        "model": _scaled(pixels.model, np.uint16),
        "residual": _coded(pixels.residual, np.float32),
        "error": _scaled(_limited(pixels.error), np.uint16),
        "flags": _coded(_OUTLIER * pixels.outlier + _GAP * pixels.gap_before, np.uint8),
        "unused": [[round(a, 4), round(b, 4)] for a, b in data.unused],
        "windows": [[round(a, 3), round(b, 3)] for a, b in data.windows],
        "lines": _named_lines(data, wrong, species),
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _limited(error: Floats) -> Floats:
    """Limit errors, so that a few large ones do not cost the others their digits."""
    known = error[np.isfinite(error)]
    return np.minimum(error, 100.0 * np.median(known) if known.size else 1.0)


def _coded(values: NDArray[Any], kind: DTypeLike) -> str:
    """Encode numbers, little-endian, in base64."""
    return base64.b64encode(values.astype(np.dtype(kind).newbyteorder("<")).tobytes()).decode()


def _stepped(values: Floats, step: float, kind: DTypeLike) -> dict[str, Any]:
    """Encode numbers as multiples of a step."""
    low = float(values.min())
    return {"low": low, "step": step, "data": _coded(np.round((values - low) / step), kind)}


def _scaled(values: Floats, kind: DTypeLike) -> dict[str, Any]:
    """Encode numbers in steps that use the whole range of the type."""
    low, high = float(values.min()), float(values.max())
    return _stepped(values, (high - low) / float(np.iinfo(kind).max) or 1.0, kind)


def _named_lines(
    data: ReportData, wrong: Sequence[WrongLine], species: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Return the lines of largest shares and residuals.

    Each has its observed wavelength, its wavelength at rest, its species, and why it is named.
    """
    found, centers = data.information, data.observed_centers
    reasons: dict[int, list[str]] = {}
    for k, name in enumerate(found.names):
        for i in found.top(name, _LINES):
            if found.share[i, k] > 0:
                text = f"{100 * found.share[i, k]:.1f} % of {parameter(name).title}"
                reasons.setdefault(int(i), []).append(text)
    for line in wrong:
        reasons.setdefault(line.index, []).append(f"off by {line.sigmas:+.0f} σ")
    low, high = data.range
    return [
        {
            "observed": round(float(centers[i]), 4),
            "rest": f"{found.lines.center[i]:.2f}",
            "name": species.get(i, ""),
            "why": ", ".join(why),
        }
        for i, why in sorted(reasons.items(), key=lambda item: centers[item[0]])
        if low <= centers[i] <= high
    ]
