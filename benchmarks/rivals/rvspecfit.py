"""The interpolators of rvspecfit (Koposov 2019), run by that package (extra `bench`)."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .library import DARKEST, Emulator, Floats, Library, NotAvailable


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


def rvspecfit_module(name: str) -> Any:
    """A module of rvspecfit, or why there is none."""
    import importlib

    try:
        return importlib.import_module(f"rvspecfit.{name}")
    except ImportError as error:
        raise NotAvailable(f"{error}; pip install 'blase3d[bench]'") from None


def write_for_rvspecfit(library: Library, folder: Path) -> Path:
    """A folder with a library as rvspecfit's `make_interpol` leaves it."""
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
        "log_step": False,
        "log_spec": True,
    }
    serializer.save_dict_to_hdf5(str(folder / "specs_cat.h5"), content)
    return folder
