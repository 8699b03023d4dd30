"""Images in other files that belong to a spectrum: wavelengths, errors, the blaze."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import SpectrumError
from ...runtime.arrays import Floats
from ...runtime.files import LARGEST_SPECTRUM, require_file
from .reader import SpectrumFile

_ENDINGS = ("fits", "fit", "fts")
_MOST_BESIDE = 20
"""Most files in a folder that are opened in search of wavelengths."""


def image_beside(file: SpectrumFile, name: str, shape: tuple[int, ...]) -> Floats | None:
    """Return the image of this shape in the file of this name beside `file`, or None."""
    if not name or Path(name).name != name:
        return None
    path = file.path.with_name(name)
    return image_in(path, shape) if path.is_file() else None


def image_in(path: Path, shape: tuple[int, ...]) -> Floats | None:
    """Return the first image of a FITS file that has this shape; None if there is none."""
    if path.stat().st_size > LARGEST_SPECTRUM:
        return None
    try:
        with SpectrumFile(path) as beside:
            for hdu in beside.hdus if beside.is_fits else ():
                if hdu.is_image and hdu.shape == shape:
                    return np.asarray(hdu.data, np.float64)
    except (SpectrumError, OSError, TypeError, ValueError):  # a damaged file
        return None
    return None


def wavelengths_in(path: Path, shape: tuple[int, ...]) -> Floats:
    """Return the wavelengths in a file that the user names.

    Raise `SpectrumError` if it has no image of this shape, or one that increases in no row.
    """
    require_file(path, SpectrumError)
    image = image_in(path, shape)
    if image is None or not are_wavelengths(image):
        wanted = " x ".join(map(str, shape))
        raise SpectrumError(
            f"{path} has no image of {wanted} wavelengths, as the flux; give another file."
        )
    return image


def wavelengths_beside(file: SpectrumFile, shape: tuple[int, ...]) -> tuple[str, Floats] | None:
    """Return name and wavelengths of the only file beside `file` with any of this shape, or None.

    Its name contains `wav`. Of several such files, none is taken.
    """
    images = [(path.name, image_in(path, shape)) for path in _named_wavelength(file.path)]
    found = [
        (name, image) for name, image in images if image is not None and are_wavelengths(image)
    ]
    return found[0] if len(found) == 1 else None


def _named_wavelength(path: Path) -> Iterator[Path]:
    beside = sorted(other for other in path.parent.glob("*") if "wav" in other.name.lower())
    for other in beside[:_MOST_BESIDE]:
        endings = [ending.lower().removeprefix(".") for ending in other.suffixes]
        if other != path and other.is_file() and set(endings) & set(_ENDINGS):
            yield other


def are_wavelengths(image: Floats) -> bool:
    """Whether an image has wavelengths: positive numbers that increase, or decrease, in each row.

    Missing ones are 0 or NaN.
    """
    rows = np.atleast_2d(image)
    usable = np.isfinite(rows) & (rows > 0.0)
    if rows.shape[1] < 2 or usable.mean() < 0.5:
        return False
    step = np.where(usable[:, 1:] & usable[:, :-1], np.diff(rows, axis=1), 0.0)
    one_way = (step >= 0.0).all(axis=1) | (step <= 0.0).all(axis=1)
    return bool(one_way.all() and (step != 0.0).mean() > 0.5)
