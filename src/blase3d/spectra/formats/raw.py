"""The content of a spectrum file before the medium is settled, and the spectrum that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SpectrumError
from ...runtime.arrays import Bools, Floats, Integers
from ...runtime.files import first_line, to_vacuum
from .. import cleaning
from ..spectrum import Spectrum
from .written import COLUMNS


@dataclass(frozen=True, eq=False)
class RawSpectrum:
    """The content of a spectrum file, before the medium is settled.

    Attributes
    ----------
    arrays : mapping
        Columns of `COLUMNS` by name, (P,) or (orders, pixels) each: wavelength (Å) and flux, and
        where the file has them error (one standard deviation), mask (true: ignore), continuum,
        order and pixel_resolution. Wavelengths may be in any order, or missing (NaN, 0).
    medium : str, optional
        "air" or "vacuum"; None if the file does not state it.
    resolution : float or mapping, optional
        Resolving power λ/Δλ, one number, or one for each echelle order by its number in the
        column `order`.
    meta : dict
        Whatever else the file states, as plain values.
    guessed : tuple of str
        Sentences about what the file does not state and was guessed: a unit, a column.
    likely_medium : str, optional
        The medium that the pipeline writes, for a file that does not state it. Unlike a stated one,
        it gives way to that of the user.
    """

    arrays: Mapping[str, NDArray[Any]]
    medium: object = None
    resolution: Any = None
    meta: dict[str, Any] = field(default_factory=dict)
    guessed: tuple[str, ...] = ()
    likely_medium: str | None = None


def spectrum_of(
    raw: RawSpectrum, medium: str, resolution: float | None, clean: bool = True
) -> Spectrum:
    """Return the spectrum of a file, with wavelengths in vacuum and in increasing order.

    `medium` is that of the wavelengths in the file. `resolution`, unless None, replaces what the
    file states. Unless `clean` is false, pixels without data are masked, and errors that are zero
    everywhere are left out. `meta["notes"]` says what was changed.
    """
    notes = sentences(raw.meta, "notes")
    columns = _flat(raw.arrays)
    columns = _with_wavelength(columns, notes)
    columns["wavelength"] = to_vacuum(columns["wavelength"], medium)
    columns = _with_orders(cleaning.ascending(columns), notes)
    if clean:
        columns = _cleaned(columns, notes)
    count = len(columns["wavelength"])
    columns = cleaning.by_wavelength(columns)
    if doubled := count - len(columns["wavelength"]):
        if len(columns["wavelength"]) == 1:
            raise SpectrumError(
                f"the wavelengths have {columns['wavelength'][0]} twice and no other, expected "
                "increasing values; correct them."
            )
        notes.append(f"{doubled} pixels at the same wavelength as another were left out")
    meta = {**raw.meta, "medium": "vacuum"}
    if clean and "blaze" not in meta and _has_blaze(raw.arrays):
        meta["blaze"] = "included"
        notes.append("the flux falls to both ends of the orders: it includes the blaze")
    if medium == "air":
        meta["converted_from"] = "air"
    guessed = [*sentences(raw.meta, "guessed"), *raw.guessed]
    meta |= {key: said for key, said in (("notes", notes), ("guessed", guessed)) if said}
    return Spectrum(**{**columns, **_resolution(raw, columns, resolution)}, meta=meta)


def sentences(meta: Mapping[str, Any], key: str) -> list[str]:
    """Return the sentences under a key of metadata, a list or one text."""
    found = meta.get(key, ())
    return [str(one) for one in found] if isinstance(found, list | tuple) else [str(found)]


def _has_blaze(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether arrays (orders, pixels) have the blaze in their flux; False for one spectrum."""
    flux = np.asarray(arrays["flux"])
    if flux.ndim != 2 or np.shape(arrays["wavelength"]) != flux.shape:
        return False
    unused = flux == 0.0
    if "mask" in arrays:
        unused |= np.reshape(mask_of(arrays), flux.shape)
    return cleaning.has_blaze(np.where(unused, np.nan, flux))


def _flat(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Columns (P,) from arrays (P,) or (orders, pixels), a mask among them."""
    wavelength = np.asarray(arrays["wavelength"])
    columns = {
        name: _flat_one(numeric_column(arrays, name), wavelength.shape, name)
        for name in COLUMNS
        if name in arrays and name != "mask"
    }
    mask = mask_of(arrays) if "mask" in arrays else np.zeros(wavelength.shape, bool)
    columns["mask"] = _flat_one(mask, wavelength.shape, "mask")
    if "order" in columns:
        columns["order"] = _whole(columns["order"])
    elif wavelength.ndim == 2 and len(wavelength) > 1:
        columns["order"] = np.repeat(np.arange(len(wavelength)), wavelength.shape[1])
    varying = columns.get("pixel_resolution")
    if varying is not None and (varying.ndim == 0 or np.isnan(varying).all()):
        del columns["pixel_resolution"]
    return columns


def _flat_one(values: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
    if name == "pixel_resolution" and values.ndim == 0:
        return values
    if values.ndim == 1 and len(shape) == 2 and shape[0] == len(values) != shape[1]:
        values = np.broadcast_to(values[:, None], shape)  # one value for each order
    if values.size != np.prod(shape, dtype=int):
        wanted = shape if len(shape) != 1 else f"({shape[0]},)"
        raise SpectrumError(
            f"the {name} has shape {values.shape}, expected {wanted} as the wavelength: "
            "one value per pixel."
        )
    return values.ravel()


def _with_wavelength(columns: cleaning.PixelColumns, notes: list[str]) -> dict[str, NDArray[Any]]:
    kept = cleaning.with_wavelength(columns)
    missing = len(columns["wavelength"]) - len(kept["wavelength"])
    if missing and not len(kept["wavelength"]):
        raise SpectrumError(
            f"the wavelengths have {columns['wavelength'][0]} at pixel 0, and none of the "
            f"{missing} is finite and positive; correct them."
        )
    if missing:
        notes.append(f"{missing} pixels without a wavelength were left out")
    return kept


def _with_orders(columns: dict[str, NDArray[Any]], notes: list[str]) -> dict[str, NDArray[Any]]:
    if "order" in columns:
        return columns
    order = cleaning.orders_of(columns["wavelength"])
    if order is None:
        return columns
    notes.append(f"the wavelengths step back {order[-1]} times: taken for {order[-1] + 1} orders")
    return {**columns, "order": order}


def _cleaned(columns: dict[str, NDArray[Any]], notes: list[str]) -> dict[str, NDArray[Any]]:
    """Columns with pixels without data masked, and without errors if all of these are zero."""
    empty = cleaning.without_data(columns["flux"], columns.get("order"))
    cleaned = {**columns, "mask": columns["mask"] | empty}
    if found := int((empty & np.isfinite(columns["flux"]) & ~columns["mask"]).sum()):
        notes.append(f"{found} pixels without data (zeros or a filler) were masked")
    error = columns.get("error")
    if error is not None and not (error[~empty] > 0.0).any() and not empty.all():
        del cleaned["error"]
        notes.append("the errors are zero or missing everywhere: none are used")
    return cleaned


def _resolution(
    raw: RawSpectrum, columns: cleaning.PixelColumns, asked: float | None
) -> dict[str, Any]:
    """The fields `resolution` and `pixel_resolution` of a spectrum."""
    if asked is not None:
        return {"resolution": asked, "pixel_resolution": None}
    if isinstance(raw.resolution, Mapping):
        varying = _resolution_of_orders(raw.resolution, columns.get("order"))
        return {"resolution": None, "pixel_resolution": varying}
    return {"resolution": raw.resolution}


def numeric_column(arrays: Mapping[str, NDArray[Any]], name: str) -> Floats:
    """Return a column as numbers. Raise `SpectrumError` if it is not numeric."""
    try:
        if np.iscomplexobj(arrays[name]):
            raise TypeError("complex numbers")
        return np.asarray(arrays[name], dtype=np.float64)
    except (TypeError, ValueError) as failure:
        raise SpectrumError(
            f"the {name} is not numeric ({first_line(failure)}); expected one number per pixel."
        ) from failure


def _whole(order: Floats) -> Integers:
    if not ((np.abs(order) < 2**31) & (order == np.rint(order))).all():
        raise SpectrumError("the column order has fractions; expected integers.")
    return order.astype(np.int64)


def _resolution_of_orders(stated: Mapping[int, float], order: Integers | None) -> Floats:
    """Resolution (P,) of pixels, from that of their echelle orders."""
    if order is None or (missing := set(order.tolist()) - set(stated)):
        wanted = "a column order" if order is None else f"one of order {min(missing)} too"
        raise SpectrumError(f"the resolution is stated for echelle orders; expected {wanted}.")
    return np.array([stated[number] for number in order.tolist()], dtype=np.float64)


def mask_of(arrays: Mapping[str, NDArray[Any]]) -> Bools:
    """Return the column mask as booleans: of numbers, or of words such as true and false."""
    mask = np.asarray(arrays["mask"])
    if mask.dtype.kind in "biuf":
        return mask.astype(bool)
    words = np.char.lower(np.char.strip(mask.astype(str)))
    if not np.isin(words, ("true", "false", "1", "0", "t", "f", "")).all():
        raise SpectrumError("the mask has other words than true and false; write these.")
    return np.isin(words, ("true", "1", "t"))
