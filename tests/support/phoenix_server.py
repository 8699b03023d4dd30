"""A local server with the layout of PHOENIX, which can be made to misbehave."""

from __future__ import annotations

import functools
import io
import itertools
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from astropy.io import fits

from blase3d.libraries import fetch as f
from blase3d.libraries.fetch import partial_files
from blase3d.libraries.readers.phoenix import WAVE_FILE, phoenix_path

WAVE = np.linspace(9990.0, 10010.0, 401)
AXES = ((5000, 5100, 5200), (4.0, 4.5), (-0.5, 0.0), (0.0,))
KEYS = ("PHXTEFF", "PHXLOGG", "PHXM_H", "PHXALPHA")
HOLE = (5100, 4.0, -0.5, 0.0)
NODES = [node for node in itertools.product(*AXES) if node != HOLE]
BOX = f.Box(teff=(5000, 5200), logg=(4.0, 4.5), feh=(-0.5, 0.0))
SUN = phoenix_path(5000, 4.0, 0.0)
SUN_LABELS = "teff=5000 logg=4 feh=0"


def flux_of(teff: float, logg: float, feh: float, alpha: float) -> np.ndarray:
    """Flux per cm, different for every node."""
    depth = 0.3 + logg / 20 + feh / 10 + alpha / 10
    line = depth * np.exp(-(((WAVE - 10000) / 0.5) ** 2))
    return (teff * 1e10 * (1 - line)).astype(np.float32)


def in_bytes(hdus: fits.HDUList) -> bytes:
    stream = io.BytesIO()
    hdus.writeto(stream)
    return stream.getvalue()


def spectrum(node: tuple[float, ...], flux: np.ndarray | None = None, **cards: object) -> bytes:
    """A file of the library: primary image, and a table of abundances."""
    header = fits.Header({**dict(zip(KEYS, node, strict=True)), "PHXCONV": True, **cards})
    image = fits.PrimaryHDU(flux_of(*node) if flux is None else flux, header)
    table = fits.BinTableHDU.from_columns([fits.Column("Fe", "E", array=[7.5])], name="ABUNDANCES")
    return in_bytes(fits.HDUList([image, table]))


def spectra(nodes: Iterable[tuple[float, ...]]) -> dict[str, bytes]:
    """Files of many nodes by path, made from one by replacing labels and flux, which is faster."""
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
    """Apache's table: whole links, truncated names, rounded sizes, links for sorting."""
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
    """With checksums, archives and an editor's backups of files, and a file of another folder."""
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
        pass  # clients that hang up are part of the tests

    def wait_until_idle(self) -> None:
        """Wait until every request is answered."""
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
    """Another length is announced than is sent."""

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
    """Without a stated length: the file ends where the connection ends."""
    handler.start(200, None)
    handler.put(content)


# --- files of a client -------------------------------------------------------------------------


def assert_all_there(done: f.Fetched, server: Library) -> None:
    assert done.failed == {}
    assert len(done.good) == len(NODES)
    for path, content in server.files.items():
        assert (done.plan.folder / path).read_bytes() == content
    assert not list(done.plan.folder.rglob("*.part*"))


def what_lacks(server: Library, folder: Path) -> dict[str, int]:
    """Missing bytes of each file in a folder, which a second fetch has to download."""
    lacking = {
        path: len(content) - partial_files.Part(folder / path).length
        for path, content in server.files.items()
        if not (folder / path).is_file()
    }
    return {path: count for path, count in lacking.items() if count}
