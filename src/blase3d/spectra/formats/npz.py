"""Spectra in .npz files. A grid file with a single node is read as a spectrum too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import SpectrumError
from ...runtime.files import LARGEST_SPECTRUM, load_npz, parse_meta
from ..spectrum import Spectrum
from .columns import Column, from_columns, in_angstrom, known_columns, require_columns
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .written import columns_of, meta_of


def _read(file: SpectrumFile) -> RawSpectrum:
    path = file.path
    arrays = load_npz(path, SpectrumError, LARGEST_SPECTRUM)
    foreign = "meta" not in arrays and ("flux" not in arrays or arrays["flux"].ndim < 2)
    if foreign or file.columns:
        columns = {name: Column(array) for name, array in arrays.items() if array.ndim > 0}
        stated = {name: arrays[name] for name in ("meta",) if name in arrays}
        return from_columns(columns, stated, file)
    require_columns(arrays, path)
    meta = parse_meta(arrays["meta"], path, SpectrumError) if "meta" in arrays else {}
    known = {name: arrays[found] for name, found in known_columns(arrays).items()}
    unit = meta.pop("wavelength_unit", None) or file.unit or "Angstrom"
    known["wavelength"] = in_angstrom(known["wavelength"], unit, path)
    if known["flux"].ndim == 2:
        known = _single_node(known, path)
        if {"labels", "label_names"} <= set(arrays):
            meta["labels"] = _labels(arrays)
    return RawSpectrum(known, meta.pop("medium", None), meta.pop("resolution", None), meta)


def _single_node(columns: dict[str, NDArray[Any]], path: Path) -> dict[str, NDArray[Any]]:
    """The columns of a grid file with one node."""
    count = len(columns["flux"])
    if count != 1:
        raise SpectrumError(
            f"{path} is a grid of {count} spectra, expected one; write one of them to a file of "
            "its own (write_spectrum(open_grid(...)[i], ...))."
        )
    return {name: array[0] if array.ndim == 2 else array for name, array in columns.items()}


def _labels(arrays: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    names, values = arrays["label_names"].ravel(), arrays["labels"].ravel()
    return {str(name): float(value) for name, value in zip(names, values, strict=False)}


def _matches(file: SpectrumFile) -> bool:
    """Whether a file is one of .npz, or was one before it was damaged."""
    return file.is_zip or (file.ending == "npz" and not file.is_fits and not file.text)


NPZ = SpectrumReader("npz", "an .npz file", _matches, _read)


def write_npz(spectrum: Spectrum, path: Path) -> None:
    """Write a spectrum as arrays, with its metadata as JSON."""
    meta = np.array(json.dumps(meta_of(spectrum)))
    arrays: dict[str, Any] = {**columns_of(spectrum), "meta": meta}
    with open(path, "wb") as stream:  # given a name, savez may append a second ending
        np.savez_compressed(stream, **arrays)
