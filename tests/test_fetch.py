"""Fetching from a local server that has the layout of PHOENIX and misbehaves."""

from __future__ import annotations

import functools
import io
import itertools
import json
import re
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from astropy.io import fits

from blase3d import cli
from blase3d.errors import GridError, InputError
from blase3d.files import CACHE_VARIABLE
from blase3d.sources import fetch as f
from blase3d.sources import open_grid
from blase3d.sources.fetch import crew, listing, parts
from blase3d.sources.fetch.ftp import FtpFiles
from blase3d.sources.phoenix import LIBRARY, WAVE_FILE, phoenix_path

WAVE = np.linspace(9990.0, 10010.0, 401)
AXES = ((5000, 5100, 5200), (4.0, 4.5), (-0.5, 0.0), (0.0,))
KEYS = ("PHXTEFF", "PHXLOGG", "PHXM_H", "PHXALPHA")
HOLE = (5100, 4.0, -0.5, 0.0)
NODES = [node for node in itertools.product(*AXES) if node != HOLE]
BOX = f.Box(teff=(5000, 5200), logg=(4.0, 4.5), feh=(-0.5, 0.0))
SUN = phoenix_path(5000, 4.0, 0.0)
SUN_NAME = SUN.rpartition("/")[2]
SUN_LABELS = "teff=5000 logg=4 feh=0"


def flux_of(teff: float, logg: float, feh: float, alpha: float) -> np.ndarray:
    """Flux per cm that tells every node apart."""
    depth = 0.3 + logg / 20 + feh / 10 + alpha / 10
    line = depth * np.exp(-(((WAVE - 10000) / 0.5) ** 2))
    return (teff * 1e10 * (1 - line)).astype(np.float32)


def in_bytes(hdus: fits.HDUList) -> bytes:
    stream = io.BytesIO()
    hdus.writeto(stream)
    return stream.getvalue()


def spectrum(node: tuple[float, ...], flux: np.ndarray | None = None, **cards: object) -> bytes:
    """A file as the library has it: primary image, and a table of abundances."""
    header = fits.Header({**dict(zip(KEYS, node, strict=True)), "PHXCONV": True, **cards})
    image = fits.PrimaryHDU(flux_of(*node) if flux is None else flux, header)
    table = fits.BinTableHDU.from_columns([fits.Column("Fe", "E", array=[7.5])], name="ABUNDANCES")
    return in_bytes(fits.HDUList([image, table]))


def spectra(nodes: Iterable[tuple[float, ...]]) -> dict[str, bytes]:
    """Files of many nodes by path, by putting labels and flux into one: that takes less time."""
    one = (5000.0, 4.0, 0.0, 0.0)
    content, whole = {}, spectrum(one)
    for node in nodes:
        cards = zip(KEYS, one, node, strict=True)
        pairs = [
            (fits.Card(k, a).image.encode(), fits.Card(k, b).image.encode()) for k, a, b in cards
        ]
        pairs.append(
            (flux_of(*one).astype(">f4").tobytes(), flux_of(*node).astype(">f4").tobytes())
        )
        content[phoenix_path(*node)] = functools.reduce(
            lambda all, p: all.replace(*p), pairs, whole
        )
    return content


@functools.cache
def library() -> dict[str, bytes]:
    files = {phoenix_path(*node): spectrum(node) for node in NODES}
    return {WAVE_FILE: in_bytes(fits.HDUList([fits.PrimaryHDU(WAVE)])), **files}


# --- listings in many forms --------------------------------------------------------------------


def plain_html(folder: str, names: list[str]) -> str:
    rows = "".join(f'<li><a href="{name}">{name}</a></li>\n' for name in names)
    return f"<html><title>{folder}</title><ul>{rows}</ul></html>"


def apache(folder: str, names: list[str]) -> str:
    """Apache's table: links whole, the names to be seen cut short, sizes rounded, sort links."""
    rows = "".join(
        f'<tr><td valign="top"><img src="/icons/unknown.gif" alt="[   ]"></td><td><a href="{name}">'
        f'{name[:20]}..&gt;</a></td><td align="right">2013-03-14 10:11  </td><td>6.0M</td></tr>\n'
        for name in names
    )
    head = '<tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=S;O=A">Size</a></th></tr>'
    body = f'<h1>Index of {folder}</h1><table>{head}<a href="../">up</a>{rows}</table>'
    return f"<HTML><body>{body}</body></HTML>"


def percent_encoded(folder: str, names: list[str]) -> str:
    rows = "".join(
        f"<A class=x HREF='{folder}{urllib.parse.quote(name, safe='')}'>file</A>  14-Mar-2013\r\n"
        for name in names
    )
    return f"<html><pre>{rows}</pre></html>"


def as_json(folder: str, names: list[str]) -> str:
    return json.dumps([{"name": name, "type": "file", "size": 11520} for name in names])


def with_others(folder: str, names: list[str]) -> str:
    """Beside each file its sum, its archive, what an editor left, and a file of another folder."""
    more = [name + end for name in names for end in ("", ".md5", ".gz", "~", ".part")]
    return plain_html(folder, [*more, "lte05000-9.50-0.5.PHOENIX-ACES-AGSS-COND-2011-HiRes.fits"])


def bare(folder: str, names: list[str]) -> str:
    return "\n".join(names)


# --- the server --------------------------------------------------------------------------------


class Library(ThreadingHTTPServer):
    """A server with the layout of the library. `tricks` spoil answers to GET, by path."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(library())
        self.log: list[tuple[str, str, str | None]] = []
        self.lines: list[str] = []
        self.sent: dict[str, int] = {}
        self.tricks: dict[str, list[Callable[[Handler, bytes], None]]] = {}
        self.listing: Callable[[str, list[str]], str] | int = plain_html
        self.ranges = True
        self.if_range = True
        self.marks: dict[str, str] | None = {}
        self.no_head = 0
        self.busy = 0
        self.mutex = threading.Lock()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data/HiResFITS/"

    def gets(self, path: str | None = None) -> list[tuple[str, str, str | None]]:
        """Requests for the content of a spectrum (of all)."""
        wanted = [entry for entry in self.log if entry[0] == "GET" and entry[1].endswith(".fits")]
        return [entry for entry in wanted if path in (None, entry[1]) and entry[1] != WAVE_FILE]

    def spoil(self, path: str, *tricks: Callable[[Handler, bytes], None]) -> None:
        self.tricks[path] = list(tricks)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that hangs up is part of the play

    def wait_until_idle(self) -> None:
        """Until every answer is given, to those too who have hung up."""
        deadline = time.monotonic() + 10
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.01)


class Handler(BaseHTTPRequestHandler):
    server: Library

    def log_message(self, *_: object) -> None:
        pass

    def parse_request(self) -> bool:
        good = super().parse_request()
        self.server.lines.append(self.requestline)
        return good

    def handle(self) -> None:
        with self.server.mutex:
            self.server.busy += 1
        try:
            super().handle()
        finally:
            with self.server.mutex:
                self.server.busy -= 1

    def do_HEAD(self) -> None:
        self.answer(content=False)

    def do_GET(self) -> None:
        self.answer(content=True)

    def answer(self, content: bool) -> None:
        place = urllib.parse.urlsplit(self.path).path  # a proxy is asked for whole addresses
        path = urllib.parse.unquote(place).removeprefix("/data/HiResFITS/")
        with self.server.mutex:
            self.server.log.append((self.command, path, self.headers.get("Range")))
            tricks = self.server.tricks.get(path, []) if content else []
            trick = tricks.pop(0) if len(tricks) > 1 else tricks[0] if tricks else None
        if path.endswith("/"):
            self.list(path)
        elif path not in self.server.files:
            self.send_error(404)
        elif self.command == "HEAD" and self.server.no_head:
            self.send_error(self.server.no_head)
        elif trick is not None:
            trick(self, self.server.files[path])
        else:
            whole(self, self.server.files[path])

    def list(self, path: str) -> None:
        below = {p.removeprefix(path) for p in self.server.files if p.startswith(path)}
        names = sorted({p.split("/")[0] + "/" * ("/" in p) for p in below})
        if not names or isinstance(self.server.listing, int):
            self.send_error(404 if not names else int(self.server.listing))
            return
        page = self.server.listing(f"/data/HiResFITS/{path}", names).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    @property
    def at(self) -> str:
        return urllib.parse.unquote(self.path).removeprefix("/data/HiResFITS/")

    def mark(self) -> str | None:
        marks = self.server.marks
        return None if marks is None else marks.get(self.at, '"one"')

    def start(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if (mark := self.mark()) is not None:
            self.send_header("ETag", mark)
        self.end_headers()

    def put(self, content: bytes) -> None:
        with self.server.mutex:
            self.server.sent[self.at] = self.server.sent.get(self.at, 0) + len(content)
        self.wfile.write(content)


def whole(handler: Handler, content: bytes) -> None:
    """A good answer: all, or the range that was asked for."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    only_if = handler.headers.get("If-Range")
    same = only_if in (None, handler.mark()) or not handler.server.if_range
    if asked is None or not handler.server.ranges or not same:
        handler.start(200, len(content))
        part = content
    elif int(asked[1]) >= len(content):
        handler.start(416, 0, Content_Range=f"bytes */{len(content)}")
        return
    else:
        first, last = int(asked[1]), len(content) - 1
        part = content[first:]
        handler.start(206, len(part), Content_Range=f"bytes {first}-{last}/{len(content)}")
    if handler.command == "GET":
        handler.put(part)


def error(status: int, **headers: str) -> Callable[[Handler, bytes], None]:
    return lambda handler, content: handler.start(status, 0, **headers)


def cut_off(keep: int) -> Callable[[Handler, bytes], None]:
    """The connection ends after `keep` bytes of what was announced."""

    def trick(handler: Handler, content: bytes) -> None:
        handler.start(200, len(content))
        handler.put(content[:keep])

    return trick


def announce(extra: int) -> Callable[[Handler, bytes], None]:
    """The length that is announced is not that of what comes."""

    def trick(handler: Handler, content: bytes) -> None:
        handler.start(200, len(content) + extra)
        handler.put(content)

    return trick


def drip(pause: float, count: int = 4) -> Callable[[Handler, bytes], None]:
    def trick(handler: Handler, content: bytes) -> None:
        handler.start(200, len(content))
        step = -(-len(content) // count)
        for k in range(0, len(content), step):
            time.sleep(pause)
            handler.put(content[k : k + step])

    return trick


def instead(other: bytes) -> Callable[[Handler, bytes], None]:
    return lambda handler, content: whole(handler, other)


def unmeasured(handler: Handler, content: bytes) -> None:
    """No length at all: the end is where the connection ends."""
    handler.start(200, None)
    handler.put(content)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy", "no_proxy"):
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
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), FtpFiles)
    return f.Web(opener=direct, sleep=naps.append, timeout=2.0)


Fetch = Callable[..., f.Fetched]


@pytest.fixture
def bring(server: Library, web: f.Web, tmp_path: Path) -> Fetch:
    def call(**more: object) -> f.Fetched:
        plan = f.make_plan(BOX, tmp_path / "phoenix", server.root, web)
        return f.fetch(plan, web=web, **more)

    return call


def assert_all_there(done: f.Fetched, server: Library) -> None:
    assert done.failed == {}
    assert len(done.good) == len(NODES)
    for path, content in server.files.items():
        assert (done.plan.folder / path).read_bytes() == content
    assert not list(done.plan.folder.rglob("*.part*"))


# --- a server that behaves ---------------------------------------------------------------------


def test_a_plan_says_what_is_to_come_and_fetches_nothing(server, web, tmp_path):
    plan = f.make_plan(BOX, tmp_path / "phoenix", server.root, web)
    assert len(plan.missing) == len(NODES)
    assert plan.size == sum(map(len, server.files.values()))
    assert plan.exact
    assert f"to fetch: {len(NODES)} spectra" in str(plan)
    assert f"({plan.size} bytes)" in str(plan)
    assert plan.describe_holes() == ["hole of the library: teff=5100 logg=4 feh=-0.5"]
    assert [entry for entry in server.log if entry[0] == "GET" and entry[1].endswith("fits")] == []
    assert not plan.folder.exists()


def test_sizes_of_many_are_estimated_from_a_sample(server, web, tmp_path, monkeypatch):
    monkeypatch.setattr("blase3d.sources.fetch.plan.ALL_SIZES_UP_TO", 5)
    monkeypatch.setattr("blase3d.sources.fetch.plan.SAMPLE", 3)
    plan = f.make_plan(BOX, tmp_path, server.root, web)
    assert plan.size == sum(map(len, server.files.values()))
    assert not plan.exact
    assert "about " in str(plan)
    assert sum(method == "HEAD" for method, *_ in server.log) == 3 + 1


def test_fetching_brings_all_and_again_nothing(server, bring):
    assert_all_there(bring(), server)
    assert len(server.gets()) == len(NODES)
    server.log.clear()
    done = bring()
    assert_all_there(done, server)
    assert done.plan.nothing_to_fetch
    assert {method for method, path, _ in server.log if path.endswith("fits")} == set()


def test_the_folder_is_a_grid(bring):
    grid = open_grid(bring().plan.folder)
    assert len(grid) == len(NODES)
    assert grid.holes() == [{"teff": 5100.0, "logg": 4.0, "feh": -0.5}]


@pytest.mark.parametrize("ending", ["npz", "zarr"])
def test_the_cut_is_the_truth(bring, tmp_path, ending):
    path = tmp_path / f"cut.{ending}"
    f.write_box(bring(wave=(9999.0, 10001.0)), path, (9999.0, 10001.0))
    grid = open_grid(path)
    inside = (WAVE >= 9999.0) & (WAVE <= 10001.0)
    np.testing.assert_array_equal(grid.wavelength, WAVE[inside])
    assert grid.label_names == ("teff", "logg", "feh")
    assert len(grid) == len(NODES)
    for node in NODES:
        i = grid.find(teff=node[0], logg=node[1], feh=node[2])
        np.testing.assert_allclose(grid[i].flux, flux_of(*node)[inside] * 1e-8, rtol=1e-6)
    assert grid.meta["fixed_labels"] == {"alpha": 0.0}


def test_a_cut_has_the_box_alone(server, web, bring, tmp_path):
    """Other spectra in the folder, of other alpha too, do not get into it."""
    node = (5000, 4.0, 0.0, 0.4)
    server.files[phoenix_path(*node)] = spectrum(node)
    bring()
    wide = f.Box(teff=(5000, 5000), logg=(4, 4), feh=(0, 0), alpha=(0, 0.4))
    plan = f.make_plan(wide, tmp_path / "phoenix", server.root, web)
    assert plan.describe_holes() == ["hole of the library: teff=5000 logg=4 feh=0 alpha=0.2"]
    grid = f.write_box(f.fetch(plan, web=web), tmp_path / "two.npz")
    assert grid.axes["alpha"].tolist() == [0.0, 0.4]
    small = f.Box(teff=(5000, 5100), logg=(4.5, 4.5), feh=(0, 0))
    plan = f.make_plan(small, tmp_path / "phoenix", server.root, web)
    grid = f.write_box(f.fetch(plan, web=web), tmp_path / "small.npz")
    assert grid.label_names == ("teff", "logg", "feh")
    assert grid.labels.tolist() == [[5000, 4.5, 0], [5100, 4.5, 0]]


@pytest.mark.parametrize("form", [apache, percent_encoded, as_json, with_others, bare])
def test_listings_of_any_form(server, web, tmp_path, form):
    server.listing = form
    plan = f.make_plan(BOX, tmp_path, server.root, web)
    assert sorted(r.path for r in plan.missing) == sorted(set(server.files) - {WAVE_FILE})
    assert len(plan.holes) == 1


@pytest.mark.parametrize("refusal", [403, lambda folder, names: "<html>Welcome!</html>"])
def test_without_a_listing_each_node_is_asked_for(server, web, tmp_path, refusal):
    server.listing = refusal
    plan = f.make_plan(BOX, tmp_path, server.root, web)
    assert len(plan.missing) == len(NODES)
    assert len(plan.holes) == 1
    assert server.gets() == []


def test_what_the_listing_has_beyond_the_published_axes_is_taken(server, web, tmp_path):
    node = (13000, 4.0, 0.0, 0.0)
    server.files[phoenix_path(*node)] = spectrum(node)
    box = f.Box(teff=(12500, 14000), logg=(4, 4), feh=(0, 0))
    plan = f.make_plan(box, tmp_path, server.root, web)
    assert [r.labels["teff"] for r in plan.missing] == [13000]
    assert plan.holes == ()


def test_the_papers_box():
    box = f.Box(teff=(2300, 12000), logg=(2, 6), feh=(-0.5, 0))
    assert len(box.nodes()) == 73 * 9 * 2
    assert len(listing.holes(box, {})) == 1314
    # Alpha varies at 41 temperatures and 6 metallicities: elsewhere its lack is no hole.
    assert len(f.Box(alpha=(-0.2, 1.2)).nodes()) == 73 * 13 * 9 + 41 * 13 * 6 * 7
    assert f.Box(teff=(9000, 9000), alpha=(0.2, 0.4)).nodes() == []


PAPERS_HOLES = ((7200.0, 2.0, -0.5, 0.0), (8600.0, 4.5, -0.5, 0.0))
"""Those of the library's server in the paper's box."""


def test_the_papers_subset_becomes_a_grid_whose_holes_are_named(server, run, tmp_path):
    """73 temperatures, 9 gravities, 2 metallicities: 1,314 nodes, of which the server lacks two."""
    box = f.Box(teff=(2300, 12000), logg=(2, 6), feh=(-0.5, 0))
    nodes = [tuple(node.values()) for node in box.nodes()]
    files = spectra(node for node in nodes if node not in PAPERS_HOLES)
    assert files[phoenix_path(12000, 6, -0.5)] == spectrum((12000.0, 6.0, -0.5, 0.0))
    server.files = {WAVE_FILE: library()[WAVE_FILE], **files}
    words = ["--teff", "2300:12000", "--logg", "2:6", "--wave", "9999:10001", "--yes"]
    path = tmp_path / "paper.zarr"
    status, out, _ = run(*words, "-o", path)
    assert status == 0
    assert "to fetch: 1312 spectra, about 15." in out
    named = [line for line in out.splitlines() if line.startswith("hole of the library: ")]
    assert [line.partition(": ")[2] for line in named] == [
        "teff=7200 logg=2 feh=-0.5",
        "teff=8600 logg=4.5 feh=-0.5",
    ]
    assert sorted(path for _, path, _ in server.gets()) == sorted(files)  # each of them once
    grid = open_grid(path)
    assert [len(axis) for axis in grid.axes.values()] == [73, 9, 2]
    assert len(grid) == 1312
    assert [tuple(hole.values()) for hole in grid.holes()] == [hole[:3] for hole in PAPERS_HOLES]
    inside = (WAVE >= 9999.0) & (WAVE <= 10001.0)
    for i in (0, 700, 1311):
        truth = flux_of(*grid.labels[i], 0.0)[inside] * 1e-8
        np.testing.assert_allclose(grid[i].flux, truth, rtol=1e-6)


# --- a server that misbehaves ------------------------------------------------------------------

PASSING = {
    "500, twice": [error(500), error(503), whole],
    "busy": [error(429, Retry_After="7"), whole],
    "hangs up at once": [lambda handler, content: None, whole],
    "cut off": [cut_off(3000), whole],
    "cut off thrice": [cut_off(3000), whole],
    "announces too much, once": [announce(+500), whole],
    "announces too little, once": [announce(-500), whole],
    "announces nothing": [unmeasured],
    "damaged once": [instead(b"x" * 11520), whole],
    "a page of the network instead, once": [instead(b"<html>Log in!</html>"), whole],
    "slow": [drip(0.05)],
}


@pytest.mark.parametrize("case", PASSING)
def test_passing_trouble_passes(server, bring, case, naps):
    server.spoil(SUN, *PASSING[case])
    assert_all_there(bring(), server)
    if case == "500, twice":
        assert naps == [1.0, 2.0]
    if case == "busy":
        assert naps == [7.0]
    if case == "cut off":
        assert [entry[2] for entry in server.gets(SUN)] == [None, "bytes=3000-"]
        assert server.sent[SUN] == len(server.files[SUN])


def test_a_silent_server_is_given_up_and_asked_again(server, web, tmp_path):
    server.spoil(SUN, drip(1.0, count=1), whole)
    quick = f.Web(opener=web.opener, sleep=web.sleep, timeout=0.3)
    plan = f.make_plan(BOX, tmp_path, server.root, quick)
    assert_all_there(f.fetch(plan, web=quick), server)
    assert len(server.gets(SUN)) == 2


def test_without_ranges_a_file_is_taken_whole(server, bring):
    server.ranges = False
    server.spoil(SUN, cut_off(3000), whole)
    assert_all_there(bring(), server)
    assert server.sent[SUN] == 3000 + len(server.files[SUN])


def test_a_connection_that_keeps_breaking_off_gets_there(server, bring):
    """As long as something arrives, tries are not counted."""

    def a_little(handler: Handler, content: bytes) -> None:
        first = int(re.sub(r"\D", "", handler.headers.get("Range", "0")))
        last = len(content) - 1
        span = f"bytes {first}-{last}/{len(content)}"
        handler.start(206 if first else 200, len(content) - first, Content_Range=span)
        handler.put(content[first : first + 1000])

    server.spoil(SUN, a_little)
    assert_all_there(bring(), server)
    assert len(server.gets(SUN)) > 8
    assert server.sent[SUN] == len(server.files[SUN])


@pytest.mark.parametrize("careful", [True, False])
def test_two_versions_of_a_file_are_never_joined(server, bring, careful):
    """Changed between two tries: with If-Range heeded, and by a server that does not know it."""
    server.if_range = careful
    changed = spectrum((5000, 4.0, 0.0, 0.0), 2 * flux_of(5000, 4.0, 0.0, 0.0))

    def change(handler: Handler, content: bytes) -> None:
        cut_off(3000)(handler, content)
        server.files[SUN] = changed
        server.marks = {SUN: '"two"'}

    server.spoil(SUN, change, whole)
    assert_all_there(bring(), server)
    assert (len(server.gets(SUN)) == 2) == careful


def test_a_part_without_marks_goes_on_by_its_size(server, bring):
    server.marks = None
    server.spoil(SUN, cut_off(3000), whole)
    assert_all_there(bring(), server)
    assert server.sent[SUN] == len(server.files[SUN])


NAN = flux_of(5000, 4.0, 0.0, 0.0)
NAN[7] = np.nan
NODE = (5000.0, 4.0, 0.0, 0.0)
LASTING = {
    "404 of a listed file": (error(404), "404", 1),
    "403": (error(403), "403", 1),
    "500": (error(500), "500", 5),
    "always cut off": (cut_off(3000), "got 3000 of 11520 bytes", 5),
    "always announces too little": (announce(-500), "with 11020 bytes, 11520 were announced", 5),
    "always announces too much": (announce(+500), "with 12020 bytes, 11520 were announced", 5),
    "empty": (instead(b""), "with 0 bytes", 5),
    "cut between its parts": (instead(library()[SUN][:5760]), "with 5760 bytes", 5),
    "cut, and filled up": (instead(library()[SUN][:6000].ljust(11520)), "no whole FITS file", 2),
    "damaged": (instead(library()[SUN][:2000] + b"\xff" * 9520), "no whole FITS file", 2),
    "no FITS": (instead(b"<html>Log in!</html>".ljust(11520)), "no whole FITS file", 2),
    "NaN": (instead(spectrum(NODE, NAN)), "1 pixels of its flux are not finite", 2),
    "dark": (instead(spectrum(NODE, np.zeros(401, "f4"))), "nowhere positive", 2),
    "wrong number of pixels": (instead(spectrum(NODE, NAN[8:])), "shape (393,)", 2),
    "another node": (instead(spectrum((5100.0, *NODE[1:]))), "header says teff=5100", 2),
}


@pytest.mark.parametrize("case", LASTING)
def test_lasting_trouble_is_named_and_stops_no_other(server, bring, case, tmp_path):
    trick, word, tries = LASTING[case]
    server.ranges = case != "always cut off"
    server.spoil(SUN, trick)
    done = bring()
    assert list(done.failed) == [SUN_LABELS]
    assert word in done.failed[SUN_LABELS]
    assert len(server.gets(SUN)) == tries
    assert len(done.good) == len(NODES) - 1
    assert not (done.plan.folder / SUN).exists()
    assert len(open_grid(done.plan.folder)) == len(NODES) - 1
    # The cut has the others, and once the server is well the rest comes alone.
    assert len(f.write_box(done, tmp_path / "cut.npz")) == len(NODES) - 1
    server.tricks.clear()
    server.log.clear()
    assert_all_there(bring(), server)
    assert {path for _, path, _ in server.gets()} == {SUN}


def test_the_waits_double_and_end(server, bring, naps):
    server.spoil(SUN, error(502))
    assert bring().failed
    assert naps == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("status", [405, 501])
def test_without_head_sizes_are_not_told(server, bring, status):
    server.no_head = status
    done = bring()
    assert done.plan.size is None
    assert "does not tell" in str(done.plan)
    assert_all_there(done, server)


def test_a_library_without_wavelengths(server, web, tmp_path):
    del server.files[WAVE_FILE]
    with pytest.raises(GridError, match=f"has no {WAVE_FILE}"):
        f.make_plan(BOX, tmp_path, server.root, web)


def test_bad_wavelengths(server, bring):
    server.files[WAVE_FILE] = in_bytes(fits.HDUList([fits.PrimaryHDU(WAVE[::-1])]))
    with pytest.raises(GridError, match=r"WAVE_.*increas"):
        bring()
    assert server.gets() == []


def test_a_range_outside_is_refused_before_spectra_come(server, bring):
    with pytest.raises(GridError, match="choose a range inside"):
        bring(wave=(100.0, 200.0))
    assert server.gets() == []


def test_no_server_at_all(web, tmp_path, naps):
    with pytest.raises(GridError, match=r"No PHOENIX library is reached at .*refused.*--root"):
        f.make_plan(BOX, tmp_path, "http://127.0.0.1:9/data", web)
    assert naps == [1.0]


def test_the_published_roots_are_tried_in_turn(server, web, tmp_path, monkeypatch):
    roots = ("http://127.0.0.1:9/", server.root.replace("data", "elsewhere"), server.root)
    monkeypatch.setattr(listing, "ROOTS", roots)
    assert f.make_plan(BOX, tmp_path, None, web).root == server.root
    hosts = {urllib.parse.urlsplit(root).netloc for root in f.ROOTS}
    assert hosts == {"phoenix.astro.physik.uni-goettingen.de"}


@pytest.mark.parametrize("root", ["phoenix.org/data", "file:///etc/", "https:///data"])
def test_a_root_has_to_be_an_address(web, tmp_path, root):
    with pytest.raises(InputError, match="expected an address"):
        f.make_plan(BOX, tmp_path, root, web)


def test_a_server_without_the_box(server, web, tmp_path):
    with pytest.raises(GridError, match="has no spectrum with teff=5010:5020 alpha=0:0"):
        f.make_plan(f.Box(teff=(5010, 5020)), tmp_path, server.root, web)


def test_a_listing_that_is_cut_off_makes_no_holes(server, web, tmp_path):
    """A list that ends early looks whole; every one is read again until it is."""
    seen = []

    class Page(io.BytesIO):
        headers: ClassVar[dict[str, str]] = {}

    class Cutting:
        def open(self, request, timeout):
            if request.full_url.endswith("/") and request.full_url not in seen:
                seen.append(request.full_url)
                return Page(b"<html><ul><li>lte")
            return web.opener.open(request, timeout=timeout)

    plan = f.make_plan(BOX, tmp_path, server.root, f.Web(opener=Cutting(), sleep=lambda s: None))
    assert len(plan.holes) == 1
    assert len(seen) == 3


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_the_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch, scheme):
    """For the plan and the spectra; the proxy is asked for whole addresses."""
    monkeypatch.setenv(f"{scheme}_proxy", server.root.removesuffix("/data/HiResFITS/"))
    root = f"{scheme}://library.invalid/data/HiResFITS/"
    done = f.fetch(f.make_plan(BOX, tmp_path, root))
    assert_all_there(done, server)
    assert {line.split(" ")[1].startswith(root) for line in server.lines} == {True}


def test_no_proxy_is_heeded(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    assert len(f.make_plan(BOX, tmp_path, server.root).missing) == len(NODES)
    monkeypatch.delenv("no_proxy")
    with pytest.raises(GridError, match="check the network and the proxy"):
        f.make_plan(BOX, tmp_path, server.root, f.Web(sleep=lambda s: None))


def test_https_goes_through_a_tunnel_of_the_proxy(server, tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", server.root.removesuffix("/data/HiResFITS/"))
    with pytest.raises(GridError, match=r"--root"):  # this proxy makes none
        f.make_plan(BOX, tmp_path, "https://library.invalid/", f.Web(sleep=lambda s: None))
    assert {line.rpartition(" ")[0] for line in server.lines} == {"CONNECT library.invalid:443"}


@pytest.mark.parametrize("connections", [1, 3])
def test_as_many_files_come_at_a_time_as_asked_for(server, bring, connections):
    now, most = [], []

    def slow(handler: Handler, content: bytes) -> None:
        now.append(handler)
        most.append(len(now))
        time.sleep(0.1)
        now.remove(handler)
        whole(handler, content)

    for path in set(server.files) - {WAVE_FILE}:
        server.spoil(path, slow)
    assert_all_there(bring(connections=connections), server)
    assert max(most) == connections


# --- interruptions -----------------------------------------------------------------------------


def what_lacks(server: Library, folder: Path) -> dict[str, int]:
    """The bytes of each file that are not in a folder yet: what a second fetch has to bring."""
    lacking = {
        path: len(content) - parts.Part(folder / path).length
        for path, content in server.files.items()
        if not (folder / path).is_file()
    }
    return {path: count for path, count in lacking.items() if count}


def stop_after(count: int) -> Callable[[str, int, int], None]:
    """Ctrl-C after so many spectra, with others on their way."""

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "spectra fetched" and done == count:
            time.sleep(0.1)
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("connections", [1, 2, 4])
def test_an_interrupted_fetch_loses_nothing_and_repeats_nothing(
    server, bring, tmp_path, monkeypatch, connections
):
    """After three files the server falls silent in the middle of each."""
    monkeypatch.setattr(crew, "JOIN", 0.2)
    gate = threading.Event()

    def stall(handler: Handler, content: bytes) -> None:
        cut_off(4000)(handler, content)
        handler.wfile.flush()
        gate.wait(10)

    paths = sorted(set(server.files) - {WAVE_FILE})
    for path in paths[3:]:
        server.spoil(path, stall, whole)
    with pytest.raises(KeyboardInterrupt):
        bring(progress=stop_after(3), connections=connections)
    gate.set()
    server.wait_until_idle()
    rest = what_lacks(server, tmp_path / "phoenix")
    half = [path for path in rest if rest[path] < len(server.files[path])]
    assert len(rest) == len(NODES) - 3
    assert 1 <= len(half) <= connections
    server.sent.clear()
    server.log.clear()
    server.tricks.clear()
    assert_all_there(bring(), server)
    assert server.sent == rest
    assert {path for _, path, asked in server.gets() if asked == "bytes=4000-"} == set(half)


def test_interrupted_after_the_last_byte(server, bring, tmp_path):
    """Whole but not yet checked and renamed: no byte is fetched again."""
    part = parts.Part(tmp_path / "phoenix" / SUN)
    part.start(parts.Source(server.root + SUN, len(server.files[SUN]), '"one"'))
    part.path.write_bytes(server.files[SUN])
    assert_all_there(bring(), server)
    assert server.gets(SUN) == []


def test_the_plan_counts_what_has_arrived(server, web, bring, tmp_path):
    part = parts.Part(tmp_path / "phoenix" / SUN)
    part.start(parts.Source(server.root + SUN, len(server.files[SUN]), '"one"'))
    part.path.write_bytes(server.files[SUN][:3000])
    plan = f.make_plan(BOX, tmp_path / "phoenix", server.root, web)
    assert plan.size == sum(map(len, server.files.values())) - 3000


def test_one_fetch_at_a_time(bring, tmp_path):
    with (
        parts.sole_use(tmp_path / "phoenix"),
        pytest.raises(InputError, match="Another fetch is at work"),
    ):
        bring()


def test_a_full_disk_is_told_before(bring, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("U", (), {"free": 10})())
    with pytest.raises(InputError, match="make room"):
        bring()


# --- the cache ---------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["shorter", "other bytes", "NaN", "no record"])
def test_damaged_files_of_the_cache_are_fetched_again(server, bring, damage):
    target = bring().plan.folder / SUN
    content = bytearray(target.read_bytes())
    if damage == "shorter":
        target.write_bytes(content[:-2880])
    elif damage in ("other bytes", "NaN"):
        content[3000:3004] = b"\x7f\xc0\x00\x00" if damage == "NaN" else b"\x3f\xc0\x00\x00"
        target.write_bytes(content)
    else:
        target.write_bytes(b"junk")
        target.with_name(f"{target.name}.json").unlink()
    server.log.clear()
    assert_all_there(bring(), server)
    assert [path for _, path, _ in server.gets()] == [SUN]


def test_files_that_were_only_copied_are_kept(server, bring):
    """Copying changes their dates, which is why they are looked at again."""
    for path in bring().plan.folder.rglob("*.fits"):
        path.touch()
    server.log.clear()
    assert_all_there(bring(), server)
    assert server.gets() == []
    assert bring().plan.nothing_to_fetch


def test_good_files_that_somebody_put_there_are_taken(server, bring, tmp_path):
    for path, content in server.files.items():
        (tmp_path / "phoenix" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "phoenix" / path).write_bytes(content)
    assert_all_there(bring(), server)
    assert server.gets() == []
    assert bring().plan.nothing_to_fetch


def test_another_library_at_another_root_is_told_apart(server, bring, web, tmp_path):
    """The same files at another address are kept, other files of the same names are not."""
    bring()
    root = server.root.replace("127.0.0.1", "localhost")
    server.marks = {SUN: '"another"'}
    plan = f.make_plan(BOX, tmp_path / "phoenix", root, web)
    assert [remote.path for remote in plan.missing] == [SUN]
    server.log.clear()
    assert_all_there(f.fetch(plan, web=web), server)
    assert [path for _, path, _ in server.gets()] == [SUN]


def test_where_the_cache_is(monkeypatch, tmp_path):
    import platformdirs

    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert f.cache_folder() == platformdirs.user_cache_path("blase3d") / "phoenix"
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert f.cache_folder() == tmp_path / "phoenix"
    assert f.cache_folder(tmp_path / "x") == tmp_path / "x" / "phoenix"


# --- FTP ---------------------------------------------------------------------------------------


class FtpLibrary(socketserver.ThreadingTCPServer):
    """The library by FTP. `tricks` are how many bytes of a file come, by path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Ftp)
        self.log: list[str] = []
        self.tricks: dict[str, list[int]] = {}
        self.unknown: set[str] = set()
        self.date = "20130314101100"

    @property
    def root(self) -> str:
        return f"ftp://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Ftp(socketserver.StreamRequestHandler):
    """As much of FTP as a client of a public library needs."""

    server: FtpLibrary

    def handle(self) -> None:
        self.folder, self.first = "", 0
        self.door = socketserver.socket.socket()
        self.say("220 library")
        while line := self.rfile.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            self.server.log.append(line)
            known = verb not in self.server.unknown
            getattr(self, verb.lower(), self.other)(rest) if known else self.say("502 what?")
        self.door.close()

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def other(self, rest: str) -> None:
        self.say("200 as you like")

    def user(self, rest: str) -> None:
        self.say("230 welcome")

    def pwd(self, rest: str) -> None:
        self.say(f'257 "/{self.folder}"')

    def cwd(self, rest: str) -> None:
        below = "" if rest == "." else rest
        folder = (below if below.startswith("/") else f"{self.folder}/{below}").strip("/")
        known = any(p.startswith(folder) for p in library())
        if known:
            self.folder = folder
        self.say("250 there" if known else "550 no such folder")

    def pasv(self, rest: str) -> None:
        self.door.close()
        self.door = socketserver.socket.create_server(("127.0.0.1", 0))
        port = self.door.getsockname()[1]
        self.say(f"227 entering (127,0,0,1,{port >> 8},{port & 255})")

    def epsv(self, rest: str) -> None:
        self.say("500 no")

    def rest(self, rest: str) -> None:
        self.first = int(rest)
        self.say("350 from there")

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}".strip("/")

    def size(self, name: str) -> None:
        found = library().get(self.path(name))
        self.say("550 no such file" if found is None else f"213 {len(found)}")

    def mdtm(self, name: str) -> None:
        self.say(f"213 {self.server.date}")

    def send(self, content: bytes) -> None:
        self.say(f"150 opening ({len(content)} bytes)")
        with self.door, self.door.accept()[0] as data:
            data.sendall(content)
        self.say("226 done")

    def list(self, rest: str) -> None:
        below = [p.removeprefix(f"{self.folder}/") for p in library() if p.startswith(self.folder)]
        sizes = {p: len(library()[f"{self.folder}/{p}"]) for p in below if "/" not in p}
        folders = {p.split("/")[0]: 4096 for p in below if "/" in p}
        lines = [
            f"-rw-r--r--    1 1003  1003  {size:10d} Mar 14  2013 {name}\r\n"
            for name, size in {**sizes, **folders}.items()
        ]
        self.send("".join(lines).encode())

    def retr(self, name: str) -> None:
        path, first, self.first = self.path(name), self.first, 0
        if path not in library():
            self.say("550 no such file")
            return
        stops = self.server.tricks.get(path, [])
        self.send(library()[path][first : stops.pop(0) if stops else None])


@pytest.fixture
def ftp(server: Library) -> Iterator[FtpLibrary]:
    with FtpLibrary() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


def asked(ftp: FtpLibrary, *verbs: str) -> list[str]:
    return [line for line in ftp.log if line.split(" ")[0] in verbs]


def test_ftp(ftp, server, web, tmp_path):
    plan = f.make_plan(BOX, tmp_path, ftp.root, web)
    assert plan.exact
    assert plan.size == sum(map(len, library().values()))
    assert asked(ftp, "RETR") == []
    assert_all_there(f.fetch(plan, web=web), server)


def test_ftp_goes_on_inside_a_file(ftp, server, web, tmp_path):
    ftp.tricks[SUN] = [3000, 5000]
    plan = f.make_plan(BOX, tmp_path, ftp.root, web)
    assert_all_there(f.fetch(plan, web=web), server)
    assert asked(ftp, "REST") == ["REST 3000", "REST 5000"]


@pytest.mark.parametrize("unknown", [{"REST"}, {"SIZE", "MDTM"}, {"REST", "SIZE", "MDTM"}])
def test_ftp_servers_that_know_less(ftp, server, web, tmp_path, unknown):
    ftp.unknown = unknown
    ftp.tricks[SUN] = [3000]
    plan = f.make_plan(BOX, tmp_path, ftp.root, web)
    assert_all_there(f.fetch(plan, web=web), server)
    assert asked(ftp, "RETR").count(f"RETR {SUN}") >= 2


def test_ftp_never_joins_two_versions(ftp, server, web, tmp_path):
    part = parts.Part(tmp_path / SUN)
    part.start(parts.Source(ftp.root + SUN, len(library()[SUN]), modified="20120101000000"))
    part.path.write_bytes(bytes(3000))
    plan = f.make_plan(BOX, tmp_path, ftp.root, web)
    assert_all_there(f.fetch(plan, web=web), server)
    assert asked(ftp, "REST") == ["REST 3000"]


def test_ftp_without_a_file_of_the_list(ftp, web, tmp_path, naps):
    box = f.Box(teff=(5000, 5000), logg=(4, 4), feh=(0, 0))
    plan = f.make_plan(box, tmp_path, ftp.root, web)
    (remote,) = plan.missing
    lost = replace(remote, path=remote.path.replace("05000", "05050"))
    done = f.fetch(replace(plan, missing=(lost,)), web=web)
    assert "550 no such file" in done.failed[SUN_LABELS]
    assert naps == []


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch, capsys, server, tmp_path):
    """The command line, with a cache of its own; status, stdout and stderr."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))

    def call(*words: object, answer: str | None = None) -> tuple[int, str, str]:
        box = ["--teff", "5000:5200", "--logg", "4:4.5", "--feh", "-0.5:0", "--root", server.root]
        monkeypatch.setattr(sys, "argv", ["blase3d", "fetch", "phoenix", *box, *map(str, words)])
        stdin = io.StringIO(answer or "")
        monkeypatch.setattr(stdin, "isatty", lambda: answer is not None)
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(cli.err, "_width", 1000)
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return call


def test_command_from_box_to_grid(run, server, tmp_path):
    path = tmp_path / "grid.zarr"
    status, out, _ = run("--wave", "9995:10005", "-o", path, "--yes")
    assert status == 0
    assert f"{len(NODES)} spectra in the box" in out
    assert "hole of the library: teff=5100 logg=4 feh=-0.5" in out
    assert f"Grid of {len(NODES)} spectra" in out
    assert len(open_grid(path)) == len(NODES)
    assert (tmp_path / "cache" / "phoenix" / SUN).is_file()
    server.log.clear()
    status, out, _ = run("--wave", "9998:10002", "-o", path)  # all there: nothing to ask
    assert status == 0
    assert server.gets() == []
    assert open_grid(path).wavelength[0] == 9998.0


def test_command_dry_run_downloads_no_spectrum(run, server, tmp_path):
    status, out, _ = run("--dry-run")
    assert status == 0
    assert f"to fetch: {len(NODES)} spectra" in out
    assert "bytes)" in out
    assert "hole of the library" in out
    assert not [e for e in server.log if e[0] == "GET" and e[1].endswith("fits")]
    assert not (tmp_path / "cache").exists()


def test_command_asks(run, server):
    status, _, err = run()
    assert status == 1
    assert "no terminal to ask" in err
    assert "--yes" in err
    assert run(answer="n\n")[0] == 1
    assert server.gets() == []
    assert run(answer="y\n")[0] == 0
    assert len(server.gets()) == len(NODES)


def test_command_names_what_stays_bad(run, server, tmp_path):
    server.spoil(SUN, error(404))
    status, out, err = run("--yes", "-o", tmp_path / "grid.npz", "--cache", tmp_path / "other")
    assert status == 1
    assert f"failed: {SUN_LABELS}:" in err
    assert "1 spectra could not be had" in err
    assert "Traceback" not in err
    assert f"Grid of {len(NODES) - 1} spectra" in out
    assert (tmp_path / "other" / "phoenix" / WAVE_FILE).is_file()


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_command_interrupted(run, server, tmp_path, blow):
    """Ctrl-C, or worse, in another process: the same command goes on where it was."""
    slow = sorted(set(server.files) - {WAVE_FILE})[4:]
    for path in slow:
        server.spoil(path, drip(0.5, count=3), whole)
    folder = tmp_path / "cache" / "phoenix"
    words = ["--teff", "5000:5200", "--logg", "4:4.5", "--feh", "-0.5:0", "--root", server.root]
    # A shell's background jobs, and what they start, ignore Ctrl-C.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heed}; from blase3d.cli import main; main()"]
    with subprocess.Popen(
        [*command, "fetch", "phoenix", *words, "--yes", "--cache", str(tmp_path / "cache")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 30
        while not any(parts.Part(folder / path).length for path in slow):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(blow)
        _, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "Traceback" not in err
    assert ("goes on from there" in err) == (blow == signal.SIGINT)
    rest = what_lacks(server, folder)
    assert 0 < len(rest) < len(NODES)
    assert any(count < len(server.files[path]) for path, count in rest.items())
    server.wait_until_idle()
    server.sent.clear()
    server.tricks.clear()
    assert run("--yes")[0] == 0
    assert server.sent == rest
    for path, content in server.files.items():
        assert (folder / path).read_bytes() == content


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["--teff", "6000:5000"], "LO not above HI"),
        (["--feh", "solar"], "--feh solar"),
        (["--logg", "9:9.5"], "has no spectrum"),
        (["--wave", "9000"], "LO:HI"),
        (["--wave", "100:200", "--yes"], "choose a range inside"),
        (["-o", "grid.fits"], "expected one that ends in .npz or .zarr"),
        (["-o", "absent/grid.npz"], "no folder absent"),
        (["--root", "here"], "expected an address"),
    ],
)
def test_command_bad_input_gets_a_sentence(run, server, words, word):
    status, _, err = run(*words)
    assert status == 1
    assert word in err
    assert "Traceback" not in err
    assert server.gets() == []


def test_command_takes_one_value_for_a_range(run):
    status, out, _ = run("--feh", "0", "--teff", "5000", "--dry-run")
    assert status == 0
    assert "2 spectra in the box" in out


def test_the_code_of_the_docs_runs(server, monkeypatch, tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "fetch.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    server.files[WAVE_FILE] = in_bytes(fits.HDUList([fits.PrimaryHDU(WAVE - 1400.0)]))
    monkeypatch.setattr(listing, "ROOTS", (server.root,))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "fetch.md", "exec"), names)
    assert len(open_grid(tmp_path / "grid.zarr")) == len(names["grid"]) == len(NODES)


def test_the_layout_served_is_that_of_the_library():
    assert f"{LIBRARY}/Z-0.0/lte05000-4.00-0.0.{LIBRARY}-HiRes.fits" in library()
