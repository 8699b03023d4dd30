"""The same job gives the same numbers, to the last bit, and chance is nobody's but its own."""

from __future__ import annotations

import importlib
import inspect
import pickle
import random
from pathlib import Path

import numpy as np
import pytest

import blase3d as b3
from blase3d.inference.methods import bayes_opt
from blase3d.runtime.executor import LocalPool

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def fixed_job():
    """The script that other environments are compared by, with a shorter search of `gp`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        patch.setattr(bayes_opt, "RANDOM", 20)
        patch.setattr(bayes_opt, "GUIDED", 3)
        yield importlib.import_module("fixed_job")


def random_states():
    """The states of the generators that a process shares."""
    return pickle.dumps((random.getstate(), np.random.get_state()))  # noqa: NPY002


@pytest.fixture(scope="module")
def first(fixed_job, tmp_path_factory):
    """A folder with the job's files, its numbers, which public functions it called, and the states
    of the shared generators before and after."""
    folder, called = tmp_path_factory.mktemp("job"), set()

    def noted(name, function):
        def call(*args, **more):
            called.add(name)
            return function(*args, **more)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in b3.__all__:
            value = getattr(b3, name)
            if inspect.isfunction(value):
                patch.setitem(vars(b3), name, noted(name, value))
        before = random_states()
        numbers = fixed_job.job(folder)
    return folder, numbers, called, (before, random_states())


@pytest.mark.long
def test_the_same_job_gives_the_same_to_the_last_bit(fixed_job, first, tmp_path):
    folder, numbers, _, _ = first
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_equal(fixed_job.job(tmp_path), numbers)  # NaN is NaN
    for name in ("grid.npz", "star.npz"):
        with np.load(folder / name) as one, np.load(tmp_path / name) as two:
            for key in one:
                np.testing.assert_array_equal(one[key], two[key])


@pytest.mark.long
def test_no_public_function_touches_the_shared_generators(first):
    _, _, called, (before, after) = first
    functions = {name for name in b3.__all__ if inspect.isfunction(getattr(b3, name))}
    functions.remove("register_specutils")  # registers readers, and computes nothing
    functions.remove("infer_joint")  # the search of infer over several windows
    functions.remove("log_likelihood")  # the search of infer, and no other
    assert called == functions
    assert before == after


@pytest.mark.long
def test_another_seed_is_another_search(fixed_job, first):
    folder, numbers, _, _ = first
    model = b3.load_model(folder / "model.zip")
    star = b3.read_spectrum(folder / "star.npz")
    other = b3.infer(star, model, method="gp", fixed=fixed_job.SHARP, seed=4)
    assert fixed_job.estimates(other) != numbers["gp"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.long
def test_workers_find_what_one_process_finds(fixed_job, first, workers):
    folder, numbers, _, _ = first
    model = b3.load_model(folder / "model.zip")
    stars = [b3.read_spectrum(folder / "star.npz")] * 9  # more than are sent together
    pool = LocalPool(workers)
    try:
        answers = dict(b3.infer_many(stars, model, executor=pool, fixed=fixed_job.SHARP))
    finally:
        pool.shutdown()
    assert len(answers) == len(stars)
    for answer in answers.values():
        off = fixed_job.sigmas(fixed_job.estimates(answer), numbers["many"])
        assert off <= fixed_job.TOLERANCES["gradient"]


def test_the_distance_of_results_is_told(fixed_job, capsys):
    one = {"jax": "1", "numbers": {"flux": [1.0, 0.5], "gradient": [5000.0, 10.0]}}
    near = {"jax": "2", "numbers": {"flux": [1.0, 0.5], "gradient": [5001.0, 10.0]}}
    far = {"jax": "2", "numbers": {"flux": [1.0, 0.5], "gradient": [5005.0, 10.0]}}
    assert fixed_job.report(one, near) == 0
    assert fixed_job.report(one, far) == 1
    assert "0.1   allowed 0.2" in capsys.readouterr().out
