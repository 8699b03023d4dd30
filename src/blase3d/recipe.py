"""Recipes: every setting of the chain, frozen, stored with everything made by it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from .errors import RecipeError

Composition = Literal["opacity", "sum", "product"]
"""How lines compose: `opacity`, 1/(1 + Σ aV), the flux of an atmosphere of steep linear source
function where opacities add (Milne–Eddington, e.g. Gray 2005, ch. 13); `sum`, exp(−Σ aV), that of
a cold screen; or `product`, Π(1 − aV), the original's."""


@dataclass(frozen=True)
class Recipe:
    """Settings of the chain, stage by stage.

    Attributes
    ----------
    name
        How the recipe is called.
    continuum
        `library`: the continuum that the library brings, and the fit where it brings none;
        `fit`: always blackbody times polynomial.
    continuum_degree
        Degree of the polynomial.
    prominence, distance
        A minimum is a line if it is this deep against its surroundings (in units of the
        continuum) and this many pixels from the next deeper one.
    composition
        `opacity`: 1/(1 + Σ aV); `sum`: exp(−Σ aV); `product`: Π(1 − aV), as in the original.
    wing_tolerance
        A line is evaluated as far as it absorbs this part of the continuum ...
    wing_cut
        ... but no farther than half this many pixels from its centre (0: no such limit).
    catalogue
        `equality`: nodes are cloned by themselves, and lines whose detected centres are equal to
        0.01 Å are one line; `joint`: detections of all nodes are clustered, and all lines are
        fitted to all nodes at once, as smooth functions of the labels (`surface`).
    optimiser, learning_rate, epochs
        Of nodes that are cloned by themselves. `adam`: constant step with the AMSGrad
        correction; `adam-cosine`: Adam with a step that falls to zero along a cosine, which is
        also what a joint fit uses, with this rate and no more than this number of passes over the
        nodes.
    rounds, redetection
        How often lines are added where the clones absorb too little, and by which prominence (in
        units of the continuum) they are found.
    tolerance
        Standard deviation (km/s) of the kernel in which detections of different nodes are one.
    modes, own, shape_modes
        Functions over the grid that areas follow: smooth ones, and the library's own (`functions`);
        and of the smooth ones those that shift and ln widths follow.
    smooth
        The smoothest functions, by which areas go where the residual is added (0: by all, its own
        included). What the others say of the nodes is part of the residual then.
    root
        Which root of the area of a line is a sum of those functions; 0: its logarithm is.
    firmness
        How firmly shift and ln widths are held to their mean over the grid: what the square of a
        coefficient costs, in summed squared flux a node.
    batch, steps
        Nodes a step of the joint fit, and steps a round: grids of many nodes are seen fewer times
        than `epochs`, but at least four times.
    window, margin
        Pixels that are fitted together, and how far a fit looks beyond them.
    manifold
        Interpolation between nodes. `linear`: multilinear in the labels; `spline` and `cubic`:
        tensor splines; `ridge`: regression on polynomials, near the nodes (`manifold`).
    missing
        ln area filled in where a node lacks a line (`equality` only); a line whose interpolated
        ln area is below a tenth of it is dropped.
    residual
        rms error at the worst node (units of the continuum) that is left when the model carries
        what the lines do not express; 0: it carries nothing of it.
    """

    name: str = "default"
    continuum: Literal["library", "fit"] = "library"
    continuum_degree: int = 4
    prominence: float = 0.005
    distance: int = 4
    composition: Composition = "opacity"
    wing_tolerance: float = 1e-5
    wing_cut: int = 0
    catalogue: Literal["equality", "joint"] = "joint"
    optimiser: Literal["adam", "adam-cosine"] = "adam-cosine"
    learning_rate: float = 0.05
    epochs: int = 80
    rounds: int = 3
    redetection: float = 0.004
    tolerance: float = 1.0
    modes: int = 30
    own: int = 30
    smooth: int = 30
    shape_modes: int = 30
    root: int = 8
    firmness: float = 2e-4
    batch: int = 12
    steps: int = 2_000
    window: int = 6_250
    margin: int = 500
    manifold: Literal["linear", "cubic", "spline", "ridge"] = "spline"
    missing: float = -1000.0
    residual: float = 7e-5

    def __post_init__(self) -> None:
        for name, kind in _kinds().items():
            value = getattr(self, name)
            if not _is_of(value, kind):
                raise RecipeError(
                    f"got the recipe setting {name}={value!r}, expected {_in_words(kind)}; "
                    "correct it."
                )
            low, high = _RANGES.get(name, (0, math.inf))
            if not isinstance(value, str) and not (low <= value <= high and math.isfinite(value)):
                raise RecipeError(
                    f"got the recipe setting {name}={value!r}, expected a finite number of "
                    f"{low:g} to {high:g}; correct it."
                )

    def to_json(self) -> str:
        """The recipe as one JSON object."""
        return json.dumps(asdict(self))


_RANGES: dict[str, tuple[float, float]] = {
    "continuum_degree": (0, 30),
    "prominence": (1e-6, 1),
    "distance": (1, 1_000_000),
    "wing_tolerance": (1e-12, 0.1),
    "learning_rate": (1e-9, 10),
    "epochs": (1, 1_000_000),
    "rounds": (0, 100),
    "redetection": (1e-6, 1),
    "tolerance": (1e-6, 1e4),
    "modes": (1, 1_000_000),
    "own": (0, 1_000_000),
    "shape_modes": (1, 1_000_000),
    "smooth": (0, 1_000_000),
    "root": (0, 1_000),
    "batch": (1, 1_000_000),
    "steps": (1, 100_000_000),
    "window": (2, 100_000_000),
    "missing": (-1e9, 0),
    "residual": (0, 1),
}
"""What numbers may be; those that are not here may be any from 0 on."""


@cache
def _kinds() -> dict[str, Any]:
    """The type of each setting."""
    return get_type_hints(Recipe)


def _is_of(value: object, kind: Any) -> bool:
    if choices := get_args(kind):
        return isinstance(value, str) and value in choices
    wanted = (int, float) if kind is float else kind
    return isinstance(value, wanted) and not isinstance(value, bool)


def _in_words(kind: Any) -> str:
    if choices := get_args(kind):
        return f"one of {', '.join(choices)}"
    return {int: "a whole number", float: "a number"}.get(kind, "a text")


_ROOTS, _OWN = 4, 5
"""Versions of archives and models from which on lines follow roots of areas, and functions of the
library's own."""

DEFAULT = Recipe()
SINGLE = Recipe(
    name="single",
    catalogue="equality",
    epochs=200,
    rounds=2,
    missing=-20.0,
)
PAPER = Recipe(
    name="paper",
    continuum="fit",
    composition="product",
    wing_cut=6000,
    optimiser="adam",
    epochs=100,
    catalogue="equality",
    rounds=0,
    manifold="linear",
    residual=0.0,
)
RECIPES = {recipe.name: recipe for recipe in (DEFAULT, SINGLE, PAPER)}


def get_recipe(name: str, **changes: Any) -> Recipe:
    """A recipe by name, or from a JSON file of one, with some settings changed.

    Raises
    ------
    RecipeError
        Neither a recipe nor a readable file of that name, or a setting that does not exist.
    """
    if name in RECIPES:
        recipe = RECIPES[name]
    elif Path(name).is_file():
        recipe = recipe_from_json(Path(name).read_text(encoding="utf-8", errors="replace"))
    else:
        raise RecipeError(
            f"got the recipe {name!r}, expected one of {', '.join(RECIPES)} or a JSON file; "
            "choose one of these."
        )
    _refuse_unknown(changes)
    return replace(recipe, **changes)


def _refuse_unknown(settings: Any) -> None:
    known = [field.name for field in fields(Recipe)]
    if not isinstance(settings, dict) or not set(settings) <= set(known):
        strange = sorted(set(settings) - set(known)) if isinstance(settings, dict) else settings
        raise RecipeError(
            f"got the recipe settings {strange}, expected only {', '.join(known)}; "
            "remove or rename the others."
        )


def recipe_from_json(text: str, version: int = _OWN) -> Recipe:
    """The recipe that `Recipe.to_json` wrote.

    Parameters
    ----------
    text : str
        A JSON object of settings; those that it lacks are as in `default`.
    version : int
        Of the archive or the model that it is of.

    Raises
    ------
    RecipeError
        The text is not JSON, or has settings that no recipe has, or values that none can have.
    """
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(
            f"the recipe is not JSON ({error}): write it as an object of settings."
        ) from None
    _refuse_unknown(settings)
    if version < _ROOTS:
        settings |= {"root": 0, "smooth": 0}
    if version < _OWN:
        settings |= {"own": 0}
    return Recipe(**settings)
