"""Line profiles: a family of line shapes of unit area. A new one is one module, one row here, and
its name in `recipe.Profile`.

Every line has an area and two widths, sigma and gamma (`lines.PARAMETERS`). A profile turns them
into three *columns* of its own choice, once a line, so that little is left to compute for each
pixel in the inner loop of `render`. Far from the centre a profile may have a cheaper form, `wing`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jax import Array
from numpy.typing import NDArray

from . import pseudo_voigt


class LineProfile(Protocol):
    """Interface of a profile. Wavelengths are in Å; arguments broadcast."""

    def columns(
        self, ln_area: Array, ln_sigma: Array, ln_gamma: Array, /
    ) -> tuple[Array, Array, Array]:
        """Columns of lines of this area and these widths (ln Å)."""

    def full(self, x: Array, first: Array, second: Array, third: Array, /) -> Array:
        """Area times profile at a distance x from the centre of lines with these columns."""

    def wing(self, x: Array, first: Array, second: Array, third: Array, /) -> Array:
        """`full`, at distances beyond `core`."""

    def fwhm(self, ln_sigma: Array, ln_gamma: Array, /) -> Array:
        """Full width at half maximum (Å)."""

    def reach(
        self, area: NDArray[np.float64], ln_sigma: Array, ln_gamma: Array, tolerance: float, /
    ) -> NDArray[np.float64]:
        """Distance (Å) beyond which area (Å) times profile is below `tolerance`, (N,)."""

    def core(
        self, area: NDArray[np.float64], ln_sigma: Array, ln_gamma: Array, tolerance: float, /
    ) -> NDArray[np.float64]:
        """Distance (Å) beyond which `wing` differs by less than `tolerance`, (N,)."""


PROFILES: dict[str, LineProfile] = {"pseudo-voigt": pseudo_voigt}
"""All profiles by the name that `Recipe.profile` gives."""
