"""The contract of inference methods, for every member and a new one."""

from __future__ import annotations

from dataclasses import dataclass, is_dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from toy_models import model_of

from blase3d.errors import InputError
from blase3d.inference import infer
from blase3d.inference.likelihood.likelihood import make_likelihood
from blase3d.inference.methods import (
    METHODS,
    Method,
    bayes_opt,
    least_squares,
    make_method,
    method_class,
)
from blase3d.inference.methods.method import Outcome
from blase3d.inference.problem import make_problem
from blase3d.inference.solution import Solution
from blase3d.libraries.toy import WAVELENGTH, toy_grid
from blase3d.runtime.precision import in_float32
from blase3d.spectra.spectrum import Spectrum

pytestmark = pytest.mark.x64

TRUTH = {"teff": 5730.0, "logg": 4.32, "feh": -0.13}
KNOWN = {"rv": 0.0, "vsini": 0.0, "resolution": np.inf, "logg": 4.32, "feh": -0.13}
OPTIONS = {"draws": 60, "chains": 2}
NEEDED = {"posterior": "blackjax", "gp": "skopt"}


@pytest.fixture(scope="module")
def model():
    return model_of(toy_grid().cut(8490.0, 8500.0))


@pytest.fixture(scope="module")
def star(model):
    pixels = WAVELENGTH[(WAVELENGTH > 8491.0) & (WAVELENGTH < 8499.0)]
    flux = np.asarray(model.flux(**TRUTH, wavelength=pixels), float)
    noise = np.random.default_rng(4).normal(0.0, 0.01, flux.size)
    return Spectrum(pixels, flux + noise, np.full(flux.size, 0.01))


@pytest.fixture(scope="module", params=METHODS)
@in_float32  # as in `infer`
def outcomes(request, model, star):
    """The same spectrum, twice by the same method."""
    pytest.importorskip(NEEDED.get(request.param, "numpy"))
    likelihood = make_likelihood(make_problem(star, model, fixed=KNOWN))
    method = make_method(request.param, OPTIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bayes_opt, "RANDOM", 12)
        patch.setattr(bayes_opt, "GUIDED", 1)
        return [method.solve(likelihood, seed=5) for _ in range(2)]


def test_the_solutions_are_ready_to_be_used(outcomes):
    best = outcomes[0].best
    assert best.theta.shape == best.at_bound.shape == (1,)
    assert best.chi2 == pytest.approx(best.fit.chi2)
    assert abs(best.theta[0] - TRUTH["teff"]) < 150.0
    assert isinstance(outcomes[0].converged, bool)


def test_draws_are_those_of_theta(outcomes):
    outcome = outcomes[0]
    if outcome.draws is None:
        assert not outcome.diagnostics
    else:
        assert outcome.draws.shape == (2, 60, 1)
        assert set(outcome.diagnostics["r_hat"]) == {"teff"}
        assert abs(np.median(outcome.draws) - outcome.best.theta[0]) < 150.0


def test_the_same_seed_gives_the_same_result(outcomes):
    first, second = outcomes
    np.testing.assert_array_equal(first.best.theta, second.best.theta)
    if first.draws is not None:
        np.testing.assert_array_equal(first.draws, second.draws)


@pytest.mark.parametrize("name", METHODS)
def test_options_are_fields_of_a_frozen_record(name):
    member = method_class(name)
    assert is_dataclass(member)
    assert member.__dataclass_params__.frozen
    assert member.__doc__


def test_names_are_those_of_the_registry():
    assert Method.__args__ == tuple(METHODS)


@dataclass(frozen=True)
class GridSearch:
    """The best of `points` equidistant values of the first free parameter."""

    points: int = 20

    def __post_init__(self):
        if self.points < 2:
            raise InputError(f"got {self.points} points, expected two or more; take more.")

    def solve(self, likelihood, seed):
        problem = likelihood.problem
        values = np.linspace(problem.lower[0], problem.upper[0], self.points)
        theta = min((np.array([value]) for value in values), key=likelihood.chi2)
        prediction = likelihood.predicted(theta)
        likelihood = likelihood.refined(prediction)
        fit = likelihood.fit(prediction)
        solution = Solution(theta, likelihood, fit, fit.chi2, np.array([False]), True)
        return Outcome([solution], converged=True)


def test_a_new_method_is_a_class_and_a_row(model, star, monkeypatch):
    monkeypatch.setitem(METHODS, "grid", f"{__name__}:GridSearch")
    answer = infer(star, model, fixed=KNOWN, method="grid", points=41)
    assert answer.method == "grid"
    assert answer.draws is None
    assert abs(answer.labels["teff"].value - TRUTH["teff"]) < 60.0
    with pytest.raises(InputError, match="two or more"):
        infer(star, model, fixed=KNOWN, method="grid", points=1)
    with pytest.raises(InputError, match="telluric, noise, points"):
        infer(star, model, fixed=KNOWN, method="grid", steps=3)
    with pytest.raises(InputError, match="got the option 'points'"):
        infer(star, model, fixed=KNOWN, points=41)


def test_the_lowest_minimum_with_the_estimated_errors_is_the_best(monkeypatch):
    """Of three, the second is the lowest then; the third is far too high to be searched."""
    chi2 = {0.0: 90.0, 10.0: 80.0, 20.0: 10.0}
    likelihood = SimpleNamespace(predicted=lambda theta: theta)

    def minimum(theta, chi2):
        return SimpleNamespace(theta=theta, chi2=chi2, likelihood=likelihood, scatter=1.0)

    def search(_, theta):
        return minimum(theta, chi2[float(theta[0])])

    monkeypatch.setattr(least_squares, "search", search)
    monkeypatch.setattr(least_squares, "refine", lambda one, _: search(None, one.theta))
    monkeypatch.setattr(least_squares, "misfit_covariance", lambda *_: np.eye(1))
    rough = [minimum(np.array([at]), value) for at, value in ((0.0, 100.0), (10.0, 110.0))]
    rough.append(minimum(np.array([20.0]), 200.0))
    found = least_squares._lowest_first(rough)
    assert [float(one.theta[0]) for one in found] == [10.0, 0.0, 20.0]
    assert found[0].chi2 == 80.0
    near = [rough[0], minimum(np.array([1.0]), 101.0)]
    assert least_squares._lowest_first(near)[0].chi2 == 90.0
