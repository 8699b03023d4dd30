"""Compiled code in the cache folder."""

from __future__ import annotations

import atexit
import os
import sys

import pytest

from blase3d.runtime import compiled, kept

SETTING = "JAX_COMPILATION_CACHE_DIR"


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """A process without JAX and without settings."""
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.delenv(SETTING, raising=False)
    monkeypatch.delenv(kept.VARIABLE, raising=False)
    monkeypatch.setenv("BLASE3D_CACHE", str(tmp_path))
    monkeypatch.setattr(atexit, "register", lambda *_: None)


def folder_of_code() -> str | None:
    compiled.keep_compiled.__wrapped__()
    return os.environ.get(SETTING)


def test_code_is_kept_in_the_cache_folder(tmp_path):
    assert str(folder_of_code()).startswith(str(tmp_path / "compiled"))


def test_a_folder_of_the_user_takes_precedence(monkeypatch):
    monkeypatch.setenv(SETTING, "elsewhere")
    assert folder_of_code() == "elsewhere"


def test_no_code_is_kept_if_unwanted(monkeypatch):
    monkeypatch.setenv(kept.VARIABLE, "off")
    assert folder_of_code() is None
