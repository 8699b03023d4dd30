"""The model of a library: labels to flux.

`model.py` has the record `Model`, `model_file.py` reads and writes it, and `installed.py` finds it
by its name. The rest computes its flux: interpolation of the lines between the nodes, the residual,
and how a star is observed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import Model

__all__ = ["Model"]


def __getattr__(name: str) -> Any:
    """Import `Model` when it is first used: models are listed without JAX."""
    if name == "Model":
        from .model import Model

        return Model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
