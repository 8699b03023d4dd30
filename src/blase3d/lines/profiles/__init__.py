"""Line profiles: a family of line shapes of unit area. A new one is one module, one row here, and
its name in `recipe.Profile`.

Every line has an area and two widths, sigma and gamma (`lines.PARAMETERS`). A profile turns the
widths into two *shape numbers* of its own choice. Its derivatives with respect to these are given
in closed form, for the inner loop of `render`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jax import Array
from numpy.typing import NDArray

from . import pseudo_voigt


class LineProfile(Protocol):
    """Interface of a profile. Wavelengths are in Å; arguments broadcast."""

    def shape(self, ln_sigma: Array, ln_gamma: Array, /) -> tuple[Array, Array]:
        """Shape numbers of lines of these widths (ln Å)."""

    def value(self, x: Array, first: Array, second: Array, /) -> Array:
        """The profile (1/Å) at a distance x from the centre, for these shape numbers."""

    def partials(
        self, x: Array, first: Array, second: Array, /
    ) -> tuple[Array, Array, Array, Array]:
        """The profile and its derivatives with respect to the centre and the shape numbers."""

    def fwhm(self, ln_sigma: Array, ln_gamma: Array, /) -> Array:
        """Full width at half maximum (Å)."""

    def reach(
        self, area: NDArray[np.float64], ln_sigma: Array, ln_gamma: Array, tolerance: float, /
    ) -> NDArray[np.float64]:
        """Distance (Å) beyond which area (Å) times profile is below `tolerance`, (N,)."""


PROFILES: dict[str, LineProfile] = {"pseudo-voigt": pseudo_voigt}
"""All profiles by the name that `Recipe.profile` gives."""
