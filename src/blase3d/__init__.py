"""blase3D: stellar spectra as lines that depend on the labels.

A *library* is a set of model spectra with labels. A *model* turns labels into a spectrum. A *star*
is an observed spectrum. `clone` and `build` fit a model to a library; `infer` labels a star.

    library = b3.open_grid("library.npz")                    # spectra with labels
    clones = b3.clone(library, "clones.zarr", b3.DEFAULT)    # lines of every spectrum
    model = b3.build(clones)                                 # lines as functions of the labels
    flux = model.flux(teff=5772, logg=4.44, feh=0.0)         # differentiable
    star = b3.read_spectrum("star.fits", medium="air")
    answer = b3.infer(star, model)                           # labels with uncertainties

Wavelengths are in Å in vacuum, velocities in km/s, Teff in K, log g in dex of cm/s², [Fe/H] in dex.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .runtime.moved import keep_old_paths

if TYPE_CHECKING:
    from .analysis.comparison import Comparison, compare
    from .errors import Blase3dError, InputError, MissingExtra
    from .fitting.archive import Archive, open_archive
    from .fitting.build import build
    from .fitting.clone_grid import clone
    from .inference import infer, infer_joint, infer_many
    from .inference.for_samplers import LogLikelihood, log_likelihood
    from .inference.prior import Prior
    from .inference.result import Inference
    from .inference.survey.survey import Survey
    from .libraries import open_grid
    from .libraries.grid import Grid
    from .model.model import Model
    from .model.model_file import load_model, save_model
    from .recipe import DEFAULT, PAPER, Recipe, get_recipe
    from .spectra.formats import read_spectrum, write_spectrum
    from .spectra.formats.registration import register_specutils
    from .spectra.spectrum import Spectrum

_HOMES = {
    "fitting.archive": ("Archive", "open_archive"),
    "fitting.build": ("build",),
    "analysis.comparison": ("Comparison", "compare"),
    "errors": ("Blase3dError", "InputError", "MissingExtra"),
    "libraries.grid": ("Grid",),
    "inference": ("infer", "infer_joint", "infer_many"),
    "inference.for_samplers": ("LogLikelihood", "log_likelihood"),
    "inference.prior": ("Prior",),
    "inference.result": ("Inference",),
    "inference.survey.survey": ("Survey",),
    "model.model": ("Model",),
    "model.model_file": ("load_model", "save_model"),
    "fitting.clone_grid": ("clone",),
    "recipe": ("DEFAULT", "PAPER", "Recipe", "get_recipe"),
    "libraries": ("open_grid",),
    "spectra.spectrum": ("Spectrum",),
    "spectra.formats": ("read_spectrum", "write_spectrum"),
    "spectra.formats.registration": ("register_specutils",),
}

__all__ = [
    "DEFAULT",
    "PAPER",
    "Archive",
    "Blase3dError",
    "Comparison",
    "Grid",
    "Inference",
    "InputError",
    "LogLikelihood",
    "MissingExtra",
    "Model",
    "Prior",
    "Recipe",
    "Spectrum",
    "Survey",
    "build",
    "clone",
    "compare",
    "get_recipe",
    "infer",
    "infer_joint",
    "infer_many",
    "load_model",
    "log_likelihood",
    "open_archive",
    "open_grid",
    "read_spectrum",
    "register_specutils",
    "save_model",
    "write_spectrum",
]


keep_old_paths()
logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent unless it is asked for


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `blase3d --help` needs neither JAX nor SciPy."""
    if name == "__version__":  # of pyproject.toml
        from importlib.metadata import version

        return version("blase3d")
    for home, names in _HOMES.items():
        if name in names:
            from .runtime.compiled import keep_compiled

            keep_compiled()
            return getattr(import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
