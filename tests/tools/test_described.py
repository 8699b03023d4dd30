"""The table of libraries, and the relation of microturbulence."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from synthesis.described import LIBRARIES, RVS, VIS, Part, microturbulence, steps


def test_steps_are_free_of_rounding_noise() -> None:
    assert steps(-2.5, 0.5, 0.5) == (-2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5)
    assert steps(0, 0.3, 0.1) == (0.0, 0.1, 0.2, 0.3)


def test_rvs_covers_its_window_with_margins_in_vacuum() -> None:
    from blase3d.runtime.units import air_to_vacuum

    wavelength = air_to_vacuum(RVS.air)
    assert RVS.pixels == 15001 == wavelength.size
    assert wavelength[0] < 8440 * (1 - 250 / 299792.458)
    assert wavelength[-1] > 8720 * (1 + 250 / 299792.458)


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES.keys())
def test_parts_are_nodes(library) -> None:
    nodes = set(library.nodes())
    assert len(nodes) == np.prod([len(axis) for axis in library.axes.values()])
    for part in library.parts:
        chosen = library.nodes(part)
        assert chosen
        assert set(chosen) <= nodes


def test_strides_thin_an_axis() -> None:
    part = Part("coarse", {"teff": (4000, 6500), "logg": (1, 5)}, {"teff": 2, "logg": 2})
    teff, logg, _, _ = (sorted(set(x)) for x in zip(*RVS.nodes(part), strict=True))
    assert teff == [4000, 4500, 5000, 5500, 6000, 6500]
    assert logg == [1, 2, 3, 4, 5]


def test_fingerprint_follows_what_changes_a_spectrum_alone() -> None:
    def changed(**settings) -> bool:
        return dataclasses.replace(RVS, **settings).fingerprint != RVS.fingerprint

    assert changed(step=0.04)
    assert changed(molecules=("12C14N",))
    assert not changed(axes=VIS.axes, parts=(), held_out=())


def test_microturbulence_of_known_stars() -> None:
    assert microturbulence(5771, 4.44, 0.0) == pytest.approx(1.07, abs=0.01)  # the Sun, dwarfs
    assert microturbulence(4286, 1.6, -0.5) == pytest.approx(1.50, abs=0.01)  # Arcturus, giants


def test_microturbulence_is_continuous() -> None:
    for teff in (3500, 5000, 7000, 8000):
        logg = np.linspace(0, 5, 501)
        values = np.array([microturbulence(teff, g, 0.0) for g in logg])
        assert np.abs(np.diff(values)).max() < 0.04
        assert values.min() > 0.5
    teff = np.linspace(3500, 8000, 451)
    for gravity in (1.0, 3.0, 4.5):
        values = np.array([microturbulence(t, gravity, 0.0) for t in teff])
        assert np.abs(np.diff(values)).max() < 0.02
