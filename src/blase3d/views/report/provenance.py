"""Settings, versions and sources needed to reproduce an inference, as HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ...fitting.archive import software_versions
from ...inference.result import Inference
from ...model.identity import model_checksum
from ...model.model import Model
from ...parameters import parameter


def provenance(inference: Inference, model: Model, command: str | None) -> str:
    """Return command, method, model, library with its citation, recipe and versions."""
    library = model.meta.get("library", {})
    library = dict(library) if isinstance(library, Mapping) else {"library": library}
    citation = library.pop("citation", None)
    cited = [citation] if isinstance(citation, str) else list(citation or [])
    name = str(library.pop("library", "not named"))
    axes = {label: [float(v) for v in axis] for label, axis in model.axes.items()}
    entries = [
        ("Command", _pre(command) if command else ""),
        ("Method", escape(_method(inference))),
        ("Held fixed", escape(_held(inference))),
        ("Options", escape(_options(inference))),
        ("Library", escape(name)),
        ("To cite", "".join(f"<div>{escape(str(work))}</div>" for work in cited)),
        ("About the library", _folded("from its file", _json(library)) if library else ""),
        (
            "Label values of the library",
            _pre("\n".join(f"{n}: {_list(values)}" for n, values in axes.items())),
        ),
        (
            "Checksum of the model (blase3d.views.report.model_checksum)",
            _code(model_checksum(model)),
        ),
        ("Fingerprint of the library", _code(model.meta.get("fingerprint"))),
        ("Recipe", _folded(model.recipe.name, _json(json.loads(model.recipe.to_json())))),
        ("Versions now", escape(_versions(software_versions()))),
        ("Versions at cloning and building", _made(model.meta.get("versions", {}))),
    ]
    items = "\n".join(
        f"<div><dt>{escape(key)}</dt><dd>{text}</dd></div>" for key, text in entries if text
    )
    return f"<dl>\n{items}\n</dl>"


def _method(inference: Inference) -> str:
    free = ", ".join(parameter(name).title for name in inference.names)
    parts = [f"{inference.method}; free: {free}"]
    if inference.draws is not None:
        chains, draws = inference.draws.shape[:2]
        parts.append(f"{chains} chains of {draws} draws")
    if inference.jitter > 0:
        parts.append(f"additional error: {inference.jitter:.3g} of the continuum")
    return "; ".join(parts)


def _held(inference: Inference) -> str:
    held = []
    for name, value in inference.fixed.items():
        short = parameter(name).short_unit
        text = "none" if np.isinf(value) else f"{value:.8g} {short}".strip()
        held.append(f"{parameter(name).title}: {text}")
    return "; ".join(held)


def _options(inference: Inference) -> str:
    given = {} if inference.options is None else vars(inference.options)
    return ", ".join(f"{name} {value}" for name, value in given.items())


def _made(versions: Mapping[str, Any]) -> str:
    return "".join(
        f"<div>{escape(str(stage))}: {escape(_versions(used))}</div>"
        for stage, used in versions.items()
    )


def _versions(versions: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)


def _pre(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def _folded(summary: str, text: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{_pre(text)}</details>"


def _code(text: Any) -> str:
    return f"<code>{escape(str(text))}</code>" if text else ""
