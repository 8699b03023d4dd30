"""Terminals: encodings, the amount of output, and options that every command has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cli_runner import status_of

from blase3d import cli
from blase3d.cli.terminal import plain_characters
from blase3d.spectra.formats import write_spectrum
from blase3d.spectra.spectrum import Spectrum

VERBS = [command.callback.__name__ for command in cli.app.registered_commands if command.callback]


@pytest.fixture
def loud() -> Iterator[None]:
    """The amount of output is that of other tests afterwards."""
    yield
    cli.err.quiet = False


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    path = tmp_path / "Ångström.npz"
    write_spectrum(Spectrum(np.linspace(5000.0, 5010.0, 50), np.ones(50)), path)
    return path


def run_module(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "blase3d", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def test_python_m_prints_the_version() -> None:
    from importlib.metadata import version

    done = run_module("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"blase3d {version('blase3d')}")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_help_and_errors_reach_any_terminal(encoding: str, flat: Path) -> None:
    done = run_module("infer", "--help", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    done = run_module("grid", str(flat), PYTHONIOENCODING=encoding)
    assert done.returncode == 1
    assert done.stderr.startswith("blase3d: ")


def test_warnings_to_developers_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from blase3d.cli import _show_warning

    _show_warning("of a library", DeprecationWarning, "numcodecs.py", 1)
    _show_warning("of a spectrum", UserWarning, "reader.py", 1)
    assert capsys.readouterr().err == "warning: of a spectrum\n"


def test_a_backend_of_a_notebook_is_not_needed() -> None:
    code = "from blase3d.cli.support import settle_environment as s; s(); import matplotlib.pyplot"
    environment = {**os.environ, "MPLBACKEND": "module://no_such_notebook.backend"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize("text", ["Å χ² λ/Δλ ± →", "\u2603"])
def test_characters_that_an_encoding_does_not_have_are_replaced(text: str) -> None:
    with pytest.raises(UnicodeEncodeError) as failure:
        text.encode("ascii")
    replaced, end = plain_characters(failure.value)
    assert str(replaced).isascii()
    assert end == failure.value.end


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_short_help_and_output_options(
    verb: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(verb.replace("_", "-"), option) == 0
    text = capsys.readouterr().out
    assert "--quiet" in text
    assert "--verbose" in text


def test_quiet_keeps_errors(loud: None, flat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("grid", flat, "--quiet") == 1
    assert "blase3d: " in capsys.readouterr().err
    assert cli.err.quiet
    assert status_of("--version") == 0
    assert not cli.err.quiet, "a later command is as loud as it is told to be"
