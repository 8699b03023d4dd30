"""Fetching from a server that misbehaves: temporary faults, and lasting ones of single files."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from phoenix_server import (
    BOX,
    NODES,
    SUN,
    SUN_LABELS,
    Handler,
    announce,
    assert_all_there,
    cut_off,
    drip,
    error,
    flux_of,
    instead,
    library,
    spectrum,
    unmeasured,
    whole,
)

from blase3d.libraries import fetch as f
from blase3d.libraries import open_grid
from blase3d.libraries.readers.phoenix import WAVE_FILE

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
    """Attempts with progress do not count."""

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
