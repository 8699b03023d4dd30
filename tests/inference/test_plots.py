"""Plots of an answer show its numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blase3d.errors import InputError
from blase3d.inference.plots import gaps, sections
from blase3d.inference.result import Estimate, Inference

WAVELENGTH = np.delete(np.arange(8500.0, 8520.0, 0.1), slice(90, 95))


def answer(**more):
    """An answer with a continuum of 5 and one outlier."""
    model = 1.0 - 0.5 * np.exp(-0.5 * ((WAVELENGTH - 8505.0) / 0.3) ** 2)
    flux = model + 0.01 * np.sin(37.0 * WAVELENGTH)
    weight = np.where(np.arange(WAVELENGTH.size) == 7, 0.3, 1.0)
    return Inference(
        labels={"teff": Estimate.normal(5700.0, 20.0)},
        nuisance={},
        fixed={},
        names=("teff",),
        covariance=np.eye(1),
        chi2_red=1.0,
        method="gradient",
        seconds=0.1,
        flags=(),
        n_pixels=WAVELENGTH.size,
        n_masked=0,
        wavelength=WAVELENGTH,
        flux=5.0 * flux,
        model=5.0 * model,
        error=np.full(WAVELENGTH.size, 0.05),
        weight=weight,
        continuum=np.full(WAVELENGTH.size, 5.0),
        **more,
    )


def test_spectrum_and_model_are_drawn_in_units_of_the_continuum():
    found = answer()
    upper, lower = found.plot().get_axes()
    data, model = (line.get_ydata() for line in upper.get_lines()[:2])
    for drawn, expected in ((data, found.flux), (model, found.model)):
        np.testing.assert_allclose(drawn[np.isfinite(drawn)], expected / 5.0)
    residual = lower.get_lines()[0].get_ydata()
    np.testing.assert_allclose(residual[np.isfinite(residual)], (found.flux - found.model) / 5.0)


def test_curves_are_interrupted_where_pixels_are_missing():
    (section,) = sections(answer())
    assert np.flatnonzero(section.gap_before).tolist() == [90]
    data = answer().plot().get_axes()[0].get_lines()[0].get_ydata()
    assert np.flatnonzero(np.isnan(data)).tolist() == [90]
    assert not gaps(WAVELENGTH[:2]).any()


def test_each_order_has_its_panels():
    order = np.where(WAVELENGTH < 8511.0, 12, 11)
    found = answer(order=order)
    axes = found.plot().get_axes()
    assert [panel.get_title() for panel in axes[::2]] == ["order 11", "order 12"]
    assert [section.wavelength.size for section in sections(found)] == [
        np.sum(order == 11),
        np.sum(order == 12),
    ]
    assert len(found.plot((8500.0, 8505.0)).get_axes()) == 2


def test_outliers_are_marked():
    (section,) = sections(answer())
    assert np.flatnonzero(section.outlier).tolist() == [7]


def test_an_answer_without_a_continuum_is_taken_as_normalised():
    (section,) = sections(replace(answer(), continuum=None))
    np.testing.assert_array_equal(section.flux, answer().flux)


def test_a_window_without_pixels_is_refused():
    with pytest.raises(InputError, match="holds pixels"):
        answer().plot((1.0, 2.0))
