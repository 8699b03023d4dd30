"""The contract of line profiles and composition rules, of all members: value, derivatives, limits.

The members of the package, and those of this file: they are registered like any other.
"""

from __future__ import annotations

from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blase3d.lines.compositions import COMPOSITIONS
from blase3d.lines.lines import Lines
from blase3d.lines.profiles import PROFILES
from blase3d.lines.render import core, make_layout, reach, render
from blase3d.recipe import Composition, Profile

SHAPES = [(0.1, 1e-4), (0.1, 0.01), (0.1, 0.03), (0.1, 0.1), (0.1, 0.3), (0.01, 0.1), (1e-4, 0.1)]
"""sigma and gamma (Å) from all but Gaussian to all but Lorentzian."""
WAVELENGTH = np.arange(5000.0, 5004.0, 0.01)
REFERENCE = np.array([5001.2, 5001.5, 5003.0])
PARAMS = np.array([[0.01, -2.5, -2.5, -3.0], [0.0, -3.0, -2.0, -2.5], [0.0, -1.5, -3.0, -2.0]])
"""Two blended lines and a single one, none of which absorbs more than 1 − aV allows."""


class Lorentzian:
    """A profile without a Gaussian part: columns are area/π, gamma, and an unused zero."""

    def columns(self, ln_area, ln_sigma, ln_gamma):
        return jnp.exp(ln_area) / jnp.pi, jnp.exp(ln_gamma), jnp.zeros_like(ln_sigma)

    def full(self, x, strength, gamma, unused):
        return strength * gamma / (x**2 + gamma**2)

    wing = full

    def fwhm(self, ln_sigma, ln_gamma):
        return 2.0 * jnp.exp(ln_gamma)

    def reach(self, area, ln_sigma, ln_gamma, tolerance):
        return np.sqrt(area * np.exp(np.asarray(ln_gamma, np.float64)) / np.pi / tolerance)

    def core(self, area, ln_sigma, ln_gamma, tolerance):
        return np.zeros_like(area)


class Saturated:
    """Lines whose depth never exceeds one half, y/(1 + 2y), composed as exp(−depth)."""

    def depth(self, absorbed):
        return absorbed / (1.0 + 2.0 * absorbed)

    def flux(self, depth):
        return jnp.exp(-depth)


FORMS = ("full", "wing")
MEMBERS = {**PROFILES, "lorentzian": Lorentzian()}
RULES = {**COMPOSITIONS, "saturated": Saturated()}


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    """The members of this file, registered: all that a new one needs."""
    monkeypatch.setitem(PROFILES, "lorentzian", MEMBERS["lorentzian"])
    monkeypatch.setitem(COMPOSITIONS, "saturated", RULES["saturated"])


profiles = pytest.mark.parametrize("name", MEMBERS)
rules = pytest.mark.parametrize("rule", RULES)
shapes = pytest.mark.parametrize(("sigma", "gamma"), SHAPES)
double = pytest.mark.usefixtures("double")


def profile(name, x, sigma, gamma):
    return np.asarray(_profile(name, x, sigma, gamma))


@partial(jax.jit, static_argnames=("name", "form"))
def _profile(name, x, sigma, gamma, form="full"):
    member = MEMBERS[name]
    columns = member.columns(jnp.zeros_like(sigma), jnp.log(sigma), jnp.log(gamma))
    return getattr(member, form)(x, *columns)


def test_recipes_name_the_members_of_the_package():
    assert set(get_args(Profile)) == set(MEMBERS) - {"lorentzian"}
    assert set(get_args(Composition)) == set(RULES) - {"saturated"}


@profiles
@shapes
@double
def test_a_profile_has_unit_area(name, sigma, gamma):
    # x = w tan θ takes the infinite wings to a finite interval, on which the rule of rectangles
    # converges fast
    theta = (np.arange(20000) + 0.5) / 20000 * np.pi - np.pi / 2
    scale = sigma + gamma
    values = profile(name, scale * np.tan(theta), sigma, gamma) * scale / np.cos(theta) ** 2
    assert values.mean() * np.pi == pytest.approx(1.0, abs=1e-6)


@profiles
@shapes
@double
def test_a_profile_falls_to_half_at_its_half_width(name, sigma, gamma):
    width = float(MEMBERS[name].fwhm(jnp.log(sigma), jnp.log(gamma)))
    peak, half = profile(name, np.array([0.0, width / 2]), sigma, gamma)
    assert half == pytest.approx(peak / 2, rel=1e-9)


@profiles
@shapes
@double
def test_derivatives_of_a_profile_in_forward_and_reverse(name, sigma, gamma):
    x, h = jnp.linspace(-1, 1, 41), 1e-6

    def at(params):
        center, ln_area, ln_sigma, ln_gamma = params
        member = MEMBERS[name]
        return member.full(x - center, *member.columns(ln_area, ln_sigma, ln_gamma))

    params = jnp.array([0.0, 0.0, np.log(sigma), np.log(gamma)])
    forward, reverse = jax.jacfwd(at)(params), jax.jacrev(at)(params)
    np.testing.assert_allclose(forward, reverse, rtol=1e-10, atol=1e-12)
    for k, step in enumerate(h * np.array([sigma + gamma, 1.0, 1.0, 1.0])):
        moved = step * jnp.eye(4)[k]
        difference = (at(params + moved) - at(params - moved)) / (2 * step)
        np.testing.assert_allclose(forward[:, k], difference, atol=1e-8 * np.abs(forward).max())


@profiles
@shapes
@pytest.mark.parametrize("area", [1e-3, 0.1, 10.0])
def test_beyond_its_reach_a_line_absorbs_less_than_the_tolerance(name, sigma, gamma, area):
    params = np.array([[0.0, np.log(area), np.log(sigma), np.log(gamma)]])
    far = reach(params, 1e-4, name)[0]
    assert area * profile(name, far, sigma, gamma) <= 1e-4 * (1 + 1e-4)
    assert reach([[0.0, -200.0, 0.0, 0.0]], 1e-4, name)[0] < 1e-10


@profiles
@shapes
@pytest.mark.parametrize("area", [1e-3, 0.1, 10.0])
@double
def test_beyond_its_core_a_line_is_its_wing_to_a_tenth_of_the_tolerance(name, sigma, gamma, area):
    params = np.array([[0.0, np.log(area), np.log(sigma), np.log(gamma)]])
    near = core(params, 1e-3, name)[0]
    x = np.linspace(near, near + 10 * (sigma + gamma), 100)
    whole, wing = (area * np.asarray(_profile(name, x, sigma, gamma, form)) for form in FORMS)
    assert np.abs(whole - wing).max() <= 1e-4 * (1 + 1e-2)  # 1 − η has the rounding of float32
    if 1e-6 < near < np.inf:
        inside = 0.9 * near
        whole, wing = (area * float(_profile(name, inside, sigma, gamma, form)) for form in FORMS)
        assert abs(whole - wing) > 1e-4


@profiles
def test_lines_have_the_width_and_depth_of_their_profile(name):
    lines = Lines(REFERENCE, PARAMS, name)
    peak = [profile(name, 0.0, *np.exp(line[2:])) for line in PARAMS]
    expected = 1.0 - np.exp(-np.exp(PARAMS[:, 1]) * peak)
    np.testing.assert_allclose(lines.central_depth("sum"), expected, rtol=1e-4)
    halves = lines.center + 0.5 * lines.fwhm
    halved = 1.0 - np.exp(-np.exp(PARAMS[:, 1]) * np.array(peak) / 2)
    alone = lines.alone(halves[:, None], "sum")[:, 0]
    np.testing.assert_allclose(1.0 - alone, halved, rtol=1e-3)


@rules
def test_a_rule_transmits_all_without_lines_and_less_with_them(rule):
    absorbed = jnp.linspace(0.0, 0.9, 10)
    depth = RULES[rule].depth(absorbed)
    flux = np.asarray(RULES[rule].flux(depth))
    assert flux[0] == 1.0
    assert (np.diff(flux) < 0).all()
    assert (flux > 0).all()
    np.testing.assert_allclose(RULES[rule].flux(1e-4 * depth), 1.0 - 1e-4 * depth, atol=2e-7)


@rules
@double
def test_the_slope_of_a_rule(rule):
    absorbed, h = jnp.linspace(0.01, 0.9, 10), 1e-6
    slope = jax.vmap(jax.grad(RULES[rule].depth))(absorbed)
    up, down = (RULES[rule].depth(absorbed + sign * h) for sign in (1, -1))
    np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-8)


@profiles
@rules
def test_lines_that_stand_alone_render_as_alone(name, rule):
    lines = Lines(REFERENCE[2:], PARAMS[2:], name)
    layout = make_layout(WAVELENGTH, lines.reference, reach(lines.params, 1e-7, name), name)
    flux = np.asarray(render(jnp.asarray(lines.params), layout, rule))
    np.testing.assert_allclose(flux, lines.alone(WAVELENGTH, rule)[0], atol=2e-6)


@pytest.mark.long
@profiles
@rules
def test_derivatives_of_the_flux_in_both_directions(name, rule):
    layout = make_layout(WAVELENGTH, REFERENCE, reach(PARAMS, 1e-7, name), name)
    flux = jax.jit(partial(render, layout=layout, composition=rule))
    rng = np.random.default_rng(0)
    params, step = jnp.asarray(PARAMS, jnp.float32), 2e-3
    direction = jnp.asarray(rng.normal(size=PARAMS.shape) * [0.01, 1, 1, 1], jnp.float32)
    _, forward = jax.jvp(flux, (params,), (direction,))
    difference = (flux(params + step * direction) - flux(params - step * direction)) / (2 * step)
    np.testing.assert_allclose(forward, difference, atol=5e-4)
    assert np.abs(forward).max() > 0.05
    weight = jnp.asarray(rng.normal(size=WAVELENGTH.size), jnp.float32)
    (reverse,) = jax.vjp(flux, params)[1](weight)
    assert float(jnp.vdot(reverse, direction)) == pytest.approx(
        float(jnp.vdot(forward, weight)), rel=1e-3
    )
