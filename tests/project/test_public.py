"""The public surface: complete, compatible with the last version, and cheap to import."""

from __future__ import annotations

import inspect
import json
import pkgutil
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from public_surface import commands, described, imported, public_surface

import blase3d

LAST: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "regression" / "public.json").read_text("utf-8")
)
"""The public surface of the last version, as `public_surface` makes it."""
API = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
PAGE = re.findall(r"^\.\. auto\w+:: blase3d\.(\S+)$", API, re.M)
"""Names on the page of names, without the package."""
INNER = {"Broadening", "ForwardModel", "LineGrid", "NoiseModel", "PcaResidual", "Pixels"}
INNER |= {"Proposal", "StoredWindows", "WindowedResidual"}
"""Inner records of models, archives and calibrations, which are not documented."""
BUILT = {
    "Archive": {"parameters", "own_functions", "write_own_functions", "write_window"},
    # former names as properties: tests/model/test_model.py
    "Model": {"parameters", "places", "split_places", "own_pixels", "line_spread", "pixels"},
}
"""What only the package itself calls, though its name has no underscore."""
FORMER = {
    "Recipe": "its settings are in groups; tests/fitting/test_recipe.py has the former ones",
    "Spectrum": "takes `resolving` by name; tests/spectra/test_spectrum_readers.py",
}
"""Constructors that take former arguments by name and warn, with where this is tested."""


def test_every_public_name_is_there_and_documented() -> None:
    for name in blase3d.__all__:
        value = getattr(blase3d, name)
        assert value.__doc__, name


def test_homes_and_list_agree() -> None:
    listed = [name for names in blase3d._HOMES.values() for name in names]
    assert sorted(listed) == sorted(blase3d.__all__)


def test_functions_are_not_hidden_by_modules() -> None:
    modules = {module.name for module in pkgutil.iter_modules(blase3d.__path__)}
    assert modules.isdisjoint(blase3d.__all__)


def test_import_is_light() -> None:
    code = (
        "import blase3d, blase3d.cli, sys; print(*{'jax', 'scipy', 'astropy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --- the page of names ---------------------------------------------------------------------------


def documented(path: str) -> Any:
    """A name on the page: of a module, or a module."""
    home, _, name = f"blase3d.{path}".rpartition(".")
    return getattr(import_module(home), name, None) or import_module(f"blase3d.{path}")


def records_of(value: Any) -> Iterator[type]:
    """Classes of the package that a function returns, or that attributes and methods of a class
    give."""
    if not inspect.isclass(value):
        yield from classes_in(hints(value).get("return"))
        return
    for name, hint in hints(value).items():
        if not name.startswith("_"):
            yield from classes_in(hint)
    for name, member in vars(value).items():
        for inner in ("fget", "func", "__func__"):
            member = getattr(member, inner, member)
        if not name.startswith("_") and inspect.isfunction(member):
            yield from classes_in(hints(member).get("return"))


def hints(value: Any) -> dict[str, Any]:
    """Annotations; empty where they name what only a type checker imports."""
    try:
        return get_type_hints(value)
    except (NameError, TypeError):
        return {}


def classes_in(hint: Any) -> Iterator[type]:
    """Classes of the package within an annotation."""
    if inspect.isclass(hint) and hint.__module__.startswith("blase3d"):
        yield hint
    for inner in get_args(hint):
        yield from classes_in(inner)


@pytest.mark.parametrize("path", PAGE)
def test_what_a_public_name_gives_is_on_the_page(path: str) -> None:
    value = documented(path)
    given = set(records_of(value)) if callable(value) else set()
    shown = [documented(other) for other in PAGE]
    assert {one.__name__ for one in given if one not in shown} <= INNER


def test_returned_records_are_seen() -> None:
    assert documented("lines.lines.Lines") in set(records_of(blase3d.Model))
    assert documented("inference.result.Estimate") in set(records_of(blase3d.Inference))
    assert set(records_of(blase3d.open_grid)) == {blase3d.Grid}


# --- the last version ----------------------------------------------------------------------------


def found(path: str) -> Any:
    """A name of the last version; modules that have moved warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return imported(path)


def compatible(before: list[list[Any]], after: list[list[Any]]) -> bool:
    """Whether calls with the parameters `before` still work: further ones have defaults."""
    positional = [p for p in before if p[1] == "POSITIONAL_OR_KEYWORD"]
    by_name = {p[0]: p for p in after}
    further = [p for p in after if p[0] not in {p[0] for p in before}]
    return (
        [p[0] for p in after][: len(positional)] == [p[0] for p in positional]
        and all(by_name.get(p[0]) == p for p in before)
        and all(p[2] is not None or p[1].startswith("VAR") for p in further)
    )


@pytest.mark.parametrize("path", LAST["names"])
def test_a_name_of_the_last_version_is_there(path: str) -> None:
    before, value = LAST["names"][path], found(path)
    after, built = described(value), BUILT.get(path, set())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        gone = {
            name
            for name in before.get("attributes", ())
            if name not in after["attributes"] and not hasattr(value, name)
        }
    # A record of settings keeps former ones as attributes of its instances (`DEFAULT`).
    assert gone <= built or path == "Recipe"
    if "parameters" in before and "parameters" not in built and path not in FORMER:
        assert compatible(before["parameters"], after["parameters"])
    for name, parameters in before.get("methods", {}).items():
        if name not in built:
            assert compatible(parameters, after["methods"][name]), name


OTHER_DEFAULTS = {"--continuum": None}
"""Options that choose a value by the data where none is given."""


def test_commands_of_the_last_version_are_there() -> None:
    """What was required may be left out now."""
    now = commands()
    for verb, options in LAST["commands"].items():
        for name, before in options.items():
            after = now[verb][name]
            if name in OTHER_DEFAULTS:
                before = [*before[:-1], OTHER_DEFAULTS[name]]
            assert after == before or (before[0] and after == [False, *before[1:]]), (verb, name)


def test_scripts_entry_points_and_extras_of_the_last_version_are_there() -> None:
    now = public_surface(())
    assert set(LAST["scripts"]) <= set(now["scripts"])
    assert set(LAST["extras"]) <= set(now["extras"])
    assert LAST["entry_points"].keys() <= now["entry_points"].keys()


def test_parameters_that_break_calls_are_seen() -> None:
    a, b = ["a", "POSITIONAL_OR_KEYWORD", None], ["b", "POSITIONAL_OR_KEYWORD", "1"]
    assert compatible([a], [a, b])
    assert compatible([a, b], [a, b, ["c", "KEYWORD_ONLY", "2"]])
    assert not compatible([a, b], [b, a])
    assert not compatible([a, b], [a])
    assert not compatible([a], [["a", "KEYWORD_ONLY", None]])
    assert not compatible([b], [b, ["c", "KEYWORD_ONLY", None]])
    assert not compatible([b], [["b", "POSITIONAL_OR_KEYWORD", "3"]])
