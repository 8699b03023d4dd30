"""Bad input: one clear sentence, or an answer with a flag; never a traceback, never a confident
wrong answer."""

from __future__ import annotations

import numpy as np
import pytest
from toy_models import model_of

from blase3d.errors import SpectrumError
from blase3d.inference import infer
from blase3d.libraries.toy import WAVELENGTH, toy_flux, toy_grid
from blase3d.recipe import PAPER
from blase3d.spectra.spectrum import Spectrum

TRUTH = {"teff": 5730.0, "logg": 4.32, "feh": -0.13}
FLUX = toy_flux((5730.0, 4.32, -0.13), WAVELENGTH)
ERROR = np.full(WAVELENGTH.size, 0.01)
NOISE = 0.01 * np.random.default_rng(8).normal(size=WAVELENGTH.size)
KNOWN = {"resolution": np.inf}


@pytest.fixture(scope="module")
def model():
    """The true lines at the nodes, and nothing else."""
    recipe = PAPER.replace(interpolation="spline", composition="sum")
    return model_of(toy_grid(), recipe=recipe, meta={"library": "toy"})


def changed(values, where, to):
    """A copy with some values replaced."""
    copy = values.copy()
    copy[where] = to
    return copy


GOOD = {"wavelength": WAVELENGTH, "flux": FLUX + NOISE, "error": ERROR}
MENDED = {
    "NaN in the flux": {"flux": changed(FLUX + NOISE, slice(100, 160), np.nan)},
    "infinite flux": {"flux": changed(FLUX + NOISE, slice(100, 160), np.inf)},
    "errors of zero": {"error": changed(ERROR, slice(100, 160), 0.0)},
    "negative errors": {"error": changed(ERROR, slice(100, 160), -0.01)},
    "NaN in the errors": {"error": changed(ERROR, slice(100, 160), np.nan)},
    "masked rubbish": {
        "flux": changed(FLUX + NOISE, slice(100, 160), 1e300),
        "mask": changed(np.zeros(WAVELENGTH.size, bool), slice(100, 160), True),
    },
}
REFUSED = {
    "all NaN": ({"flux": np.full_like(FLUX, np.nan)}, "all 2001 pixels"),
    "all masked": ({"mask": np.ones(FLUX.size, bool)}, "all 2001 pixels"),
    "all errors negative": ({"error": -ERROR}, "all 2001 pixels"),
    "unsorted": ({"wavelength": WAVELENGTH[::-1]}, "sort by wavelength"),
    "duplicates": ({"wavelength": changed(WAVELENGTH, 5, WAVELENGTH[4])}, "remove duplicates"),
    "in nm": ({"wavelength": WAVELENGTH / 10}, "do not overlap"),
    "in µm": ({"wavelength": WAVELENGTH / 1e4}, "do not overlap"),
    "zeros": ({"flux": np.zeros_like(FLUX)}, "flux is zero"),
    "flux beyond any unit": (
        {"flux": 1e40 * FLUX, "error": 1e40 * ERROR},
        "1e-100 to 1e\\+30; multiply flux and errors",
    ),
    "flux whose square is zero": (
        {"flux": 1e-300 * FLUX, "error": 1e-300 * ERROR},
        "1e-100 to 1e\\+30; multiply flux and errors",
    ),
    "few pixels left": ({"mask": np.arange(FLUX.size) > 15}, "only 16 usable pixels"),
}
DOUBTED = {
    "pure noise": {"flux": NOISE},
    "noise on a continuum": {"flux": 1.0 + NOISE},
    "emission": {"flux": 2.0 - FLUX + NOISE},
    "strong emission": {"flux": 1.0 + 30.0 * (1.0 - FLUX) + NOISE},
    "below zero": {"flux": -FLUX + NOISE},
    "a galaxy": {
        "flux": 1.0
        - 0.3 * np.exp(-0.5 * ((WAVELENGTH - 8493.0) / 6.0) ** 2)
        - 0.2 * np.exp(-0.5 * ((WAVELENGTH - 8509.0) / 5.0) ** 2)
        + NOISE
    },
    "another star's lines": {"flux": FLUX[::-1] + NOISE},
}


@pytest.mark.parametrize("case", MENDED)
def test_pixels_that_cannot_be_used_are_masked_and_counted(model, case):
    answer = infer(Spectrum(**{**GOOD, **MENDED[case]}), model, fixed=KNOWN)
    assert answer.n_masked == 60
    for name, found in answer.labels.items():
        assert abs(found.value - TRUTH[name]) < 4 * found.sigma


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_sentence(model, case):
    changes, message = REFUSED[case]
    with pytest.raises(SpectrumError.__mro__[1], match=message):
        infer(Spectrum(**{**GOOD, **changes}), model, fixed=KNOWN)


def test_a_stated_resolution_below_that_of_any_fit_is_refused_not_replaced(model):
    star = Spectrum(**GOOD, resolution=100.0)
    with pytest.raises(SpectrumError, match="states the resolution 100, expected 500 or more"):
        infer(star, model)
    assert infer(star, model, fixed=KNOWN).nuisance.keys() == {"rv", "vsini"}


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("case", DOUBTED)
def test_what_is_no_such_star_is_flagged(model, case, stated):
    columns = {**GOOD, **DOUBTED[case]}
    answer = infer(Spectrum(**{**columns, "error": ERROR if stated else None}), model, fixed=KNOWN)
    assert set(answer.labels) == set(TRUTH)
    doubts = ["no lines", "poor fit", "not converged"]
    if case == "a galaxy":  # two wide bands are within what rotation can do
        doubts = ["star beyond the library"]
    assert any(flag.startswith(tuple(doubts)) for flag in answer.flags), answer.flags


def test_a_good_spectrum_has_no_flag(model):
    for error in (ERROR, None):
        answer = infer(Spectrum(**{**GOOD, "error": error}), model, fixed={**KNOWN, "vsini": 0.0})
        assert answer.flags == ()


def test_faint_lines_are_not_taken_for_none(model):
    """A hot, metal-poor star at low signal to noise has lines, and is not flagged."""
    labels = (6450.0, 4.5, -0.45)
    rng = np.random.default_rng(1)
    flux = toy_flux(labels, WAVELENGTH) + 0.03 * rng.normal(size=WAVELENGTH.size)
    answer = infer(Spectrum(WAVELENGTH, flux, 3 * ERROR), model, fixed=KNOWN)
    assert not any(flag.startswith("no lines") for flag in answer.flags)


@pytest.mark.long
def test_two_solutions_are_flagged(model):
    """In a single line, a cool metal-poor and a hot metal-rich star differ little."""
    part = (WAVELENGTH > 8505.0) & (WAVELENGTH < 8507.5)
    spectrum = Spectrum(WAVELENGTH[part], (FLUX + NOISE)[part], ERROR[part])
    answer = infer(spectrum, model, fixed={**KNOWN, "vsini": 0.0, "rv": 0.0})
    doubts = ("another solution", "teff is not", "logg is not", "teff at", "logg at", "feh at")
    assert any(flag.startswith(doubts) for flag in answer.flags), answer.flags


def test_an_unresolved_rotation_has_a_finite_error(model):
    """At zero the flux does not depend on the rotation, but on its square."""
    answer = infer(Spectrum(**GOOD), model, fixed={**KNOWN, "resolution": 2e4})
    found = answer.nuisance["vsini"]
    assert not found.sigma > 30.0
