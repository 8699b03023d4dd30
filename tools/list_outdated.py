"""List numbers and pictures of the documentation that are older than what makes them.

    python tools/list_outdated.py            # or `make outdated`

Lines with digits belong to the last `python benchmarks/NAME.py ...` that their section names before
them. They are compared with the last commits of that script and of the packaged model in its
`--model`. Pictures are compared with the script that writes them, tutorials with the packaged
models that they load, and outputs of examples with both. The date of a line is that of its last
commit, so that a number that was measured again and did not change needs a comment with the date,
`<!-- measured 2026-11-29 -->`. Where a change of the script cannot change its numbers and they take
long, a comment states what was checked instead: `<!-- checked 2026-11-29: 5 of 9 rows -->`.

A script whose docstrings, comments and imports alone have changed counts as unchanged. Code of the
package itself changes too often to be compared. Status 1 if anything is listed.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGED = "src/blase3d/model/packaged/{}.zip"
COMMAND = re.compile(r"`python (benchmarks/\w+\.py)([^`]*)`")
MODEL = re.compile(r"--model (\w+)\b(?!\.zip)|load_model\(\\?[\"'](\w+)\\?[\"']\)")
PICTURES = {
    "process|line-counts|line-maps|reconstruction|line-or-pixel": "tools/make_images.py",
    "star": "tools/make_picture.py",
    "explore|report": "tools/make_screenshot.py",
}


@dataclass(frozen=True)
class Shown:
    """Something shown: its file and line, the time (s) of its last commit, and its makers."""

    where: str
    time: int
    makers: tuple[str, ...]


def git(root: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=root, check=True, capture_output=True, text=True
    ).stdout


def last_commit(root: Path, path: str) -> int:
    """Return the time of the last commit of a file, 0 if there is none."""
    return int(git(root, "log", "-1", "--format=%ct", "--", path).strip() or 0)


def differs(root: Path, path: str, time: int) -> bool:
    """Whether a file is another than at a time: of a script, in more than its text and imports."""
    before = git(root, "log", "-1", "--format=%h", f"--before={time}", "--", path).strip()
    if not (before and path.endswith(".py")):
        return True
    return code(git(root, "show", f"{before}:{path}")) != code(git(root, "show", f"HEAD:{path}"))


def code(text: str) -> str:
    """Return the code of a script without docstrings, comments, imports and line breaks."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [one for one in body if not _is_text(one)]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Import | ast.ImportFrom)


def packaged(text: str) -> tuple[str, ...]:
    """Return the files of the packaged models that a command or notebook names."""
    return tuple(dict.fromkeys(PACKAGED.format(a or b) for a, b in MODEL.findall(text)))


def lines_of(root: Path, page: str) -> Iterator[tuple[int, str]]:
    """Yield the time of the last commit of each line of a page, and the line."""
    for line in git(root, "blame", "--line-porcelain", "--", page).splitlines():
        if line.startswith("committer-time "):
            time = int(line.split()[1])
        elif line.startswith("\t"):
            yield time, line[1:]


def numbers(root: Path, page: str) -> list[Shown]:
    """Return the numbers of a page after each command: the newest line counts."""
    found: list[Shown] = []
    makers: tuple[str, ...] = ()
    for count, (time, line) in enumerate(lines_of(root, page), 1):
        if line.startswith("#"):
            makers = ()
        for script, options in COMMAND.findall(line) if not line.startswith("|") else ():
            makers = (script, *packaged(options))
            found.append(Shown(f"{page}:{count}", 0, makers))
        if makers and re.search(r"\d", COMMAND.sub("", line)):
            last = found[-1]
            found[-1] = Shown(last.where, max(last.time, time), last.makers)
    return [one for one in found if one.time]


def pictures(root: Path) -> list[Shown]:
    """Return the pictures of the documentation."""
    paths = git(root, "ls-files", "docs/images").split()
    return [
        Shown(path, last_commit(root, path), (script,))
        for path in paths
        for names, script in PICTURES.items()
        if re.fullmatch(names, Path(path).stem)
    ]


def tutorials(root: Path) -> list[Shown]:
    """Return the tutorials; their outputs are those of the last commit."""
    paths = git(root, "ls-files", "docs/tutorials/*.ipynb").split()
    return [Shown(p, last_commit(root, p), packaged((root / p).read_text("utf-8"))) for p in paths]


def outputs(root: Path) -> list[Shown]:
    """Return the outputs of examples."""
    paths = git(root, "ls-files", "examples/outputs").split()
    examples = [f"examples/{Path(path).stem}.py" for path in paths]
    return [
        Shown(path, last_commit(root, path), (one, *packaged((root / one).read_text("utf-8"))))
        for path, one in zip(paths, examples, strict=True)
    ]


def outdated(root: Path) -> list[str]:
    """Return a sentence for all that is older than what makes it."""
    pages = git(root, "ls-files", "README.md", "docs/*.md").split()
    shown = [one for page in pages for one in numbers(root, page)]
    shown += [*pictures(root), *tutorials(root), *outputs(root)]
    makers = {maker for one in shown for maker in one.makers}
    changed = {maker: last_commit(root, maker) for maker in makers}
    found = []
    for one in shown:
        newer = [
            f"{maker} ({day(changed[maker])})"
            for maker in one.makers
            if changed[maker] > one.time and differs(root, maker, one.time)
        ]
        if newer:
            found.append(f"{one.where} ({day(one.time)}) is older than {', '.join(newer)}")
    return found


def day(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")


if __name__ == "__main__":
    sentences = outdated(ROOT)
    print("\n".join(sentences))
    sys.exit(bool(sentences))
