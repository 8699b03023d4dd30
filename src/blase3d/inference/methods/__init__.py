"""Inference methods: one module each, one row each in `METHODS`.

A member is a class that fulfils `InferenceMethod` (`method.py`). It is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .method import InferenceMethod

METHODS: Mapping[str, str] = {
    "gradient": "blase3d.inference.methods.least_squares:LeastSquares",
    "gp": "blase3d.inference.methods.bayes_opt:BayesianOptimisation",
    "posterior": "blase3d.inference.methods.nuts:NoUTurnSampler",
}
"""Module and class of each method, by the name that `infer` and the command line take."""

if TYPE_CHECKING:
    Method = str
else:
    Method = Literal[tuple(METHODS)]


def method_class(name: str) -> type[InferenceMethod]:
    """Return the class of a method in `METHODS`; its fields are the options of the method."""
    module, _, member = METHODS[name].partition(":")
    found: type[InferenceMethod] = getattr(import_module(module), member)
    return found


def option_names(member: type[InferenceMethod]) -> tuple[str, ...]:
    """Return the names of the options of a method."""
    return tuple(field.name for field in fields(member))


def make_method(name: str, options: Mapping[str, Any]) -> InferenceMethod:
    """Return a method with those of the options that it has."""
    member = method_class(name)
    return member(**{key: options[key] for key in option_names(member) if key in options})
