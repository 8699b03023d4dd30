"""Spectra of SPIRou and NIRPS, as the pipeline APERO writes them.

Wavelengths are in vacuum, in nm and in the frame of the observatory; the barycentric correction is
BERV (km/s), in the header of the extension or in the primary one. Three layouts are read:

- `e.fits` and `t.fits`: images of orders by pixels, `FluxAB`, `WaveAB` and `BlazeAB` (of NIRPS
  `FluxA`, ...). The second is corrected for telluric lines, with their transmission as `Recon`.
  There are no errors; they follow from the signal-to-noise ratio of each order, EXTSN000, ...
- `s.fits`: tables `UniformVelocity` and `UniformWavelength` with Wave, FluxAB and FluxErrAB, and
  FluxABTelluCorrected where lines were corrected.
- `s1d_v` and `s1d_w`: a table with wavelength, flux, eflux and weight.

Format: Cook et al. 2022, PASP 134, 114509, and https://apero.exoplanets.ca.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from astropy.io import fits

from ...runtime.arrays import Bools, Floats
from . import headers
from .echelle import CORRECTABLE, has_images, image, opaque, raw_orders
from .quantities import angstroms
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

RESOLUTION = {"SPIROU": 70_000.0, "NIRPS HA": 88_000.0, "NIRPS HE": 75_200.0}
"""Nominal resolving power (Donati et al. 2020, MNRAS 498, 5684; Bouchy et al. 2025)."""
_FIBRES = ("AB", "A")
"""Science fibres of SPIRou (both polarisations) and of NIRPS."""
_GUESSED = "errors: photon noise, scaled to the signal-to-noise ratio of each order (EXTSN)"


def _fibre(file: SpectrumFile) -> str | None:
    return next((f for f in _FIBRES if has_images(file, f"Flux{f}", f"Wave{f}")), None)


def _table(file: SpectrumFile) -> tuple[Any, str, str, str] | None:
    """A table with a spectrum, and its columns of wavelength, flux and error; or None."""
    for hdu in (file.named("UniformVelocity"), file.named("UniformWavelength"), *file.hdus[1:2]):
        if not isinstance(hdu, fits.BinTableHDU):
            continue
        names = {name.lower(): name for name in hdu.columns.names}
        for columns in _tables(hdu.header):
            if set(columns) <= set(names):
                return hdu, *(names[column] for column in columns)
    return None


def _tables(header: fits.Header) -> list[tuple[str, str, str]]:
    """Columns of wavelength, flux and error, the preferred ones first."""
    found = [
        ("wave", f"flux{fibre}{corrected}", f"fluxerr{fibre}{corrected}")
        for fibre in ("ab", "a")
        for corrected in ("tellucorrected", "")
    ]
    return [*found, ("wavelength", "flux", "eflux")] if _is_apero(header) else found


def _is_apero(header: fits.Header) -> bool:
    return any(card in header for card in ("DRSMODE", "DRSOUTID", "DRSPID", "S1DREF"))


def _read(file: SpectrumFile) -> RawSpectrum:
    fibre = _fibre(file)
    return _images(file, fibre) if fibre else _one_dimensional(file)


def _images(file: SpectrumFile, fibre: str) -> RawSpectrum:
    header = file.named(f"Flux{fibre}").header
    flux, blaze, removed = (
        image(file, name) for name in (f"Flux{fibre}", f"Blaze{fibre}", "Recon")
    )
    error = _photon_noise(header, flux, removed)
    raw = raw_orders(
        (header, file.header),
        angstroms(image(file, f"Wave{fibre}"), _unit(file.named(f"Wave{fibre}").header)),
        flux,
        error,
        mask=opaque(removed, CORRECTABLE),
        blaze=blaze,
        blazed=True,
        velocity=_velocity(header, file.header),
        resolution=_resolution(header, file.header),
    )
    return replace(raw, guessed=raw.guessed if error is None else (*raw.guessed, _GUESSED))


def _photon_noise(header: fits.Header, flux: Floats, removed: Floats | None) -> Floats | None:
    """Errors (orders, pixels) from the signal-to-noise ratio of each order; None if unknown.

    Photons make the variance proportional to the extracted flux, which is that before telluric
    lines were removed.
    """
    ratios = [headers.number(header, f"EXTSN{row:03d}") for row in range(len(flux))]
    if all(ratio is None for ratio in ratios):
        return None
    transmission = np.ones(flux.shape) if removed is None else removed
    extracted = np.clip(flux * transmission, 0.0, None)
    middle = slice(flux.shape[1] // 4, 3 * flux.shape[1] // 4)
    typical = np.array([_median(row[middle]) for row in extracted])
    ratio = np.array([np.nan if r is None or r <= 0.0 else r for r in ratios])
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.maximum(extracted, 0.01 * typical[:, None])
        noise = np.sqrt(least * typical[:, None]) / ratio[:, None]
        return np.asarray(noise / transmission)


def _median(values: Floats) -> float:
    good = values[np.isfinite(values)]
    return float(np.median(good)) if good.size else np.nan


def _one_dimensional(file: SpectrumFile) -> RawSpectrum:
    found = _table(file)
    assert found is not None
    hdu, *names = found
    wavelength, flux, error = (np.asarray(hdu.data[name], np.float64) for name in names)
    raw = raw_orders(
        (hdu.header, file.header),
        angstroms(wavelength, hdu.columns[names[0]].unit or "nm")[None],
        flux[None],
        error[None],
        mask=_without_weight(hdu, flux)[None],
        velocity=_velocity(hdu.header, file.header),
        resolution=_resolution(hdu.header, file.header),
    )
    arrays = {name: values[0] for name, values in raw.arrays.items() if name != "order"}
    return replace(raw, arrays=arrays)


def _without_weight(hdu: Any, flux: Floats) -> Bools:
    """Whether pixels have no weight, where the table has a column of it."""
    if "weight" not in hdu.columns.names:
        return np.zeros(flux.shape, bool)
    return ~(np.asarray(hdu.data["weight"], np.float64) > 0.0)


def _unit(header: fits.Header) -> str:
    return str(headers.card(header, "BUNIT", "CUNIT1") or "nm")


def _velocity(*places: fits.Header) -> float | None:
    """Barycentric correction (km/s); 0 for a template, which contains it; None if unknown."""
    if any("TEMP" in str(headers.card(header, "DRSOUTID")) for header in places):
        return 0.0
    found = (headers.number(header, "BERV") for header in places)
    return next((velocity for velocity in found if velocity is not None), None)


def _resolution(*places: fits.Header) -> float | None:
    stated = headers.describe(*places).get("instrument", "").upper()
    mode = next(
        (str(found) for header in places if (found := headers.card(header, "ESO INS MODE"))), "HA"
    )
    return RESOLUTION.get(stated) or RESOLUTION.get(f"{stated} {mode.upper()}")


APERO = SpectrumReader(
    "apero",
    "a FITS file of APERO (SPIRou, NIRPS)",
    lambda file: file.is_fits and (_fibre(file) is not None or _table(file) is not None),
    _read,
)
