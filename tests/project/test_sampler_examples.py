"""Examples with samplers of other packages agree with their page, extras and outputs.

A job of CI runs them (`tools/run_examples.py`); each takes one to four minutes of a processor.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "samplers.md").read_text("utf-8")
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXAMPLES = sorted(set((ROOT / "examples").glob("*.py")) - {ROOT / "examples" / "first_star.py"})


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_on_the_page_with_its_output_and_its_extra(example):
    text = example.read_text("utf-8")
    extra = re.search(r"pip install 'blase3d\[(\w+)\]'", text)[1]
    needed = {re.split(">=", one)[0] for one in PROJECT["optional-dependencies"][extra]}
    assert needed & set(re.findall(r"^(?:import|from) (\w+)", text, re.M))
    assert f"{{literalinclude}} ../examples/{example.name}" in PAGE
    assert f"{{literalinclude}} ../examples/outputs/{example.stem}.txt" in PAGE
    assert (ROOT / "examples" / "outputs" / f"{example.stem}.txt").read_text("utf-8")


def test_continuous_integration_runs_the_examples_with_their_extras():
    extras = {
        re.search(r"pip install 'blase3d\[(\w+)\]'", example.read_text("utf-8"))[1]
        for example in EXAMPLES
    }
    command = r"pip install -e '\.\[(.*)\]' && python tools/run_examples\.py"
    assert set(re.search(command, WORKFLOW)[1].split(",")) == extras
