"""Files from an unreliable server: retries with increasing waits, resuming inside a file.

`urllib` makes the requests, with the proxies of the environment. Whether the content of a file is
good is decided by a `check` of the caller.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ...errors import GridError, InputError
from ...runtime.files import first_line
from .partial_files import Part, Version, sha256_of

R = TypeVar("R")
Check = Callable[[Path], object]
"""Raises `InputError` if the content of a file is bad."""

CHUNK = 1 << 16
"""Bytes read at a time."""
PROGRESS = 0.05
"""Fraction of a file that has to arrive in an attempt for it to count as progress."""
NEVER = threading.Event()
"""An event that is never set."""
_ABSENT = (404, 410)
_DENIED = (401, 403, 405)
_TEMPORARY = (408, 425, 429, 500, *range(502, 600))
"""Statuses that may change; 501 (method not implemented) will not."""


class _Temporary(Exception):
    """A fault that may pass, after `wait` seconds if the server states them."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


class _Permanent(Exception):
    """A fault that will not pass. `total`: bytes of the file, if an answer 416 states them."""

    def __init__(self, reason: str, status: int = 0, total: int | None = None):
        super().__init__(reason)
        self.status, self.total = status, total


class Stopped(Exception):
    """The download was stopped by its caller."""


@contextmanager
def _classified() -> Iterator[None]:
    """Turn failures of a connection into temporary and permanent faults."""
    try:
        yield
    except urllib.error.HTTPError as failure:
        failure.close()
        reason = f"the server answers {failure.code} {failure.reason}"
        if failure.code not in _TEMPORARY:
            raise _Permanent(reason, failure.code, _total(failure.headers)) from None
        wait = failure.headers.get("Retry-After", "")
        raise _Temporary(reason, float(wait) if wait.isdigit() else 0.0) from None
    except urllib.error.URLError as failure:
        raise _Temporary(str(failure.reason).strip()) from None
    except (OSError, http.client.HTTPException) as failure:
        raise _Temporary(f"{type(failure).__name__}: {first_line(failure)}") from None


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None


def _total(headers: Any) -> int | None:
    """Size (bytes) of the whole file, from Content-Range."""
    return _integer(headers.get("Content-Range", "").rpartition("/")[2])


@dataclass(frozen=True)
class Web:
    """HTTP client with retries. Tests replace the defaults."""

    opener: Any = field(default_factory=urllib.request.build_opener)
    """Has `open(request, timeout)`, like that of urllib.request, which knows the proxies."""
    sleep: Callable[[float], None] = time.sleep
    timeout: float = 30.0
    """Seconds without a byte after which a connection is given up."""
    attempts: int = 5
    """Attempts in a row that may fail without progress."""
    first_wait: float = 1.0
    """Seconds before the second attempt; each further wait is twice as long."""
    longest_wait: float = 60.0
    """Seconds"""

    def text(self, url: str, attempts: int | None = None) -> str | None:
        """Return a page; None if there is none, "" if access is denied."""

        def read() -> str | None:
            try:
                with self._ask(url) as answer, _classified():
                    page = str(answer.read().decode("utf-8", errors="replace"))
            except _Permanent as fault:
                if fault.status not in (*_ABSENT, *_DENIED):
                    raise
                return None if fault.status in _ABSENT else ""
            # Without a stated length, a page that is cut off looks complete.
            opened, closed = (tag in page.lower() for tag in ("<html", "</html"))
            if "Content-Length" not in answer.headers and opened and not closed:
                raise _Temporary("the page is cut off")
            return page

        return self._retry(url, read, attempts)

    def head(self, url: str) -> Version | None:
        """Return the version of a file on the server; None if there is no such file."""

        def read() -> Version | None:
            try:
                with self._ask(url, "HEAD") as answer:
                    size = _integer(answer.headers.get("Content-Length"))
                    return Version.of(url, answer.headers, size)
            except _Permanent as fault:  # a server that refuses HEAD may have the file
                return None if fault.status in _ABSENT else Version(url)

        return self._retry(url, read)

    def fetch(
        self,
        url: str,
        target: Path,
        check: Check,
        size: int | None = None,
        stop: threading.Event = NEVER,
    ) -> None:
        """Download a file to `target`, complete and good, resuming an earlier attempt.

        `size` (bytes) is that known from elsewhere.

        Raises
        ------
        GridError
            The download fails. What has arrived is kept, unless it is damaged.
        Stopped
            `stop` was set.
        """
        part = Part(target)
        best = part.length
        damaged: set[str] = set()

        def download() -> None:
            version = self._complete(url, part, size, stop)
            _refuse_damaged(part, check, damaged)
            part.finish(version)

        def progressed() -> bool:
            nonlocal best
            version, length = part.version(), part.length
            step = CHUNK if version is None or not version.size else PROGRESS * version.size
            gained = length >= best + max(1.0, step)
            best = max(best, length)
            return gained

        self._retry(url, download, None, progressed)

    def _retry(
        self,
        url: str,
        action: Callable[[], R],
        attempts: int | None = None,
        progressed: Callable[[], bool] = lambda: False,
    ) -> R:
        """Repeat an action until it succeeds, or fails too often in a row without progress."""
        allowed, tries = attempts or self.attempts, 0
        while True:
            try:
                return action()
            except _Temporary as fault:
                tries = 1 if progressed() else tries + 1
                if tries >= allowed:
                    raise GridError(
                        f"{url} cannot be fetched in {tries} attempts ({fault}); check the "
                        "connection and run the same command again. What has arrived is kept."
                    ) from fault
                wait = max(self.first_wait * 2 ** (tries - 1), fault.wait)
                self.sleep(min(wait, self.longest_wait))
            except _Permanent as fault:
                raise GridError(f"{url} cannot be fetched: {fault}.") from fault

    @contextmanager
    def _ask(
        self, url: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> Iterator[Any]:
        """The answer to one request."""
        request = urllib.request.Request(
            url, headers={"User-Agent": "blase3d", **(headers or {})}, method=method
        )
        with _classified():
            answer = self.opener.open(request, timeout=self.timeout)
        with answer:
            yield answer

    def _complete(self, url: str, part: Part, size: int | None, stop: threading.Event) -> Version:
        """Download the missing bytes of a part; return its version, complete by its size."""
        known = part.version()
        if known is not None and known.url == url and known.size == part.length:
            return known  # interrupted after the last byte
        try:
            version = self._resume(url, part, known, size, stop)
        except _Permanent as fault:
            if fault.status != 416:  # no such range
                raise
            if known is None or fault.total != part.length:
                raise _changed(part) from None
            return replace(known, size=fault.total)
        if version.size is not None and part.length != version.size:
            raise _Temporary(f"got {part.length} of {version.size} bytes")
        return version

    def _resume(
        self, url: str, part: Part, known: Version | None, size: int | None, stop: threading.Event
    ) -> Version:
        """One request for the missing bytes of a part, or for the whole file."""
        if stop.is_set():
            raise Stopped
        wanted = {} if known is None else _range_headers(known, url, part.length)
        with self._ask(url, headers=wanted) as answer:
            headers = answer.headers
            if known is not None and getattr(answer, "status", None) == 206:
                now = Version.of(url, headers, _total(headers))
                first = re.match(r"\s*bytes\s+(\d+)-", headers.get("Content-Range", ""))
                if first is None or int(first[1]) != part.length or not known.agrees(now):
                    raise _changed(part)
                version = replace(known, url=url, size=known.size or now.size)
            else:
                version = Version.of(url, headers, _agreed_size(headers, size))
                part.start(version)
            _append(answer, part, version.size, stop)
        return version


def _changed(part: Part) -> _Temporary:
    """Drop a part of another version than the server has now."""
    part.drop()
    return _Temporary("the file has changed on the server")


def _agreed_size(headers: Any, size: int | None) -> int | None:
    """Size (bytes) of a file, by its answer and by what is known from elsewhere."""
    stated = _integer(headers.get("Content-Length"))
    if stated is not None and size is not None and stated != size:
        raise _Temporary(f"it comes with {stated} bytes, {size} were announced")
    return size if stated is None else stated


def _range_headers(known: Version, url: str, have: int) -> dict[str, str]:
    """Headers that ask for the bytes after `have`, if the version can be checked."""
    if known.validator is not None:
        return {"Range": f"bytes={have}-", "If-Range": known.validator}
    same = known.url == url and known.size is not None
    return {"Range": f"bytes={have}-"} if same else {}


def _append(answer: Any, part: Part, size: int | None, stop: threading.Event) -> None:
    """Append the content of an answer, up to `size` bytes in all, unbuffered."""
    have = part.length
    with open(part.path, "ab", buffering=0) as stream:
        while size is None or have < size:
            with _classified():
                chunk = answer.read1(CHUNK if size is None else min(CHUNK, size - have))
            if not chunk:
                return
            if part.length != have:  # stopped earlier, and another thread has taken over
                raise Stopped
            stream.write(chunk)
            have += len(chunk)
            if stop.is_set() and have != size:
                raise Stopped


def _refuse_damaged(part: Part, check: Check, damaged: set[str]) -> None:
    """Drop a part with bad content. The same bad content twice is a fault of the server's file."""
    try:
        check(part.path)
    except InputError as fault:
        digest = sha256_of(part.path)
        part.drop()
        if digest in damaged:
            raise _Permanent(f"it came twice with the same damage ({first_line(fault)})") from None
        damaged.add(digest)
        raise _Temporary(first_line(fault)) from None
