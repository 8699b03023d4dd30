"""Cuts of a model have its flux at lower cost, also where they are first made in jit."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import make_interp_spline

from blase3d.errors import LabelError
from blase3d.libraries.packaged import LIBRARY, packaged_grid
from blase3d.model.evaluate import (
    PcaResidual,
    between_pixels,
    flux_of_opacity_root,
    opacity_root,
)
from blase3d.model.line_grid import LineGrid
from blase3d.model.model import Model
from blase3d.recipe import DEFAULT
from blase3d.runtime.units import SPEED_OF_LIGHT

WAVELENGTH = np.linspace(8000.0, 8400.0, 20_000)
AXES = {"teff": np.array([5000.0, 5500.0, 6000.0]), "feh": np.array([-0.5, 0.0])}
LABELS = {"teff": 5620.0, "feh": -0.2}
NONE = np.empty((0, 0), np.float32)


@pytest.fixture(scope="module")
def model():
    """200 lines whose strengths follow Teff and [Fe/H], without a residual."""
    rng = np.random.default_rng(1)
    reference = np.sort(rng.uniform(8000.0, 8400.0, 200))
    base = np.tile(np.float32([0.0, np.log(0.05), np.log(0.06), np.log(0.03)]), (200, 1))
    area = rng.normal(0.0, 0.3, (4, 200)).astype(np.float32)
    shape = np.zeros((1, 200, 3), np.float32)
    return Model(WAVELENGTH, AXES, LineGrid(reference, base, area, shape), DEFAULT)


def test_a_cut_has_fewer_pixels_and_lines(model):
    part = model.part(8100.0, 8120.0)
    assert part.wavelength.size < 0.3 * WAVELENGTH.size
    assert len(part.reference) < 0.4 * len(model.reference)
    assert part.wavelength[0] < 8100.0
    assert part.wavelength[-1] > 8120.0


def test_a_cut_has_the_flux_of_the_model(model):
    part = model.part(8100.0, 8120.0)
    first = np.searchsorted(WAVELENGTH, part.wavelength[0])
    whole = model.flux(**LABELS)[first : first + part.wavelength.size]
    np.testing.assert_allclose(part.flux(**LABELS), whole, atol=5e-5)


def test_a_cut_of_everything_is_the_model(model):
    assert model.part(8000.0, 8400.0) is model
    assert model.part(7000.0, 9000.0) is model


def test_equal_cuts_are_kept(model):
    assert model.part(8100.0, 8120.0) is model.part(8100.01, 8119.99)


def test_a_cut_includes_shifted_light(model):
    velocity = 500.0
    part = model.part(8200.0, 8210.0, velocity)
    assert part.wavelength[0] <= 8200.0 / (1.0 + velocity / SPEED_OF_LIGHT)
    assert part.wavelength[-1] >= 8210.0 * (1.0 + velocity / SPEED_OF_LIGHT)


def test_the_flux_at_given_wavelengths_is_that_of_the_model(model):
    wavelength = np.linspace(8150.0, 8160.0, 333)
    seen = model.flux(**LABELS, rv=120.0, vsini=8.0, resolution=40_000.0, wavelength=wavelength)
    everywhere = np.linspace(8010.0, 8390.0, 20_001)
    whole = model.flux(**LABELS, rv=120.0, vsini=8.0, resolution=40_000.0, wavelength=everywhere)
    np.testing.assert_allclose(seen, np.interp(wavelength, everywhere, whole), atol=2e-3)


@pytest.mark.parametrize("rv", [0.0, 0.4, -23.4, 310.0])
def test_a_star_that_only_moves_has_the_flux_of_the_model(model, rv):
    """Observed at its own pixels, shifted as it is, nothing is interpolated; nor under jit."""
    wavelength = WAVELENGTH * (1.0 + rv / SPEED_OF_LIGHT)
    truth = model.flux(**LABELS)
    eager = model.flux(**LABELS, rv=rv, wavelength=wavelength)
    compiled = jax.jit(lambda rv: model.flux(**LABELS, rv=rv, wavelength=wavelength))(rv)
    np.testing.assert_allclose(eager, truth, atol=1e-5)
    np.testing.assert_allclose(compiled, truth, atol=1e-5)


@pytest.mark.parametrize("rv", [0.7, -23.4, 310.0])
def test_a_shifted_star_is_the_model_at_shifted_wavelengths(model, rv):
    """The lines are rendered at the wavelengths of the light before it was shifted.

    Compiled, positions may differ by a step of float32 at so many pixels.
    """
    truth = replace(model, wavelength=WAVELENGTH / (1.0 + rv / SPEED_OF_LIGHT), error_modes=NONE)
    truth = np.asarray(truth.flux(**LABELS))
    eager = np.asarray(model.flux(**LABELS, rv=rv))
    compiled = np.asarray(jax.jit(lambda rv: model.flux(**LABELS, rv=rv))(rv))
    inner = slice(500, -500)
    assert np.abs((eager - truth)[inner]).max() < 3e-5
    step = np.spacing(np.float32(rv / model.forward.velocity_step))
    steepest = np.abs(np.diff(truth)).max()
    np.testing.assert_allclose(compiled, eager, atol=1e-6 + abs(step) * steepest)


def test_a_native_spectrum_shifts_as_by_a_dense_reference(model):
    """A node of the packaged library, half-way between its pixels, against a spline of degree 11.

    In flux instead of the root of its opacity, the reference itself differs by 5e-5.
    """
    node = packaged_grid(LIBRARY)[22]
    flux = (node.flux / node.continuum)[2000:8000]
    pixel = np.arange(flux.size, dtype=float)
    root = np.asarray(opacity_root(jnp.asarray(flux, jnp.float32)), float)
    reference = make_interp_spline(pixel, root, k=11)(pixel[:-1] + 0.5)
    truth = np.asarray(flux_of_opacity_root(jnp.asarray(reference)))
    given = jnp.asarray(flux, jnp.float32), jnp.asarray(pixel[:-1] + 0.5, jnp.float32)
    found = np.asarray(between_pixels(model.forward, *given, jnp.int32(0)))
    inner = slice(50, -50)
    assert np.sqrt(np.mean((found - truth)[inner] ** 2)) < 3e-5
    assert np.abs(found - truth)[inner].max() < 8e-4


def test_more_absorption_than_light_in_a_core_has_finite_slopes(model):
    """A negative dilution is larger than the flux in the cores, which the instrument then fills."""
    core = float(np.min(model.flux(**LABELS)))
    seen = {"resolution": 2e4, "dilution": 1e-6 - core / (1.0 - core)}

    def flux(teff, dilution):
        return model.flux(**{**LABELS, **seen, "teff": teff, "dilution": dilution})

    at = (LABELS["teff"], seen["dilution"])
    by_teff, by_dilution = jax.jacfwd(flux, argnums=(0, 1))(*at)
    undiluted = model.flux(**LABELS, resolution=2e4)
    np.testing.assert_allclose(by_dilution, 1.0 - undiluted, atol=1e-5)
    of_lines = jax.jacfwd(flux)(LABELS["teff"], 0.0)
    np.testing.assert_allclose(by_teff, (1.0 - at[1]) * of_lines, atol=1e-3 * np.ptp(of_lines))


@pytest.mark.usefixtures("double")
def test_a_model_is_in_float32_whatever_is_set(model):
    other = replace(model)
    assert other.forward.interpolation.lower.dtype == np.float32
    assert jax.config.jax_enable_x64
    traced = jax.jit(lambda at: other.flux(**LABELS, rv=3.0, wavelength=at))(WAVELENGTH)
    np.testing.assert_allclose(traced, other.flux(**LABELS, rv=3.0), atol=1e-6)
    assert traced.dtype == np.float32
    values = {**LABELS, "rv": 3.0, "vsini": 5.0, "vmac": 2.0, "resolution": 2e4, "dilution": 0.1}
    seen = jax.jit(lambda values: other.flux(**values))(values)
    assert seen.dtype == other.flux(**values).dtype == other.flux(**LABELS).dtype == np.float32


def test_traced_wavelengths_are_as_exact_as_float32(model):
    wavelength = WAVELENGTH[500:900].astype(np.float32).astype(float)
    eager = model.flux(**LABELS, rv=3.0, wavelength=wavelength)
    traced = jax.jit(lambda at: model.flux(**LABELS, rv=3.0, wavelength=at))(wavelength)
    np.testing.assert_allclose(traced, eager, atol=3e-4)


def test_a_traced_label_beyond_the_library_gives_nan(model):
    flux = jax.jit(lambda teff: model.flux(teff=teff, feh=-0.2, rv=1.0))
    assert np.isnan(flux(4999.0)).all()
    assert np.isnan(flux(6001.0)).all()
    assert np.isfinite(flux(5000.0)).all()
    np.testing.assert_allclose(flux(6000.0), model.flux(teff=6000.0, feh=-0.2, rv=1.0), atol=1e-6)
    rows = jax.vmap(lambda teff: model.flux(teff=teff, feh=-0.2))(np.array([5620.0, 7000.0]))
    np.testing.assert_allclose(rows[0], model.flux(**LABELS), atol=1e-6)
    assert np.isnan(rows[1]).all()
    slope = jax.jit(jax.grad(lambda teff: model.flux(teff=teff, feh=-0.2).sum()))
    assert np.isfinite(slope(5620.0))
    with pytest.raises(LabelError, match="outside the library"):
        model.flux(teff=4999.0, feh=-0.2)


def test_arguments_that_are_arrays_are_checked_inside_jit_too(model):
    known = {name: jnp.float32(value) for name, value in LABELS.items()}
    broad = {"vsini": jnp.float32(3.0), "resolution": jnp.float32(2e4)}
    flux = jax.jit(lambda rv: model.flux(**known, **broad, rv=rv))(1.0)
    np.testing.assert_allclose(flux, model.flux(**LABELS, **broad, rv=1.0), atol=1e-5)


def test_a_cut_first_made_inside_jit_stays_usable(model):
    wavelength = np.linspace(8300.0, 8310.0, 100)

    @jax.jit
    def total(teff):
        return model.flux(teff=teff, feh=0.0, rv=3.0, wavelength=wavelength).sum()

    inside = total(5500.0)
    slope = jax.grad(total)(5500.0)
    outside = model.flux(teff=5500.0, feh=0.0, rv=3.0, wavelength=wavelength).sum()
    np.testing.assert_allclose(inside, outside, rtol=1e-5)
    step = 2.0
    difference = (total(5500.0 + step) - total(5500.0 - step)) / (2 * step)
    np.testing.assert_allclose(slope, difference, rtol=0.02)


def test_coarse_cuts_are_halves_of_halves_that_overlap(model, monkeypatch):
    monkeypatch.setattr("blase3d.model.model._COARSEST", 2048)
    ranges = [(8000.0 + 4.0 * k, 8003.0 + 4.0 * k) for k in range(99)]
    cuts = {model.part(*ends, coarse=True) for ends in ranges}
    assert len(cuts) <= 2 * WAVELENGTH.size / 1250
    for low, high in ranges:
        cut = model.part(low, high, coarse=True)
        assert cut.wavelength[0] <= low
        assert cut.wavelength[-1] >= high
        assert cut.wavelength.size <= 1250
    assert model.part(8000.0, 8390.0, coarse=True) is model


def test_lines_are_replaced_on_the_same_layout_or_a_new_one(model):
    lines = replace(model.line_grid, base=model.line_grid.base + np.float32([0, 0.1, 0, 0]))
    same, new = model.with_lines(lines), replace(model, line_grid=lines)
    assert same.forward.layout is model.forward.layout
    np.testing.assert_allclose(same.flux(**LABELS), new.flux(**LABELS), atol=5e-5)
    assert np.abs(np.asarray(same.flux(**LABELS) - model.flux(**LABELS))).max() > 1e-3


def test_former_names_are_there_with_a_warning(model):
    with pytest.warns(DeprecationWarning, match="forward"):
        assert model.emulator is model.forward
    with pytest.warns(DeprecationWarning, match="log_pixels"):
        assert model.places == model.log_pixels


def test_labels_next_to_a_hole_are_recognised(model):
    holed = replace(model, meta={"holes": [[5500.0, 0.0]]})
    assert holed.near_hole(teff=5600.0, feh=-0.1)
    assert holed.near_hole(teff=5400.0, feh=-0.4)
    assert holed.near_hole(teff=5500.0, feh=0.0)
    assert not holed.near_hole(teff=5500.0, feh=-0.5)  # a node that is there
    assert not holed.near_hole(teff=6000.0, feh=-0.2)
    assert not model.near_hole(teff=5600.0, feh=-0.1)


def test_the_residual_is_added_to_the_smoothest_functions_alone():
    """Lines by themselves follow all functions; with a residual, of nothing, only the first."""
    rng = np.random.default_rng(2)
    axes = {"teff": np.linspace(5000.0, 6500.0, 6), "feh": AXES["feh"]}
    surface = LineGrid(
        np.array([8100.0, 8200.0]),
        np.tile(np.float32([0.0, np.log(0.05), np.log(0.06), np.log(0.03)]), (2, 1)),
        rng.normal(0.0, 0.5, (8, 2)).astype(np.float32),
        np.zeros((1, 2, 3), np.float32),
    )
    pixels = WAVELENGTH.size
    nothing = PcaResidual(np.zeros((12, 1)), np.zeros((1, pixels)), np.ones(pixels))
    recipe = DEFAULT.replace(functions_with_residual=3)
    both = Model(WAVELENGTH, axes, surface, recipe, residual=nothing)
    few = Model(WAVELENGTH, axes, surface.smoothed(3), recipe)
    every = Model(WAVELENGTH, axes, surface, recipe)
    labels = {"teff": 5410.0, "feh": -0.2}
    np.testing.assert_allclose(both.flux(**labels), few.flux(**labels), atol=2e-5)  # of wings
    alone = both.flux(**labels, residual=False)
    np.testing.assert_allclose(alone, every.flux(**labels), atol=2e-5)
    assert np.abs(np.asarray(few.flux(**labels) - alone)).max() > 1e-3
    part = both.part(8095.0, 8105.0)
    assert part.wavelength.size < pixels
    assert part.forward.smooth_count == both.forward.smooth_count == 3


# --- as an argument of compiled functions ------------------------------------------------------


def test_two_models_share_a_compiled_function(model):
    first = model.part(8100.0, 8120.0)
    base = first.line_grid.base + np.array([0.0, 0.3, 0.0, 0.0], np.float32)
    second = first.with_lines(replace(first.line_grid, base=base))
    wavelength = first.wavelength[50:-50]
    compiled = []

    @jax.jit
    def flux(model, teff):
        compiled.append(model)
        return model.flux(teff=teff, feh=-0.2, rv=3.0, wavelength=wavelength)

    found = [np.asarray(flux(one, LABELS["teff"])) for one in (first, second)]
    assert len(compiled) == 1
    for one, values in zip((first, second), found, strict=True):
        expected = one.flux(**LABELS, rv=3.0, wavelength=wavelength)
        np.testing.assert_allclose(values, expected, atol=2e-6)
    assert np.abs(found[0] - found[1]).max() > 0.01
    assert np.isnan(flux(first, 9000.0)).all()
    with pytest.raises(AttributeError, match="line_grid"):
        _ = compiled[0].line_grid


def test_a_model_is_a_tree_of_arrays(model):
    assert jax.tree.map(lambda array: array, model) is model
    doubled = jax.tree.map(lambda array: 2 * array, model)
    np.testing.assert_allclose(doubled.forward.base, 2 * model.forward.base)
    assert doubled.bounds == model.bounds
    other = replace(model, axes={**model.axes, "feh": np.array([-0.5, 0.1])})
    assert jax.tree.structure(other) != jax.tree.structure(model)
