"""The page: its parts in order, and what it may load (nothing)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from ...errors import Blase3dError
from ...inference.result import Inference
from ...model.model import Model
from ...runtime.files import replacing
from ...spectra.spectrum import Spectrum
from .misfit import WrongLine, wrong_lines
from .provenance import provenance
from .report_data import View, make_view
from .svg_plots import TOP_LINES, corner_picture, key, spectrum_picture
from .tables import flag_list, label_table, line_tables, quality, wrong_table
from .viewer_data import kept_pixels, viewer_data

Namer = Callable[[Model, Mapping[str, float], Sequence[float]], Sequence[str]]
"""Names of the species of lines, by model, labels and the references (Å) of the lines; empty
where one is not known."""


def write_report(
    path: str | Path,
    inference: Inference,
    model: Model,
    spectrum_name: str,
    command: str | None = None,
    truth: Mapping[str, float] | None = None,
    *,
    spectrum: Spectrum | None = None,
    namer: Namer | None = None,
) -> None:
    """Write the report of an inference as one self-contained HTML page.

    Parameters
    ----------
    path : path
        The file to write.
    inference : Inference
        What was found.
    model : Model
        The model it was found with.
    spectrum_name : str
        How to call the spectrum.
    command : str, optional
        The command that repeats the inference.
    truth : dict of float, optional
        True values, where they are known, to print beside the answer.
    spectrum : Spectrum, optional
        The observation: it tells which pixels were masked, and the echelle orders.
    namer : callable, optional
        Who the lines are; by default `identify`, where its extra is installed.

    Raises
    ------
    InputError
        The spectrum is another than the one that was inferred.
    """
    view = make_view(inference, model, spectrum)
    wrong = wrong_lines(view)
    species = _species(view, model, wrong, named_species if namer is None else namer)
    page = _page(view, model, wrong, species, spectrum_name, command, truth or {})
    with replacing(Path(path)) as partial_path:
        partial_path.write_text(page, encoding="utf-8")


def named_species(
    model: Model, labels: Mapping[str, float], reference: Sequence[float]
) -> list[str]:
    """Likeliest species of lines (Å), empty where none is likelier than all others together, or
    where they cannot be told: without the extra `identify`, or without a label teff."""
    try:
        from ...analysis.identify import UNIDENTIFIED, identify

        found = identify(model, labels, np.asarray(reference))
    except (ImportError, Blase3dError):
        return [""] * len(reference)
    return ["" if line.best == UNIDENTIFIED else line.best for line in found]


def _species(view: View, model: Model, wrong: Sequence[WrongLine], namer: Namer) -> dict[int, str]:
    """Species of the lines that are listed, by index."""
    found = view.information
    listed = {line.index for line in wrong}
    for name in found.names:
        listed |= {int(i) for i in found.top(name, TOP_LINES)}
    chosen = sorted(listed)
    if not chosen:
        return {}
    names = namer(model, view.labels, [float(model.reference[i]) for i in chosen])
    return {i: name for i, name in zip(chosen, names, strict=True) if name}


def _page(
    view: View,
    model: Model,
    wrong: Sequence[WrongLine],
    species: Mapping[int, str],
    spectrum_name: str,
    command: str | None,
    truth: Mapping[str, float],
) -> str:
    heading = escape(f"Labels of {spectrum_name}")
    script = _resource("viewer.js")
    data = viewer_data(view, wrong, species)
    body = [
        f"<h1>{heading}</h1>",
        label_table(view.inference, truth),
        quality(view),
        flag_list(view.inference.flags),
        "<h2>Spectrum and model</h2>",
        _spectrum(view),
        "<h2>How the uncertainties go together</h2>",
        _corner(view.inference, truth),
        "<h2>Which lines carry each label</h2>",
        line_tables(view, species),
        "<h2>Lines that the model gets wrong</h2>",
        wrong_table(view, wrong, species),
        "<h2>To repeat it</h2>",
        provenance(view.inference, model, command),
    ]
    above = ["<!DOCTYPE html>", '<html lang="en">', _head(heading, script), "<body>", *body]
    below = [
        f'<script type="application/json" id="spectrum">{data}</script>',
        f"<script>{script}</script>",
        "</body>",
        "</html>",
        "",
    ]
    size = len("\n".join([*above, _footer(view, 0.0), *below]).encode("utf-8"))
    return "\n".join([*above, _footer(view, size / 1e6), *below])


def _head(heading: str, script: str) -> str:
    """With a policy that forbids every address, and every script but the page's own."""
    mark = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{mark}'"
    return "\n".join(
        [
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{heading}</title>",
            f"<style>{_resource('page.css')}</style>",
            "</head>",
        ]
    )


def _resource(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _spectrum(view: View) -> str:
    """The viewer, a still picture for paper and for browsers without scripts, and windows."""
    whole = (view.low, view.high)
    alt = f"Spectrum, model and residual from {view.low:.0f} to {view.high:.0f} Å"
    buttons = "".join(
        f'<button type="button" data-window="{k}">{(low + high) / 2:.0f} Å</button>'
        for k, (low, high) in enumerate(view.windows)
    )
    windows = "".join(
        "<figure>"
        + spectrum_picture(view, window, f"The same from {window[0]:.0f} to {window[1]:.0f} Å")
        + "</figure>"
        for window in view.windows
    )
    return "\n".join(
        [
            key(view),
            '<div id="viewer">',
            f'<canvas tabindex="0" role="img" aria-label="{escape(alt)}; arrow keys move, plus and '
            'minus zoom, 0 shows all"></canvas>',
            '<div class="works">',
            '<button type="button" data-work="left" aria-label="Left">◀</button>',
            '<button type="button" data-work="right" aria-label="Right">▶</button>',
            '<button type="button" data-work="in" aria-label="Zoom in">+</button>',
            '<button type="button" data-work="out" aria-label="Zoom out">−</button>',
            '<button type="button" data-work="all">All</button>',
            buttons,
            "</div>",
            '<output aria-live="off">Drag to move, pinch (or hold Ctrl and turn the wheel) to '
            "zoom, point at a pixel for its values.</output>",
            "</div>",
            f'<figure class="still">{spectrum_picture(view, whole, alt)}</figure>',
            '<p class="note">The spectrum is divided by the fitted continuum; wavelengths are as '
            "observed. These windows hold most information on the labels; marks stand over the "
            "lines that carry a label.</p>",
            f'<div class="near">{windows}</div>',
        ]
    )


def _corner(inference: Inference, truth: Mapping[str, float]) -> str:
    drawn = corner_picture(inference, truth)
    if not drawn:
        return '<p class="note">No parameter has an uncertainty.</p>'
    if inference.draws is None:
        about = "Ellipses hold 39 % and 86 % of the normal distribution that the curvature gives."
    else:
        chains, draws = inference.draws.shape[:2]
        about = f"{chains * draws:,} draws from the posterior, of {chains} chains. "
        about += _agreement(inference)
    known = " Dashed: the truth." if set(truth) & set(inference.names) else ""
    return (
        f'<figure class="corner">{drawn}<figcaption>{escape(about + known)}</figcaption></figure>'
    )


def _agreement(inference: Inference) -> str:
    r_hat, ess = (inference.diagnostics.get(name) for name in ("r_hat", "ess"))
    if not r_hat or not ess:
        return ""
    return (
        f"Largest R-hat {max(r_hat.values()):.3f}, fewest effective draws {min(ess.values()):.0f}."
    )


def _footer(view: View, size: float) -> str:
    """How large the page is (MB), and what of the spectrum is in it."""
    kept, count = kept_pixels(view).size, view.wavelength.size
    thin = "" if kept == count else ": of every few, those of least and greatest flux and model"
    return (
        f'<p class="note">This page: {size:.2f} MB; {kept:,} of {count:,} pixels in the '
        f"viewer{thin}. It loads nothing from elsewhere.</p>"
    )
