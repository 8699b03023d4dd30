"""What the pages tell a reader to type works: Python runs, commands are those of the program.

A page's blocks run one after the other in one namespace, in a folder with what the quickstart made.
Where `<!-- not run: why -->` stands above, they are compiled or parsed only.
"""

from __future__ import annotations

import ast
import json
import re
import runpy
import shlex
import shutil
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import typer
from astropy.table import Table

import blase3d
from blase3d import cli
from blase3d.libraries import write_grid
from blase3d.libraries.packaged import (
    LIBRARY,
    STAR,
    STARS,
    noisy_star,
    packaged_grid,
    packaged_star,
)
from blase3d.runtime.units import vacuum_to_air
from blase3d.spectra.formats import write_spectrum
from blase3d.views.flag_advice import _ADVICE
from run_tutorials import digest, stale

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NOTEBOOKS = sorted((DOCS / "tutorials").glob("*.ipynb"))


def prose(path: Path) -> str:
    """A page, or the text of a notebook without its code."""
    text = path.read_text("utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    return "\n\n".join("".join(cell["source"]) for cell in cells)


PAGES = {
    page.relative_to(ROOT).as_posix(): prose(page)
    for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md")), *NOTEBOOKS)
}
QUICKSTART = "docs/quickstart.md"
ELSEWHERE = {
    "docs/fetch.md": "libraries/fetch/test_fetch_command.py",
    "docs/own-grid.md": "libraries/test_page_own_grid.py",
}
"""Pages whose blocks need a world of their own, and the tests that run them in it."""
EXTRAS = {"docs/lines.md": "pyemili"}
"""Modules that pages need beyond what the tests do."""
WRONG_USAGE = typer.BadParameter.__base__
"""Of click, or of what typer has of it."""
QUICK = ("grid", "synth", "lines", "infer", "validate")
"""Verbs that are run too, if not with the sampler; others take long, or have no end."""
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run: [^\n]+) -->\n\n)?"
    r"(?:^```(?P<kind>[^\n]*)\n(?P<fenced>.*?)^```$|"
    r"(?P<indented>^    \S[^\n]*\n(?:(?:    [^\n]*)?\n)*))",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """Code on a page, of a `kind` (python, toml, or nothing: a terminal)."""

    kind: str
    code: str
    run: bool


def blocks(text: str) -> list[Block]:
    """The blocks of a page."""
    return [
        Block(found["kind"] or "", found["fenced"] or found["indented"], found["mark"] is None)
        for found in _BLOCK.finditer(text)
    ]


def python(page: str) -> list[Block]:
    return [block for block in blocks(PAGES[page]) if block.kind == "python"]


def commands(page: str) -> list[tuple[list[str], bool]]:
    """Commands of blase3d, in words, and whether they may be run."""
    found = []
    for block in blocks(PAGES[page]):
        for line in block.code.splitlines() if not block.kind else ():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True) if "blase3d " in part else []
                while words and "=" in words[0]:  # variables of the environment
                    words = words[1:]
                if words[:1] == ["blase3d"]:
                    found.append((words[1:], block.run))
    return found


WITH_PYTHON = [page for page in PAGES if python(page)]
WITH_COMMANDS = [page for page in PAGES if commands(page)]


def execute(page: str, folder: Path) -> dict[str, object]:
    """Run the blocks of a page in a folder."""
    names: dict[str, object] = {"__name__": page}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for number, block in enumerate(python(page)):
            code = compile(block.code, f"{page}, block {number + 1}", "exec")
            if block.run:
                with redirect_stdout(StringIO()) as printed:
                    exec(code, names)
                check_output(page, block, printed.getvalue())
    return names


def check_output(page: str, block: Block, printed: str) -> None:
    """Compare what a block printed with the output below it, if the page shows one: the same words,
    and numbers within a fifth or 0.1."""
    shown = re.search(re.escape(block.code) + r"```\n\n```text\n(.*?)```", PAGES[page], re.S)
    if shown is None:
        return
    number = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
    assert re.sub(number, "#", printed).split() == re.sub(number, "#", shown[1]).split()
    found, expected = (
        [float(one) for one in re.findall(number, text)] for text in (printed, shown[1])
    )
    np.testing.assert_allclose(found, expected, rtol=0.2, atol=0.1)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """What the quickstart left: a folder, and names."""
    folder = tmp_path_factory.mktemp("quickstart")
    return folder, execute(QUICKSTART, folder)


@pytest.fixture(scope="module")
def world(quickstart):
    """The same folder, with all files that pages name."""
    folder, names = quickstart
    star, _ = noisy_star()
    write_spectrum(star, folder / "star.npz")
    in_air(star).write(folder / "star.fits")
    write_grid(packaged_grid(LIBRARY).cut(8656, 8670), folder / "library.npz")
    write_grid(packaged_grid(STAR).cut(8656, 8670), folder / "others.npz")
    blase3d.write_spectrum(sun(names["model"]), folder / "sun.ecsv")
    np.savez(folder / "stack.npz", **stack_of(star))
    (folder / "blase3d-demo").mkdir()
    for place in ("one.zip", "other.zip", "blase3d-demo/model.zip"):
        shutil.copy(folder / "model.zip", folder / place)
    shutil.copy(folder / "star.npz", folder / "blase3d-demo" / "star.npz")
    for name in STARS:
        blase3d.write_spectrum(packaged_star(name), folder / "blase3d-demo" / f"{name}.npz")
    return folder


def sun(model):
    flux = model.flux(teff=5772, logg=4.44, feh=0.0, resolution=50_000)
    return blase3d.Spectrum(model.wavelength, flux, resolution=50_000.0)


def stack_of(star):
    """What the page of surveys makes for its command."""
    meta = json.dumps({"medium": "vacuum", "resolution": star.resolution})
    rows = {"flux": [star.flux] * 2, "error": [star.error] * 2}
    return {"wavelength": star.wavelength, **rows, "meta": meta}


def in_air(star):
    """What a file of others has: wavelengths in air, which it does not say."""
    columns = {"wavelength": vacuum_to_air(star.wavelength), "flux": star.flux, "error": star.error}
    return Table({name: np.asarray(values) for name, values in columns.items()})


# --- Python ------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_quickstart_finds_the_star(quickstart):
    folder, names = quickstart
    for name, near in (("teff", 100), ("logg", 0.2), ("feh", 0.1)):
        assert abs(names["answer"].labels[name].value - names["truth"][name]) < near
    assert re.fullmatch(r"teff 5\S+ ± \S+, logg .* \(gradient, flags: \d\)", str(names["answer"]))
    assert "<html" in (folder / "star.html").read_text("utf-8")


@pytest.mark.parametrize("page", [p for p in WITH_PYTHON if p not in (QUICKSTART, *ELSEWHERE)])
@pytest.mark.long
def test_blocks_run(page, world):
    if page in EXTRAS:
        pytest.importorskip(EXTRAS[page], reason="the page needs an extra")
    execute(page, world)


def test_pages_that_run_elsewhere_do():
    for page, module in ELSEWHERE.items():
        assert page in WITH_PYTHON
        assert Path(page).name in (ROOT / "tests" / module).read_text("utf-8")


@pytest.mark.long
def test_the_example_for_newcomers_finds_the_star(quickstart, tmp_path, monkeypatch, capsys):
    """On the clones of the quickstart, which are those that it would make."""
    folder, _ = quickstart
    shutil.copytree(folder / "clones.zarr", tmp_path / "first-star" / "clones.zarr")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "examples" / "first_star.py"), run_name="__main__")
    printed = capsys.readouterr().out
    (teff, truth) = re.search(r"teff: (\S+) ± \S+ \(truth (\S+)\)", printed).groups()
    assert abs(float(teff) - float(truth)) < 100
    assert (tmp_path / "first-star" / "star.html").exists()


# --- commands ----------------------------------------------------------------------------------


def parsed(words: list[str]) -> None:
    """Raise `WRONG_USAGE` for a command that the program would not take."""
    command, rest = typer.main.get_command(cli.app), words
    while hasattr(command, "resolve_command"):
        context = command.make_context("blase3d", [], resilient_parsing=True)
        context.resilient_parsing = False
        _, command, rest = command.resolve_command(context, rest)
    command.make_context("blase3d", list(rest))


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands_are_those_of_the_program(page):
    for words, _ in commands(page):
        parsed(words)


@pytest.mark.parametrize("words", ["infr star.fits", "infer star.fits --modle m", "synth m.zip"])
def test_wrong_commands_are_told(words):
    with pytest.raises(WRONG_USAGE):
        parsed(words.split())


@pytest.mark.parametrize("page", [p for p in WITH_COMMANDS if p not in ELSEWHERE])
@pytest.mark.long
def test_quick_commands_run(page, world, monkeypatch, run):
    monkeypatch.chdir(world)
    for words, runs in commands(page):
        if runs and words[0] in QUICK and "posterior" not in words:
            done = run(*(name for word in words for name in expanded(word)))
            assert done.status == 0, (words, done.err)


def expanded(word: str) -> list[str]:
    """As a shell does."""
    return sorted(path.name for path in Path().glob(word)) if "*" in word else [word]


def test_verbs_within_sentences_exist():
    verbs = set(typer.main.get_command(cli.app).commands)
    for page, text in PAGES.items():
        assert set(re.findall(r"`blase3d ([a-z][\w-]*)", text)) <= verbs, page


# --- the site ----------------------------------------------------------------------------------


def test_every_public_name_has_its_place_on_the_page_of_names():
    shown = re.findall(r"^\.\. auto\w+:: blase3d\.(\S+)$", PAGES["docs/api.md"], re.M)
    public = {f"{home}.{name}" for home, names in blase3d._HOMES.items() for name in names}
    assert public <= set(shown)
    assert len(shown) == len(set(shown))


def test_every_flag_is_on_the_page_of_troubleshooting():
    page = PAGES["docs/troubleshooting.md"]
    assert [one.phrase for one in _ADVICE if f"`{one.phrase}`" not in page] == []


def test_messages_on_the_page_of_troubleshooting_are_those_of_the_package():
    section = PAGES["docs/troubleshooting.md"].partition("\n## Messages\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([^`]+)` \|", section, re.M)
    texts = "\n".join(constants())
    assert len(listed) > 30
    assert [message for message in listed if message not in texts] == []


def test_terms_of_the_glossary_are_in_order():
    terms = re.findall(r"^\*\*(.+)\*\*\n: ", PAGES["docs/glossary.md"], re.M)
    assert len(terms) > 90
    assert terms == sorted(set(terms), key=str.casefold)


def constants():
    """Texts of the package without docstrings, those with values as well, with … for each value."""
    for path in (ROOT / "src" / "blase3d").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if node in docstrings:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", None) for part in node.values)
                yield "".join(part if isinstance(part, str) else "…" for part in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere_in_the_repository(page):
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", PAGES[page]):
        if "://" not in link:
            assert ((ROOT / page).parent / link).exists(), link


def test_files_named_in_contributing_exist():
    """The table of where changes go names files of the package or of the repository."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = set(re.findall(r"`((?:[\w.-]+/)*[\w-]+(?:\.py|/))`", text)) - {"site/"}
    homes = (ROOT, ROOT / "src" / "blase3d")
    assert len(named) > 20
    assert [path for path in named if not any((home / path).exists() for home in homes)] == []


def test_notebooks_show_the_outputs_of_their_code():
    assert stale(NOTEBOOKS) == [], "run make tutorials"


def test_continuous_integration_executes_the_notebooks_with_their_extras():
    extras = {
        extra
        for path in NOTEBOOKS
        for extra in re.findall(r"pip install 'blase3d\[(\w+)\]'", path.read_text("utf-8"))
    }
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    found = re.search(r"'\.\[(.*)\]' && python tools/run_tutorials\.py --all", workflow)
    assert {*extras, "docs"} <= set(found[1].split(","))


def test_changed_code_makes_a_notebook_stale(tmp_path):
    cells = [{"cell_type": "code", "source": ["1 + 1"]}]
    notebook = {"cells": cells, "metadata": {}}
    notebook["metadata"]["executed"] = {"code": digest(notebook)}
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(notebook))
    assert stale([path]) == []
    cells[0]["source"] = ["1 + 2"]
    path.write_text(json.dumps(notebook))
    assert stale([path]) == [path]


def test_an_output_that_no_longer_holds_is_found(monkeypatch):
    block = Block("python", "print(1)\n", True)
    page = "```python\nprint(1)\n```\n\n```text\nteff: 5000 K\n```\n"
    monkeypatch.setitem(PAGES, "page", page)
    check_output("page", block, "teff: 5100 K\n")
    for wrong in ("teff: 7000 K\n", "logg: 5000 K\n"):
        with pytest.raises(AssertionError):
            check_output("page", block, wrong)


def test_blocks_are_found_as_they_are_marked():
    text = "    blase3d grid a\n\n    b\n\ntext\n\n<!-- not run: why -->\n\n```python\n1\n```\n"
    assert blocks(text) == [
        Block("", "    blase3d grid a\n\n    b\n\n", True),
        Block("python", "1\n", False),
    ]
