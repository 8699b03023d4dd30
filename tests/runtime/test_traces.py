"""Traces of functions in the cache folder: used again, told from others, never in the way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blase3d.runtime import kept, traces
from blase3d.runtime.traces import TracedOnce


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.delenv(kept.VARIABLE, raising=False)
    monkeypatch.setenv("BLASE3D_CACHE", str(tmp_path))
    monkeypatch.setattr(traces, "_PACKAGE", __name__.partition(".")[0])
    return tmp_path / "traces"


@partial(jax.tree_util.register_dataclass, data_fields=("values",), meta_fields=("power",))
@dataclass(frozen=True)
class Record:
    values: jax.Array
    power: int


@dataclass(frozen=True)
class Form:
    names: tuple[str, ...]


class Function:
    """A function, and the arguments with which its code ran."""

    def __init__(self):
        self.traced = []

    def in_a_process(self, static="form"):
        """The function as a process finds it that has not called it yet."""

        def function(record, scale, form=Form(())):
            self.traced.append(record.values.shape)
            total = scale * record.values**record.power + len(form.names)
            return total, total.sum()

        return TracedOnce(function, static)


@pytest.fixture
def function():
    return Function()


RECORD = Record(jnp.arange(4, dtype=jnp.float32), 2)


def test_traced_in_the_first_process_alone(function):
    first = function.in_a_process()
    expected = first(RECORD, 0.1)
    assert [x.dtype for x in expected] == [jnp.float32] * 2
    for other in (first, function.in_a_process(), function.in_a_process()):
        found = other(RECORD, 0.1)
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_array_equal(x, y)
            assert (x.dtype, x.weak_type) == (y.dtype, y.weak_type)
    assert len(function.traced) == 1


def test_numbers_and_elements_are_no_part_of_a_trace(function):
    for scale in (float, np.float32):
        function.traced.clear()
        function.in_a_process()(RECORD, scale(1.0))
        total, _ = function.in_a_process()(Record(RECORD.values + 1.0, 2), scale(3.0))
        np.testing.assert_array_equal(total, [3.0, 12.0, 27.0, 48.0])
        assert len(function.traced) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"record": Record(jnp.arange(5.0), 2)},
        {"record": Record(jnp.arange(4), 2)},
        {"record": Record(RECORD.values, 3)},
        {"scale": 2},
        {"scale": jnp.ones(1)},
        {"form": Form(("teff",))},
    ],
    ids=["shape", "type", "meta", "number", "array", "static"],
)
def test_other_arguments_have_traces_of_their_own(function, other):
    arguments = {"record": RECORD, "scale": 2.0, "form": Form(())}
    function.in_a_process()(**arguments)
    changed = arguments | other
    found, _ = function.in_a_process()(**changed)
    record = changed["record"]
    expected = changed["scale"] * record.values**record.power + len(changed["form"].names)
    np.testing.assert_array_equal(found, expected)
    assert len(function.traced) == 2


def test_numbers_of_numpy_in_a_form_are_told_apart(function):
    for power, expected in ((2, 9.0), (3, 27.0)):
        total, _ = function.in_a_process()(Record(RECORD.values, np.int64(power)), 1.0)
        assert total[3] == expected


def test_settings_of_jax_are_part_of_a_trace(function):
    function.in_a_process()(RECORD, 1.0)
    with jax.enable_x64(not jax.config.jax_enable_x64):
        function.in_a_process()(RECORD, 1.0)
    with jax.default_matmul_precision("highest"):
        function.in_a_process()(RECORD, 1.0)
    assert len(function.traced) == 3


def test_other_code_has_a_trace_of_its_own(function, monkeypatch):
    function.in_a_process()(RECORD, 1.0)
    monkeypatch.setattr(kept, "digest_of_code", lambda: b"of another version")
    function.in_a_process()(RECORD, 1.0)
    assert len(function.traced) == 2


def test_functions_are_told_apart_by_name(function):
    function.in_a_process()(RECORD, 1.0)

    def other(record, scale, form=Form(())):
        return record.values + scale, scale * len(form.names)

    total, _ = TracedOnce(other, "form")(RECORD, 1.0)
    np.testing.assert_array_equal(total, [1.0, 2.0, 3.0, 4.0])


def test_it_can_be_transformed(function):
    process = function.in_a_process()
    process(RECORD, 1.0)

    def total(values):
        return process(Record(values, 2), 1.0)[1]

    np.testing.assert_array_equal(jax.grad(total)(RECORD.values), [0.0, 2.0, 4.0, 6.0])
    assert jax.jit(total)(RECORD.values) == 14.0
    assert jax.vmap(total)(jnp.ones((3, 4))).tolist() == [4.0] * 3


def test_what_a_text_cannot_tell_apart_is_not_kept(function, cache):
    class Unknown:
        names = ("teff",)

    total, _ = function.in_a_process()(RECORD, 1.0, Unknown())
    np.testing.assert_array_equal(total, RECORD.values**2 + 1)
    assert not cache.exists()


def test_records_of_other_code_are_not_kept(function, cache, monkeypatch):
    """That code may change, and is no part of what a trace is known by."""
    monkeypatch.setattr(traces, "_PACKAGE", "blase3d")
    total, _ = function.in_a_process()(RECORD, 1.0)
    np.testing.assert_array_equal(total, RECORD.values**2)
    assert not cache.exists()


def test_what_jax_cannot_store_is_run(cache):
    def function(values):
        return jax.pure_callback(lambda x: 2.0 * np.asarray(x), values, values)

    np.testing.assert_array_equal(TracedOnce(function)(RECORD.values), [0.0, 2.0, 4.0, 6.0])
    assert not cache.exists()


def test_errors_are_those_of_the_function(function):
    with pytest.raises(TypeError, match="missing a required argument"):
        function.in_a_process()(RECORD)

    def of_two(values):
        return values @ jnp.ones(3)

    with pytest.raises(TypeError, match="dot_general"):
        TracedOnce(of_two)(RECORD.values)


@pytest.mark.parametrize("content", [b"", b"no trace"])
def test_a_damaged_file_is_traced_again(function, cache, content):
    expected, _ = function.in_a_process()(RECORD, 1.0)
    (path,) = cache.iterdir()
    path.write_bytes(content)
    found, _ = function.in_a_process()(RECORD, 1.0)
    np.testing.assert_array_equal(found, expected)
    function.in_a_process()(RECORD, 1.0)
    assert len(function.traced) == 2


def test_a_trace_of_another_kind_is_not_used(function, cache, monkeypatch):
    expected, _ = function.in_a_process()(RECORD, 1.0)
    monkeypatch.setattr(traces, "kept_arrays", lambda *_: [np.zeros(9, np.uint8)])
    found, _ = function.in_a_process()(RECORD, 1.0)
    np.testing.assert_array_equal(found, expected)


def test_nothing_is_kept_if_unwanted(function, cache, monkeypatch):
    monkeypatch.setenv(kept.VARIABLE, "off")
    process = function.in_a_process()
    process(RECORD, 1.0), process(RECORD, 2.0)
    assert len(function.traced) == 1
    assert not cache.exists()
