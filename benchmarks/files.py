"""Are files in the layouts that people exchange read right, to the labels of the star?

    python benchmarks/files.py --model model.zip

The model is of `../shared/data/turbo-opt.npz`. Each file of `../shared/cases` has the same star,
computed between the nodes of that library, in another layout. It is read without an option, or, if
it states no medium, as vacuum. The table has the labels, their distance from the truth in standard
deviations, and the flags.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import blase3d as b3

CASES = Path(__file__).parents[2] / "shared" / "cases"
TRUTH = {"teff": 5700.0, "logg": 4.3, "feh": -0.1}
MOST = 3.0
"""Standard deviations, from which on an answer is wrong."""


def main() -> None:
    """Print the table; with --json write the numbers too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cases", type=Path, default=CASES, help="folder of files")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # stale checksums, and media that the file states
    model = b3.load_model(args.model)
    paths = sorted(path for path in args.cases.iterdir() if path.suffix != ".md")
    rows = [row_of(path, model) for path in paths]
    for row in rows:
        print(describe(row))
    wrong = [row["file"] for row in rows if row["wrong"]]
    print(f"{len(rows)} files, {len(wrong)} wrong without a flag: {', '.join(wrong) or 'none'}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def row_of(path: Path, model: b3.Model) -> dict[str, Any]:
    """The answer to one file, or the sentence that it is refused with."""
    row: dict[str, Any] = {"file": path.name, "asked": False, "wrong": False}
    try:
        star = b3.read_spectrum(path)
    except b3.InputError as fault:
        if "medium" not in str(fault):
            return row | {"error": str(fault)}
        star = b3.read_spectrum(path, medium="vacuum")
        row["asked"] = True
    answer = b3.infer(star, model)
    found = {name: answer.labels[name] for name in TRUTH}
    pulls = {name: (one.value - TRUTH[name]) / one.sigma for name, one in found.items()}
    doubts = [flag for flag in answer.flags if not flag.startswith("cut to")]
    return row | {
        "errors": star.error is not None,
        "labels": {name: [one.value, one.sigma] for name, one in found.items()},
        "rv": answer.nuisance["rv"].value,
        "pulls": pulls,
        "flags": doubts,
        "wrong": not doubts and not all(abs(pull) < MOST for pull in pulls.values()),
    }


def describe(row: dict[str, Any]) -> str:
    """One line of the table."""
    if "error" in row:
        return f"{row['file']:26} {row['error']}"
    labels = "  ".join(
        f"{value:8.2f} ({row['pulls'][name]:+.1f})" for name, (value, _) in row["labels"].items()
    )
    asked = "medium asked" if row["asked"] else ""
    return f"{row['file']:26} {labels}  rv {row['rv']:7.2f}  {asked:12} {'; '.join(row['flags'])}"


if __name__ == "__main__":
    main()
