"""The spectrum for the viewer of the page (viewer.js): few bytes, and what is to be marked.

Of a long spectrum the pixels kept are those with the least and the greatest flux and model in each
part of a few pixels, as they are: nothing is averaged. Arrays are whole numbers times a step, but
for the residual, of which one pixel may be a thousand times another.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ...parameters import parameter
from .misfit import WrongLine
from .report_data import View
from .svg import Floats, thinned

MOST = 100_000
"""Pixels that are kept at the most, but for outliers."""
LINES = 10
"""Lines that are named for each label."""
_OUTLIER, _GAP = 1, 2
_WAVELENGTH_STEP = 1e-4
"""Å"""


def kept_pixels(view: View, most: int = MOST) -> NDArray[np.int64]:
    """Which pixels (of Q) the viewer has."""
    if view.wavelength.size <= most:
        return np.arange(view.wavelength.size)
    parts = []
    for part in view.orders:
        count = max(int(most / 4 * (part.stop - part.start) / view.wavelength.size), 1)
        for values in (view.flux[part], view.model[part]):
            parts.append(part.start + thinned(values, count))
    return np.unique(np.concatenate([*parts, np.flatnonzero(view.outlier)]))


def viewer_data(view: View, wrong: Sequence[WrongLine], species: Mapping[int, str]) -> str:
    """What viewer.js draws, as JSON that is safe inside a script element."""
    kept = kept_pixels(view)
    residual = (view.flux - view.model)[kept]
    gaps = np.diff(np.cumsum(view.gap_before)[kept], prepend=0) > 0
    order = view.order[kept]
    starts = [0, *(np.flatnonzero(np.diff(order)) + 1).tolist(), kept.size]
    document = {
        "pixels": int(view.wavelength.size),
        "kept": int(kept.size),
        "orders": starts,
        "wavelength": _stepped(view.wavelength[kept], _WAVELENGTH_STEP, np.uint32),
        "model": _scaled(view.model[kept], np.uint16),
        "residual": _coded(residual, np.float32),
        "error": _scaled(np.minimum(view.error[kept], _largest_error(view)), np.uint16),
        "flags": _coded(_OUTLIER * view.outlier[kept] + _GAP * gaps, np.uint8),
        "unused": [[round(a, 4), round(b, 4)] for a, b in view.unused],
        "windows": [[round(a, 3), round(b, 3)] for a, b in view.windows],
        "lines": _named_lines(view, wrong, species),
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _largest_error(view: View) -> float:
    """Errors beyond this are shown as this, so that the others keep their digits."""
    known = view.error[np.isfinite(view.error)]
    return float(100.0 * np.median(known)) if known.size else 1.0


def _coded(values: NDArray[Any], kind: DTypeLike) -> str:
    """Numbers, little-endian, in base64."""
    return base64.b64encode(values.astype(np.dtype(kind).newbyteorder("<")).tobytes()).decode()


def _stepped(values: Floats, step: float, kind: DTypeLike) -> dict[str, Any]:
    low = float(values.min())
    return {"low": low, "step": step, "data": _coded(np.round((values - low) / step), kind)}


def _scaled(values: Floats, kind: DTypeLike) -> dict[str, Any]:
    """In steps that fill the type."""
    low, high = float(values.min()), float(values.max())
    return _stepped(values, (high - low) / float(np.iinfo(kind).max) or 1.0, kind)


def _named_lines(
    view: View, wrong: Sequence[WrongLine], species: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Lines that carry a label or that the model gets wrong: where they are seen, the wavelength
    that they have at rest, and in words why they are named."""
    found = view.information
    reasons: dict[int, list[str]] = {}
    for k, name in enumerate(found.names):
        for i in found.top(name, LINES):
            if found.share[i, k] > 0:
                text = f"{100 * found.share[i, k]:.1f} % of {parameter(name).title}"
                reasons.setdefault(int(i), []).append(text)
    for line in wrong:
        reasons.setdefault(line.index, []).append(f"off by {line.sigmas:+.0f} σ")
    return [
        {
            "seen": round(float(view.seen_centers[i]), 4),
            "rest": f"{found.lines.center[i]:.2f}",
            "name": species.get(i, ""),
            "why": ", ".join(why),
        }
        for i, why in sorted(reasons.items(), key=lambda item: view.seen_centers[item[0]])
        if view.low <= view.seen_centers[i] <= view.high
    ]
