"""Arrays in the cache folder: found again, told from others and from damaged files."""

from __future__ import annotations

import os

import numpy as np
import pytest

from blase3d.runtime import kept
from blase3d.runtime.kept import kept_arrays

RESULT = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.delenv(kept.VARIABLE, raising=False)
    monkeypatch.setenv("BLASE3D_CACHE", str(tmp_path))
    return tmp_path / "templates"


@pytest.fixture
def computed():
    """What was computed, not read."""
    return []


def obtain(computed, *inputs):
    def compute():
        computed.append(inputs)
        return [RESULT, RESULT[0]]

    found, first = kept_arrays("templates", [np.array(value) for value in inputs], compute)
    np.testing.assert_array_equal(first, found[0])
    return found


def test_computed_once(computed):
    for _ in range(3):
        np.testing.assert_array_equal(obtain(computed, 1.0, [2.0, 3.0]), RESULT)
    assert len(computed) == 1


@pytest.mark.parametrize("other", [(1.0, [2.0, 4.0]), (1.0, [[2.0, 3.0]]), (1, [2.0, 3.0])])
def test_other_inputs_have_results_of_their_own(computed, other):
    obtain(computed, 1.0, [2.0, 3.0])
    obtain(computed, *other)
    assert len(computed) == 2


def test_what_other_code_computed_is_not_used(computed, monkeypatch):
    obtain(computed, 1.0)
    monkeypatch.setattr(kept, "digest_of_code", lambda: b"of another version")
    obtain(computed, 1.0)
    assert len(computed) == 2


@pytest.mark.parametrize("size", [0, 20, 200, -4])
def test_a_damaged_file_is_computed_again(computed, cache, size):
    obtain(computed, 1.0)
    (path,) = cache.iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:size])
    np.testing.assert_array_equal(obtain(computed, 1.0), RESULT)
    assert path.read_bytes() == content


def test_a_cache_that_cannot_be_written_is_no_fault(computed, cache):
    cache.write_text("no folder")
    np.testing.assert_array_equal(obtain(computed, 1.0), RESULT)


def test_nothing_is_kept_if_unwanted(computed, cache, monkeypatch):
    monkeypatch.setenv(kept.VARIABLE, "off")
    obtain(computed, 1.0)
    assert not cache.exists()


def test_files_of_the_earliest_use_are_deleted(tmp_path):
    for k, name in enumerate(("first", "second", "third")):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (k, k))
    kept.trim(tmp_path, 250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second", "third"]
