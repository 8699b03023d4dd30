"""From a spectrum to labels: a star is inferred with a model.

infer          single.py       one star
infer_many     batch.py        many stars, on any executor
infer_joint    joint.py        one star from several spectra and models, with `joint_problem.py`
                               (windows, parameters) and `joint_likelihood.py` (their sum)
log_likelihood for_samplers.py the likelihood as a function of the parameters, for samplers
Survey         survey/         many stars of one instrument, fitted together

problem.py     the data, the model, and which parameters are free
likelihood/    chi-square of a problem: forward model, continuum, errors
noise/         noise models, one module each
start.py       starts of a search, from coarse templates of the model (`templates.py`)
descent.py     Levenberg–Marquardt
methods/       inference methods, one module each
result.py      the answer, with `flags.py`, `plots.py` and `table.py`
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import infer_many
    from .joint import infer_joint
    from .methods import Method
    from .prior import Prior
    from .problem import Options
    from .result import Inference
    from .single import infer

_HOMES = {
    "Inference": "result",
    "Method": "methods",
    "Options": "problem",
    "Prior": "prior",
    "infer": "single",
    "infer_joint": "joint",
    "infer_many": "batch",
}
"""Module of each public name."""

__all__ = ["Inference", "Method", "Options", "Prior", "infer", "infer_joint", "infer_many"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: the names of the methods are needed without JAX."""
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
