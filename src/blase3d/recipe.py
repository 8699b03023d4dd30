"""Recipes: the settings of the chain in groups, frozen, stored with everything made by them.

    Recipe
    ├── normalisation   continuum of the library's spectra
    ├── detection       first lines, and lines added later
    ├── fit             SingleFit (each node by itself) or JointFit (all nodes at once)
    ├── interpolation   between the nodes
    └── residual        correction of the nodes' spectra that the lines leave

Settings common to all stages (how lines compose, how far their wings reach) belong to no group.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_type_hints

from .errors import RecipeError
from .runtime.moved import warn_of_former

Composition = Literal["opacity", "sum", "product"]
"""Composition rule: `opacity`, 1/(1 + Σ aV), the flux of an atmosphere of steep linear source
function where opacities add (Milne–Eddington, e.g. Gray 2005, ch. 13); `sum`, exp(−Σ aV), that of
a cold screen; or `product`, Π(1 − aV), the original's."""

Profile = Literal["pseudo-voigt"]
"""Shape of a line (`lines.profiles`)."""


_RANGES: dict[str, tuple[float, float]] = {
    "continuum_degree": (0, 30),
    "prominence": (1e-6, 1),
    "distance": (1, 1_000_000),
    "redetection": (1e-6, 1),
    "wing_tolerance": (1e-12, 0.1),
    "learning_rate": (1e-9, 10),
    "epochs": (1, 1_000_000),
    "rounds": (0, 100),
    "batch": (1, 1_000_000),
    "steps": (1, 100_000_000),
    "window": (2, 100_000_000),
    "cluster_width": (1e-6, 1e4),
    "smooth_functions": (1, 1_000_000),
    "data_functions": (0, 1_000_000),
    "shape_functions": (1, 1_000_000),
    "functions_with_residual": (0, 1_000_000),
    "area_root": (0, 1_000),
    "missing_ln_area": (-1e9, 0),
    "tolerance": (math.ulp(0.0), 1),
}
"""Least and greatest value of a setting; of others any number from 0 on."""


def _kinds(group: Any) -> dict[str, Any]:
    """Return the type of each setting of a group."""
    hints = get_type_hints(group)
    return {field.name: hints[field.name] for field in fields(group)}


def _is_of(value: object, kind: Any) -> bool:
    if choices := get_args(kind):
        if isinstance(choices[0], str):
            return isinstance(value, str) and value in choices
        return isinstance(value, choices)
    wanted = (int, float) if kind is float else kind
    return isinstance(value, wanted) and not isinstance(value, bool)


def _in_words(kind: Any) -> str:
    if choices := get_args(kind):
        names = [one if isinstance(one, str) else one.__name__ for one in choices]
        return f"one of {', '.join(names)}"
    return {int: "a whole number", float: "a number", str: "a text"}.get(kind, kind.__name__)


class _Checked:
    """A record that checks its settings: types, choices and ranges."""

    def __post_init__(self) -> None:
        for name, kind in _kinds(type(self)).items():
            value = getattr(self, name)
            if not _is_of(value, kind):
                raise RecipeError(
                    f"got the recipe setting {name}={value!r}, expected {_in_words(kind)}; "
                    "correct it."
                )
            low, high = _RANGES.get(name, (0, math.inf))
            number = isinstance(value, int | float)
            if number and not (low <= value <= high and math.isfinite(value)):
                raise RecipeError(
                    f"got the recipe setting {name}={value!r}, expected a finite number of "
                    f"{low:g} to {high:g}; correct it."
                )


@dataclass(frozen=True)
class Normalisation(_Checked):
    """Continuum by which the library's spectra are divided.

    Attributes
    ----------
    continuum
        `library`: the continuum in the library, fitted where it has none; `fit`: always fitted, as
        a blackbody times a polynomial.
    continuum_degree
        Degree of the polynomial.
    """

    continuum: Literal["library", "fit"] = "library"
    continuum_degree: int = 4


@dataclass(frozen=True)
class Detection(_Checked):
    """Detection of lines at the minima of a spectrum.

    Attributes
    ----------
    prominence
        Least depth of a line against its surroundings, in units of the continuum.
    distance
        Least distance to the next deeper minimum, in pixels.
    redetection
        Least prominence of lines added where the fitted lines absorb too little.
    """

    prominence: float = 0.005
    distance: int = 4
    redetection: float = 0.004


@dataclass(frozen=True)
class SingleFit(_Checked):
    """Fit of each node by itself; lines of equal detected centre (0.01 Å) are one line.

    Attributes
    ----------
    optimiser
        `adam`: constant step, with the AMSGrad correction; `adam-cosine`: the step falls to zero
        along a cosine.
    learning_rate, epochs
        First step and number of steps.
    rounds
        How often lines are added and all are fitted again.
    missing_ln_area
        ln area given to a line at nodes without it. A line whose interpolated ln area is below a
        tenth of it is dropped.
    """

    kind: ClassVar[str] = "single"

    optimiser: Literal["adam", "adam-cosine"] = "adam-cosine"
    learning_rate: float = 0.05
    epochs: int = 200
    rounds: int = 2
    missing_ln_area: float = -1000.0


@dataclass(frozen=True)
class JointFit(_Checked):
    """Fit of all lines to all nodes at once, as functions of the labels (`fitting.joint_fit`).

    Attributes
    ----------
    learning_rate, epochs
        First step of Adam, which falls to zero along a cosine, and most passes over the nodes.
    rounds
        How often lines are added and all are fitted again.
    batch, steps
        Nodes of one step, and steps of one round: with many nodes there are fewer passes than
        `epochs`, but at least four.
    window, margin
        Pixels that are fitted together, and pixels on either side that are fitted with them.
    cluster_width
        Standard deviation (km/s) of the kernel by which detections of different nodes are
        clustered into one line.
    smooth_functions, data_functions, shape_functions
        Number of functions over the grid that areas follow: smooth ones, and principal components
        of the library's spectra (`model.grid_basis`); and number of the smooth ones that shifts
        and ln widths follow.
    functions_with_residual
        Number of the smoothest functions that areas follow where the residual is added; the
        residual then takes over from the others. 0: all, those of the data included.
    area_root
        The root of a line's area that is a sum of these functions; 0: its logarithm is.
    shape_ridge
        Ridge penalty on the coefficients of shift and ln widths, in summed squared flux per node.
    """

    kind: ClassVar[str] = "joint"

    learning_rate: float = 0.05
    epochs: int = 80
    rounds: int = 3
    batch: int = 12
    steps: int = 2_000
    window: int = 6_250
    margin: int = 500
    cluster_width: float = 1.0
    smooth_functions: int = 30
    data_functions: int = 30
    shape_functions: int = 30
    functions_with_residual: int = 30
    area_root: int = 8
    shape_ridge: float = 2e-4


@dataclass(frozen=True)
class ResidualSettings(_Checked):
    """Correction of the spectra by the differences that the lines leave at the nodes.

    Attributes
    ----------
    tolerance
        rms error that is left at the worst node, in units of the continuum.
    """

    tolerance: float = 7e-5


@dataclass(frozen=True)
class Recipe(_Checked):
    """Settings of the chain.

    Attributes
    ----------
    name
        Name of the recipe.
    composition
        How lines compose. `opacity`: 1/(1 + Σ aV); `sum`: exp(−Σ aV); `product`: Π(1 − aV), as in
        the original.
    profile
        Shape of a line.
    wing_tolerance
        Fraction of the continuum that a line absorbs where its wings are cut.
    wing_cut
        Pixels, half of them on either side of the centre, beyond which wings are cut in any case;
        0: no such limit.
    normalisation, detection
        Continuum, and detection of lines.
    fit
        `SingleFit` or `JointFit`.
    interpolation
        Between nodes. `linear`: multilinear in the labels; `spline` and `cubic`: tensor splines;
        `ridge`: regression on polynomials, near the nodes (`model.interpolation`).
    residual
        Tolerance of the residual; None: the model is its lines alone.

    Examples
    --------
    >>> quick = DEFAULT.replace(name="quick", rounds=1, epochs=20)
    >>> quick.fit.rounds, quick.residual.tolerance
    (1, 7e-05)
    """

    name: str = "default"
    composition: Composition = "opacity"
    profile: Profile = "pseudo-voigt"
    wing_tolerance: float = 1e-5
    wing_cut: int = 0
    normalisation: Normalisation = Normalisation()
    detection: Detection = Detection()
    fit: SingleFit | JointFit = JointFit()
    interpolation: Literal["linear", "cubic", "spline", "ridge"] = "spline"
    residual: ResidualSettings | None = ResidualSettings()

    @property
    def joint(self) -> JointFit:
        """The settings of a joint fit.

        Raises
        ------
        RecipeError
            The recipe fits each node by itself.
        """
        if isinstance(self.fit, JointFit):
            return self.fit
        raise RecipeError(
            f"got the recipe {self.name!r}, which fits each node by itself, expected a joint fit; "
            "use another recipe."
        )

    @property
    def single(self) -> SingleFit:
        """The settings of a fit of each node by itself.

        Raises
        ------
        RecipeError
            The recipe fits all nodes at once.
        """
        if isinstance(self.fit, SingleFit):
            return self.fit
        raise RecipeError(
            f"got the recipe {self.name!r}, which fits all nodes at once, expected one that fits "
            "each by itself; use another recipe."
        )

    def replace(self, **settings: Any) -> Recipe:
        """Return the recipe with some settings changed.

        Parameters
        ----------
        **settings
            Groups, or single settings by their names in the groups, whose names are all different.
            `residual` may be a tolerance, 0 for none.

        Raises
        ------
        RecipeError
            A setting that the recipe does not have, or a value that it cannot have.
        """
        for name in settings.keys() & _FORMER.keys():
            warn_of_former(f"the setting {name} is now {_FORMER[name]}")
        return _changed(self, settings)

    def to_json(self) -> str:
        """Return the recipe as one JSON object, with an object for each group."""
        return json.dumps({**asdict(self), "fit": {"kind": self.fit.kind, **asdict(self.fit)}})

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            return _former_setting(self, name)


DEFAULT = Recipe()
SINGLE = Recipe(name="single", fit=SingleFit(missing_ln_area=-20.0))
PAPER = Recipe(
    name="paper",
    composition="product",
    wing_cut=6000,
    normalisation=Normalisation(continuum="fit"),
    fit=SingleFit(optimiser="adam", epochs=100, rounds=0),
    interpolation="linear",
    residual=None,
)
RECIPES = {recipe.name: recipe for recipe in (DEFAULT, SINGLE, PAPER)}


def get_recipe(name: str, **changes: Any) -> Recipe:
    """Return a recipe by name, or from a JSON file, with some settings changed.

    Parameters
    ----------
    name : str
        `default`, `single`, `paper`, or the path of a JSON file.
    **changes
        As of `Recipe.replace`.

    Raises
    ------
    RecipeError
        Neither a recipe nor a readable file of that name, or a setting that does not exist.

    Examples
    --------
    >>> get_recipe("default", rounds=1, epochs=20).fit.epochs
    20
    """
    if name in RECIPES:
        recipe = RECIPES[name]
    elif Path(name).is_file():
        recipe = recipe_from_json(Path(name).read_text(encoding="utf-8", errors="replace"))
    else:
        raise RecipeError(
            f"got the recipe {name!r}, which is no file, expected one of {', '.join(RECIPES)} or a "
            "JSON file; choose one of these, or correct the path."
        )
    return recipe.replace(**changes)


GROUPED = 6
"""Version of archives and models from which on their recipes are in groups."""
_ROOTS, _DATA = 4, 5
"""... and from which on lines follow roots of areas, and functions of the library's data."""


def recipe_from_json(text: str, version: int = GROUPED) -> Recipe:
    """Return the recipe that `Recipe.to_json` wrote, in this version or an earlier one.

    Parameters
    ----------
    text : str
        A JSON object of settings, in groups or not; others are as in `default`.
    version : int
        Version of the archive or model with this recipe.

    Raises
    ------
    RecipeError
        The text is not JSON, or has settings that no recipe has, or values that none can have.
    """
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(
            f"got a recipe that is not JSON ({error}), expected an object of settings; write one."
        ) from None
    if not isinstance(settings, dict):
        raise RecipeError(
            f"got the recipe {settings!r}, expected an object of settings; write one."
        )
    if version < _ROOTS:
        settings |= {"root": 0, "smooth": 0}
    if version < _DATA:
        settings |= {"own": 0}
    return _changed(DEFAULT, settings, drop=True)


# --- changes -------------------------------------------------------------------------------------

_FITS: dict[str, type[SingleFit | JointFit]] = {"single": SingleFit, "joint": JointFit}
_CATALOGUES = {"equality": SingleFit, "joint": JointFit}
"""The two fits by the setting that chose between them in version 5."""
_FORMER = {
    "manifold": "interpolation",
    "missing": "missing_ln_area",
    "tolerance": "cluster_width",
    "modes": "smooth_functions",
    "own": "data_functions",
    "shape_modes": "shape_functions",
    "smooth": "functions_with_residual",
    "root": "area_root",
    "firmness": "shape_ridge",
}
"""Settings that had other names in version 5."""


def _changed(recipe: Recipe, settings: Mapping[str, Any], drop: bool = False) -> Recipe:
    """Return a recipe with some settings changed, in groups or by their names alone.

    Settings of the other fit are refused, or dropped: before version 6 every recipe had them.
    """
    changes = {_FORMER.get(name, name): value for name, value in settings.items()}
    groups: dict[str, Any] = {name: getattr(recipe, name) for name in _kinds(Recipe)}
    if "catalogue" in changes:
        groups["fit"] = _other_fit(recipe.fit, changes.pop("catalogue"))
        drop = True
    for name in groups.keys() & changes.keys():
        groups[name] = _group(name, groups[name], changes.pop(name))
    for name in ("normalisation", "detection", "fit"):
        known = changes.keys() & _kinds(type(groups[name])) if is_dataclass(groups[name]) else ()
        groups[name] = _replaced(groups[name], {setting: changes.pop(setting) for setting in known})
    if drop:
        changes = {name: value for name, value in changes.items() if name not in _SETTINGS}
    inner = [_kinds(type(group)) for group in groups.values() if is_dataclass(group)]
    _refuse(changes, [*groups, *(name for names in inner for name in names if name != "tolerance")])
    return Recipe(**groups)


_SETTINGS = {*_kinds(SingleFit), *_kinds(JointFit)}
"""Settings of either fit."""


def _refuse(strange: Iterable[str], known: Iterable[str]) -> None:
    if names := sorted(strange):
        raise RecipeError(
            f"got the recipe settings {names}, expected only {', '.join(known)}; "
            "remove or rename the others."
        )


def _other_fit(fit: SingleFit | JointFit, catalogue: Any) -> SingleFit | JointFit:
    """Return the fit that version 5 called `catalogue`, with the settings common to both."""
    kinds = [kind for name, kind in _CATALOGUES.items() if name == catalogue]
    if not kinds:
        raise RecipeError(
            f"got the recipe setting catalogue={catalogue!r}, expected one of "
            f"{', '.join(_CATALOGUES)}; correct it."
        )
    if isinstance(fit, kinds[0]):
        return fit
    common = _kinds(SingleFit).keys() & _kinds(JointFit).keys()
    return kinds[0](**{name: getattr(fit, name) for name in common})


def _group(name: str, group: Any, value: Any) -> Any:
    """Return the value of a group or setting, also from a JSON object or a tolerance."""
    if name == "residual" and _is_of(value, float):
        return ResidualSettings(value) if value else None
    if not isinstance(value, dict):
        return value
    if name == "fit":
        kind = value.get("kind", group.kind)
        if kind not in list(_FITS):
            raise RecipeError(
                f"got the recipe setting fit of kind {kind!r}, expected one of "
                f"{', '.join(_FITS)}; correct it."
            )
        group = group if kind == group.kind else _FITS[kind]()
        value = {setting: value[setting] for setting in value if setting != "kind"}
    return _replaced(ResidualSettings() if group is None else group, value)


def _replaced(group: Any, settings: Mapping[str, Any]) -> Any:
    """Return a group with some settings changed."""
    if not settings:
        return group
    known = _kinds(type(group)) if is_dataclass(group) else {}
    _refuse(settings.keys() - known.keys(), known)
    return dataclasses.replace(group, **settings)


# --- names of version 5, until the next version ---------------------------------------------------

_GROUP_OF = {
    setting: group
    for group, kind in (
        ("normalisation", Normalisation),
        ("detection", Detection),
        ("fit", SingleFit),
        ("fit", JointFit),
    )
    for setting in _kinds(kind)
}
_FORMER_NAMES = {*_GROUP_OF, *_FORMER, "catalogue"}


def _former_setting(recipe: Recipe, name: str) -> Any:
    """Return a setting of version 5, and warn."""
    if name not in _FORMER_NAMES:
        raise AttributeError(f"'Recipe' object has no attribute {name!r}")
    if name == "catalogue":
        warn_of_former(f"recipe.{name} is now the type of recipe.fit", stacklevel=3)
        return "joint" if isinstance(recipe.fit, JointFit) else "equality"
    setting = _FORMER.get(name, name)
    if setting == "interpolation":
        warn_of_former(f"recipe.{name} is now recipe.{setting}", stacklevel=3)
        return recipe.interpolation
    group = _GROUP_OF[setting]
    warn_of_former(f"recipe.{name} is now recipe.{group}.{setting}", stacklevel=3)
    kept = getattr(recipe, group)
    return getattr(kept, setting) if hasattr(kept, setting) else getattr(_OTHER[kept.kind], setting)


_OTHER = {"single": JointFit(), "joint": SingleFit()}


def _accepting_former(init: Callable[..., None]) -> Callable[..., None]:
    """Return `Recipe.__init__`, accepting also the settings of version 5 by name."""

    @wraps(init)
    def accepting(self: Recipe, *args: Any, **settings: Any) -> None:
        former = {name: settings.pop(name) for name in list(settings) if name in _FORMER_NAMES}
        if _is_of(settings.get("residual"), float):
            former["residual"] = settings.pop("residual")
        init(self, *args, **settings)
        if former:
            warn_of_former(
                f"Recipe(..., {', '.join(former)}) takes groups of settings now: "
                "use recipe.replace(...) or get_recipe(name, ...)"
            )
            for name, value in vars(_changed(self, former, drop=True)).items():
                object.__setattr__(self, name, value)

    return accepting


Recipe.__init__ = _accepting_former(Recipe.__init__)  # type: ignore[method-assign]
