"""Changes of lines: the quantities that can change, their typical errors, and changed models."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...model.line_grid import ln_area_of, total_of
from ...model.model import Model
from ...runtime.arrays import Floats, Integers
from ...runtime.units import SPEED_OF_LIGHT

QUANTITIES = ("strength", "shift", "width")
"""Quantities of a line that can change: ln area, wavelength, and both ln widths equally."""
LEAST_ERROR = 1e-9
"""Typical error of a quantity that does not change."""


@dataclass(frozen=True)
class Scales:
    """Typical errors of the lines of a library, as standard deviations.

    Attributes
    ----------
    strength : float
        Error of ln a: oscillator strengths are often wrong by 0.1 to 0.2 dex.
    shift : float
        Error of the wavelength, km/s: laboratory wavelengths and convection.
    width : float
        Error of ln width: damping and turbulence.
    """

    strength: float = 0.4
    shift: float = 0.3
    width: float = 0.1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 <= value < np.inf:
                raise InputError(
                    f"got {value:g} for the typical error of {name}, expected zero or more; "
                    "correct it."
                )

    def of(self, names: tuple[str, ...] = QUANTITIES) -> Floats:
        """The errors (3,) in the order of `QUANTITIES`; next to nothing for those not in `names`,
        and for those that are zero, since their inverse variances have to be finite."""
        errors = [getattr(self, name) if name in names else 0.0 for name in QUANTITIES]
        return np.maximum(errors, LEAST_ERROR)


def check_quantities(names: tuple[str, ...]) -> None:
    """Raise InputError unless all names are among `QUANTITIES`."""
    if unknown := set(names) - set(QUANTITIES):
        raise InputError(
            f"got {', '.join(sorted(unknown))} to adjust, expected some of "
            f"{', '.join(QUANTITIES)}; correct the names."
        )


def with_changes(model: Model, changes: NDArray[np.floating]) -> Model:
    """The model with its lines changed by (C, 3), in ln, Å and ln, equally at all labels."""
    strength, shift, width = np.asarray(changes, np.float32).T
    lines = model.line_grid
    base = lines.base + np.stack([shift, strength, width, width], axis=1)
    return model.with_lines(replace(lines, base=base))


def slope_coefficients(
    model: Model, slopes: Floats, position: Floats
) -> NDArray[np.float32] | None:
    """Return the changes (K, C) of the coefficients of ln area that are slopes (C,) of it along
    positions (box,) of the nodes; None for none."""
    if not slopes.any():
        return None
    lines, count = model.line_grid, model.forward.smooth_count
    basis = model.basis[:, :count]
    total = basis @ lines.area[:count]
    moved = ln_area_of(total, lines.root, np) + np.outer(position, slopes)
    change = np.zeros_like(lines.area)
    change[:count] = np.linalg.lstsq(basis, total_of(moved, lines.root) - total, rcond=None)[0]
    return change


def in_angstroms(changes: Floats, reference: Floats, lines: Integers | slice) -> Floats:
    """The changes of some lines in ln, Å and ln, from (C, 3) in ln, km/s and ln.

    `reference` has the wavelengths of these lines, Å.
    """
    found = changes[lines, :3].copy()
    found[:, 1] *= reference / SPEED_OF_LIGHT
    return found
