"""Spectra in the data standard for extreme precision radial velocities, level 2.

KPF, NEID, EXPRES, HARPS, ESPRESSO, MAROON-X and others exchange it. Images of orders by pixels of
each trace: `TRACE1_FLUX`, `TRACE1_WAVE` (Å or µm, vacuum, in the frame of the observatory),
`TRACE1_VAR` (variance), `TRACE1_BLAZE`, and perhaps `TRACE1_QUALITY` (0: good) and
`TRACE1_TELLURIC` (transmission). The keywords TRACE1, ... state whether a trace is of the star
(SCI); `BARYCORR_KMS` has the barycentric correction. Format:
https://eprv-data-standard.readthedocs.io
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...runtime.arrays import Floats
from . import carmenes, expres, kpf, neid
from .echelle import TRANSPARENT, has_images, image, opaque, raw_orders, summed
from .headers import card
from .quantities import angstroms, to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

_RESOLUTION = {
    "KPF": kpf.RESOLUTION,
    "NEID": neid.RESOLUTION["HR"],
    "EXPRES": expres.RESOLUTION,
    "CARMENES": carmenes.RESOLUTION["VIS"],
}
_MOST_TRACES = 20


def _traces(file: SpectrumFile) -> list[int]:
    """Numbers of the traces of the star."""
    found = [i for i in range(1, _MOST_TRACES) if has_images(file, *_names(i, "FLUX", "WAVE"))]
    kinds = {i: str(card(file.header, f"TRACE{i}") or "").upper() for i in found}
    stated = [i for i in found if kinds[i].startswith("SCI")]
    return stated or found[:1]


def _names(trace: int, *what: str) -> list[str]:
    return [f"TRACE{trace}_{name}" for name in what]


def _read(file: SpectrumFile) -> RawSpectrum:
    traces = [_trace(file, i) for i in _traces(file)]
    common = set.intersection(*map(set, traces))
    traces = _one_or_like_the_first([{name: trace[name] for name in common} for trace in traces])
    total = summed(traces)
    instrument = str(card(file.header, "INSTRUME") or "").upper()
    return raw_orders(
        (file.header,),
        total["wavelength"],
        total["flux"],
        to_error(total["variance"], "variance") if "variance" in total else None,
        mask=total["bad"] > 0.0,
        blaze=total.get("blaze"),
        blazed=True,
        velocity=_velocity(file),
        resolution=_RESOLUTION.get(instrument),
    )


def _trace(file: SpectrumFile, trace: int) -> dict[str, Floats]:
    flux, wavelength, variance, blaze, quality, telluric = (
        image(file, *_names(trace, name))
        for name in ("FLUX", "WAVE", "VAR", "BLAZE", "QUALITY", "TELLURIC")
    )
    unit = file.named(f"TRACE{trace}_WAVE").header.get("BUNIT")
    if not unit:
        unit = "um" if np.nanmedian(wavelength) < 100.0 else "Angstrom"
    bad = np.zeros(flux.shape) if quality is None else (quality != 0.0).astype(float)
    hidden = opaque(telluric, TRANSPARENT)
    found: dict[str, Any] = {
        "wavelength": angstroms(wavelength, unit),
        "flux": flux,
        "bad": bad if hidden is None or hidden.shape != bad.shape else bad + hidden,
        "variance": variance,
        "blaze": blaze,
    }
    return {name: values for name, values in found.items() if values is not None}


def _one_or_like_the_first(traces: list[dict[str, Floats]]) -> list[dict[str, Floats]]:
    """The traces whose wavelengths differ from those of the first by less than half a pixel."""
    first = traces[0]["wavelength"]
    step = np.nanmedian(np.abs(np.diff(first, axis=1)))
    return [
        trace
        for trace in traces
        if trace["wavelength"].shape == first.shape
        and np.nanmax(np.abs(trace["wavelength"] - first)) < 0.5 * step
    ]


def _velocity(file: SpectrumFile) -> Any:
    """Barycentric correction (km/s): (), (orders,) or (orders, pixels); None if unknown."""
    hdu = file.named("BARYCORR_KMS")
    if hdu is None or hdu.data is None or not np.isfinite(hdu.data).any():
        return None
    velocity = np.asarray(hdu.data, np.float64)
    return float(velocity.ravel()[0]) if velocity.size == 1 else velocity


EPRV = SpectrumReader(
    "eprv",
    "a level 2 FITS file of the EPRV data standard",
    lambda file: file.is_fits and bool(_traces(file)),
    _read,
)
