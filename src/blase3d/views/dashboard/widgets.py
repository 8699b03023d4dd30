"""The page's controls: sliders with boxes for exact numbers, and the window on the wavelengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from html import escape

import numpy as np
from bokeh.models import (
    Column,
    CustomJS,
    Div,
    InlineStyleSheet,
    NumericInput,
    Range1d,
    Row,
    Slider,
)

from ...model.model import Model
from ...parameters import FITTED, parameter
from .assets import text_of
from .settings import Settings, narrowest, whole_of

STEPS = 500
"""Steps of a slider over its range, at the least."""
_VELOCITIES = {"rv": (-200.0, 200.0, 0.1), "vsini": (0.0, 60.0, 0.1)}
"""Ranges and steps (km/s); a fit that finds more widens them."""
_SHORT = {"rv": "Velocity"}
COARSEST, FINEST = 3.0, 6.0
"""log₁₀ of the resolution at the ends of its slider; the finest stands for none."""
_CENTRE_STEPS = 1000


def sheet() -> InlineStyleSheet:
    """How widgets look."""
    return InlineStyleSheet(css=text_of("widgets.css"))


@dataclass(frozen=True, eq=False)
class Controls:
    """Sliders by name (labels, rv, vsini, resolution) with boxes for exact numbers, the window, and
    their rows on the page."""

    sliders: Mapping[str, Slider]
    boxes: Mapping[str, NumericInput]
    fixed: Mapping[str, float]
    window: Range1d
    parts: Mapping[str, Column]

    def settings(self, before: Settings) -> Settings:
        """What they are set to."""
        values = {name: float(slider.value) for name, slider in self.sliders.items()}
        logarithm = values.pop("resolution")
        rv, vsini = values.pop("rv"), values.pop("vsini")
        return replace(
            before,
            labels={name: {**self.fixed, **values}[name] for name in before.labels},
            window=(float(self.window.start), float(self.window.end)),
            rv=rv,
            vsini=vsini,
            resolution=np.inf if logarithm >= FINEST else 10.0**logarithm,
        )

    def set_star(self, settings: Settings) -> None:
        """Set all but the window; ranges widen where they have to."""
        values = {**settings.labels, "rv": settings.rv, "vsini": settings.vsini}
        values["resolution"] = min(float(np.log10(settings.resolution)), FINEST)
        for name, slider in self.sliders.items():
            if name in _VELOCITIES:
                low, high = parameter(name).range
                reach = 1.2 * abs(values[name])
                slider.start = max(min(slider.start, -reach), low)
                slider.end = min(max(slider.end, reach), high)
            slider.value = values[name]
            self.boxes[name].value = _exact(slider)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call whenever anything of it is changed."""
        for slider in self.sliders.values():
            slider.on_change("value", lambda attr, old, new: callback())
        for end in ("start", "end"):
            self.window.on_change(end, lambda attr, old, new: callback())


def make_controls(model: Model, first: Settings) -> Controls:
    """All controls of a model, whatever its labels."""
    style = sheet()
    sliders, boxes, fixed, rows = {}, {}, {}, []
    for name, (low, high) in model.bounds.items():
        if low == high:
            fixed[name] = low
            rows.append(_fixed_row(name, low))
            continue
        step = _round_step((high - low) / STEPS)
        sliders[name], boxes[name], row = _row(name, low, high, step, first.labels[name], style)
        rows.append(row)
    seen = []
    for name, (low, high, step) in _VELOCITIES.items():
        sliders[name], boxes[name], row = _row(name, low, high, step, 0.0, style)
        seen.append(row)
    sliders["resolution"], boxes["resolution"], row = _resolution_row(style)
    window, places = _window_rows(model, first, style)
    parts = {"labels": _column(rows), "sight": _column([*seen, row]), "places": _column(places)}
    return Controls(sliders, boxes, fixed, window, parts)


def _round_step(size: float) -> float:
    """The largest of 1, 2, 5, 10, ... that is no larger."""
    power = 10.0 ** np.floor(np.log10(size))
    return float(max(power * factor for factor in (1.0, 2.0, 5.0) if power * factor <= size))


def _digits(slider: Slider) -> int:
    """Decimals that are shown: one more than the steps have."""
    return int(max(0.0, -np.floor(np.log10(slider.step)))) + 1


def _exact(slider: Slider) -> float | None:
    """What the box of a slider shows."""
    if slider.name != "resolution":
        return round(slider.value, _digits(slider))
    return None if slider.value >= FINEST else float(f"{10.0**slider.value:.3g}")


def _column(rows: list[Row]) -> Column:
    return Column(children=rows, sizing_mode="stretch_width", spacing=3)


def _label(text: str, quantity: str) -> Div:
    more = f' <span class="unit">{escape(quantity)}</span>' if quantity else ""
    css = InlineStyleSheet(css=".unit { color: #6b7280; font-size: 11px }")
    return Div(
        text=f"{escape(text)}{more}",
        width=118,
        align="center",
        stylesheets=[css],
        styles={"font-size": "13px", "white-space": "nowrap"},
        margin=0,
    )


def _fixed_row(name: str, value: float) -> Row:
    only = Div(text=f"{value:g} (the only value)", styles={"color": "#6b7280"}, margin=0)
    return Row(
        children=[_label(parameter(name).title, parameter(name).unit), only],
        sizing_mode="stretch_width",
    )


def _slider(name: str, low: float, high: float, step: float, value: float, style: object) -> Slider:
    return Slider(
        name=name,
        start=low,
        end=high,
        step=step,
        value=value,
        title=None,
        show_value=False,
        tooltips=False,
        sizing_mode="stretch_width",
        align="center",
        margin=(0, 12, 0, 4),
        stylesheets=[style],
    )


def _box(
    low: float | None, high: float | None, value: float | None, style: object, **more: str
) -> NumericInput:
    return NumericInput(
        value=value,
        low=low,
        high=high,
        mode="float",
        width=74,
        align="center",
        margin=0,
        stylesheets=[style],
        **more,
    )


def _joined(label: Div, slider: Slider, box: NumericInput, to_box: str, to_slider: str) -> Row:
    """A row whose slider and box follow each other."""
    args = {"slider": slider, "box": box}
    slider.js_on_change("value", CustomJS(args=args, code=to_box))
    box.js_on_change("value", CustomJS(args=args, code=to_slider))
    return Row(children=[label, slider, box], sizing_mode="stretch_width", height=30)


def _row(
    name: str, low: float, high: float, step: float, value: float, style: object
) -> tuple[Slider, NumericInput, Row]:
    slider = _slider(name, low, high, step, value, style)
    box = _box(*(parameter(name).range if name in FITTED else (low, high)), value, style)
    digits = _digits(slider)
    to_box = f"box.value = Number(slider.value.toFixed({digits}))"
    to_slider = f"""
        if (box.value == null) {{ box.value = Number(slider.value.toFixed({digits})); return }}
        if (Math.abs(box.value - slider.value) <= 0.51 * 10 ** -{digits}) return
        if (box.value < slider.start) slider.start = box.value
        if (box.value > slider.end) slider.end = box.value
        slider.value = box.value"""
    return (
        slider,
        box,
        _joined(
            _label(_SHORT.get(name, parameter(name).title), parameter(name).unit),
            slider,
            box,
            to_box,
            to_slider,
        ),
    )


def _resolution_row(style: object) -> tuple[Slider, NumericInput, Row]:
    slider = _slider("resolution", COARSEST, FINEST, 0.01, FINEST, style)
    box = _box(10.0**COARSEST, 10.0**FINEST, None, style, placeholder="none")
    to_box = f"""
        const none = slider.value >= {FINEST}, r = Number((10 ** slider.value).toPrecision(3))
        if (none) box.value = null
        else if (box.value == null || Math.abs(box.value / r - 1) > 0.006) box.value = r"""
    to_slider = f"""
        const value = box.value == null ? {FINEST} : Math.log10(box.value)
        if (Math.abs(value - slider.value) > 0.003) slider.value = value"""
    return slider, box, _joined(_label("Resolution", "λ/Δλ"), slider, box, to_box, to_slider)


def _window_rows(model: Model, first: Settings, style: object) -> tuple[Range1d, list[Row]]:
    """The window as a range for the pictures, and its middle and width as sliders."""
    low, high = whole_of(model)
    least = narrowest(model)
    window = Range1d(*first.window, bounds=(low, high), min_interval=least, name="window")
    width = first.window[1] - first.window[0]
    step = _round_step((high - low) / _CENTRE_STEPS)
    centre = _slider("centre", low, high, step, sum(first.window) / 2, style)
    span = _slider("span", np.log10(least), np.log10(high - low), 0.01, np.log10(width), style)
    centre_box = _box(low, high, round(sum(first.window) / 2, 2), style)
    span_box = _box(least, high - low, round(width, 2), style)
    args = {
        "range": window,
        "centre": centre,
        "span": span,
        "centre_box": centre_box,
        "span_box": span_box,
        "limits": [low, high, least],
        "busy": centre,
    }
    code = text_of("window.js")
    for model_, attribute in (
        (window, "start"),
        (window, "end"),
        (centre, "value"),
        (span, "value"),
        (centre_box, "value"),
        (span_box, "value"),
    ):
        model_.js_on_change(attribute, CustomJS(args=args, code=code))
    rows = [
        Row(
            children=[_label(text, "Å"), slider, box],
            sizing_mode="stretch_width",
            height=30,
        )
        for text, slider, box in (("Middle", centre, centre_box), ("Width", span, span_box))
    ]
    return window, rows
