"""Every exception that blase3D raises on purpose.

    Blase3dError
    ├── InputError          what was given cannot be used: exit status 1
    │   ├── GridError       a library file is damaged or incomplete
    │   ├── SpectrumError   an observed spectrum cannot be used
    │   ├── LabelError      labels outside the library, or unknown
    │   ├── RecipeError     no such recipe, or one that does not fit the file
    │   ├── ArchiveError    a clone archive or a model is damaged or foreign
    │   └── CloneError      a node that cannot be turned into lines
    └── MissingExtra        an optional dependency is not installed

A message is one sentence or two: what was got, what was expected, what to do.
"""

from __future__ import annotations


class Blase3dError(Exception):
    """Base of all errors that blase3D raises on purpose."""


class InputError(Blase3dError):
    """The input is at fault."""


class GridError(InputError):
    """A library of spectra is damaged, incomplete or in an unknown form."""


class SpectrumError(InputError):
    """A spectrum cannot be read or used."""


class LabelError(InputError):
    """Labels are unknown or outside the library."""


class RecipeError(InputError):
    """A recipe is unknown or does not fit what it is used on."""


class ArchiveError(InputError):
    """A clone archive or a model is damaged, foreign or of another version."""


class CloneError(InputError):
    """A spectrum cannot be turned into lines."""


class MissingExtra(Blase3dError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed; "
            f"run: pip install 'blase3d[{extra}]'."
        )
