"""One small universe written in every format of library readers, for their contract."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from scipy.io import netcdf_file

from blase3d.libraries import write_grid
from blase3d.libraries.grid import grid_of
from blase3d.libraries.readers.phoenix import WAVE_FILE, phoenix_path
from blase3d.runtime.units import vacuum_to_air

WAVE = np.round(np.linspace(9990.0, 10010.0, 401), 2)
"""Å in vacuum."""
NODES = [node for node in product((1000, 1100), (4.5, 5.0), (0, 1)) if node != (1100, 4.5, 1)]
"""teff, logg and which value of the third label: one is missing of the box."""
GRAVITY = {4.5: "316", 5.0: "1000"}
"""m/s², as files of Sonora are named."""


def continuum_of(node):
    return 1e5 * (node[0] / 1000) ** 4 * (1 + 2e-3 * (WAVE - 10000) / 10)


def flux_of(node):
    """erg/s/cm²/Å; every node has another line."""
    teff, logg, k = node
    depth = 0.2 + 0.1 * (logg - 4.5) + 0.15 * k + 0.3 * (teff - 1000) / 100
    return continuum_of(node) * (1 - depth * np.exp(-(((WAVE - 10001.3) / 0.4) ** 2)))


@dataclass(frozen=True)
class Case:
    """A kind of library: how it is written, and what has to come out of it."""

    source: str
    write: Callable[[Path], Callable[[tuple], Path]]
    """Writes the nodes in or at a path; tells the file of each."""
    third: tuple[str, float, float]
    """The name of the third label, and its two values."""
    continuum: bool = False
    name: str = "library"
    lazy: bool = True
    kind: str = ""

    def __str__(self):
        return self.kind or self.source

    def labels(self, node):
        return {"teff": node[0], "logg": node[1], self.third[0]: self.third[1 + node[2]]}


FEH = ("feh", -0.5, 0.0)


def in_memory(path):
    labels = [[teff, logg, FEH[1 + k]] for teff, logg, k in NODES]
    flux, continuum = (np.array([f(n) for n in NODES]) for f in (flux_of, continuum_of))
    write_grid(grid_of(WAVE, labels, ("teff", "logg", "feh"), flux, continuum), path)
    if path.is_file():
        return lambda node: path
    return lambda node: path / "flux" / "c" / str(NODES.index(node)) / "0"


def phoenix(root):
    root.mkdir()
    fits.PrimaryHDU(WAVE).writeto(root / WAVE_FILE)
    for node in NODES:
        path = root / phoenix_path(node[0], node[1], FEH[1 + node[2]])
        path.parent.mkdir(parents=True, exist_ok=True)
        fits.PrimaryHDU((1e8 * flux_of(node)).astype(np.float32)).writeto(path)
    return lambda node: root / phoenix_path(node[0], node[1], FEH[1 + node[2]])


def per_file(name_of, write, prepare=None):
    """A writer of one file a node: its name by `name_of(node)`, its content by `write`."""

    def writer(folder):
        folder.mkdir()
        for node in NODES:
            write(folder / name_of(node), node)
        if prepare is not None:
            prepare(folder, name_of)
        return lambda node: folder / name_of(node)

    return writer


def rows(*columns, form="%.9e"):
    return "\n".join(" ".join(form % value for value in row) for row in zip(*columns, strict=True))


def text(path, node):
    path.write_text("# wavelength flux continuum\n" + rows(WAVE, flux_of(node), continuum_of(node)))


def table(folder, name_of):
    lines = ["# medium: vacuum", "# columns: wavelength flux continuum", "file,teff,logg,feh"]
    lines += [f"{name_of(n)},{n[0]},{n[1]},{FEH[1 + n[2]]}" for n in NODES]
    (folder / "library.csv").write_text("\n".join(lines))


def named(path, node):
    """Spectra that name their columns, in the three forms by turns."""
    columns = {"wavelength": WAVE, "flux": flux_of(node)}
    if path.suffix == ".npz":
        np.savez(path, **columns, meta=json.dumps({"medium": "vacuum"}))
    else:
        Table(columns, meta={"MEDIUM": "vacuum"}).write(path)


def ecsv(folder, name_of):
    labels = np.array([[n[0], n[1], FEH[1 + n[2]]] for n in NODES]).T
    columns = {"file": [name_of(n) for n in NODES], "teff": labels[0], "logg": labels[1]}
    Table({**columns, "feh": labels[2]}, meta={"medium": "vacuum"}).write(folder / "library.ecsv")


def turbospectrum(path, node):
    normalised = flux_of(node) / continuum_of(node)
    lines = zip(vacuum_to_air(WAVE), normalised, flux_of(node), strict=True)
    path.write_text("\n".join(f" {w:11.4f} {n:11.6f} {f:14.6E}" for w, n, f in lines))


def synspec(path, node):
    air = vacuum_to_air(WAVE)
    path.write_text(rows(air, flux_of(node) / (4 * np.pi)))
    few = slice(None, None, 40)
    continuum = path.with_suffix(".17")
    continuum.write_text(rows(air[few], continuum_of(node)[few] / (4 * np.pi)))


def settings(**stated):
    return lambda folder, _: (folder / "library.json").write_text(json.dumps(stated))


def descending(header, flux, compress=False):
    """Sonora: µm from long to short, below a header."""

    def write(path, node):
        content = header + rows(WAVE[::-1] / 1e4, flux(node)[::-1], form="%.10e") + "\n"
        path.write_bytes(gzip.compress(content.encode()) if compress else content.encode())

    return write


def per_hertz(node):
    return flux_of(node) * WAVE**2 / 2.99792458e18


def classic(path, node):
    with netcdf_file(path, "w") as file:
        file.createDimension("wavelength", WAVE.size)
        for name, values in (("wavelength", WAVE / 1e4), ("flux", 1e8 * flux_of(node))):
            file.createVariable(name, "d", ("wavelength",))[:] = values


def hdf5(path, node):
    import h5py

    with h5py.File(path, "w") as file:
        file["wavelength"], file["flux"] = WAVE / 1e4, 1e8 * flux_of(node)


def cooltlusty(path, node):
    lines = zip(WAVE[::-1] / 1e4, flux_of(node)[::-1], strict=True)
    body = "\n".join(f"{w:.9E} 1.0D+00 {f:.9E}".replace("E", "D") for w, f in lines)
    path.write_text(" LAMBDA(mic)  OTHER  FLAM\n" + body)


def bt_settl(path, node):
    """Two parts of the spectrum one after the other, in columns that touch."""
    shuffled = np.concatenate([np.arange(200, 401), np.arange(210)])
    logs = np.log10(flux_of(node)) + 8.0 - 30.0  # negative, as where there is little light
    lines = [f"{WAVE[i]:.3f}{logs[i] + 30:14.8f}D0 -1.0D+01" for i in shuffled]
    lines[5] = f"{WAVE[shuffled[5]]:.3f} {logs[shuffled[5]] + 30:.8f}D0-1.5D+01 Fe I"
    path.write_bytes(lzma.compress("\n".join(lines).encode()))


def _name(form, third):
    return lambda n: form.format(t=n[0], l=n[1], g=GRAVITY[n[1]], x=third[n[2]])


SYNTHESIS = _name("t{t}_g{l}_z{x}.spec", ("-0.5", "0.0"))
ELF_OWL = _name("spectra_logzz_{x}_teff_{t}.0_grav_{g}.0_mh_0.0_co_1.0.nc", ("2.0", "8.0"))
ENDINGS = (".npz", ".fits", ".ecsv")

CASES = [
    Case("npz", in_memory, FEH, True, "library.npz", lazy=False),
    Case("zarr", in_memory, FEH, True, "library.zarr"),
    Case("phoenix", phoenix, FEH),
    Case("table", per_file(_name("{t}-{l}-{x}.txt", "ab"), text, table), FEH, True),
    Case(
        "table",
        per_file(lambda n: f"{NODES.index(n)}{ENDINGS[NODES.index(n) % 3]}", named, ecsv),
        FEH,
        kind="table-of-named",
    ),
    Case(
        "synthesis",
        per_file(
            SYNTHESIS,
            turbospectrum,
            settings(names="t{teff}_g{logg}_z{feh}.spec", format="turbospectrum"),
        ),
        FEH,
        True,
        kind="turbospectrum",
    ),
    Case(
        "synthesis",
        per_file(
            _name("t{t}_g{l}_z{x}.7", ("-0.5", "0.0")),
            synspec,
            settings(names="t{teff}_g{logg}_z{feh}.7", format="synspec"),
        ),
        FEH,
        True,
        kind="synspec",
    ),
    Case(
        "sonora-bobcat",
        per_file(
            _name("sp_t{t}g{g}nc_m{x}", ("-0.5", "0.0")),
            descending(" 1000. 316. 0.28 a header\n microns  flux\n", per_hertz),
        ),
        FEH,
    ),
    Case(
        "sonora-cholla",
        per_file(
            _name("{t}K_{g}g_logkzz{x}.spec.gz", "27"),
            descending("one\ntwo\n", lambda n: 1e7 * flux_of(n), compress=True),
        ),
        ("logkzz", 2.0, 7.0),
    ),
    Case(
        "sonora-diamondback",
        per_file(
            _name("t{t}g{g}{x}_m0.0_co1.0.spec", ("nc", "f2")),
            descending("1\n2\nmicrons W/m2/m\n", lambda n: 1e7 * flux_of(n)),
        ),
        ("inv_fsed", 0.0, 0.5),
    ),
    Case("sonora-elf-owl", per_file(ELF_OWL, classic), ("logkzz", 2.0, 8.0)),
    Case("sonora-elf-owl", per_file(ELF_OWL, hdf5), ("logkzz", 2.0, 8.0), kind="elf-owl-hdf5"),
    Case(
        "cooltlusty",
        per_file(_name("T{t}_g{l:.2f}_Z{x}_CDIFF1e6_HMIX1.000.21", ("0.316", "1.000")), cooltlusty),
        FEH,
    ),
    Case(
        "bt-settl",
        per_file(
            lambda n: f"lte{n[0] / 100:05.1f}-{n[1]}-{0.5 - 0.5 * n[2]}a+0.0.BT-Settl.spec.7.xz",
            bt_settl,
        ),
        FEH,
    ),
]
