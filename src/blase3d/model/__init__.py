"""The model of a library: labels to flux.

`model.py` has the record `Model`, `model_file.py` reads and writes it. The rest computes its flux:
interpolation of the lines between the nodes, the residual, and how a star is observed.
"""

from .model import Model

__all__ = ["Model"]
