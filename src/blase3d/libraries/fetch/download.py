"""Files from a server that may misbehave: retries with back-off, resuming inside a file.

Knows nothing of what a file means: whether its content is good is said by a `check` that the
caller gives. HTTP, HTTPS and FTP go through `urllib`, which honours the environment's proxies.
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
from .ftp import FtpFiles
from .partial_files import Part, Source, sha256_of

R = TypeVar("R")
Check = Callable[[Path], object]
"""Raises InputError if the content of a file is not as it should be."""

CHUNK = 1 << 16
"""Bytes read at once."""
PROGRESS = 0.05
"""The part of a file that has to arrive for a try to count as progress."""
NEVER = threading.Event()
"""Is not set: nobody calls the work off."""
_ABSENT = (404, 410)
_DENIED = (401, 403, 405)
_PASSING = (408, 425, 429, 500, *range(502, 600))
"""What may be otherwise the next time; 501 says that a method is unknown."""


class _Fault(Exception):
    """What went wrong between us and the server."""


class _Passing(_Fault):
    """May be otherwise the next time, after `wait` seconds if the server says so."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


class _Final(_Fault):
    """Will be the same the next time."""

    def __init__(self, reason: str, status: int = 0):
        super().__init__(reason)
        self.status = status


class _NoSuchRange(_Fault):
    """The server has no byte where we wanted to go on; `total`: how many it says there are."""

    def __init__(self, total: int | None):
        super().__init__("it has no such range of bytes")
        self.total = total


class Stopped(Exception):
    """The work was called off."""


@contextmanager
def _judged() -> Iterator[None]:
    """Tell faults that may pass from those that will not."""
    try:
        yield
    except urllib.error.HTTPError as failure:
        failure.close()
        raise _of_status(failure) from None
    except urllib.error.URLError as failure:
        said = str(failure.reason).strip()
        # 550 is an FTP server's word for: there is no such file.
        raise _Final(said, 404) if re.search(r"\b550\b", said) else _Passing(said) from None
    except (OSError, http.client.HTTPException) as failure:
        raise _Passing(f"{type(failure).__name__}: {first_line(failure)}") from None


def _of_status(failure: urllib.error.HTTPError) -> _Fault:
    said = f"the server says {failure.code} {failure.reason}"
    if failure.code == 416:
        return _NoSuchRange(_total(failure.headers))
    if failure.code in _PASSING:
        wait = failure.headers.get("Retry-After", "")
        return _Passing(said, float(wait) if wait.isdigit() else 0.0)
    return _Final(said, failure.code)


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None


def _total(headers: Any) -> int | None:
    """How many bytes a file has, as Content-Range tells."""
    return _whole_number(headers.get("Content-Range", "").rpartition("/")[2])


def _first(headers: Any) -> int | None:
    """The first byte of an answer in part."""
    found = re.match(r"\s*bytes\s+(\d+)-", headers.get("Content-Range", ""))
    return int(found[1]) if found else None


@dataclass(frozen=True)
class Web:
    """How servers are asked. The defaults are the world; tests give another."""

    opener: Any = field(default_factory=lambda: urllib.request.build_opener(FtpFiles))
    """Has `open(request, timeout)`, as that of urllib.request, which knows the proxies."""
    sleep: Callable[[float], None] = time.sleep
    timeout: float = 30.0
    """Seconds without a byte, after which a connection is given up."""
    attempts: int = 5
    """Tries in a row that may fail without progress."""
    first_wait: float = 1.0
    """Seconds before the second try; each further wait is twice as long."""
    longest_wait: float = 60.0

    def text(self, url: str, attempts: int | None = None) -> str | None:
        """A page as text; None: there is none; empty: we may not see it."""

        def read() -> str | None:
            try:
                with self._ask(url) as answer, _judged():
                    # Without an amount, a page that is cut off raises IncompleteRead.
                    page = str(answer.read().decode("utf-8", errors="replace"))
                    _require_end(page, answer.headers)
                    return page
            except _Final as fault:
                if fault.status in (*_ABSENT, *_DENIED):
                    return None if fault.status in _ABSENT else ""
                raise

        return self._patiently(url, read, attempts)

    def head(self, url: str) -> Source | None:
        """What the server says of a file, without its content; None: there is no such file."""

        def read() -> Source | None:
            try:
                with self._ask(url, "HEAD") as answer:
                    size = _whole_number(answer.headers.get("Content-Length"))
                    return Source.of(url, answer.headers, size)
            except _Final as fault:
                # A server that has no HEAD may yet have the file.
                return None if fault.status in _ABSENT else Source(url)

        return self._patiently(url, read)

    def fetch(
        self,
        url: str,
        target: Path,
        check: Check,
        size: int | None = None,
        stop: threading.Event = NEVER,
    ) -> None:
        """Bring a file to `target`, whole and good, going on where an earlier try ended.

        `size` in bytes, if it is known from elsewhere.

        Raises
        ------
        GridError
            It cannot be had. What has come of it is kept, unless it is damaged.
        Stopped
            `stop` was set.
        """
        part = Part(target)
        best = part.length
        damaged: set[str] = set()

        def bring() -> None:
            source = self._complete(url, part, size, stop)
            _refuse_damaged(part, check, damaged)
            part.keep(source)

        def progressed() -> bool:
            nonlocal best
            source, length = part.source(), part.length
            step = CHUNK if source is None or not source.size else PROGRESS * source.size
            gained = length >= best + max(1.0, step)
            best = max(best, length)
            return gained

        self._patiently(url, bring, None, progressed)

    def _patiently(
        self,
        url: str,
        action: Callable[[], R],
        attempts: int | None = None,
        progressed: Callable[[], bool] = lambda: False,
    ) -> R:
        """Try until it works, or has failed too often in a row without progress."""
        allowed, tries = attempts or self.attempts, 0
        while True:
            try:
                return action()
            except _Passing as fault:
                tries = 1 if progressed() else tries + 1
                if tries >= allowed:
                    raise GridError(
                        f"{url} cannot be had in {tries} tries ({fault}): look at the connection "
                        "and run the same again later; what has arrived is kept."
                    ) from fault
                back_off = self.first_wait * 2 ** (tries - 1)
                self.sleep(min(max(back_off, fault.wait), self.longest_wait))
            except _Fault as fault:
                raise GridError(f"{url} cannot be had: {fault}.") from fault

    @contextmanager
    def _ask(
        self, url: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> Iterator[Any]:
        """The answer to one request."""
        request = urllib.request.Request(
            url, headers={"User-Agent": "blase3d", **(headers or {})}, method=method
        )
        with _judged():
            answer = self.opener.open(request, timeout=self.timeout)
        with answer:
            yield answer

    def _complete(self, url: str, part: Part, size: int | None, stop: threading.Event) -> Source:
        """Bring what lacks of a part; what it then is, whole as far as lengths tell."""
        known = part.source()
        if known is not None and known.url == url and known.size == part.length:
            return known  # interrupted after the last byte
        try:
            source = self._go_on(url, part, known, size, stop)
        except _NoSuchRange as fault:
            if known is None or fault.total != part.length:
                part.drop()
                raise _Passing("the file has changed on the server") from None
            return replace(known, size=fault.total)
        if source.size is not None and part.length != source.size:
            raise _Passing(f"got {part.length} of {source.size} bytes")
        return source

    def _go_on(
        self, url: str, part: Part, known: Source | None, size: int | None, stop: threading.Event
    ) -> Source:
        """One request for the rest of a part, or for all of it."""
        if stop.is_set():
            raise Stopped
        wanted = {} if known is None else _range_headers(known, url, part.length)
        with self._ask(url, headers=wanted) as answer:
            if known is not None and getattr(answer, "status", None) == 206:
                source = _continued(known, url, answer.headers, part)
            else:
                source = Source.of(url, answer.headers, _agreed_size(answer.headers, size))
                part.start(source)
            _pour(answer, part, source.size, stop)
        return source


def _require_end(page: str, headers: Any) -> None:
    """A page without a stated length may have been cut off: a list that looks whole is not."""
    lower = page.lower()
    if "Content-Length" not in headers and "<html" in lower and "</html" not in lower:
        raise _Passing("the page is cut off")


def _agreed_size(headers: Any, size: int | None) -> int | None:
    """How many bytes a file has, by its answer and by what is known from elsewhere."""
    told = _whole_number(headers.get("Content-Length"))
    if told is not None and size is not None and told != size:
        raise _Passing(f"it comes with {told} bytes, {size} were announced")
    return size if told is None else told


def _range_headers(known: Source, url: str, have: int) -> dict[str, str]:
    """Headers that ask for the rest of a part, if it can be sure to be of the same version."""
    if known.mark is not None:
        return {"Range": f"bytes={have}-", "If-Range": known.mark}
    same = known.url == url and known.size is not None
    return {"Range": f"bytes={have}-"} if same else {}


def _continued(known: Source, url: str, headers: Any, part: Part) -> Source:
    """The source of an answer in part, which has to continue what we have."""
    now = Source.of(url, headers, _total(headers))
    if _first(headers) != part.length or not known.agrees(now):
        part.drop()
        raise _Passing("the file has changed on the server")
    return replace(known, url=url, size=known.size or now.size)


def _pour(answer: Any, part: Part, size: int | None, stop: threading.Event) -> None:
    """Append what the answer brings, up to `size` bytes in all; each chunk at once on the disk."""
    have = part.length
    with open(part.path, "ab", buffering=0) as stream:
        while size is None or have < size:
            with _judged():
                chunk = answer.read1(CHUNK if size is None else min(CHUNK, size - have))
            if not chunk:
                return
            if part.length != have:  # called off long ago, and the part is another's by now
                raise Stopped
            stream.write(chunk)
            have += len(chunk)
            if stop.is_set() and have != size:
                raise Stopped


def _refuse_damaged(part: Part, check: Check, damaged: set[str]) -> None:
    """Drop a part whose content is bad; the same bad content twice is the server's own."""
    try:
        check(part.path)
    except InputError as fault:
        digest = sha256_of(part.path)
        part.drop()
        if digest in damaged:
            raise _Final(f"it came twice with the same damage ({first_line(fault)})") from None
        damaged.add(digest)
        raise _Passing(first_line(fault)) from None
