"""Compiled code in the cache folder."""

from __future__ import annotations

import atexit
import os
import sys

import pytest

from blase3d.runtime import compiled

SETTING = "JAX_COMPILATION_CACHE_DIR"


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """A process without JAX and without settings."""
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.delenv(SETTING, raising=False)
    monkeypatch.setenv("BLASE3D_CACHE", str(tmp_path))
    monkeypatch.setattr(atexit, "register", lambda *_: None)


def kept() -> str | None:
    compiled.keep_compiled.__wrapped__()
    return os.environ.get(SETTING)


def test_code_is_kept_in_the_cache_folder(tmp_path):
    assert str(kept()).startswith(str(tmp_path / "compiled"))


def test_a_folder_of_the_user_takes_precedence(monkeypatch):
    monkeypatch.setenv(SETTING, "elsewhere")
    assert kept() == "elsewhere"


def test_no_code_is_kept_if_unwanted(monkeypatch):
    monkeypatch.setenv(compiled.VARIABLE, "off")
    assert kept() is None


def test_code_of_the_earliest_use_is_deleted(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "_MOST", 250)
    for k, name in enumerate(("first", "second", "third")):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (k, k))
    compiled._trim(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second", "third"]
