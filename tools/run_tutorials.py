"""Execute the notebooks in docs/tutorials whose code has changed, and store their outputs.

    python tools/run_tutorials.py            # those whose outputs are of other code
    python tools/run_tutorials.py --all      # all, for a release
    python tools/run_tutorials.py --check    # list those whose outputs are of other code

A notebook states, in its metadata, the digest of the code that made its outputs, the version and
the date. The site shows stored outputs and executes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"


def digest(notebook: dict[str, Any]) -> str:
    """Return the digest of all code of a notebook."""
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256("\n\n".join(code).encode()).hexdigest()[:16]


def stale(paths: list[Path]) -> list[Path]:
    """Return the notebooks whose outputs were made by other code than they show."""
    texts = {path: json.loads(path.read_text("utf-8")) for path in paths}
    return [
        path
        for path, text in texts.items()
        if text["metadata"].get("executed", {}).get("code") != digest(text)
    ]


def execute(path: Path) -> None:
    """Run a notebook in an empty folder, and store its outputs and the digest of its code."""
    import nbformat
    from nbclient import NotebookClient

    from blase3d import __version__

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=None, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ at every run
        if cell.cell_type == "code":  # warnings and progress are of this machine
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    today = datetime.now(UTC).date().isoformat()
    notebook.metadata["executed"] = {
        "code": digest(notebook),
        "version": __version__,
        "date": today,
    }
    nbformat.write(notebook, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Execute the notebooks of the documentation.")
    parser.add_argument("--all", action="store_true", help="Execute all notebooks.")
    parser.add_argument("--check", action="store_true", help="List outdated notebooks and exit.")
    arguments = parser.parse_args()
    every = sorted(TUTORIALS.glob("*.ipynb"))
    chosen = every if arguments.all else stale(every)
    for path in chosen:
        print(path.relative_to(TUTORIALS.parents[1]), flush=True)
        if not arguments.check:
            execute(path)
    if arguments.check and chosen:
        raise SystemExit("outputs are older than their code; run make tutorials")


if __name__ == "__main__":
    main()
