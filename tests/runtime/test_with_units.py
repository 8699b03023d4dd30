"""Parameters with units are converted to those of the table of parameters, or refused."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from astropy import units as u

from blase3d.errors import InputError
from blase3d.inference.prior import Prior, fixed_value, prior_on
from blase3d.runtime.executor import run
from blase3d.runtime.with_units import in_difference_unit, in_parameter_unit

LOGG = u.Unit("dex(cm/s2)")


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("teff", 5800 * u.K, 5800.0),
        ("teff", 5500 * u.deg_C, 5773.15),
        ("logg", 4.44 * u.dex, 4.44),
        ("logg", u.Dex(4.44, LOGG), 4.44),
        ("logg", 274 * u.m / u.s**2, np.log10(27400)),
        ("feh", -0.1 * u.dex, -0.1),
        ("rv", 5000 * u.m / u.s, 5.0),
        ("resolution", 5e4 * u.one, 5e4),
        ("c_to_o", 0.5 * u.one, 0.5),
        ("teff", 5800, 5800),
    ],
)
def test_values_are_converted(name, given, expected):
    assert in_parameter_unit(name, given) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "given"),
    [("teff", 1 * u.km), ("logg", 4 * u.one), ("rv", 1 * u.AA), ("feh", 1 * u.K)],
)
def test_other_units_are_refused_by_name(name, given):
    with pytest.raises(InputError, match=f"got {name} in .*, expected .*; convert it."):
        in_parameter_unit(name, given)


def test_a_difference_has_no_zero_point():
    assert in_difference_unit("teff", 50 * u.K) == 50.0
    assert in_difference_unit("logg", 0.1 * u.dex) == 0.1
    with pytest.raises(InputError, match="got the sigma of teff in deg_C"):
        in_difference_unit("teff", 50 * u.deg_C)


def test_priors_have_units_or_are_pairs():
    assert prior_on("teff", (5000, 6000)) == Prior(5000.0, 6000.0)
    assert prior_on("rv", [-1, 1] * u.m / u.s) == Prior(-1e-3, 1e-3)
    normal = Prior(-np.inf, np.inf, 5800 * u.K, 50 * u.K)
    assert prior_on("teff", normal) == Prior(-np.inf, np.inf, 5800.0, 50.0)
    assert fixed_value("vsini", 2000 * u.m / u.s) == 2.0


@pytest.mark.parametrize("given", ["5000:6000", 5, (1, 2, 3), (None, 5000), ("a", "b")])
def test_what_is_no_prior_is_refused(given):
    with pytest.raises(InputError, match=r"expected Prior\(...\) or \(low, high\)"):
        prior_on("teff", given)


def test_reversed_priors_and_fixed_words_are_refused():
    with pytest.raises(InputError, match="expected low < high"):
        prior_on("teff", (6000 * u.K, 5000 * u.K))
    with pytest.raises(InputError, match="got vsini='x', expected a number"):
        fixed_value("vsini", "x")


def test_a_pool_that_forks_is_refused():
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool,
        pytest.raises(InputError, match=r"an executor that forks .*get_context\('spawn'\)"),
    ):
        list(run(abs, [1], pool))
