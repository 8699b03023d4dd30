"""Recipes: every setting of the chain, frozen, stored with everything made by it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from .errors import RecipeError
from .render import Composition


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
        `sum`: optical depths add; `product`: Π(1 − aV), as in the original.
    wing_tolerance
        A line is evaluated as far as it absorbs this part of the continuum ...
    wing_cut
        ... but no farther than half this many pixels from its centre (0: no such limit).
    optimiser, learning_rate, epochs
        `adam`: constant step with the AMSGrad correction; `adam-cosine`: Adam with a step that
        falls to zero along a cosine.
    catalogue
        `equality`: nodes are cloned by themselves, and lines whose detected centres are equal to
        0.01 Å are one line; `tolerant`: detections of all nodes are clustered, and every line is
        fitted at every node.
    tolerance
        Standard deviation (km/s) of the kernel in which detections of different nodes are one.
    rounds
        How often lines are added where the clones absorb too little.
    scouts
        At how many nodes, spread over the grid, a catalogue is tried to find the lines it lacks.
    redetection
        Prominence of lines that are added, in units of the continuum.
    sweeps, stiffness, smoothing
        How often every node is fitted; how firmly its lines are held, in the last sweep, near a
        surface smooth over the grid (ten times less in each sweep before); and how smooth the
        surface is: the weight of its squared second differences. A change of one in a parameter
        costs as much as `stiffness` in summed squared flux.
    manifold
        `linear`: multilinear in the labels; `spline`: tensor spline, cubic where an axis allows.
    missing
        ln area filled in where a node lacks a line (`equality` only); a line whose interpolated
        ln area is below a tenth of it is dropped.
    residual
        Whether the model carries what the lines do not express.
    """

    name: str = "default"
    continuum: Literal["library", "fit"] = "library"
    continuum_degree: int = 4
    prominence: float = 0.005
    distance: int = 4
    composition: Composition = "sum"
    wing_tolerance: float = 1e-5
    wing_cut: int = 0
    optimiser: Literal["adam", "adam-cosine"] = "adam-cosine"
    learning_rate: float = 0.05
    epochs: int = 100
    catalogue: Literal["equality", "tolerant"] = "tolerant"
    tolerance: float = 1.0
    rounds: int = 2
    scouts: int = 12
    redetection: float = 0.005
    sweeps: int = 3
    stiffness: float = 1e-3
    smoothing: float = 30.0
    manifold: Literal["linear", "spline"] = "spline"
    missing: float = -1000.0
    residual: bool = True

    def to_json(self) -> str:
        """The recipe as one JSON object."""
        return json.dumps(asdict(self))


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
    residual=False,
)
DEFAULT = Recipe()
RECIPES = {recipe.name: recipe for recipe in (DEFAULT, PAPER)}


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
    return replace(recipe, **changes)


def recipe_from_json(text: str) -> Recipe:
    """The recipe that `Recipe.to_json` wrote.

    Raises
    ------
    RecipeError
        The text is not JSON, or has settings that no recipe has.
    """
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise RecipeError(f"the recipe is not JSON ({error}).") from None
    known = {field.name: type(field.default) for field in fields(Recipe)}
    if not isinstance(settings, dict) or not set(settings) <= set(known):
        strange = sorted(set(settings) - set(known)) if isinstance(settings, dict) else settings
        raise RecipeError(
            f"got the recipe settings {strange}, expected only {', '.join(known)}; "
            "remove or rename the others."
        )
    for name, value in settings.items():
        if not isinstance(value, known[name] if known[name] is not float else (int, float)):
            raise RecipeError(
                f"got the recipe setting {name}={value!r}, expected a "
                f"{known[name].__name__}; correct it."
            )
    return Recipe(**settings)
