"""Numbers, pictures and tutorials older than what makes them are listed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from list_outdated import PACKAGED, outdated

SCRIPT, PAGE, PICTURE = "benchmarks/a.py", "docs/a.md", "docs/images/star.png"
NOTEBOOK, MODEL = "docs/tutorials/a.ipynb", PACKAGED.format("vis")
EXAMPLE, OUTPUT = "examples/a.py", "examples/outputs/a.txt"
TEXT = """# Times

`python benchmarks/a.py --model vis` takes:

| s |
|---|
| {} |

## Not measured

1 of 2
"""


@pytest.fixture
def commit(tmp_path: Path):
    """Commit files (a dict of texts), each time an hour later."""
    hours = iter(range(10, 20))

    def git(*words: str, **environment: str) -> None:
        subprocess.run(["git", *words], cwd=tmp_path, check=True, env=os.environ | environment)

    def call(texts: dict[str, str]) -> None:
        for name, text in texts.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        git("add", "-A")
        date = f"2026-01-01T{next(hours)}:00:00Z"
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        git(*who, "commit", "-qm", "a", GIT_COMMITTER_DATE=date, GIT_AUTHOR_DATE=date)

    git("init", "-q")
    return call


def test_what_is_older_than_its_maker_is_listed(tmp_path, commit):
    notebook = '"model = b3.load_model(\\"vis\\")"'
    commit({SCRIPT: "1", MODEL: "1", "tools/make_picture.py": "1"})
    commit({PAGE: TEXT.format(1), PICTURE: "1", NOTEBOOK: notebook})
    assert outdated(tmp_path) == []
    commit({SCRIPT: "2"})
    (sentence,) = outdated(tmp_path)
    assert sentence == (
        "docs/a.md:3 (2026-01-01 11:00) is older than benchmarks/a.py (2026-01-01 12:00)"
    )
    commit({PAGE: TEXT.format(2).replace("1 of 2", "2 of 2")})
    assert outdated(tmp_path) == []
    commit({MODEL: "2"})
    page, tutorial = outdated(tmp_path)
    assert page.startswith(PAGE)
    assert tutorial.startswith(NOTEBOOK)
    assert MODEL in page
    assert MODEL in tutorial
    commit({PAGE: TEXT.format(2).replace("1 of 2", "3 of 4"), "tools/make_picture.py": "2"})
    assert [one.split()[0] for one in outdated(tmp_path)] == [f"{PAGE}:3", PICTURE, NOTEBOOK]


def test_a_script_whose_text_alone_has_changed_is_not_newer(tmp_path, commit):
    commit({SCRIPT: '"""Times."""\nimport numpy\n\nprint(1)\n', MODEL: "1"})
    commit({PAGE: TEXT.format(1)})
    commit({SCRIPT: '"""Seconds."""\nfrom numpy import pi\n\nprint(1)  # s\n'})
    assert outdated(tmp_path) == []
    commit({SCRIPT: '"""Seconds."""\nprint(2)\n'})
    assert [one.split()[0] for one in outdated(tmp_path)] == [f"{PAGE}:3"]


def test_an_output_older_than_its_example_or_model_is_listed(tmp_path, commit):
    commit({EXAMPLE: 'model = b3.load_model("vis")', MODEL: "1"})
    commit({OUTPUT: "1"})
    assert outdated(tmp_path) == []
    commit({MODEL: "2"})
    (sentence,) = outdated(tmp_path)
    assert sentence.startswith(OUTPUT)
    commit({OUTPUT: "2"})
    commit({EXAMPLE: 'b3.load_model("vis")'})
    (sentence,) = outdated(tmp_path)
    assert EXAMPLE in sentence
