"""The farm: whoever does the work, and however often they are killed, the clones are the same."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from toy_models import TINY, small_grid

from blase3d.errors import InputError, WorkerError
from blase3d.fitting.archive import open_archive
from blase3d.fitting.build import build
from blase3d.fitting.clone_grid import clone, misfits
from blase3d.fitting.windows import windows
from blase3d.libraries import write_grid
from blase3d.model import model_windows
from blase3d.model.identity import model_checksum
from blase3d.model.model_file import load_model
from blase3d.runtime.executor import LocalPool, run

GRID = small_grid()
ROUNDS, WINDOWS = TINY.joint.rounds + 1, len(windows(len(GRID.wavelength), TINY.joint))
SURFACE = ("reference", "base", "area", "shape")


@contextmanager
def local(workers):
    """Processes on this machine, and the ids of those that run."""
    pool = LocalPool(workers)
    try:
        yield pool, lambda: list(pool._pool._processes)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def dask():
    """A cluster of two processes, and their ids."""
    distributed = pytest.importorskip("distributed", reason="needs the extra cluster")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor(), lambda: list(client.run(os.getpid).values())


@contextmanager
def here():
    """No executor at all."""
    yield None, list


FARMS = {"here": here, "processes": lambda: local(2), "dask": dask}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The grid and the recipe as files."""
    folder = tmp_path_factory.mktemp("farm")
    write_grid(GRID, folder / "grid.npz")
    (folder / "tiny.json").write_text(TINY.to_json())
    return folder


@pytest.fixture(scope="module")
def undisturbed(files):
    """The clones that a run without any trouble makes."""
    return clone(GRID, files / "undisturbed", TINY)


@pytest.fixture
def narrow(monkeypatch):
    """Windows of 267 pixels in models: three of them."""
    monkeypatch.setattr(model_windows, "WINDOW", 267)


@pytest.fixture
def built(undisturbed, narrow):
    """Checksum of the model that a build without any trouble makes."""
    return model_checksum(build(undisturbed))


def copied(archive, folder):
    """A copy of an archive, without windows that have been built."""
    shutil.copytree(archive.path, folder / "clones", ignore=shutil.ignore_patterns("built"))
    return open_archive(folder / "clones")


def same(one, two):
    """Whether two archives hold the same, to the last bit."""
    for i in range(len(GRID)):
        np.testing.assert_array_equal(one[i].flux, two[i].flux)
    for number in range(ROUNDS):
        for k in range(WINDOWS):
            (ours, squares), (theirs, others) = one.window(k, number), two.window(k, number)
            for name in SURFACE:
                np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
            np.testing.assert_array_equal(squares, others)


def finished(path):
    """Files of what is done in an archive, with their contents and when they were written."""
    archive = open_archive(path)
    nodes = [f"nodes/{i}" for i in range(len(GRID)) if archive.is_done(i)]
    cuts = [
        f"rounds/{number}/{k}"
        for number in range(ROUNDS)
        for k in range(WINDOWS)
        if archive.window(k, number) is not None
    ]
    return {
        file: (file.stat().st_mtime_ns, file.read_bytes())
        for name in nodes + cuts
        for file in (archive.path / name).rglob("*")
        if file.is_file() and ".partial" not in file.name
    }


def killer(stage, processes, killed):
    """Progress callback that kills a worker, once, after the first result of a stage."""

    def kill(now, done, total):
        if now == stage and done == 1 and not killed:
            killed.append(processes()[0])
            os.kill(killed[0], signal.SIGKILL)

    return kill


# One function over many items


def on_a_full_disk(x):
    """Fails as a write does where there is no room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def squared(x):
    """The square of what is not negative; zero is an accident, and 1300 is deadly."""
    if x < 0:
        raise InputError(f"{x} is negative.")
    if x == 0:
        raise ZeroDivisionError("nought")
    if x == 1300:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


@pytest.fixture(scope="module", params=list(FARMS))
def farm(request):
    """Whoever does the work: an executor (or None), and how to know its processes."""
    with FARMS[request.param]() as made:
        yield made


class TestAnyFarm:
    """What holds whoever does the work."""

    @pytest.mark.long
    def test_every_item_has_its_result(self, farm):
        assert dict(run(squared, range(1, 12), farm[0])) == {x: x * x for x in range(1, 12)}
        assert list(run(squared, [], farm[0])) == []

    def test_an_item_at_fault_stops_no_other(self, farm):
        found = dict(run(squared, [3, -1, 0, 4], farm[0]))
        assert (found[3], found[4]) == (9, 16)
        assert str(found[-1]) == "-1 is negative."
        assert isinstance(found[0], WorkerError)
        assert "ZeroDivisionError: nought" in str(found[0])

    def test_a_full_disk_is_named(self, farm):
        found = dict(run(on_a_full_disk, [3], farm[0]))
        assert str(found[3]) == (
            "a file cannot be read or written (OSError: [Errno 28] No space left on device); check "
            "the path, the disk and the connection, and try again."
        )

    def test_items_are_drawn_only_as_room_is_free(self, farm):
        drawn = []
        results = run(squared, (drawn.append(x) or x for x in range(1, 101)), farm[0])
        next(results)
        assert len(drawn) <= 8
        assert len(list(results)) == 99

    @pytest.mark.long
    def test_the_clones_are_the_same(self, farm, undisturbed, tmp_path):
        same(clone(GRID, tmp_path / "clones", TINY, farm[0]), undisturbed)

    @pytest.mark.long
    def test_a_killed_worker_stops_nothing(self, farm, undisturbed, tmp_path):
        executor, processes = farm
        if executor is None:
            pytest.skip("there is no worker")
        killed = []
        kill = killer("fit lines, round 1 of 2", processes, killed)
        archive = clone(GRID, tmp_path / "clones", TINY, executor, kill)
        assert killed
        assert archive.failed == {}
        same(archive, undisturbed)

    @pytest.mark.long
    def test_a_killed_worker_does_not_stop_a_build(self, farm, undisturbed, built, tmp_path):
        executor, processes = farm
        if executor is None:
            pytest.skip("there is no worker")
        killed = []
        kill = killer("windows", processes, killed)
        clones = copied(undisturbed, tmp_path)
        assert model_checksum(build(clones, kill, executor=executor)) == built
        assert killed


@pytest.mark.long
def test_an_item_that_kills_every_worker_is_given_up():
    with local(2) as (pool, _):
        found = dict(run(squared, [2, 1300, 3], pool))
    assert (found[2], found[3]) == (4, 9)
    assert "its worker died 3 times" in str(found[1300])
    assert str(found[1300]).endswith("if memory ran out, give fewer workers, and try again.")


# The command, and its end


def start(files, path, *words, grid="grid.npz"):
    """`blase3d clone` in a process group of its own."""
    code = "from blase3d.cli import main; main()"
    verb = ["clone", files / grid, "-o", path, "--recipe", files / "tiny.json"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, [*verb, *(words or ("--workers", "2"))])],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process, timeout=240):
    """Status, stdout and stderr of a command."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


KILLS = 4


def begun(path):
    """How many nodes and windows are there, or being written."""
    return len([*path.glob("nodes/*/flux"), *path.glob("rounds/*/*/squares")])


@pytest.mark.long
def test_a_farm_killed_again_and_again_loses_nothing(files, undisturbed, tmp_path):
    """SIGKILL to all of its processes, at moments of chance after the first result of each run."""
    path, rng = tmp_path / "clones", np.random.default_rng(20)
    kept, cut_short, sizes = {}, 0, set()
    # A run that is killed while it writes its first result adds none, as on a busy machine.
    while cut_short < KILLS or (len(sizes) < 3 and cut_short < 3 * KILLS):
        before, process = begun(path), start(files, path)
        while process.poll() is None and begun(path) == before:
            time.sleep(0.002)
        time.sleep(rng.exponential(0.03))
        if process.poll() is not None:  # there was nothing left to do
            process.communicate()
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        cut_short += 1
        found = finished(path)
        assert {file: found.get(file) for file in kept} == kept
        kept = found
        sizes.add(len(found))
    assert cut_short >= 4
    assert len(sizes) >= 3  # the runs got on
    status, _, err = ended(start(files, path))
    assert status == 0, err
    found = finished(path)
    assert {file: found.get(file) for file in kept} == kept
    same(open_archive(path), undisturbed)


def windows_built(archive):
    """Files of the windows that have been built, with when they were written, but for the error
    modes, which are written when all are there."""
    groups = [path for path in archive.path.glob("built/*/*") if path.name.isdigit()]
    done = [path for path in groups if archive.has_built(f"{path.parent.name}/{path.name}")]
    return {
        file: (file.stat().st_mtime_ns, file.read_bytes())
        for path in done
        for file in path.rglob("*")
        if file.is_file() and "error_modes" not in file.parts and ".partial" not in file.name
    }


def start_build(archive, model):
    """`blase3d build` with windows of 267 pixels, in a process group of its own."""
    code = (
        "from blase3d.model import model_windows; model_windows.WINDOW = 267; "
        "from blase3d.cli import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "build", archive.path, "-o", model],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.long
def test_a_build_that_is_killed_loses_nothing(undisturbed, built, tmp_path):
    archive = copied(undisturbed, tmp_path)
    process = start_build(archive, tmp_path / "model.zip")
    while process.poll() is None and not windows_built(archive):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    kept = windows_built(archive)
    assert kept
    assert not (tmp_path / "model.zip").exists()
    status, _, err = ended(start_build(archive, tmp_path / "model.zip"))
    assert status == 0, err
    found = windows_built(archive)
    assert {file: found[file] for file in kept} == kept
    assert len(found) > len(kept)
    assert model_checksum(load_model(tmp_path / "model.zip")) == built


@pytest.mark.long
def test_two_farms_work_on_one_archive(files, undisturbed, tmp_path):
    both = [start(files, tmp_path / "clones", "--workers", "1") for _ in range(2)]
    for status, out, err in map(ended, both):
        assert status == 0, err
        assert "12 of 12 nodes are cloned" in out
    same(open_archive(tmp_path / "clones"), undisturbed)


@pytest.mark.long
def test_a_scheduler_by_its_address(files, undisturbed, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs the extra cluster")
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        process = start(files, tmp_path / "c", "--scheduler", cluster.scheduler_address)
        status, out, err = ended(process)
    assert status == 0, err
    assert "12 of 12" in out
    same(open_archive(tmp_path / "c"), undisturbed)


# Nodes that cannot be cloned

FAULTS = {
    1: ("a pixel that is not a number", "not finite"),
    3: ("no flux", "no positive flux"),
    6: ("a pixel of 1e30", "1e+30 continua at"),
    8: ("negative flux", "no positive flux"),
    10: ("flux of another unit", "normalise"),
}


def with_faults(path):
    """The grid with nodes that no lines can be fitted to."""
    with np.load(path) as arrays:
        content = dict(arrays)
    flux, continuum = content["flux"].copy(), content["continuum"]
    flux[1, 100] = np.nan
    flux[3] = 0.0
    flux[6, 50] = 1e30 * continuum[6, 50]
    flux[8] *= -1.0
    flux[10] *= 1e6
    np.savez(path.with_name("faults.npz"), **{**content, "flux": flux})


@pytest.mark.long
def test_nodes_that_cannot_be_cloned_are_told_and_the_others_finish(files, tmp_path):
    with_faults(files / "grid.npz")
    path = tmp_path / "clones"
    status, out, err = ended(start(files, path, "--workers", "1", grid="faults.npz"))
    assert status == 1
    assert "7 of 12 nodes are cloned" in out
    assert "Traceback" not in err
    for i, (_, word) in FAULTS.items():
        told = [line for line in err.splitlines() if f"failed: {GRID.describe(i)}:" in line]
        assert len(told) == 1
        assert word in told[0]
    archive = open_archive(path)
    assert list(archive.failed) == list(FAULTS)
    rms = misfits(archive)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(rms)), list(FAULTS))
    assert np.nanmax(rms) < 0.1


@pytest.mark.long
def test_when_no_node_can_be_cloned(files, tmp_path):
    with np.load(files / "grid.npz") as arrays:
        content = {**arrays, "flux": np.zeros_like(arrays["flux"])}
    np.savez(files / "nothing.npz", **content)
    process = start(files, tmp_path / "c", "--workers", "1", grid="nothing.npz")
    status, out, err = ended(process)
    assert (status, out) == (1, "")
    assert "no node can be cloned" in err
    assert "Traceback" not in err
