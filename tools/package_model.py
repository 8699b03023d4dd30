"""Measure the accuracy of a model and keep it in the file, with the checksum of its library.

    python tools/package_model.py rvs.zip --library rvs.npz --held-out rvs-heldout.npz \
        -o packaged/rvs.zip

The accuracy is that of `blase3d validate`: errors of the flux at the nodes, and errors of flux and
labels at the held-out points. `blase3d models` prints it. See docs/compute-library.md.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from blase3d import load_model, open_grid, save_model
from blase3d.analysis.validation import validate


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    model = load_model(options.model)
    found = validate(model, open_grid(options.held_out), path=options.model)
    accuracy: dict[str, Any] = {"nodes": asdict(found.nodes)}
    if found.holdout is not None:
        accuracy["holdout"] = asdict(found.holdout)
    meta = {
        **model.meta,
        "library_sha256": hashlib.sha256(options.library.read_bytes()).hexdigest(),
        "accuracy": accuracy,
    }
    save_model(replace(model, meta=meta), options.output)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB, {accuracy}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path, help="model, as `blase3d build` wrote it")
    parser.add_argument("--library", type=Path, required=True, help="grid file it was made from")
    parser.add_argument("--held-out", type=Path, required=True, help="grid file of other points")
    parser.add_argument("-o", "--output", type=Path, required=True, help="model file to write")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
