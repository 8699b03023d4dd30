"""The same library by FTP."""

from __future__ import annotations

import socketserver

from phoenix_server import library


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


def asked(ftp: FtpLibrary, *verbs: str) -> list[str]:
    return [line for line in ftp.log if line.split(" ")[0] in verbs]
