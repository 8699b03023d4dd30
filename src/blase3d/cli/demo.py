"""`blase3d demo`: the whole chain at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .app import Workers, app, err, out
from .support import ProgressBars, executor


@app.command()
def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Where results go.")] = Path(
        "blase3d-demo"
    ),
    workers: Workers = 0,
) -> None:
    """The whole chain on the library that ships with the package.

    Clones it, builds the model, infers a noisy star of known labels that is not a node.

    Example: blase3d demo --out demo
    """
    from .chain_demo import run_demo

    with ProgressBars(err) as progress, executor(workers) as pool:
        result = run_demo(out_dir, pool, progress)
    table = Table(title=f"a star of S/N {result.snr:g} between the nodes of the library")
    for column in ("", "truth", "answer", "error", "in sigmas"):
        table.add_column(column, justify="right" if column else "left")
    for name, truth in result.truth.items():
        found = {**result.inference.labels, **result.inference.nuisance}[name]
        digits = 0 if name == "teff" else 3
        off = found.value - truth
        table.add_row(
            name,
            f"{truth:.{digits}f}",
            f"{found.value:.{digits}f} ± {found.sigma:.{digits + (name == 'teff')}f}",
            f"{off:+.{digits + (name == 'teff')}f}",
            f"{off / found.sigma:+.1f}",
        )
    out.print(table)
    for flag in result.inference.flags:
        err.print(f"flag: {flag}", highlight=False)
    out.print(f"Report: {result.report}\nModel: {result.model_path}", highlight=False)
