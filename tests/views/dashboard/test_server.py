"""Who is let in to the dashboard, and how much may be said to it."""

from __future__ import annotations

import asyncio
import threading
from base64 import b64encode
from contextlib import closing
from http.client import HTTPConnection

import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id
from tornado.httpclient import HTTPRequest
from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect
from toy_models import model_of

from blase3d.errors import InputError
from blase3d.libraries.toy import toy_grid
from blase3d.views.dashboard import server
from blase3d.views.dashboard.session import make_session

pytestmark = pytest.mark.lowest

AXES = {"teff": (5250.0, 5750.0), "logg": (4.25, 4.75), "feh": (-0.25, 0.25)}


@pytest.fixture(scope="module")
def shop():
    made = make_session(model_of(toy_grid(AXES)))
    yield made
    made.close()


def test_origins_are_the_servers_own_names():
    assert server.origins_of("localhost", 5006) == ["localhost:5006", "127.0.0.1:5006"]
    assert server.origins_of("10.0.0.7", 80) == ["10.0.0.7:80"]
    assert server.origins_of("localhost", 1, ["localhost:9000"])[-1] == "localhost:9000"
    for wrong in ("*", "*:*", "http://x:1", "x"):
        with pytest.raises(InputError, match="expected HOST:PORT"):
            server.origins_of("localhost", 1, [wrong])


@pytest.fixture
def served(shop, monkeypatch):
    """A server in a thread, that takes messages of 100 kB."""
    monkeypatch.setattr(server, "_MESSAGE", 100_000)
    started, holder = threading.Event(), {}

    def run():
        asyncio.set_event_loop(asyncio.new_event_loop())
        holder["server"] = made = server.make_server(shop, port=None)
        holder["loop"] = IOLoop.current()
        started.set()
        made.io_loop.start()
        made.stop()
        made.io_loop.close(all_fds=True)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(30)
    yield holder["server"]
    holder["loop"].add_callback(holder["loop"].stop)
    thread.join(30)


def knock(made, origin):
    """With what status a page of this origin is met that wants to connect."""
    token = generate_jwt_token(generate_session_id())
    headers = {
        "Origin": origin,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": f"bokeh, {token}",
    }
    with closing(HTTPConnection("localhost", made.port, timeout=20)) as line:
        line.request("GET", "/ws", headers=headers)
        with line.getresponse() as answer:
            return answer.status


def test_pages_of_other_origins_are_refused(served):
    for origin in ("http://evil.example", f"http://evil.example:{served.port}", "null"):
        assert knock(served, origin) == 403
    assert knock(served, f"http://localhost:{served.port}") == 101


async def converse(made, flood):
    """Ask for the document, then send so much: what the page hears after that."""
    token = generate_jwt_token(generate_session_id())
    request = HTTPRequest(
        f"ws://localhost:{made.port}/ws", headers={"Origin": f"http://localhost:{made.port}"}
    )
    line = await websocket_connect(request, subprotocols=["bokeh", token])
    try:
        async with asyncio.timeout(30.0):
            # the server cannot hear anything before it has sent its greeting
            for _ in range(3):
                await line.read_message()
            for part in ('{"msgid": "1", "msgtype": "PULL-DOC-REQ"}', "{}", "{}"):
                await line.write_message(part)
            # pictures may come first, as bytes
            while "PULL-DOC-REPLY" not in str(await line.read_message()):
                pass
            await line.write_message(flood)
            while (heard := await line.read_message()) is not None:
                pass
            return heard
    finally:
        line.close()
        await asyncio.sleep(0.1)


def test_it_listens_on_this_machine_alone(served):
    assert served.address == "localhost"
    addresses = {sock.getsockname()[0] for sock in served._http._sockets.values()}
    assert addresses <= {"127.0.0.1", "::1"}
    assert server.url_of(served) == f"http://localhost:{served.port}/"


def test_messages_over_the_limit_close_the_connection(served):
    assert asyncio.run(converse(served, "x" * 200_000)) is None


def test_a_port_that_is_taken_is_named(served):
    with pytest.raises(InputError, match=f"localhost:{served.port}"):
        server.free_port("localhost", served.port)
    assert server.free_port("localhost", None) > 0
