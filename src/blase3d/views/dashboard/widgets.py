"""The controls of the page: sliders with boxes for exact numbers, and the window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from html import escape

import numpy as np
from bokeh.models import (
    Checkbox,
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
from ...parameters import parameter
from .assets import text_of
from .state import Interval, ViewState, model_range, narrowest

STEPS = 500
"""Least number of steps of a slider."""
_WINDOW_STEPS = 1000
"""Least number of steps of the slider for the middle of the window."""
_VELOCITIES = ("rv", "vsini")
_FRACTION, _VELOCITY_STEP = 0.2, 0.1
"""Fraction of the range of a velocity that its slider first has, and its step, km/s."""
COARSEST, FINEST = 3.0, 6.0
"""log₁₀ of the resolution at the ends of its slider; the upper end stands for none."""


def sheet() -> InlineStyleSheet:
    """The style of the widgets."""
    return InlineStyleSheet(css=text_of("widgets.css"))


@dataclass(frozen=True, eq=False)
class Controls:
    """The controls.

    Attributes
    ----------
    sliders, boxes : dict
        Sliders and boxes by name: labels, rv, vsini, resolution (log₁₀).
    holds : dict
        Boxes that hold a parameter at its value when the spectrum is fitted, by name.
    fixed : dict of float
        Labels of one value.
    window : Range1d
        Wavelengths shown, Å.
    columns : dict
        The rows of widgets, by section of the page.
    """

    sliders: Mapping[str, Slider]
    boxes: Mapping[str, NumericInput]
    holds: Mapping[str, Checkbox]
    fixed: Mapping[str, float]
    window: Range1d
    columns: Mapping[str, Column]

    def state(self, before: ViewState) -> ViewState:
        """The state they are set to."""
        values = {name: float(slider.value) for name, slider in self.sliders.items()}
        logarithm = values.pop("resolution")
        rv, vsini = (values.pop(name) for name in _VELOCITIES)
        return replace(
            before,
            labels={name: {**self.fixed, **values}[name] for name in before.labels},
            window=(float(self.window.start), float(self.window.end)),
            rv=rv,
            vsini=vsini,
            resolution=np.inf if logarithm >= FINEST else 10.0**logarithm,
        )

    def held(self, state: ViewState) -> dict[str, float]:
        """The parameters that a fit holds, with their values."""
        values = {**state.labels, "rv": state.rv, "vsini": state.vsini}
        values["resolution"] = state.resolution
        return {name: values[name] for name, box in self.holds.items() if box.active}

    def set_star(self, state: ViewState) -> None:
        """Set everything but the window; ranges of velocities widen where they have to."""
        values = {**state.labels, "rv": state.rv, "vsini": state.vsini}
        values["resolution"] = min(float(np.log10(state.resolution)), FINEST)
        for name, slider in self.sliders.items():
            if name in _VELOCITIES:
                low, high = parameter(name).range
                reach = 1.2 * abs(values[name])
                slider.start = max(min(slider.start, -reach), low)
                slider.end = min(max(slider.end, reach), high)
            slider.value = values[name]
            self.boxes[name].value = _exact(slider)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back at every change."""
        for slider in self.sliders.values():
            slider.on_change("value", lambda attr, old, new: callback())
        for end in ("start", "end"):
            self.window.on_change(end, lambda attr, old, new: callback())


def make_controls(model: Model, first: ViewState) -> Controls:
    """Controls for the labels of a model, the velocities, the resolution and the window."""
    style = sheet()
    sliders, boxes, holds, fixed, rows = {}, {}, {}, {}, []
    for name, (low, high) in model.bounds.items():
        if low == high:
            fixed[name] = low
            rows.append(_fixed_row(name, low))
            continue
        step = _round_step((high - low) / STEPS)
        sliders[name], boxes[name], holds[name], row = _row(
            name, (low, high), (low, high), step, first.labels[name], style
        )
        rows.append(row)
    observation = []
    for name in _VELOCITIES:
        widest = parameter(name).range
        span = (_FRACTION * widest[0], _FRACTION * widest[1])
        made = _row(name, span, widest, _VELOCITY_STEP, 0.0, style)
        sliders[name], boxes[name], holds[name], row = made
        observation.append(row)
    made = _resolution_row(style)
    sliders["resolution"], boxes["resolution"], holds["resolution"], row = made
    window, window_rows = _window_rows(model, first, style)
    columns = {"labels": rows, "observation": [*observation, row], "window_rows": window_rows}
    return Controls(
        sliders,
        boxes,
        holds,
        fixed,
        window,
        {name: _column(children) for name, children in columns.items()},
    )


def _round_step(size: float) -> float:
    """The largest number 1, 2 or 5 times a power of ten that is no larger."""
    power = 10.0 ** np.floor(np.log10(size))
    return float(max(power * factor for factor in (1.0, 2.0, 5.0) if power * factor <= size))


def _digits(slider: Slider) -> int:
    """Decimals shown: one more than the step has."""
    return int(max(0.0, -np.floor(np.log10(slider.step)))) + 1


def _exact(slider: Slider) -> float | None:
    """The value in the box of a slider; None for an empty box."""
    if slider.name != "resolution":
        return round(slider.value, _digits(slider))
    return None if slider.value >= FINEST else float(f"{10.0**slider.value:.3g}")


def _column(rows: list[Row]) -> Column:
    return Column(children=rows, sizing_mode="stretch_width", spacing=3)


def _label(text: str, unit: str) -> Div:
    more = f' <span class="unit">{escape(unit)}</span>' if unit else ""
    css = InlineStyleSheet(css=".unit { color: #6b7280; font-size: 11px }")
    return Div(
        text=f"{escape(text)}{more}",
        width=136,
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


_Made = tuple[Slider, NumericInput, Checkbox, Row]


def _joined(label: Div, slider: Slider, box: NumericInput, code: str, **args: float) -> _Made:
    """A row whose slider and box follow each other, with a box to hold the value in a fit."""
    callback = CustomJS(args={"slider": slider, "box": box, **args}, code=text_of(code))
    slider.js_on_change("value", callback)
    box.js_on_change("value", callback)
    hold = Checkbox(label="", name=f"hold-{slider.name}", width=16, align="center",
                    margin=(0, 0, 0, 8))  # fmt: skip
    row = Row(children=[label, slider, box, hold], sizing_mode="stretch_width", height=30)
    return slider, box, hold, row


def _row(
    name: str, span: Interval, widest: Interval, step: float, value: float, style: object
) -> _Made:
    """A slider over `span`, and a box that takes values of the `widest` range."""
    slider, box = _slider(name, *span, step, value, style), _box(*widest, value, style)
    label = _label(parameter(name).title, parameter(name).unit)
    return _joined(label, slider, box, "number.js", digits=_digits(slider))


def _resolution_row(style: object) -> _Made:
    slider = _slider("resolution", COARSEST, FINEST, 0.01, FINEST, style)
    box = _box(10.0**COARSEST, 10.0**FINEST, None, style, placeholder="none")
    label = _label("Resolution", "λ/Δλ")
    return _joined(label, slider, box, "resolution.js", finest=FINEST)


def _window_rows(model: Model, first: ViewState, style: object) -> tuple[Range1d, list[Row]]:
    """The window as a range of the plots, and sliders for its middle and its width."""
    low, high = model_range(model)
    least = narrowest(model)
    window = Range1d(*first.window, bounds=(low, high), min_interval=least, name="window")
    middle, width = sum(first.window) / 2, first.window[1] - first.window[0]
    centre = _slider("centre", low, high, _round_step((high - low) / _WINDOW_STEPS), middle, style)
    span = _slider("span", np.log10(least), np.log10(high - low), 0.01, np.log10(width), style)
    centre_box = _box(low, high, round(middle, 2), style)
    span_box = _box(least, high - low, round(width, 2), style)
    callback = CustomJS(
        args={
            "range": window,
            "centre": centre,
            "span": span,
            "centre_box": centre_box,
            "span_box": span_box,
            "limits": [low, high, least],
            "busy": centre,
        },
        code=text_of("window.js"),
    )
    for end in ("start", "end"):
        window.js_on_change(end, callback)
    for widget in (centre, span, centre_box, span_box):
        widget.js_on_change("value", callback)
    rows = [
        Row(children=[_label(text, "Å"), *pair], sizing_mode="stretch_width", height=30)
        for text, *pair in (("Middle", centre, centre_box), ("Width", span, span_box))
    ]
    return window, rows
