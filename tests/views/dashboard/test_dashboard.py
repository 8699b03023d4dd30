"""The dashboard without a browser: what is sent, what is evaluated, what lines are shown."""

from __future__ import annotations

import shlex
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from bokeh.document import Document
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from toy_models import model_of

import blase3d.views.dashboard
from blase3d.analysis.identify import available, identify
from blase3d.errors import InputError, MissingExtra
from blase3d.inference import infer
from blase3d.libraries.toy import LINES, toy_grid
from blase3d.model.line_calibration import LineCalibration
from blase3d.spectra.formats import read_spectrum
from blase3d.spectra.spectrum import Spectrum
from blase3d.views.dashboard import compiled_model, explore
from blase3d.views.dashboard.compiled_model import CompiledModel
from blase3d.views.dashboard.downloads import command_of, lines_ecsv, model_ecsv, star_ecsv
from blase3d.views.dashboard.frame import make_frame
from blase3d.views.dashboard.html_text import command_html, line_html, message, model_summary
from blase3d.views.dashboard.page import Page
from blase3d.views.dashboard.screen import MARGIN, thin_for_screen, window_slice, with_gaps
from blase3d.views.dashboard.session import make_session
from blase3d.views.dashboard.star import interpolate_flux, show_star, star_curves, with_fit
from blase3d.views.dashboard.state import (
    first_state,
    fit_window,
    is_possible,
    model_range,
    narrowest,
)
from blase3d.views.dashboard.visible_lines import DEEP, LineNames, find_visible, maps_of
from blase3d.views.dashboard.widgets import make_controls

AXES = {"teff": (5250.0, 5750.0, 6250.0), "logg": (4.25, 4.75), "feh": (-0.25, 0.25)}
WINDOW = (8490.0, 8510.0)
patient = hypothesis_settings(deadline=None)
"""Speed is measured elsewhere."""


@pytest.fixture(scope="module")
def model():
    return model_of(toy_grid(AXES), meta={"library": {"library": "toy"}})


@pytest.fixture(scope="module")
def shop(model):
    made = make_session(model)
    yield made
    made.close()


@pytest.fixture
def settings(model):
    labels = {"teff": 5400.0, "logg": 4.4, "feh": 0.1}
    return replace(first_state(model), labels=labels, window=WINDOW, columns=300)


def seen(model, settings, wavelength):
    return np.asarray(model.flux(**settings.labels, **settings.observation, wavelength=wavelength))


# What is sent.


@patient
@given(st.integers(1, 400), st.integers(0, 60_000), st.randoms(use_true_random=False))
def test_no_line_is_thinned_away(columns, size, random):
    values = np.ones(size)
    places = [random.randrange(size) for _ in range(min(size, 5))]
    values[places] = [0.5 + 0.1 * k for k in range(len(places))]
    kept = thin_for_screen(values, columns)
    assert kept.size <= max(4 * round(2 * columns * (1 + 2 * MARGIN)), 4)
    assert (np.diff(kept) > 0).all()
    if size:
        assert values[kept].min() == values.min()
        assert values[kept].max() == values.max()


def test_every_column_of_the_screen_keeps_its_extremes():
    x = np.linspace(8000.0, 12000.0, 300_001)
    y = np.random.default_rng(1).normal(size=x.size)
    columns, window = 700, (9000.0, 10000.0)
    part = window_slice(x, window)
    kept = part.start + thin_for_screen(y[part], columns)
    edges = np.linspace(*window, columns + 1)
    for low, high in pairwise(edges):
        every = y[(x >= low) & (x < high)]
        sent = y[kept][(x[kept] >= low) & (x[kept] < high)]
        # what straddles an edge of a column belongs to either of two that touch
        assert sent.max() >= np.partition(every, -4)[-4]
        assert sent.min() <= np.partition(every, 3)[3]
    assert y[kept].max() == y[part].max()


def test_a_stretch_is_the_window_with_its_margins():
    x = np.arange(100.0)
    part = window_slice(x, (40.0, 60.0))
    assert x[part][0] <= 40.0 - 20.0 * MARGIN
    assert x[part][-1] >= 60.0 + 20.0 * MARGIN
    assert x[part].size < 40
    assert x[window_slice(x, (-50.0, 500.0))].size == 100
    assert x[window_slice(x, (500.0, 600.0))].size <= 1


def test_curves_are_interrupted_in_gaps():
    x, y = with_gaps(np.arange(4.0), np.arange(4.0), np.array([True, False, True, False]))
    assert np.array_equal(x, [0, 1, 2, 2, 3])
    assert np.array_equal(np.isnan(y), [False, False, True, False, False])


# Windows.


@patient
@given(st.floats(8000.0, 9000.0), st.floats(1e-9, 1e4))
def test_a_window_always_lies_in_the_model(model, middle, width):
    low, high = model_range(model)
    start, end = fit_window(middle, width, model)
    assert low <= start < end <= high + 1e-9
    assert end - start >= narrowest(model) - 1e-9
    if narrowest(model) < width < high - low:
        assert end - start == pytest.approx(width)


def test_what_a_page_sends_is_looked_at(model, settings):
    assert is_possible(settings, model)
    wrong = (
        {"labels": {**settings.labels, "teff": 9000.0}},
        {"labels": {**settings.labels, "teff": np.nan}},
        {"rv": np.inf},
        {"vsini": -1.0},
        {"resolution": 0.0},
        {"window": (8500.0, 8490.0)},
        {"window": (0.0, 1e9)},
    )
    assert not any(is_possible(replace(settings, **change), model) for change in wrong)


# Cuts of the model.


@pytest.fixture(scope="module")
def long_model():
    """A model of so many pixels that it has cuts."""
    grid = toy_grid(AXES)
    pixels = np.linspace(8480.0, 8520.0, 16_385)
    return model_of(SimpleNamespace(wavelength=pixels, axes=grid.axes, labels=grid.labels))


@pytest.fixture(scope="module")
def small_cuts():
    """Velocities and cuts that are small beside the range of the long model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blase3d.model.model._COARSEST", 2048)
        patch.setattr(compiled_model, "_FASTEST", 30.0)
        yield


@patient
@given(st.floats(0.0, 1.0), st.floats(0.001, 1.0))
def test_a_cut_has_all_that_its_window_needs(long_model, small_cuts, middle, width):
    window = fit_window(8480 + 40 * middle, 40 * width, long_model)
    pixels, cut = long_model.wavelength, CompiledModel(long_model)._cut_for(window).wavelength
    low, high = max(window[0] / (1 + 1e-4), pixels[0]), min(window[1] * (1 + 1e-4), pixels[-1])
    assert cut[0] <= low < high <= cut[-1]
    needed = ((pixels >= low) & (pixels <= high)).sum()
    assert cut.size <= max(4 * (needed + 10), 4096)


@pytest.mark.long
def test_a_cut_shows_the_same_as_the_whole(long_model, small_cuts, settings):
    near = replace(settings, window=(8497.0, 8499.0), rv=12.0, vsini=4.0, resolution=30_000.0)
    compiled = CompiledModel(long_model)
    whole = compiled.flux(near)
    assert whole[0].size == long_model.wavelength.size
    assert not compiled.is_compiled(near.window)
    compiled.compile(near.window)
    assert compiled.is_compiled(near.window)
    cut = compiled.flux(near)
    assert cut[0].size < whole[0].size / 2
    for pixels, flux in (whole, cut):
        assert pixels[0] <= 8497.0 < 8499.0 <= pixels[-1]
        here = (pixels >= 8497.0) & (pixels <= 8499.0)
        assert np.abs(flux[here] - seen(long_model, near, pixels[here])).max() < 1e-4


def test_lines_of_the_library_are_shown_for_a_star_that_has_them(model, settings):
    changes = np.full((len(model.reference), 3), [0.3, 0.0, 0.0], np.float32)
    stars = np.ones(len(changes), np.int32)
    calibration = LineCalibration(changes, 0.1 * changes, stars)
    lines = calibration.applied(model.line_grid)
    compiled = CompiledModel(replace(model.with_lines(lines), calibration=calibration))
    before = CompiledModel(model).flux(settings)[1]
    after = compiled.flux(replace(settings, of_library=True))[1]
    np.testing.assert_allclose(after, before, atol=2e-4)
    assert np.abs(compiled.flux(settings)[1] - before).max() > 0.01


def test_sliders_do_not_compile(shop, settings):
    make_frame(shop.compiled, shop.names, settings)
    before = compiled_model._observe._cache_size()
    for k in range(5):
        moved = replace(settings, rv=3.0 * k, vsini=2.0 * k, resolution=2e4 + k, columns=200 + k)
        make_frame(shop.compiled, shop.names, replace(moved, window=(8490.0, 8495.0 + k)))
    assert compiled_model._observe._cache_size() == before


# Pictures and lines.


def test_the_picture_is_the_model(shop, model, settings):
    frame = make_frame(shop.compiled, shop.names, replace(settings, rv=-20.0, resolution=4e4))
    expected = seen(model, frame.state, frame.x)
    assert np.abs(frame.flux - expected).max() < 2e-5
    assert frame.x[0] < WINDOW[0] < WINDOW[1] < frame.x[-1]
    assert frame.y[0] < frame.flux.min() < 1.0 < frame.y[1]


def test_lines_in_view_are_those_of_the_universe(model, settings):
    lines = find_visible(model, replace(settings, rv=30.0))
    expected = LINES[:, 0] * (1 + 30.0 / 299792.458)
    there = (expected >= WINDOW[0]) & (expected <= WINDOW[1])
    assert set(lines.index) <= set(np.flatnonzero(there))
    assert (np.diff(lines.depth) <= 0).all()
    assert lines.depth.min() >= DEEP
    assert lines.observed == pytest.approx(expected[lines.index], abs=0.02)
    assert model.reference[lines.at(8498.02 * 1.0001, 0.5)] == pytest.approx(8498.02)


def test_names_stand_apart_and_the_chosen_line_has_one(model, settings):
    lines = find_visible(model, settings)
    weak = int(lines.index[lines.depth >= 0.02][-1])
    for distance in (0.1, 1.0, 5.0):
        places = lines.spaced(distance, 100, weak)
        assert lines.index[places[0]] == weak
        apart = np.diff(np.sort(lines.observed[places]))
        assert (apart >= distance).all()
    assert lines.spaced(1.0, 3).size == 3
    assert lines.depth[lines.spaced(1.0, 3)[0]] == lines.depth.max()


def test_maps_are_over_every_pair_of_labels_that_vary():
    axes = {"teff": (5250.0, 6250.0), "logg": (4.25, 4.75), "feh": (0.0,), "alpha": (0.0, 0.4)}
    four = model_of(toy_grid(axes))
    labels = {"teff": 5500.0, "logg": 4.5, "feh": 0.0, "alpha": 0.1}
    maps = maps_of(four, labels, 11)
    assert [(m.first, m.second) for m in maps] == [
        ("teff", "logg"),
        ("teff", "alpha"),
        ("logg", "alpha"),
    ]
    last = maps[-1]
    place = four.lines(**{**labels, "logg": last.x[3], "alpha": last.y[7]})
    assert last.values["ln_area"][3, 7] == pytest.approx(place.ln_area[11], abs=1e-4)
    assert last.values["sigma"][3, 7] == pytest.approx(1e3 * place.sigma[11], rel=1e-4)


def test_any_labels_have_controls():
    axes = {"teff": (5250.0, 6250.0), "logg": (4.5,), "feh": (-0.25, 0.25), "alpha": (0.0, 0.4)}
    four = model_of(toy_grid(axes))
    first = first_state(four)
    controls = make_controls(four, first)
    assert set(controls.sliders) == {"teff", "feh", "alpha", "rv", "vsini", "resolution"}
    assert controls.state(first) == first
    wanted = replace(
        first, labels={**first.labels, "alpha": 0.31}, rv=-450.0, vsini=3.0, resolution=5e4
    )
    controls.set_star(wanted)
    found = controls.state(first)
    assert found.labels == wanted.labels
    assert (found.rv, found.vsini) == (-450.0, 3.0)
    assert found.resolution == pytest.approx(5e4)
    assert controls.sliders["rv"].start <= -450.0


def test_a_fit_holds_the_parameters_that_are_ticked(model):
    first = first_state(model)
    controls = make_controls(model, first)
    assert set(controls.holds) == {"teff", "logg", "feh", "rv", "vsini", "resolution"}
    assert controls.held(first) == {}
    controls.holds["teff"].active = controls.holds["resolution"].active = True
    assert controls.held(first) == {"teff": first.labels["teff"], "resolution": np.inf}


def test_the_command_repeats_the_fit(model):
    wavelength = model.wavelength[100:200]
    spectrum = Spectrum(
        wavelength, np.ones(100), meta={"medium": "vacuum", "converted_from": "air"}
    )
    star = show_star("my star.fits", spectrum, model)
    command = command_of(star, "vis", {"teff": 5772.0, "resolution": np.inf})
    assert shlex.split(command) == [
        *("blase3d", "infer", "my star.fits", "--model", "vis", "--medium", "air"),
        *("--fix", "teff=5772", "--fix", "resolution=inf", "--report", "star.html"),
    ]
    assert "&#x27;my star.fits&#x27;" in command_html(command)


@pytest.mark.skipif(not available(), reason="the extra identify is not installed")
def test_names_are_learnt_once(model, settings):
    names = LineNames(model)
    assert names.known(settings) == {}
    assert names.learn(settings, [11, 3])
    assert not names.learn(settings, [11])
    node = {"teff": 5250.0, "logg": 4.25, "feh": 0.25}
    assert list(names.known(settings).values()) == identify(model, node, model.reference[[11, 3]])
    other = replace(settings, labels={**settings.labels, "teff": 6200.0})
    assert names.known(other) == {}


def test_without_the_list_of_atoms_lines_go_by_wavelength(model, settings, monkeypatch):
    monkeypatch.setattr("blase3d.views.dashboard.visible_lines.available", lambda: False)
    names = LineNames(model)
    assert not names.learn(settings, [11])
    shown_names = make_frame(CompiledModel(model), names, settings).names
    assert all(float(text) for text in shown_names)


# Observations.


def star_of(model, settings, continuum=1.0, noise=0.0, **more):
    wavelength = model.wavelength[100:-100:2]
    flux = continuum * seen(model, settings, wavelength)
    flux = flux + noise * np.random.default_rng(3).normal(size=flux.size)
    return Spectrum(wavelength, flux, **more)


def test_the_residual_of_the_model_itself_is_nothing(model, settings):
    star = star_of(model, settings)
    shown_star = show_star("star", replace(star, continuum=np.ones(len(star))), model)
    flux = np.asarray(model.flux(**settings.labels))
    left = star_curves(shown_star, model.wavelength, flux, settings)
    assert np.nanmax(np.abs(left.residual)) < 3e-4
    between = 0.5 * (model.wavelength[1:] + model.wavelength[:-1])
    exact = seen(model, settings, between)
    assert np.abs(interpolate_flux(between, model.wavelength, flux) - exact)[20:-20].max() < 1e-3


def test_a_spectrum_in_any_unit_is_brought_to_its_continuum(model, settings):
    star = star_of(model, settings, continuum=3e-14)
    assert np.quantile(show_star("star", star, model).flux, 0.9) == pytest.approx(1.0, abs=0.02)


def test_masked_pixels_orders_and_gaps_interrupt_the_curve(model, settings):
    star = star_of(model, settings)
    order = (np.arange(len(star)) > 600).astype(int)
    mask = (star.wavelength > 8495.0) & (star.wavelength < 8496.0)
    shown_star = show_star("star", replace(star, order=order, mask=mask), model)
    assert sum(order.gap_before.sum() for order in shown_star.orders) == 3
    assert not ((shown_star.wavelength > 8495.0) & (shown_star.wavelength < 8496.0)).any()


@pytest.mark.long
def test_a_fit_is_shown_by_its_continuum_and_orders(model, settings):
    star = star_of(model, settings, continuum=3e-14)
    star = replace(star, order=(np.arange(len(star)) > 600).astype(int), resolution=1e6)
    fixed = {"vsini": 0.0, "rv": 0.0}
    shown_star = with_fit(show_star("star", star, model), infer(star, model, fixed=fixed))
    assert [order.flux.size for order in shown_star.orders] == [601, len(star) - 601]
    expected = seen(model, settings, shown_star.wavelength)
    assert np.abs(shown_star.flux - expected).max() < 2e-3


def test_a_spectrum_elsewhere_is_refused(model):
    with pytest.raises(InputError, match="do not overlap"):
        show_star("star", Spectrum(np.arange(4000.0, 4100.0), np.ones(100)), model)


def test_files_to_take_away_are_read_back(model, settings, tmp_path):
    cut_settings = replace(settings, rv=5.0, resolution=4e4)
    path = tmp_path / "model.ecsv"
    path.write_text(model_ecsv(model, cut_settings))
    back = read_spectrum(path)
    assert back.wavelength[0] >= WINDOW[0]
    assert back.wavelength[-1] <= WINDOW[1]
    assert back.flux == pytest.approx(seen(model, cut_settings, back.wavelength), abs=1e-6)
    star = show_star("star", star_of(model, settings), model)
    path.write_text(star_ecsv(model, settings, star))
    assert len(read_spectrum(path)) == ((star.wavelength >= 8490) & (star.wavelength <= 8510)).sum()
    lines = find_visible(model, settings)
    text = lines_ecsv(model, settings, lines, LineNames(model), None)
    assert len([row for row in text.splitlines() if not row.startswith("#")]) == 1 + len(
        lines.index
    )


# The page, without a browser.


def test_a_page_is_made_and_refuses_impossible_requests(shop):
    document = Document()
    page = Page(document, shop)
    before = page.state
    page.controls.sliders["teff"].value = float("inf")
    assert page.state == before
    page.controls.sliders["teff"].value = 5300.0
    assert page.state.labels["teff"] == 5300.0
    named = {one.id: one.name for root in page.roots.values() for one in root.select({})}
    names = [name for name in named.values() if name]
    assert len(names) == len(set(names)) > 30


def test_what_is_foreign_is_escaped(model, settings):
    assert "<script>" not in message("<script>alert(1)</script>", "error")
    evil = replace(model, meta={"library": {"library": "<img src=x onerror=alert(1)>"}})
    assert "<img" not in model_summary(evil)
    lines = model.lines(**settings.labels)
    assert "8498.0" in line_html(lines, 11, model.recipe.composition, None, None, True)


def test_a_missing_extra_is_named(model, monkeypatch):
    monkeypatch.setattr(blase3d.views.dashboard, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"blase3d\[explore\]"):
        explore(model)
