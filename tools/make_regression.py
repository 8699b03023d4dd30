"""Write the small files of `tests/regression/`: one of every form, as this version writes it.

    python tools/make_regression.py

Run it once when a form changes (its VERSION grows), and commit what is new: files of earlier
versions stay, and later code has to read them or say how to convert them. A file that is there is
not written again.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from blase3d.fitting import archive
from blase3d.fitting.archive import create_archive, software_versions
from blase3d.fitting.single_node import Clone
from blase3d.libraries import grid_file, write_grid
from blase3d.libraries.toy import toy_flux, toy_grid, toy_lines
from blase3d.model import model_file
from blase3d.model.evaluate import PcaResidual, joined_residual
from blase3d.model.line_grid import LineGrid
from blase3d.model.model import Model
from blase3d.model.model_file import save_model
from blase3d.model.residual import scale_of
from blase3d.recipe import DEFAULT, GROUPED, SINGLE
from blase3d.spectra import formats
from blase3d.spectra.formats import write_spectrum
from blase3d.spectra.spectrum import Spectrum

PLACE = Path(__file__).parents[1] / "tests" / "regression"
AXES = {"teff": (5500.0, 6000.0), "logg": (4.0, 4.5), "feh": (0.0,)}
GRID = toy_grid(AXES).cut(8497.0, 8499.0)
"""101 pixels around a saturated line."""


def grid(path: Path) -> None:
    """The toy grid."""
    write_grid(GRID, path)


def spectrum(path: Path) -> None:
    """A spectrum with every column, and two masked pixels."""
    wave = GRID.wavelength
    flux = toy_flux({"teff": 5700.0, "logg": 4.2, "feh": 0.0}, wave)
    mask = np.arange(wave.size) < 2
    order = np.arange(wave.size) // 51
    meta = {"object": "toy", "labels": {"teff": 5700.0}}
    varying = np.linspace(45_000.0, 55_000.0, wave.size)
    made = Spectrum(wave, flux, flux / 100, mask, 2 * flux, 50_000.0, meta, order, varying)
    write_spectrum(made, path)


def clones(path: Path) -> None:
    """Clones of the toy grid with the true lines, one node that failed; zipped, as one file."""
    folder = path.with_suffix("")
    made = create_archive(folder, GRID, SINGLE)
    for i, labels in enumerate(GRID.labels[:3]):
        flux = toy_flux(labels, GRID.wavelength).astype(np.float32)
        made.write(i, Clone(flux, toy_lines(labels), flux, 1e-3, ("invented",)))
    made.write_failed(3, "it was left out")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            zipped.write(file, file.relative_to(folder))
            file.unlink()
    for below in sorted(folder.rglob("*"), reverse=True):
        below.rmdir()
    folder.rmdir()


def model(path: Path) -> None:
    """Two windows: lines that follow three smooth functions and one of the library's own, a
    residual of one mode, one mode of the error; cross derivatives between two labels."""
    truth = toy_lines(GRID.labels[0])
    count, pixels = truth.reference.size, GRID.wavelength.size
    step = np.linspace(-0.1, 0.1, 4 * count, dtype=np.float32).reshape(4, count)
    shape = np.zeros((1, count, 3), np.float32)
    wave = np.arange(pixels)
    components = PcaResidual(
        np.array([[-1.0], [0.0], [1.0], [2.0]], np.float32),
        np.round(5 * np.sin(wave / 9.0))[None].astype(np.float32),
        scale_of(np.full(pixels, -40)),
    )
    residual = joined_residual([components.take(slice(60)), components.take(slice(60, None))])
    surface = LineGrid(truth.reference, truth.params, step, shape, DEFAULT.joint.area_root)
    meta = {
        "library": {"library": "toy", "citation": "closed formulas"},
        "nodes": GRID.labels.tolist(),
        "versions": {"build": software_versions()},
    }
    errors = 1e-4 * np.cos(wave / 7.0)[None].astype(np.float32)
    recipe = DEFAULT.replace(name="regression", smooth_functions=3, data_functions=1)
    own = np.array([[0.1], [-0.1], [-0.1], [0.1]])
    rates = {"teff": np.full((2, 1, 2), -0.5), "logg": np.full((2, 1, 2), -2.0)}
    model = Model(GRID.wavelength, GRID.axes, surface, recipe, meta, residual, errors, rates, own)
    save_model(model, path)


MADE: dict[str, Callable[[Path], None]] = {
    f"grid-{grid_file.VERSION}.npz": grid,
    f"grid-{grid_file.VERSION}.zarr": grid,
    **{
        f"spectrum-{formats.VERSION}.{ending}": spectrum
        for ending in ("npz", "ecsv", "csv", "fits")
    },
    f"clones-{archive.FORMAT.latest}.zip": clones,
    f"model-{model_file.FORMAT.latest}.zip": model,
}


def main() -> None:
    """Write what is not there."""
    PLACE.mkdir(exist_ok=True)
    for name, make in MADE.items():
        if not (PLACE / name).exists():
            make(PLACE / name)
            print(f"wrote {name}")
    for name in (DEFAULT, SINGLE):
        path = PLACE / f"recipe-{name.name}-{GROUPED}.json"
        if not path.exists():
            path.write_text(json.dumps(json.loads(name.to_json()), indent=1) + "\n")
            print(f"wrote {path.name}")


if __name__ == "__main__":
    sys.exit(main())
