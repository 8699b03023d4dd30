"""Spectra of the Keck Planet Finder, level 1 of its pipeline.

For the CCDs `GREEN` and `RED` images of orders by pixels of three traces, the slices of one fibre:
`GREEN_SCI_FLUX1` to `3`, `GREEN_SCI_VAR1` (variance), `GREEN_SCI_WAVE1` (Å, vacuum, in the frame
of the observatory) and in later versions `GREEN_SCI_BLAZE1`. The traces are summed: their
wavelengths differ by at most 0.2 pixels. The table `BARY_CORR` has the barycentric correction of
each order (BARYVEL, m/s). Format:
https://kpf-pipeline.readthedocs.io/en/latest/info/data_format.html
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import SpectrumError
from ...runtime.arrays import Floats
from .echelle import has_images, image, raw_orders, summed
from .quantities import to_error
from .raw import RawSpectrum
from .reader import SpectrumFile, SpectrumReader

RESOLUTION = 98_000.0
"""Nominal resolving power (Gibson et al. 2020, Proc. SPIE 11447, 1144742)."""
_TRACES = (1, 2, 3)
_FIRST_ORDER = {"GREEN": 137, "RED": 102}
"""Echelle order of the first row of each CCD."""


def _chips(file: SpectrumFile) -> list[str]:
    return [chip for chip in _FIRST_ORDER if any(_has_trace(file, chip, i) for i in _TRACES)]


def _has_trace(file: SpectrumFile, chip: str, trace: int) -> bool:
    return has_images(file, f"{chip}_SCI_FLUX{trace}", f"{chip}_SCI_WAVE{trace}")


def _read(file: SpectrumFile) -> RawSpectrum:
    chips = [found for chip in _chips(file) if (found := _chip(file, chip))]
    if not chips:
        raise SpectrumError(
            f"{file.path} has no flux in its science traces, expected that of a star; give another "
            "exposure."
        )
    names = set.intersection(*map(set, chips))
    found = {name: np.concatenate([chip[name] for chip in chips]) for name in names}
    return raw_orders(
        (file.header,),
        found["wavelength"],
        found["flux"],
        to_error(found["variance"], "variance") if "variance" in found else None,
        blaze=found.get("blaze"),
        blazed=True,
        number=found["order"],
        velocity=_velocity(file, found["order"]),
        resolution=RESOLUTION,
    )


def _chip(file: SpectrumFile, chip: str) -> dict[str, Any]:
    """Sum of the traces of a CCD, and the numbers of its orders; none if it has no flux."""
    traces = [trace for i in _TRACES if (trace := _trace(file, chip, i))]
    if not traces:
        return {}
    common = set.intersection(*map(set, traces))
    total = summed([{name: trace[name] for name in common} for trace in traces])
    return {**total, "order": _FIRST_ORDER[chip] - np.arange(len(total["flux"]))}


def _trace(file: SpectrumFile, chip: str, trace: int) -> dict[str, Floats]:
    """Images of a trace; none if it has no flux."""
    names = {"flux": "FLUX", "variance": "VAR", "wavelength": "WAVE", "blaze": "BLAZE"}
    found = {key: image(file, f"{chip}_SCI_{name}{trace}") for key, name in names.items()}
    images = {key: values for key, values in found.items() if values is not None}
    usable = {"flux", "wavelength"} <= set(images) and np.nansum(images["flux"]) != 0.0
    return images if usable else {}


def _velocity(file: SpectrumFile, order: Any) -> Floats | None:
    """Barycentric correction (km/s) of orders (orders,), or None."""
    table = file.named("BARY_CORR")
    if table is None or table.data is None or "BARYVEL" not in table.columns.names:
        return None
    velocity = np.asarray(table.data["BARYVEL"], np.float64) / 1e3
    row = _FIRST_ORDER["GREEN"] - order
    return velocity[row] if row.max() < len(velocity) and np.any(velocity) else None


KPF = SpectrumReader(
    "kpf", "a level 1 FITS file of KPF", lambda file: file.is_fits and bool(_chips(file)), _read
)
