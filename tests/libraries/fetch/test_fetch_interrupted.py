"""A fetch that is interrupted goes on where it was, and the cache is looked after."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from phoenix_server import (
    BOX,
    NODES,
    SUN,
    Handler,
    assert_all_there,
    cut_off,
    drip,
    what_lacks,
    whole,
)

from blase3d.errors import InputError
from blase3d.libraries import fetch as f
from blase3d.libraries.fetch import partial_files
from blase3d.libraries.readers.phoenix import WAVE_FILE
from blase3d.runtime.files import CACHE_VARIABLE


def stop_after(count: int) -> Callable[[str, int, int], None]:
    """Ctrl-C after so many spectra, with others on their way."""

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "spectra fetched" and done == count:
            time.sleep(0.1)
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("connections", [1, 2, 4])
def test_an_interrupted_fetch_loses_nothing_and_repeats_nothing(
    server, bring, tmp_path, connections
):
    """After three files the server falls silent in the middle of each."""
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
    part = partial_files.Part(tmp_path / "phoenix" / SUN)
    part.start(partial_files.Version(server.root + SUN, len(server.files[SUN]), '"one"'))
    part.path.write_bytes(server.files[SUN])
    assert_all_there(bring(), server)
    assert server.gets(SUN) == []


def test_the_plan_counts_what_has_arrived(server, web, bring, tmp_path):
    part = partial_files.Part(tmp_path / "phoenix" / SUN)
    part.start(partial_files.Version(server.root + SUN, len(server.files[SUN]), '"one"'))
    part.path.write_bytes(server.files[SUN][:3000])
    plan = f.make_plan(BOX, tmp_path / "phoenix", server.root, web)
    assert plan.size == sum(map(len, server.files.values())) - 3000


def test_one_fetch_at_a_time(bring, tmp_path):
    with (
        partial_files.sole_use(tmp_path / "phoenix"),
        pytest.raises(InputError, match="another fetch is running"),
    ):
        bring()


def test_a_full_disk_is_told_before(bring, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("U", (), {"free": 10})())
    with pytest.raises(InputError, match="make room"):
        bring()


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.long
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
        while not any(partial_files.Part(folder / path).length for path in slow):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(blow)
        _, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "Traceback" not in err
    assert ("same command again" in err) == (blow == signal.SIGINT)
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


# --- the cache -------------------------------------------------------------------------------


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
