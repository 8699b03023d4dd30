"""Exceptions of blase3D.

    Blase3dError
    ├── InputError          the input cannot be used: exit status 1
    │   ├── GridError       a library is damaged, incomplete or in an unknown format
    │   ├── SpectrumError   a spectrum cannot be read or used
    │   ├── LabelError      labels are unknown or outside the library
    │   ├── RecipeError     a recipe is unknown or does not match the file
    │   ├── ArchiveError    a clone archive or a model is damaged or foreign
    │   ├── CloneError      a spectrum cannot be fitted with lines
    │   └── WorkerError     work on an item failed unexpectedly, or its process died
    └── MissingExtra        an optional dependency is not installed

A message is one sentence or two: "got X, expected Y; do Z."
"""

from __future__ import annotations


class Blase3dError(Exception):
    """Base of all exceptions of blase3D."""


class InputError(Blase3dError):
    """The input cannot be used."""


class GridError(InputError):
    """A library of spectra is damaged, incomplete or in an unknown format."""


class SpectrumError(InputError):
    """A spectrum cannot be read or used."""


class LabelError(InputError):
    """Labels are unknown or outside the library."""


class RecipeError(InputError):
    """A recipe is unknown or does not match the file."""


class ArchiveError(InputError):
    """A clone archive or a model is damaged, foreign or of another version."""


class CloneError(InputError):
    """A spectrum cannot be fitted with lines."""


class WorkerError(InputError):
    """Work on a node, a window or a star failed unexpectedly, or its process died."""


class MissingExtra(Blase3dError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed; "
            f"run: pip install 'blase3d[{extra}]'."
        )
