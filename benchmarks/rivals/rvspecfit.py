"""The interpolators and the fit of rvspecfit (Koposov 2019), by that package (extra `bench`)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

import blase3d as b3
from blase3d.runtime.units import FWHM_PER_SIGMA, SPEED_OF_LIGHT

from .library import DARKEST, Emulator, Floats, Library, NotAvailable

REACH = 60.0
"""Velocities up to this (km/s) from the first one are searched."""
TERMS = 5
"""Functions of the continuum of each order."""


def rvspecfit_grid(library: Library, work: Path) -> Emulator:
    """rvspecfit's multilinear interpolator of ln flux over log Teff.

    (Its own files of it cannot be written where axes have unlike numbers of nodes, by 0.9.0.)
    """
    spec_inter = rvspecfit_module("spec_inter")
    labels = log_teff(library.labels)
    axes, place = zip(*(np.unique(column, return_inverse=True) for column in labels.T), strict=True)
    number = np.full([len(axis) for axis in axes], -1)
    number[place] = np.arange(len(labels))
    spectra = ln_flux(library)
    found = spec_inter.GridInterp(list(axes), number, labels.T, spectra, exp=True)
    # on the upper faces of the box it gives the nearest node
    high = labels.max(axis=0) - 1e-7 * np.ptp(labels, axis=0)
    return Emulator(lambda at: found(np.minimum(log_teff(at), high)), spectra.nbytes)


def rvspecfit_delaunay(library: Library, work: Path) -> Emulator:
    """rvspecfit's interpolator of ln flux over log Teff by Delaunay triangles, from its files."""
    make_nd, spec_inter = (rvspecfit_module(name) for name in ("make_nd", "spec_inter"))
    folder = write_for_rvspecfit(library, work / "delaunay")
    make_nd.execute("cat", prefix=str(folder), regular=False)
    found = spec_inter.getInterpolator("cat", {"template_lib": str(folder)}, cache={})
    return Emulator(found.eval, (folder / "interpdat_cat.npy").stat().st_size)


def log_teff(labels: Floats) -> Floats:
    """Labels (..., L) with log10 of the first, as rvspecfit takes them."""
    values = np.array(labels, dtype=np.float64)
    values[..., 0] = np.log10(values[..., 0])
    return values


def ln_flux(library: Library) -> Floats:
    """Spectra (N, P) as rvspecfit takes them."""
    return np.log(np.maximum(library.flux, DARKEST)).astype(np.float32)


def network(library: Library, work: Path, minutes: float) -> Emulator:
    """rvspecfit's neural network, trained by its own program with its own settings."""
    rvspecfit_module("nn.NNInterpolator")
    from rvspecfit.nn.NNInterpolator import Mapper, NNInterpolator, load_checkpoint

    folder = write_for_rvspecfit(library, work / "nn")
    components = min(200, len(library.labels) - 1)
    train_network(folder, library.names, components, minutes)
    shape = {"indim": len(library.names), "npc": components, "nlayers": 2, "width": 256}
    net = NNInterpolator(**shape, npix=library.wavelength.size, withbn=False)
    load_checkpoint(net, str(folder / "NNstate_cat.sav"), map_location="cpu")
    net.eval()
    values = log_teff(library.labels)
    mapper = Mapper(values.mean(axis=0), values.std(axis=0), [0])
    return Emulator(partial(of_network, net, mapper), (folder / "NNstate_cat.sav").stat().st_size)


def train_network(folder: Path, names: tuple[str, ...], components: int, minutes: float) -> None:
    """Train, unless that is done, until it has converged or the time is up; go on where it was."""
    final = folder / "NNstate_cat.sav"
    command = [sys.executable, "-m", "rvspecfit.nn.train_interpolator", "--cpu", "--pca_init"]
    command += ["--resume", "--setup", "cat", "--dir", str(folder), "--npc", str(components)]
    command += ["--parnames", ",".join(names)]
    with (folder / "train.log").open("a") as log:
        run = partial(subprocess.run, stdout=log, stderr=subprocess.STDOUT, check=False)
        try:
            if not final.exists():
                run(command, timeout=60.0 * minutes)
        except subprocess.TimeoutExpired:  # it keeps its state; one idle epoch writes the result
            run([*command, "--num_epochs", "1", "--learning_rate0", "1e-7"])
    if not final.exists():
        raise NotAvailable(f"no network after {minutes:g} minutes; see {log.name}")


def of_network(net: Any, mapper: Any, labels: Floats) -> Floats:
    """Flux of a trained network, which gives ln flux."""
    import torch

    with torch.inference_mode():
        given = torch.tensor(mapper.forward(labels), dtype=torch.float32)
        return np.exp(net(given).numpy().ravel())


def rvspecfit_fit(
    spectrum: b3.Spectrum, library: Library, rv: float, resolution: float, rms: float, work: Path
) -> dict[str, Any]:
    """Labels and velocity of a star by rvspecfit; see `rvspecfit_templates` and `fit_templates`."""
    folder = rvspecfit_templates(library, resolution, work)
    return fit_templates(spectrum, library, folder, rv, rms)


def rvspecfit_templates(library: Library, resolution: float, work: Path) -> Path:
    """A folder with the templates of a library, broadened to a resolution as rvspecfit's manual
    asks for, and its Delaunay interpolator. Their steps in ln λ are equal, which it requires."""
    logs = np.log(library.wavelength)
    even = np.linspace(logs[0], logs[-1], logs.size)
    width = 1.0 / (resolution * FWHM_PER_SIGMA * (even[1] - even[0]))
    flux = [gaussian_filter1d(np.interp(even, logs, row), width) for row in library.flux]
    broadened = replace(library, wavelength=np.exp(even), flux=np.array(flux, np.float32))
    folder = write_for_rvspecfit(broadened, work, log_step=True)
    rvspecfit_module("make_nd").execute("cat", prefix=str(folder), regular=False)
    return folder


def fit_templates(
    spectrum: b3.Spectrum, library: Library, folder: Path, rv: float, rms: float
) -> dict[str, Any]:
    """Labels, velocity and rotation of a star by rvspecfit, with its interpolator in a folder.

    A spectrum without errors gets the relative error `rms`. Velocities are searched around `rv`.
    """
    vel_fit, spec_fit, utils = map(rvspecfit_module, ("vel_fit", "spec_fit", "utils"))
    ends = rv - REACH, rv + REACH
    config = {"template_lib": f"{folder}/", "min_vel": ends[0], "max_vel": ends[1]}
    config |= {"vel_step0": 2.0, "min_vel_step": 0.02, "min_vsini": 0.1, "max_vsini": 100.0}
    config = utils.freezeDict(config)
    fastest = max(map(abs, ends))
    data = list(_spec_data(spec_fit.SpecData, spectrum, library.wavelength, fastest, rms))
    start = dict(zip(library.names, np.median(library.labels, axis=0), strict=True))
    found = vel_fit.process(
        data, {**start, "vsini": 2.0}, config=config, options={"npoly": TERMS}, resolParams=None
    )
    values = {n: (float(v), float(found["param_err"][n])) for n, v in found["param"].items()}
    pixels = float(np.sum(found["npix_array"]))
    return {
        "values": {**values, "rv": (float(found["vel"]), float(found["vel_err"]))},
        "chi2_stated": float(np.sum(found["chisq_array"])) / pixels
        if spectrum.error is not None
        else None,
        "rms": _relative_rms(data, found["yfit"]),
        "flags": [] if found["minimize_success"] else ["not converged"],
    }


def _spec_data(
    make: Any, spectrum: b3.Spectrum, templates: Floats, fastest: float, rms: float
) -> Iterator[Any]:
    """The orders of a spectrum, cut to where shifted templates cover them."""
    edge = 1.0 + 1.01 * fastest / SPEED_OF_LIGHT
    wave = np.array(spectrum.wavelength)
    inside = (wave > templates[0] * edge) & (wave < templates[-1] / edge)
    order = np.zeros(len(spectrum), int) if spectrum.order is None else spectrum.order
    error = rms * np.median(spectrum.flux) * np.ones_like(wave)
    error = error if spectrum.error is None else np.array(spectrum.error)
    for one in np.unique(order[inside]):
        here = inside & (order == one)
        flux, bad = np.array(spectrum.flux)[here], ~np.array(spectrum.good)[here]
        yield make("cat", wave[here], flux, np.where(bad, 1e9 * rms, error[here]), badmask=bad)


def _relative_rms(data: list[Any], fitted: list[Floats]) -> float:
    """The rms of the residuals over the upper envelope of the fit."""
    left = [
        ((one.spec - fit) / np.percentile(fit, 95))[~one.badmask]
        for one, fit in zip(data, fitted, strict=True)
    ]
    return float(np.sqrt(np.mean(np.concatenate(left) ** 2)))


def rvspecfit_module(name: str) -> Any:
    """A module of rvspecfit, or why there is none."""
    import importlib

    try:
        return importlib.import_module(f"rvspecfit.{name}")
    except ImportError as error:
        raise NotAvailable(f"{error}; pip install 'blase3d[bench]'") from None


def write_for_rvspecfit(library: Library, folder: Path, *, log_step: bool = False) -> Path:
    """A folder with a library as rvspecfit's `make_interpol` leaves it; with `log_step`, its steps
    are equal in ln λ."""
    serializer = rvspecfit_module("serializer")
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "specs": ln_flux(library),
        "vec": np.ascontiguousarray(library.labels.T),
        "lam": library.wavelength,
        "parnames": library.names,
        "mapper_module": "rvspecfit.read_grid",
        "mapper_class_name": "LogParamMapper",
        "mapper_args": ([0],),
        "lognorms": np.zeros(len(library.labels)),
        "revision": "",
        "log_step": log_step,
        "log_spec": True,
    }
    serializer.save_dict_to_hdf5(str(folder / "specs_cat.h5"), content)
    return folder
