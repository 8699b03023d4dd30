"""Spectra in FITS files of any program: a table with named columns, or an image.

The wavelengths of an image are linear or logarithmic (`dispersion`), those of IRAF's multispec
(`iraf`), another image, or a row of the image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from ...errors import SpectrumError
from ...runtime.arrays import Floats
from ..spectrum import Spectrum
from . import headers
from .columns import Column, from_columns, recognised
from .dispersion import has_wavelength, wavelength_axis
from .iraf import dispersions, is_multispec
from .quantities import WAVELENGTH_NAMES, per_pixel_noise, split_name
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader
from .written import columns_of, meta_of, units_of

_MOST_ROWS = 5
"""Rows of an image that holds one spectrum: wavelength, flux, errors, sky, quality."""
_SMALL, _LIKELY = 0.3, 5.0
"""Size of errors, at most, relative to the flux or to its noise."""
_NO_STAR = re.compile(r"(?i)(sky|model|telluric|template|filter|throughput|response|lsf)")
"""Names of tables that are no spectra of a star."""
_STARS = (
    *("name", "object", "objname", "star", "starname", "target", "targname"),
    *("source_id", "targetid", "sobject_id", "obj_id", "object_id", "id"),
)
"""Columns that may have the names of spectra."""
_SIGMA_BAND = re.compile(r"sigma|noise|error")
_OTHER_BANDS = re.compile(r"sigma|noise|error|sky|background|raw|signal|lamp|flat|arc")
"""Beginnings of BANDID, in lower case."""
_CARPY = 7
"""Bands of MIKE by CarPy: sky, star, its errors, S/N, lamp, flat field, star by flat field."""
_GUESS = "a row of the image was taken for the errors, by its size"


def _tables(file: SpectrumFile) -> dict[str, Any]:
    """The tables with columns of wavelength and flux, by their names or else numbers."""
    found: dict[str, Any] = {}
    for number, hdu in enumerate(file.hdus):
        if _is_table_of(hdu, file):
            name = hdu.name.strip()
            found[name if name and name not in found else f"{name or 'extension'} {number}"] = hdu
    stars = {name: hdu for name, hdu in found.items() if not _NO_STAR.match(name)}
    return stars or found


def _table(file: SpectrumFile) -> Any:
    """The only table of `_tables`, or that which the user chooses."""
    tables = _tables(file)
    return tables[file.chosen(list(tables))] if len(tables) > 1 else next(iter(tables.values()))


def _is_table_of(hdu: Any, file: SpectrumFile) -> bool:
    if not isinstance(hdu, fits.BinTableHDU | fits.TableHDU) or isinstance(hdu, fits.CompImageHDU):
        return False
    return {"wavelength", "flux"} <= set(recognised(hdu.columns.names, file))


def _read_table(file: SpectrumFile) -> RawSpectrum:
    hdu = _table(file)
    roles = recognised(hdu.columns.names, file)
    names, shape = set(roles.values()), hdu.data[roles["flux"]].shape
    columns = {
        name: Column(_padded(hdu.data[name]), hdu.columns[name].unit if name in names else None)
        for name in hdu.columns.names
        if file.columns or name in names or hdu.data[name].shape == shape or _is_wavelength(name)
    }
    stated = _stated(hdu.header, file.header)
    if len(hdu.data) == 1:
        columns = _row(columns, 0)
    elif _are_stars(columns[recognised(columns, file)["wavelength"]].values):
        stars = _names_of_rows(hdu)
        stated["object"] = file.chosen(stars)
        columns = _row(columns, stars.index(stated["object"]))
    return from_columns(columns, stated, file)


def _padded(values: Any) -> Any:
    """Vectors of different lengths as (rows, pixels), filled up with NaN; others as they are."""
    if values.dtype.kind != "O":
        return values
    found = np.full((len(values), max(map(len, values))), np.nan)
    for row, vector in zip(found, values, strict=True):
        row[: len(vector)] = vector
    return found


def _is_wavelength(name: str) -> bool:
    return split_name(name)[0] in WAVELENGTH_NAMES


def _row(columns: Mapping[str, Column], number: int) -> dict[str, Column]:
    """The vectors in a row of a table."""
    rows = {name: replace(column, values=column.values[number]) for name, column in columns.items()}
    vectors = {name: column for name, column in rows.items() if np.ndim(column.values) > 0}
    return vectors or dict(columns)


def _are_stars(wavelength: Any) -> bool:
    """Whether rows are spectra of the same wavelengths, rather than echelle orders."""
    return wavelength.ndim == 2 and np.array_equal(wavelength[0], wavelength[1], equal_nan=True)


def _names_of_rows(hdu: Any) -> list[str]:
    """The names of the spectra in the rows, or else their numbers from 0."""
    columns = {name.lower(): name for name in hdu.columns.names}
    for column in (columns[name] for name in _STARS if name in columns):
        names = [str(value).strip() for value in np.asarray(hdu.data[column]).tolist()]
        if len(set(names)) == len(names):
            return names
    return [str(row) for row in range(len(hdu.data))]


def _image(file: SpectrumFile) -> Any:
    """The image of the flux, if it has a wavelength, or None."""
    hdu = _flux_image(file)
    if hdu is None:
        return None
    if not (_has_wavelength(hdu, file) or _wavelength_row(hdu) is not None or _is_stack(hdu)):
        return None
    return hdu


def _images(file: SpectrumFile) -> dict[str, Any]:
    """Images with data, by name; the first of each name."""
    found: dict[str, Any] = {}
    for hdu in file.hdus:
        if hdu.is_image and 0 not in hdu.shape and len(hdu.shape) in (1, 2, 3):
            found.setdefault(hdu.name.strip() or f"image {len(found)}", hdu)
    return found


def _flux_image(file: SpectrumFile) -> Any:
    """The image that is named flux, or the first one that is not named otherwise."""
    images = _images(file)
    roles = recognised(images, file)
    others = set(roles.values())
    unnamed = next((hdu for name, hdu in images.items() if name not in others), None)
    if "flux" in roles and not (
        "norm" in roles["flux"].lower() and unnamed is images.get("PRIMARY")
    ):
        return images[roles["flux"]]
    return unnamed


def _has_wavelength(hdu: Any, file: SpectrumFile) -> bool:
    headers_of = (hdu.header, file.header)
    if "wavelength" in recognised(_images(file), file) or is_multispec(hdu.header):
        return True
    return any(has_wavelength(header, _axis(hdu)) for header in headers_of)


def _axis(hdu: Any) -> int:
    """The number of the FITS axis of wavelength: the first that is longer than 1."""
    lengths = hdu.shape[::-1]
    return next((i + 1 for i, length in enumerate(lengths) if length > 1), 1)


def _wavelength_row(hdu: Any) -> int | None:
    """The row of an image of a few rows that must be wavelengths, or None.

    Its numbers increase or decrease, and no other row has such numbers of the same size.
    """
    lengths = [length for length in hdu.shape if length > 1]
    if len(lengths) != 2 or min(lengths) > _MOST_ROWS:
        return None
    rows = _rows(hdu.data)
    one_way = np.nan_to_num(np.abs(np.mean(np.sign(np.diff(rows)), axis=1)))
    size = np.abs(np.nanmedian(rows, axis=1))
    first = int(np.argmax(one_way))
    others = (one_way > 0.5) & (size > size[first] / 3) & (size < size[first] * 3)
    return first if one_way[first] == 1.0 and others.sum() == 1 else None


def _is_stack(hdu: Any) -> bool:
    """Whether an image (orders, 3 to 5, pixels) has wavelength, flux and errors of each order.

    So does Spextool (Cushing et al. 2004, PASP 116, 362).
    """
    if len(hdu.shape) != 3 or not 3 <= hdu.shape[1] <= _MOST_ROWS:
        return False
    steps = np.diff(np.asarray(hdu.data[:, 0], np.float64), axis=1)
    return bool(np.all((steps > 0.0) | np.isnan(steps)) and np.any(steps > 0.0))


def _columns_of_stack(hdu: Any) -> dict[str, Column]:
    unit = headers.card(hdu.header, "XUNITS")
    wavelength, flux, error = np.moveaxis(np.asarray(hdu.data, np.float64), 1, 0)[:3]
    return {
        "wavelength": Column(wavelength, unit),
        "flux": Column(flux),
        "error": Column(error, guess="the third row of each order was taken for the errors"),
    }


def _rows(data: Any) -> Floats:
    """An image as (rows, pixels); one of a few columns is turned."""
    rows = np.squeeze(np.asarray(data, np.float64))
    rows = rows.reshape(-1, rows.shape[-1])
    return rows.T if rows.shape[1] <= _MOST_ROWS < rows.shape[0] else rows


def _read_image(file: SpectrumFile) -> RawSpectrum:
    hdu = _chosen_image(file)
    if str(headers.card(hdu.header, "FITS-WCS")).upper().startswith("APPROX"):
        raise SpectrumError(
            f"{file.path} states that its wavelengths are approximate (FITS-WCS), expected exact "
            "ones; write the spectrum to a table, as write1DSpectra of DRAGONS does."
        )
    stated = _stated(hdu.header, file.header)
    if (medium := headers.by_ctype(headers.card(hdu.header, f"CTYPE{_axis(hdu)}"))) is not None:
        stated.setdefault("medium", medium)
    if _has_wavelength(hdu, file):
        columns = _planes(hdu, file)
    elif _is_stack(hdu):
        columns = _columns_of_stack(hdu)
    else:
        columns = _columns_of_rows(_rows(hdu.data), _wavelength_row(hdu))
    return from_columns(columns, stated, file)


def _planes(hdu: Any, file: SpectrumFile) -> dict[str, Column]:
    """Flux, wavelength and the images of the same shape, by the names of their roles."""
    images = _images(file)
    bands = np.asarray(hdu.data, np.float64)
    flux, error, guess = None, None, ""
    if bands.ndim == 3 and bands.shape[1:] != (1, 1):
        flux, error, guess = _bands(hdu.header, len(bands))
    values = np.squeeze(bands if flux is None else bands[flux])
    shape = values.shape
    columns = {"flux": Column(values, headers.card(hdu.header, "BUNIT"), guess)}
    if error is not None:
        columns["error"] = Column(np.squeeze(bands[error]))
    for role, name in recognised(images, file).items():
        plane = images[name]
        values = np.squeeze(np.asarray(plane.data))
        if role not in ("flux", "wavelength") and values.shape == shape:
            unit = headers.card(plane.header, "BUNIT") if role in ("error", "continuum") else None
            columns[_kind(role, plane.header)] = Column(values, unit)
        elif role == "wavelength" and values.shape in (shape, shape[-1:]):
            unit = headers.card(plane.header, "BUNIT", "CUNIT1", "TUNIT1")
            columns["wavelength"] = Column(values, unit)
    unnamed = [
        np.squeeze(np.asarray(other.data, np.float64))
        for other in images.values()
        if other is not hdu
        and not other.name.strip().removeprefix("PRIMARY")
        and _start(other) in (None, _start(hdu))
    ]
    columns |= _by_values(columns, [values for values in unnamed if values.shape == shape])
    if "wavelength" not in columns:
        columns |= _dispersed(hdu, file, shape)
    if len(shape) == 2 and columns["wavelength"].values.ndim == 1:
        columns = _one_row(columns, file)
    return columns


def _start(hdu: Any) -> float | None:
    return headers.number(hdu.header, "CRVAL1")


def _chosen_image(file: SpectrumFile) -> Any:
    """The image of the flux, or that which the user chooses of several with wavelengths."""
    hdu, images = _image(file), _images(file)
    others = set(recognised(images, file).values())
    spectra = {
        name: other
        for name, other in images.items()
        if other is hdu or (name not in others and _start(other) not in (None, _start(hdu)))
    }
    single = len(spectra) == 1 or len(hdu.shape) > 1 or _start(hdu) is None
    return hdu if single else spectra[file.chosen(list(spectra))]


def _by_values(columns: Mapping[str, Column], planes: list[Floats]) -> dict[str, Column]:
    """Errors and mask among images without names, unless they are known."""
    found: dict[str, Column] = {}
    flags = [plane for plane in planes if set(np.unique(plane)) == {0.0, 1.0}]
    others = [plane.ravel() for plane in planes if not any(plane is flag for flag in flags)]
    shape = columns["flux"].values.shape
    error = _likely_errors(columns["flux"].values.ravel(), others)
    if error is not None and not {"error", "ivar", "variance"} & set(columns):
        found["error"] = Column(error.reshape(shape), guess=_GUESS.replace("a row of the", "an"))
    if flags and not {"mask", "good"} & set(columns):
        guess = "an image of zeros and ones was taken for the mask"
        found["mask"] = Column(flags[0] if flags[0].mean() < 0.5 else 1.0 - flags[0], guess=guess)
    return found


def _kind(role: str, header: fits.Header) -> str:
    """The role of an image of errors, by the UTYPE of astropy's NDData or else by its name."""
    kind = str(headers.card(header, "UTYPE")).lower()
    if role != "error":
        return role
    return {"variance": "variance", "inversevariance": "ivar"}.get(
        kind.replace("uncertainty", ""), role
    )


def _bands(header: fits.Header, count: int) -> tuple[int, int | None, str]:
    """The bands of the spectrum and of its errors, as IRAF's apextract and CarPy write them, and a
    sentence if they were guessed."""
    names = [str(headers.card(header, f"BANDID{i + 1}") or "").lower() for i in range(count)]
    if not any(names) and count == _CARPY:
        return 1, 2, "of seven bands the second is the star, and the third its errors, as by CarPy"
    sigma = next((i for i, name in enumerate(names) if _SIGMA_BAND.match(name)), None)
    if sigma is None and count == 4 and not any(names):
        sigma = 3
    flux = next((i for i, name in enumerate(names) if not _OTHER_BANDS.match(name)), 0)
    return flux, sigma, ""


def _dispersed(hdu: Any, file: SpectrumFile, shape: tuple[int, ...]) -> dict[str, Column]:
    """Wavelengths by the header, and the numbers of the orders."""
    if is_multispec(hdu.header):
        rows = shape[0] if len(shape) == 2 else 1
        found = dispersions(hdu.header, rows, shape[-1])
        if rows == 1:
            return {"wavelength": Column(found.wavelength[0], found.unit)}
        if not np.array_equal(found.wavelength[0], found.wavelength[1], equal_nan=True):
            order = np.repeat(found.order, shape[-1]).reshape(shape)
            columns = {"wavelength": Column(found.wavelength, found.unit), "order": Column(order)}
            return columns
        return {"wavelength": Column(found.wavelength[0], found.unit)}
    axis = _axis(hdu)
    header = next(card for card in (hdu.header, file.header) if has_wavelength(card, axis))
    return {"wavelength": Column(*wavelength_axis(header, shape[-1], axis))}


def _one_row(columns: dict[str, Column], file: SpectrumFile) -> dict[str, Column]:
    """The spectrum in an image whose rows have the same wavelengths: flux, and perhaps errors."""
    rows = columns["flux"].values
    found = {
        name: replace(column, values=column.values[0] if column.values.ndim == 2 else column.values)
        for name, column in columns.items()
    }
    error = _likely_errors(rows[0], rows[1:])
    if error is None or len(rows) > _MOST_ROWS:
        raise SpectrumError(
            f"{file.path} has {len(rows)} spectra at the same wavelengths, expected one; write one "
            "of them to a file."
        )
    flags = next((row for row in rows[1:] if set(np.unique(row)) == {0.0, 1.0}), None)
    if flags is not None:
        guess = "a row of zeros and ones was taken for the mask"
        found.setdefault("mask", Column(flags if flags.mean() < 0.5 else 1.0 - flags, guess=guess))
    return {"error": Column(error, guess=_GUESS), **found}


def _columns_of_rows(rows: Floats, wavelength: int | None) -> dict[str, Column]:
    """Columns of an image whose rows are wavelength, flux and perhaps errors."""
    assert wavelength is not None
    others = [row for i, row in enumerate(rows) if i != wavelength]
    columns = {"wavelength": Column(rows[wavelength]), "flux": Column(others[0])}
    error = _likely_errors(others[0], others[1:])
    return columns if error is None else {**columns, "error": Column(error, guess=_GUESS)}


def _likely_errors(flux: Floats, rows: Iterable[Floats]) -> Floats | None:
    """The row that can be the errors of a flux: positive, small, and nearest to its noise."""
    noise, typical = per_pixel_noise(flux), np.nanmedian(np.abs(flux))
    found: dict[float, Floats] = {}
    for row in rows:
        used = row[np.isfinite(row) & (row != 0.0)]
        if used.size and (used > 0.0).all():
            size = float(np.median(used))
            if size < noise / _LIKELY and _is_rescaled(row, flux):
                continue
            if size < max(_SMALL * typical, _LIKELY * noise):
                found[abs(np.log(size / noise)) if noise > 0.0 else size] = row
    return found[min(found)] if found else None


def _is_rescaled(row: Floats, flux: Floats) -> bool:
    """Whether a row is a flux divided by its continuum: the steps of the logarithms agree.

    Those of errors that grow as the root of the flux are half as large.
    """
    used = (row > 0.0) & (flux > 0.0)
    steps = np.diff(np.log(flux[used]))
    return bool(np.sum(np.abs(np.diff(np.log(row[used])) - steps)) < 0.2 * np.sum(np.abs(steps)))


def _stated(*hdu_headers: fits.Header) -> dict[str, Any]:
    """Medium, resolution and metadata that headers state, the first of them first."""
    found: dict[str, Any] = headers.describe(*hdu_headers)
    for name, reading in (("medium", headers.medium), ("resolution", headers.resolution)):
        stated = (reading(header) for header in hdu_headers)
        found[name] = next((value for value in stated if value is not None), None)
    if (own := headers.card(hdu_headers[0], "RESOLUT")) is not None:
        found["resolution"] = own
    if (meta := headers.card(hdu_headers[0], "B3META")) is not None:
        found["meta"] = meta
    return {name: value for name, value in found.items() if value is not None}


FITS_TABLE = SpectrumReader(
    "fits-table",
    "a FITS table with columns of wavelength and flux",
    lambda file: file.is_fits and bool(_tables(file)),
    _read_table,
)
FITS_IMAGE = SpectrumReader(
    "fits-image",
    "a FITS image with an axis or an image of wavelengths",
    lambda file: file.is_fits and _image(file) is not None,
    _read_image,
)


def write_fits(spectrum: Spectrum, path: Path) -> None:
    """Write a spectrum as a binary table."""
    meta, stated = meta_of(spectrum), units_of(spectrum)
    columns = [
        fits.Column(
            name=name,
            array=values,
            format="L" if name == "mask" else "D",
            unit=stated[name].to_string("fits") if name in stated else None,
        )
        for name, values in columns_of(spectrum).items()
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    table.header["MEDIUM"] = (meta.pop("medium"), "medium of the wavelengths")
    if "resolution" in meta:
        table.header["RESOLUT"] = (meta.pop("resolution"), "resolving power (FWHM)")
    table.header["B3META"] = json.dumps(meta)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, checksum=True)
