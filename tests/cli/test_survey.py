"""Surveys: many stars in one command, which may be killed at any moment, with quick fits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import quick_survey
from astropy.table import Table
from quick_survey import answer_of, quick_infer
from toy_models import model_of, small_grid

from blase3d.analysis.many_stars import Labeller, fitted_together
from blase3d.errors import InputError
from blase3d.inference import infer_many
from blase3d.inference.batch import sent
from blase3d.model.model_file import load_model, save_model
from blase3d.spectra.formats import write_spectrum
from blase3d.spectra.formats.stack import open_stack
from blase3d.spectra.spectrum import Spectrum

COUNT, BAD = 7, 3
"""Stars, and one of them whose flux is negative."""
WAVELENGTH = 8482.0 + 0.1 * np.arange(100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, a folder of stars, and a stack of many."""
    folder = tmp_path_factory.mktemp("survey")
    save_model(model_of(small_grid(), meta={"library": {"library": "toy"}}), folder / "toy.zip")
    (folder / "stars").mkdir()
    for i in range(COUNT):
        level = -1.0 if i == BAD else 4.0 + 0.5 * i
        star = Spectrum(WAVELENGTH, np.full(100, level), np.full(100, 0.1), resolution=1e5)
        write_spectrum(star, folder / "stars" / f"{i}.npz")
    write_stack(folder / "stack.npz", 400)
    return folder


def write_stack(path: Path, count: int) -> None:
    levels = 4.0 + np.arange(count) / 1000.0
    flux = levels[:, None] * np.ones(100)
    meta = json.dumps({"medium": "vacuum", "resolution": 1e5})
    np.savez(path, wavelength=WAVELENGTH, flux=flux, error=0.1 * np.ones_like(flux), meta=meta)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(quick_survey, "SECONDS", 0.0)
    monkeypatch.setattr("blase3d.analysis.many_stars.infer", quick_infer)


def words(folder, source, output, *more):
    return ["infer", folder / source, "--model", folder / "toy.zip", "-o", output, *more]


def test_a_folder_gives_a_table_a_log_and_a_status(folder, run, tmp_path, quick):
    output = tmp_path / "table.ecsv"
    done = run(*words(folder, "stars", output))
    table = Table.read(output)
    assert done.status == 3
    assert done.out == f"{output}: 7 stars, 1 failed\n"
    assert list(table["teff"][[0, 1]]) == [4000.0, 4500.0]
    assert table["error"][BAD] == "the flux is negative."
    assert list(table["flag_bits"] & 8) == [0, 0, 0, 0, 0, 8, 8]
    ran = json.loads(table.meta["run"])
    assert set(ran) == {"version", "models", "options"}
    assert len(ran["models"]["toy"]) == 64
    log = (tmp_path / "table.ecsv.log").read_text().splitlines()
    assert len(log) == 1 + COUNT
    assert "3.npz: the flux is negative." in log[1 + BAD]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.ecsv", "table.ecsv.log"]


def test_the_same_command_does_what_is_left(folder, run, tmp_path, quick, monkeypatch):
    output = tmp_path / "table.ecsv"
    run(*words(folder, "stars", output))
    fitted = []
    monkeypatch.setattr(
        "blase3d.analysis.many_stars.infer",
        lambda star, model, **_: fitted.append(star) or quick_infer(star, model),
    )
    done = run(*words(folder, "stars", output))
    assert "6 stars are in table.ecsv already" in done.err
    assert len(fitted) == 1  # the one that failed
    later = output.stat().st_mtime + 1.0
    os.utime(folder / "stars" / "0.npz", (later, later))
    done = run(*words(folder, "stars", output))
    assert "1 of the spectra have changed since" in done.err
    assert len(fitted) == 3
    assert len(set(Table.read(output)["spectrum"])) == len(Table.read(output)) == COUNT
    os.utime(folder / "stars" / "0.npz", (0.0, 0.0))


def test_other_settings_of_one_table_are_refused(folder, run, tmp_path, quick):
    output = tmp_path / "table.ecsv"
    run(*words(folder, "stars", output))
    done = run(*words(folder, "stars", output, "--fix", "vsini=3"))
    assert done.status == 1
    assert "fixed.vsini None, expected 3 as now" in done.err
    assert len(Table.read(output)) == COUNT


def test_settings_that_differ_little_are_other_settings(folder, run, tmp_path, quick):
    output = tmp_path / "table.ecsv"
    run(*words(folder, "stars", output, "--fix", "teff=5772.001"))
    done = run(*words(folder, "stars", output, "--fix", "teff=5772.004"))
    assert done.status == 1
    assert "fixed.teff 5772.001, expected 5772.004 as now" in done.err


def test_when_all_stars_fail_the_status_is_1(folder, run, tmp_path, quick):
    (tmp_path / "bad.lst").write_text(f"{folder / 'stars' / f'{BAD}.npz'}\nabsent.npz\n")
    assert run(*words(folder, tmp_path / "bad.lst", tmp_path / "table.ecsv")).status == 1


def test_json_has_the_rows_of_a_folder(folder, run, quick):
    done = run("infer", folder / "stars", "--model", folder / "toy.zip", "--json")
    rows = json.loads(done.out)
    assert done.status == 1
    assert ["error" in row for row in rows].index(True) == BAD
    assert len(rows) == COUNT


class QuickSurvey:
    """Stars of a stack that are fitted together."""

    fitted, at_once = 0, 100

    def __init__(self, model, wavelength, *, resolution, medium, meta, **settings):
        assert (resolution, medium) == (1e5, "vacuum")
        if settings["continuum_degree"] == 4:
            raise InputError("too high.")

    def infer(self, flux, error, mask=None):
        type(self).fitted += len(flux)
        return [answer_of({"teff": 1000.0 * row.mean()}) for row in flux]


@pytest.mark.parametrize(("degree", "together"), [("3", 400), ("4", 0)])
def test_stars_of_a_large_stack_are_fitted_together_where_possible(
    folder, run, tmp_path, quick, monkeypatch, degree, together
):
    monkeypatch.setattr("blase3d.analysis.many_stars._FEWEST", 100)
    monkeypatch.setattr("blase3d.spectra.formats.stack._BLOCK", 12_800)  # 128 stars
    monkeypatch.setattr("blase3d.inference.survey.survey.Survey", QuickSurvey)
    monkeypatch.setattr(QuickSurvey, "fitted", 0)
    output = tmp_path / "table.ecsv"
    done = run(*words(folder, "stack.npz", output, "--continuum", degree))
    assert done.status == 0, done.err
    assert QuickSurvey.fitted == together
    check_complete(output)


class BrokenPool(Executor):
    """Threads; the worker of one star, and of those that are fitted with it, dies at every try."""

    def __init__(self, deadly):
        self.threads, self.deadly = ThreadPoolExecutor(2), deadly

    def submit(self, fn, /, *args, **named):
        if self.deadly in args[1].names:
            future = Future()
            future.set_exception(BrokenExecutor("killed"))
            return future
        return self.threads.submit(fn, *args, **named)


def test_stars_are_fitted_together_in_a_pool_that_loses_one(folder, monkeypatch):
    monkeypatch.setattr("blase3d.analysis.many_stars._FEWEST", 100)
    monkeypatch.setattr("blase3d.inference.survey.survey.Survey", QuickSurvey)
    stack = open_stack(folder / "stack.npz")
    model = sent(load_model(folder / "toy.zip"))
    labeller = Labeller(("toy", model), (), {}, {"method": "gradient", "continuum_degree": 3})
    found = list(fitted_together(stack, labeller, {"7"}, BrokenPool("3")))
    rows = {row["spectrum"]: row for row in found}
    assert sorted(int(row["spectrum"]) for row in found) == [k for k in range(400) if k != 7]
    lost = [name for name, row in rows.items() if "died 3 times" in row.get("error", "")]
    assert lost == ["3"]
    for name in ("4", "399"):
        assert rows[name]["teff"] == pytest.approx(4000.0 + int(name))


# --- settings in a file ------------------------------------------------------------------------


def test_options_replace_settings_of_a_file(folder, run, tmp_path, quick):
    config = tmp_path / "survey.toml"
    config.write_text(
        f'model = "{folder / "toy.zip"}"\ncontinuum = 5\nrobust = false\nfix = {{ vsini = 2 }}\n'
    )
    output = tmp_path / "table.ecsv"
    given = ["infer", folder / "stars", "-o", output, "--config", config, "--continuum", "4"]
    assert run(*given).status == 3
    options = json.loads(Table.read(output).meta["run"])["options"]
    assert options["continuum_degree"] == 4
    assert options["robust"] is False
    assert options["fixed"] == {"vsini": "2"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("contiuum = 5", "'contiuum', expected names of options"),
        ("continuum =", "expected TOML"),
    ],
)
def test_faults_of_a_settings_file_are_named(folder, run, tmp_path, text, sentence):
    config = tmp_path / "survey.toml"
    config.write_text(text)
    done = run("infer", folder / "stars", "--config", config)
    assert done.status == 1
    assert sentence in done.err


def test_a_plain_line_of_progress_where_there_is_no_terminal(
    folder, run, tmp_path, quick, monkeypatch
):
    monkeypatch.setattr("blase3d.cli.support._BETWEEN_LINES", 0.0)
    done = run(*words(folder, "stars", tmp_path / "table.ecsv"))
    assert "infer: 3 of 7, about 0 min left" in done.err


# --- processes ---------------------------------------------------------------------------------


def start(folder, output, *more):
    """A survey of the stack in a process group of its own."""
    return subprocess.Popen(
        [
            sys.executable,
            quick_survey.__file__,
            *map(str, words(folder, "stack.npz", output, *more)),
        ],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(output):
    """Lines of results so far."""
    path = output.with_name(f"{output.name}.rows")
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(process, output, more_than):
    while process.poll() is None and lines(output) <= more_than:
        time.sleep(0.005)


def check_complete(output):
    """Every star of the stack is in the table, once, with its own answer."""
    table = Table.read(output)
    number = np.array([int(name) for name in table["spectrum"]])
    np.testing.assert_array_equal(np.sort(number), np.arange(400))
    np.testing.assert_allclose(table["teff"], 1000.0 * (4.0 + number / 1000.0), rtol=1e-6)


@pytest.mark.long
def test_sigkill_at_moments_of_chance_loses_and_doubles_nothing(folder, tmp_path):
    output, rng = tmp_path / "table.ecsv", np.random.default_rng(5)
    sizes = []
    for _ in range(10):
        process = start(folder, output)
        wait_for(process, output, lines(output) or 1)
        time.sleep(rng.exponential(0.2))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        sizes.append(lines(output))
    assert sizes == sorted(sizes)  # nothing that was stored is lost
    assert sizes[-1] > sizes[0]
    process = start(folder, output)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert f"{output}: 400 stars, 0 failed" in out
    check_complete(output)


def _is_worker(process):
    return "spawn_main" in " ".join(process.cmdline())


@pytest.mark.long
def test_workers_killed_at_random_stop_nothing(folder, tmp_path):
    output, rng = tmp_path / "table.ecsv", np.random.default_rng(6)
    process = start(folder, output, "--workers", "2")
    killed = 0
    for count in (1, 60, 150):
        wait_for(process, output, count)
        assert process.poll() is None, process.communicate()[1]
        workers = [w for w in psutil.Process(process.pid).children() if _is_worker(w)]
        workers[rng.integers(len(workers))].kill()
        killed += 1
    _, err = process.communicate(timeout=240)
    assert killed == 3
    assert process.returncode == 0, err
    check_complete(output)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_the_command(folder, tmp_path, number):
    output = tmp_path / "table.ecsv"
    process = start(folder, output, "--workers", "2")
    wait_for(process, output, 20)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert len(workers) >= 2
    assert alive == []
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert "the same command continues" in err
        assert 20 <= len(Table.read(output)) < 400


def test_two_commands_do_not_write_one_table(folder, run, tmp_path, quick):
    fcntl = pytest.importorskip("fcntl")
    output = tmp_path / "table.ecsv"
    with open(f"{output}.log", "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        done = run(*words(folder, "stars", output))
    assert done.status == 1
    assert "another command is writing" in done.err
    assert not output.exists()


@pytest.mark.long
def test_a_survey_on_a_scheduler(folder, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs the extra cluster")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        address = cluster.scheduler_address
        output = tmp_path / "table.ecsv"
        more = ("--scheduler", address, "--fix", "vsini=0")
        done = subprocess.run(
            [sys.executable, "-m", "blase3d", *map(str, words(folder, "stars", output, *more))],
            capture_output=True,
            text=True,
        )
    assert done.returncode in (0, 1, 3), done.stderr
    assert len(Table.read(output)) == COUNT


@pytest.mark.long
def test_infer_many_starts_processes(folder):
    model = load_model(folder / "toy.zip")
    found = dict(infer_many([folder / "absent.npz"] * 3, model, workers=2))
    assert sorted(found) == [0, 1, 2]
    assert all("absent.npz" in str(error) for error in found.values())
