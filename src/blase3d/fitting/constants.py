"""Constants that steer a fit and are in no recipe. An archive resumes only under its own."""

from __future__ import annotations

import hashlib
import json

from ..lines import catalogue, detect
from ..model import grid_basis, line_grid, residual
from ..spectra import continuum
from . import joint_fit, single_node

VERSION_5 = "2a04df4ccc6d"
"""`mark` of the constants of version 5, whose archives do not carry them."""
_LATER = ("joint_fit.early_steps", "joint_fit.early_wings")
"""Constants of joint fits that version 5 does not have."""


def constants() -> dict[str, float]:
    """Constants of normalisation, detection, clustering, basis functions and both fits."""
    return {
        "continuum.rounding": continuum.ROUNDING,
        "continuum.rounds": continuum.ROUNDS,
        "continuum.coolest": continuum.COOLEST,
        "detect.prominence_window": detect._PROMINENCE_WINDOW,
        "detect.edge": detect._EDGE,
        "catalogue.bins_per_kernel": catalogue._BINS_PER_KERNEL,
        "catalogue.kernel_reach": catalogue._KERNEL_REACH,
        "interpolation.least_mode": grid_basis._LEAST_SMOOTH,
        "grid_basis.step": grid_basis.DATA_STEP,
        "grid_basis.power": grid_basis._POWER,
        "grid_basis.least": grid_basis._LEAST,
        "grid_basis.nothing": grid_basis._NEGLIGIBLE,
        "residual.darkest": residual.DARKEST,
        "residual.some": residual._SAMPLE,
        "line_grid.layout_nodes": line_grid._LAYOUT_NODES,
        "line_grid.least_root": line_grid._LEAST_ROOT,
        "single_node.reach_margin": single_node.REACH_MARGIN,
        "single_node.shift_unit": single_node.SHIFT_UNIT,
        "single_node.converged": single_node._CONVERGED,
        "single_node.most_lines": single_node._MOST_LINES,
        "single_node.least_flux": single_node._FLUX_RANGE[0],
        "single_node.greatest_flux": single_node._FLUX_RANGE[1],
        "single_node.unfitted": single_node._UNFITTED,
        "single_node.apart": single_node._APART,
        "single_node.most_flags": single_node._MOST_FLAGS,
        "joint_fit.width_unit": joint_fit._WIDTH_UNIT,
        "joint_fit.ridge_added": joint_fit._RIDGE_ADDED,
        "joint_fit.ridge_detected": joint_fit._RIDGE_DETECTED,
        "joint_fit.faintest": joint_fit._FAINTEST,
        "joint_fit.faintest_added": joint_fit._FAINTEST_ADDED,
        "joint_fit.stray_penalty": joint_fit._STRAY_PENALTY,
        "joint_fit.widened": joint_fit._WIDENED,
        "joint_fit.adam_b2": joint_fit._ADAM_B2,
        "joint_fit.least_epochs": joint_fit._LEAST_EPOCHS,
        "joint_fit.early_steps": joint_fit._EARLY_STEPS,
        "joint_fit.early_wings": joint_fit._EARLY_WINGS,
    }


def are_those_of(kept: dict[str, float] | None, joint: bool) -> bool:
    """Whether fits now have the constants that an archive keeps; None: those of version 5.

    `joint` fits of version 5 cannot be continued: their first rounds were longer.
    """
    now = constants()
    if kept is not None:
        return kept == now
    before = {name: value for name, value in now.items() if name not in _LATER}
    return not joint and mark(before) == VERSION_5


def mark(values: dict[str, float]) -> str:
    """A short digest of constants."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
