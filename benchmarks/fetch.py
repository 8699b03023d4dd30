"""How expensive is it to fetch the range of the paper, and what is lost by an interruption?

    python benchmarks/fetch.py --pixels 20000 --json fetch.json

A server with the layout of the library has the nodes of the paper, 73 temperatures x 9 gravities x
2 metallicities, without the two that are missing on the real server. `blase3d fetch` lists them
(`--dry-run`), is killed twice, continues, cuts a range into a grid file, and is run again. For each
run: the bytes that the server sent, and those that it had sent before.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from blase3d.libraries.fetch.listing import Box
from blase3d.libraries.readers.phoenix import WAVE_FILE, phoenix_path
from commands import measured

BOX = Box(teff=(2300, 12000), logg=(2, 6), feh=(-0.5, 0))
WORDS = ("--teff", "2300:12000", "--logg", "2:6", "--feh", "-0.5:0", "--wave", "8400:8500")
HOLES = ((7200.0, 2.0, -0.5), (8600.0, 4.5, -0.5))
KILLS = (0.3, 0.6)
"""Parts of the spectra after which the command is killed."""


class Server(ThreadingHTTPServer):
    """Files by path, and how many bytes of each have been sent."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.sent, self.mutex = files, Counter[str](), threading.Lock()

    @property
    def root(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed hangs up."""


class Handler(BaseHTTPRequestHandler):
    """Whole files, parts of them, and lists of folders."""

    server: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        """Headers, and the content of a GET."""
        path = self.path.lstrip("/")
        found = self.server.files.get(path) if not path.endswith("/") else self.listing(path)
        if found is None:
            self.send_error(404)
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(found) - first))
        self.send_header("ETag", '"one"')
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(found) - 1}/{len(found)}")
        self.end_headers()
        if self.command == "GET":
            self.put(path, found[first:])

    def listing(self, folder: str) -> bytes:
        """The names in a folder."""
        below = {p.removeprefix(folder) for p in self.server.files if p.startswith(folder)}
        names = {name.partition("/")[0] + "/" * ("/" in name) for name in below}
        return "".join(f'<a href="{name}">{name}</a>\n' for name in sorted(names)).encode()

    def put(self, path: str, content: bytes) -> None:
        """Send content, and count what of it is of a file."""
        for start in range(0, len(content), 1 << 16):
            piece = content[start : start + (1 << 16)]
            if path in self.server.files:
                with self.server.mutex:
                    self.server.sent[path] += len(piece)
            self.wfile.write(piece)


def make_library(pixels: int) -> dict[str, bytes]:
    """The files: one line that tells the nodes apart, over a flat continuum."""
    wave = np.linspace(8038.0, 12849.0, pixels)
    depth = np.exp(-(((wave - 8450.0) / 5.0) ** 2))
    files = {WAVE_FILE: in_bytes(fits.PrimaryHDU(wave))}
    for node in BOX.nodes():
        if tuple(node.values())[:3] not in HOLES:
            strength = 0.5 + 0.05 * node["logg"] + 0.2 * node["feh"]
            flux = (node["teff"] * 1e10 * (1 - strength * depth)).astype(np.float32)
            files[phoenix_path(**node)] = in_bytes(fits.PrimaryHDU(flux))
    return files


def in_bytes(unit: Any) -> bytes:
    """A FITS file of one unit."""
    stream = BytesIO()
    unit.writeto(stream)
    return stream.getvalue()


def killed(server: Server, words: list[str], share: float) -> dict[str, Any]:
    """Run a command until so much of the spectra is on its way, then kill it."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "blase3d", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        while len(server.sent) < share * len(server.files) and child.poll() is None:
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
    return {"stage": f"killed at {share:.0%}", "seconds": time.perf_counter() - begin}


def run(server: Server, folder: Path) -> list[dict[str, Any]]:
    """All runs of the command, a row for each."""
    words = ["fetch", "phoenix", *WORDS, "--root", server.root, "--cache", str(folder), "--yes"]
    row, said = measured("dry run", *words, "--dry-run")
    print(said)
    rows = [{**row, **sent_by(server)}]
    for share in KILLS:
        rows.append({**killed(server, words, share), **sent_by(server)})
    for stage in ("to the end", "again"):
        row, said = measured(stage, *words, "-o", folder / "grid.zarr")
        rows.append({**row, **sent_by(server)})
        print(said)
    return rows


def sent_by(server: Server) -> dict[str, Any]:
    """So far: files of which something was sent, all bytes, and those sent more than once."""
    with server.mutex:
        twice = sum(max(0, n - len(server.files[path])) for path, n in server.sent.items())
        return {"files": len(server.sent), "bytes": server.sent.total(), "twice": twice}


def main() -> None:
    """Print what the command says, and the table; with --json write the numbers too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, default=20_000, help="of a spectrum")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with Server(make_library(args.pixels)) as server, tempfile.TemporaryDirectory() as name:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        rows = run(server, Path(name))
        total = sum(map(len, server.files.values()))
        server.shutdown()
    print(f"{len(server.files)} files, {total} bytes")
    print(f"{'run':14s} {'s':>7s} {'cpu s':>7s} {'MB':>6s} {'files':>6s} {'bytes':>12s} twice")
    for row in rows:
        spent = (row.get(key, np.nan) for key in ("seconds", "cpu", "peak_mb"))
        print("{:14s} {:7.1f} {:7.1f} {:6.0f}".format(row["stage"], *spent), end=" ")
        print("{files:6d} {bytes:12d} {twice}".format(**row))
    if args.json:
        args.json.write_text(json.dumps({"bytes": total, "runs": rows}, indent=1))


if __name__ == "__main__":
    main()
