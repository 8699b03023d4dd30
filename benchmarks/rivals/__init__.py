"""Other methods for comparison; each makes an `Emulator` of a `Library`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from .learnt import gaussian_processes, payne
from .library import Emulator, Floats, Library, NotAvailable
from .pixels import FLUX, SQRT_DEPTH, STRENGTH, borrowed, pixels, principal, quadratic
from .rvspecfit import network, rvspecfit_delaunay, rvspecfit_grid

__all__ = ["RIVALS", "Emulator", "Floats", "Library", "NotAvailable"]

RIVALS: Mapping[str, Callable[..., Emulator]] = {
    "multilinear": partial(pixels, kind="linear", space=FLUX),
    "cubic": partial(pixels, kind="cubic", space=FLUX),
    "cubic-sqrt": partial(pixels, kind="cubic", space=SQRT_DEPTH),
    "cubic-strength": partial(pixels, kind="cubic", space=STRENGTH),
    "quintic-strength": partial(pixels, kind="spline", space=STRENGTH),
    "ridge-strength": partial(pixels, kind="ridge", space=STRENGTH),
    "borrowed-strength": borrowed,
    "pca": principal,
    "quadratic": quadratic,
    "pca-gp": gaussian_processes,
    "payne-form": payne,
    "rvspecfit-grid": rvspecfit_grid,
    "rvspecfit-delaunay": rvspecfit_delaunay,
    "rvspecfit-nn": network,
}
