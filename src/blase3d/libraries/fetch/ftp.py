"""FTP for `urllib` that can go on inside a file, and tell a size without fetching anything.

Answers are as those of HTTP: HEAD and Range are heeded, sizes and dates are in the headers, and the
status of a part is 206. A server that cannot begin in the middle (REST) gives the whole file.
"""

from __future__ import annotations

import ftplib
import re
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from io import BytesIO
from typing import IO, Any
from urllib.response import addclosehook, addinfourl

PORT = 21


class FtpFiles(urllib.request.FTPHandler):
    """A handler for `urllib.request.build_opener`, in the place of its own for FTP."""

    def ftp_open(self, req: urllib.request.Request) -> addinfourl:
        """The answer to a request for a file; for a folder, its long listing.

        Raises
        ------
        urllib.error.URLError
            With what the server says; 550 is its word for: there is no such file.
        """
        if req.full_url.endswith("/"):
            return super().ftp_open(req)
        try:
            return _answer(req)
        except (ftplib.Error, EOFError) as failure:
            raise urllib.error.URLError(str(failure) or "it hangs up") from failure


def _answer(request: urllib.request.Request) -> addinfourl:
    parts = urllib.parse.urlsplit(request.full_url)
    server = ftplib.FTP(timeout=request.timeout)
    try:
        server.connect(parts.hostname or "", parts.port or PORT)
        server.login(parts.username or "", parts.password or "")
        return _file(server, urllib.parse.unquote(parts.path).lstrip("/"), request)
    except BaseException:
        server.close()
        raise


def _file(server: ftplib.FTP, path: str, request: urllib.request.Request) -> addinfourl:
    server.voidcmd("TYPE I")
    headers, size = _facts(server, path)
    start, stream = 0, addclosehook(BytesIO(), server.close)
    if request.get_method() != "HEAD":
        start, stream = _transfer(server, path, _first_byte(request))
    if size is not None:
        headers["Content-Length"] = str(size - start)
        headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
    return addinfourl(stream, headers, request.full_url, 206 if start else 200)


def _facts(server: ftplib.FTP, path: str) -> tuple[Message, int | None]:
    """What the server says of a file: its date, as a header, and its size in bytes."""
    headers = Message()
    size, date = (_reply(server, f"{command} {path}") for command in ("SIZE", "MDTM"))
    if date is not None:
        headers["Last-Modified"] = date
    return headers, int(size) if size is not None and size.isdigit() else None


def _reply(server: ftplib.FTP, command: str) -> str | None:
    """The value that a command is answered with; None from a server that does not know it."""
    try:
        answer = server.sendcmd(command)
    except ftplib.error_perm as failure:
        if str(failure).startswith("550"):
            raise
        return None
    return answer[4:].strip() if answer.startswith("213") else None


def _first_byte(request: urllib.request.Request) -> int:
    found = re.match(r"bytes=(\d+)-$", request.get_header("Range", "") or "")
    return int(found[1]) if found else 0


def _transfer(server: ftplib.FTP, path: str, start: int) -> tuple[int, Any]:
    """Where a file begins to come (bytes), which is `start` if the server can, and its stream."""
    try:
        connection = server.transfercmd(f"RETR {path}", start or None)
    except ftplib.error_perm as failure:
        if not start or str(failure).startswith("550"):
            raise
        return _transfer(server, path, 0)
    stream: IO[bytes] = connection.makefile("rb")
    connection.close()  # the stream keeps it open
    return start, addclosehook(stream, server.close)
