"""The verbs in the help, and the choices of their options (`test_public.py` has the options)."""

from __future__ import annotations

import pytest
import typer
from cli_runner import Done

from blase3d import cli

CHAIN = (
    *("demo", "fetch", "grid", "clone", "build", "validate", "models", "synth"),
    *("spectrum", "infer", "tune", "calibrate", "lines", "figures", "explore", "import-states"),
)


def test_the_help_lists_the_verbs_in_the_order_of_the_chain() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    assert tuple(commands) == CHAIN


@pytest.mark.parametrize(
    ("words", "choices"),
    [
        ("infer x --model y --method", ("gradient", "gp", "posterior")),
        ("validate x --method", ("gradient", "gp", "posterior")),
        ("clone x -o y --medium", ("air", "vacuum")),
        ("figures x -o y --format", ("pdf", "png", "svg")),
    ],
)
def test_a_wrong_choice_is_answered_with_the_choices(run, words: str, choices: tuple[str]) -> None:
    done: Done = run(*words.split(), "nonsense")
    assert done.status == 2
    assert all(f"'{choice}'" in done.err for choice in choices)
