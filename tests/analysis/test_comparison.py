"""Which library: the one that made the star is found, and what speaks against a choice is said."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from toy_models import model_of, true_params

from blase3d.analysis.comparison import _correlation_length, _edges, compare
from blase3d.errors import InputError
from blase3d.inference.result import Estimate
from blase3d.libraries.toy import WAVELENGTH, toy_grid
from blase3d.spectra.spectrum import Spectrum

pytestmark = pytest.mark.long

AXES = {"teff": (5000.0, 5500.0, 6000.0), "logg": (4.0, 4.5, 5.0), "feh": (-0.5, 0.0, 0.5)}
GRID = toy_grid(AXES)
TRUE = model_of(GRID)
WIDER = model_of(toy_grid(AXES | {"teff": (5000.0, 5500.0, 6000.0, 6500.0)}))
HELD = {"rv": 0.0, "vsini": 0.0, "resolution": float("inf")}
SETTINGS = {"fixed": HELD, "continuum_degree": 0}


def other_library():
    """Lines of half the metals grow the other way: widths and strengths that are nobody's."""
    params = true_params(GRID)
    rng = np.random.default_rng(1)
    params[:, :, 1] += rng.normal(0.0, 0.3, params.shape[1])
    return model_of(GRID, params)


OTHER = other_library()


def star(model=TRUE, snr=100.0, errors=True, **labels):
    flux = np.asarray(model.flux(**({"teff": 5600.0, "logg": 4.4, "feh": 0.1} | labels)), float)
    noise = np.random.default_rng(2).normal(0.0, 1.0 / snr, flux.size)
    error = np.full(flux.size, 1.0 / snr) if errors else None
    return Spectrum(WAVELENGTH, flux + noise, error=error)


@pytest.mark.parametrize("errors", [True, False])
@pytest.mark.parametrize(("made_by", "name"), [(TRUE, "true"), (OTHER, "other")])
def test_the_library_that_made_the_star_is_found(made_by, name, errors):
    found = compare(star(made_by, errors=errors), {"true": TRUE, "other": OTHER}, **SETTINGS)
    assert found.best.name == name
    assert found.best.odds > 0.99
    assert sum(c.odds for c in found.candidates) == pytest.approx(1.0)
    assert found.best.answer.labels["teff"].value == pytest.approx(5600.0, abs=60.0)
    assert found.chi2_red == pytest.approx(1.0, abs=0.15)
    assert found.warnings == ()


def test_equal_models_are_not_told_apart():
    found = compare(star(), {"a": TRUE, "b": replace(TRUE)}, **SETTINGS)
    assert found.best.odds == pytest.approx(0.5, abs=1e-6)
    assert "does not decide" in " ".join(found.warnings)


def test_an_edge_that_another_model_goes_beyond_is_named():
    hot = star(WIDER, teff=6300.0)
    found = compare(hot, {"narrow": TRUE, "wide": WIDER}, **SETTINGS)
    assert found.best.name == "wide"
    assert any("teff is on the edge of narrow" in w and "wide" in w for w in found.warnings)


def test_a_label_whose_error_reaches_an_edge_is_not_said_to_be_on_it():
    low, high = TRUE.bounds["teff"]
    answer = SimpleNamespace(labels={"teff": Estimate.normal(high - 50.0, 30.0)})
    candidate = SimpleNamespace(name="narrow", answer=answer)
    (warning,) = _edges(candidate, {"narrow": TRUE, "wide": WIDER})
    assert warning.startswith(f"teff is within 2 sigma of the edge of narrow ({low:g} to {high:g})")


def test_what_none_fits_is_said_to_be_so():
    strange = star()
    deep = np.where(np.sin(WAVELENGTH * 3.0) > 0.9, 0.4, 1.0)
    strange = replace(strange, flux=strange.flux * deep)
    found = compare(strange, {"true": TRUE, "other": OTHER}, robust=False, **SETTINGS)
    assert any("fits poorly" in warning for warning in found.warnings)


def test_only_what_all_cover_is_compared():
    part = model_of(GRID.cut(WAVELENGTH[500], WAVELENGTH[1500]))
    found = compare(star(), {"whole": TRUE, "part": part}, **SETTINGS)
    assert found.n_pixels <= 1001
    assert found.to_dict()["pixels"] == found.n_pixels


def test_libraries_of_other_labels_are_compared():
    richer = model_of(toy_grid(AXES | {"alpha": (0.0, 0.2, 0.4)}))
    found = compare(star(richer, alpha=0.3), {"three": TRUE, "four": richer}, **SETTINGS)
    assert found.best.name == "four"
    assert found.best.answer.labels["alpha"].value == pytest.approx(0.3, abs=0.05)
    labels = {each["model"]: tuple(each["labels"]) for each in found.to_dict()["models"]}
    assert labels == {"three": tuple(AXES), "four": (*AXES, "alpha")}


def test_too_few_models_and_no_overlap_are_refused():
    with pytest.raises(InputError, match="got 1 models"):
        compare(star(), {"a": TRUE})
    apart = [model_of(GRID.cut(WAVELENGTH[a], WAVELENGTH[b])) for a, b in ((0, 600), (900, 1500))]
    with pytest.raises(InputError, match=r"of all models \(a 8480–8492 Å, b 8498–8510 Å\)"):
        compare(star(), dict(zip("ab", apart, strict=True)))


def test_white_noise_is_not_correlated_and_smooth_noise_is():
    white = np.random.default_rng(0).normal(size=5000)
    assert _correlation_length(white) == pytest.approx(1.0, abs=0.3)
    smooth = np.convolve(white, np.ones(10), "valid")
    assert _correlation_length(smooth) == pytest.approx(10.0, rel=0.3)
    assert _correlation_length(np.zeros(9)) == 1.0
