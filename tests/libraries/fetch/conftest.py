"""Fixtures for tests of fetching: a server of PHOENIX, a client that does not wait, the command."""

from __future__ import annotations

import io
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_runner import Done
from phoenix_server import BOX, Library

from blase3d.libraries import fetch as f
from blase3d.runtime.files import CACHE_VARIABLE


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Library() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join(timeout=5)


@pytest.fixture
def naps() -> list[float]:
    return []


@pytest.fixture
def web(naps: list[float]) -> f.Web:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return f.Web(opener=direct, sleep=naps.append, timeout=2.0)


Fetch = Callable[..., f.Fetched]


@pytest.fixture
def bring(server: Library, web: f.Web, tmp_path: Path) -> Fetch:
    def call(**more: object) -> f.Fetched:
        plan = f.make_plan(BOX, tmp_path / "phoenix", server.root, web)
        return f.fetch(plan, web=web, **more)

    return call


@pytest.fixture
def run(
    run: Callable[..., Done],
    monkeypatch: pytest.MonkeyPatch,
    server: Library,
    tmp_path: Path,
) -> Callable[..., Done]:
    """Run `blase3d fetch phoenix` for the box, with a cache; `answer`: at a terminal."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    box = ("--teff", "5000:5200", "--logg", "4:4.5", "--feh", "-0.5:0", "--root", server.root)

    def call(*words: object, answer: str | None = None) -> Done:
        stdin = io.StringIO(answer or "")
        monkeypatch.setattr(stdin, "isatty", lambda: answer is not None)
        monkeypatch.setattr(sys, "stdin", stdin)
        return run("fetch", "phoenix", *box, *words)

    return call
