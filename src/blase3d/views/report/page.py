"""The page of the report: its sections in order, and a policy that lets it load nothing."""

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
from ...parameters import parameter
from ...runtime.arrays import DEFAULT_FLOATING_POINT
from ...runtime.files import replacing
from ...runtime.moved import warn_of_former
from ...spectra.spectrum import Spectrum
from .limits import limit_notes
from .misfit import WrongLine, wrong_lines
from .plots import MARKERS, TOP_LINES, corner_svg, spectrum_svg
from .provenance import provenance
from .report_data import ReportData, make_report_data
from .tables import flag_list, label_table, line_tables, quality, wrong_table
from .viewer_data import kept_pixels, viewer_data

Namer = Callable[[Model, Mapping[str, float], Sequence[float]], Sequence[str]]
"""Returns the species of lines from model, labels and reference wavelengths (Å) of the lines; an
empty text for an unknown species."""


@DEFAULT_FLOATING_POINT
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
        The answer.
    model : Model
        The model that it was inferred with.
    spectrum_name : str
        Name of the spectrum.
    command : str, optional
        The command that repeats the inference.
    truth : dict of float, optional
        True values, where they are known.
    spectrum : Spectrum, optional
        Ignored, and to be removed: the answer keeps orders and masked pixels.
    namer : callable, optional
        Identifies the lines; by default `identify`, if its extra is installed.
    """
    if spectrum is not None:
        warn_of_former(
            "write_report no longer needs spectrum=, since the answer keeps orders and masked "
            "pixels; leave it out"
        )
    data = make_report_data(inference, model)
    wrong = wrong_lines(data)
    species = _species(data, model, wrong, named_species if namer is None else namer)
    page = _page(data, model, wrong, species, spectrum_name, command, truth or {})
    with replacing(Path(path)) as partial_path:
        partial_path.write_text(page, encoding="utf-8")


def named_species(
    model: Model, labels: Mapping[str, float], reference: Sequence[float]
) -> list[str]:
    """Return the likeliest species of lines (Å).

    The text is empty where no species is likelier than all others together, and for all lines
    without the extra `identify` or a label teff.
    """
    try:
        from ...analysis.identify import UNIDENTIFIED, identify

        found = identify(model, labels, np.asarray(reference))
    except (ImportError, Blase3dError):
        return [""] * len(reference)
    return ["" if line.best == UNIDENTIFIED else line.best for line in found]


def _species(
    data: ReportData, model: Model, wrong: Sequence[WrongLine], namer: Namer
) -> dict[int, str]:
    """Return the species of the listed lines, by index."""
    found = data.information
    listed = {line.index for line in wrong}
    for name in found.names:
        listed |= {int(i) for i in found.top(name, TOP_LINES)}
    chosen = sorted(listed)
    if not chosen:
        return {}
    names = namer(model, data.labels, [float(model.reference[i]) for i in chosen])
    return {i: name for i, name in zip(chosen, names, strict=True) if name}


def _page(
    data: ReportData,
    model: Model,
    wrong: Sequence[WrongLine],
    species: Mapping[int, str],
    spectrum_name: str,
    command: str | None,
    truth: Mapping[str, float],
) -> str:
    heading = escape(f"Labels of {spectrum_name}")
    script = _resource("viewer.js")
    inference = data.inference
    body = [
        f"<h1>{heading}</h1>",
        label_table(inference, truth),
        quality(data),
        flag_list(inference.flags),
        limit_notes(model, data.labels, data.inference.model_identity.get("lines")),
        "<h2>Spectrum and model</h2>",
        _spectrum(data),
        "<h2>Uncertainties and correlations</h2>",
        _corner(inference, truth),
        "<h2>Lines that constrain each label</h2>",
        line_tables(data, species),
        "<h2>Lines that the model does not fit</h2>",
        wrong_table(data, wrong, species, model.calibration),
        "<h2>Reproducing this result</h2>",
        provenance(inference, model, command),
    ]
    above = ["<!DOCTYPE html>", '<html lang="en">', _head(heading, script), "<body>", *body]
    content = viewer_data(data, wrong, species)
    below = [
        f'<script type="application/json" id="spectrum">{content}</script>',
        f"<script>{script}</script>",
        "</body>",
        "</html>",
        "",
    ]
    size = len("\n".join([*above, _footer(data, 0.0), *below]).encode("utf-8"))
    return "\n".join([*above, _footer(data, size / 1e6), *below])


def _head(heading: str, script: str) -> str:
    """Return the head, with a policy that allows no address and no other script."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
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


def _spectrum(data: ReportData) -> str:
    """Return the viewer, a plot for paper and for browsers without scripts, and the windows."""
    low, high = data.range
    about = f"Spectrum, model and residual from {low:.0f} to {high:.0f} Å"
    buttons = "".join(
        f'<button type="button" data-window="{k}">{(low + high) / 2:.0f} Å</button>'
        for k, (low, high) in enumerate(data.windows)
    )
    windows = "".join(
        f"<figure>{spectrum_svg(data, (a, b), f'The same from {a:.1f} to {b:.1f} Å')}</figure>"
        for a, b in data.windows
    )
    return "\n".join(
        [
            _key(data),
            '<div id="viewer">',
            f'<canvas tabindex="0" role="img" aria-label="{escape(about)}; arrow keys move, plus '
            'and minus zoom, 0 shows all"></canvas>',
            '<div class="actions">',
            '<button type="button" data-action="left" aria-label="Left">◀</button>',
            '<button type="button" data-action="right" aria-label="Right">▶</button>',
            '<button type="button" data-action="in" aria-label="Zoom in">+</button>',
            '<button type="button" data-action="out" aria-label="Zoom out">−</button>',
            '<button type="button" data-action="all">All</button>',
            buttons,
            "</div>",
            '<output aria-live="off">Drag to move, pinch (or hold Ctrl and turn the wheel) to '
            "zoom, point at a pixel for its values.</output>",
            "</div>",
            f'<figure class="still">{spectrum_svg(data, data.range, about)}</figure>',
            '<p class="note">The spectrum is divided by the fitted continuum; wavelengths are as '
            "observed. The windows below hold most information about the labels; markers show the "
            "lines that constrain each label.</p>",
            f'<div class="windows">{windows}</div>',
        ]
    )


def _key(data: ReportData) -> str:
    """Return the meaning of colours and markers."""
    entries = [
        ('<i class="data"></i>', "spectrum"),
        ('<i class="model"></i>', "model"),
        ('<i class="residual"></i>', "residual"),
        ('<i class="error"></i>', "standard deviation of a pixel"),
    ]
    if data.pixels.outlier.any():
        entries.append(('<b class="outlier">●</b>', "given less weight"))
    if data.unused:
        entries.append(('<i class="unused"></i>', "not used, or no pixel"))
    for k, name in enumerate(data.information.names):
        marker = MARKERS[k % len(MARKERS)][1]
        text = f"line that constrains {parameter(name).title}"
        entries.append((f'<b class="m{k % len(MARKERS)}">{marker}</b>', text))
    items = "".join(f"<li>{drawn}{escape(text)}</li>" for drawn, text in entries)
    items += '<li class="zoomed"><i></i>line, with its name when zoomed in</li>'
    return f'<ul class="key">{items}</ul>'


def _corner(inference: Inference, truth: Mapping[str, float]) -> str:
    drawn = corner_svg(inference, truth)
    if not drawn:
        return '<p class="note">No parameter has an uncertainty.</p>'
    if inference.draws is None:
        about = "Ellipses hold 39 % and 86 % of the normal distribution of the curvature."
    else:
        chains, draws = inference.draws.shape[:2]
        about = f"{chains * draws:,} posterior draws from {chains} chains."
        r_hat, ess = (inference.diagnostics.get(name) for name in ("r_hat", "ess"))
        if r_hat and ess:
            about += f" Largest R-hat {max(r_hat.values()):.3f}, fewest effective draws "
            about += f"{min(ess.values()):.0f}."
    about += " Numbers are correlation coefficients."
    if set(truth) & set(inference.names):
        about += " Dashed: true values."
    return f'<figure class="corner">{drawn}<figcaption>{escape(about)}</figcaption></figure>'


def _footer(data: ReportData, size: float) -> str:
    """State the size of the page (MB), and which pixels are in it."""
    kept, count = kept_pixels(data).size, data.pixels.wavelength.size
    thinned = "" if kept == count else " (those of least and greatest flux and model in each few)"
    return (
        f'<p class="note">This page: {size:.2f} MB; {kept:,} of {count:,} pixels in the '
        f"viewer{thinned}. It loads nothing from elsewhere.</p>"
    )
