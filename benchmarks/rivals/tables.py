"""Tables of `accuracy`: every method by its title."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

PAPER_NODES, PAPER_PIXELS = 1_314, 338_651
TITLES = {
    "multilinear": "pixels, multilinear",
    "cubic": "pixels, cubic spline of flux",
    "cubic-sqrt": "pixels, cubic spline of sqrt(−ln flux)",
    "cubic-strength": "pixels, cubic spline of opacity^¼",
    "quintic-strength": "pixels, natural quintic of opacity^¼",
    "borrowed-strength": "pixels, the same, borrowed (our residual's way)",
    "ridge-strength": "pixels, ridge regression of opacity^¼",
    "pca": "60 principal components, cubic spline",
    "quadratic": "pixels, quadratic (The Cannon's form)",
    "rvspecfit-grid": "rvspecfit GridInterp",
    "rvspecfit-delaunay": "rvspecfit Delaunay",
    "rvspecfit-nn": "rvspecfit neural network",
    "paper": "blase3d, `paper`",
    "default": "blase3d, `default`",
}

Numbers = dict[str, Any]


def print_tables(known: dict[str, Numbers]) -> None:
    """All that is known, case by case."""
    for case in dict.fromkeys(key.split(":")[0] for key in known):
        rows = {k.split(":")[1]: v for k, v in known.items() if k.split(":")[0] == case}
        methods = {name: rows[name] for name in TITLES if name in rows}
        groups = dict.fromkeys(g for row in methods.values() for g in row.get("held", {}))
        for group in groups:
            print_group(group, methods)
        print_costs(case, methods)
        print_curve(case, {k: v for k, v in rows.items() if k.startswith("curve")})
        if "growth" in rows:
            print_growth(case, rows["growth"])


def print_group(group: str, methods: dict[str, Numbers]) -> None:
    """Held-out errors of all methods in a group: flux in 1e-4, labels."""
    columns = ("", "median", "mean", "p95", "worst", "Teff", "log g", "[Fe/H]")
    table = Table(*columns, title=f"{group}: held out, flux rms (1e-4), label errors")
    for name, row in methods.items():
        if "reason" in row:
            table.add_row(TITLES[name], escape(row["reason"]))
            continue
        flux = [f"{1e4 * row['held'][group][key]:.2f}" for key in columns[1:5]]
        table.add_row(TITLES[name], *flux, *label_cells(row["labels"][group]))
        if "lines_alone" in row:
            alone = row["lines_alone"]["held"][group]
            table.add_row("  lines alone", *(f"{1e4 * alone[key]:.2f}" for key in columns[1:5]))
            table.add_row("  by `infer`", *[""] * 4, *label_cells(row["infer"][group]))
    Console(width=120).print(table)


def label_cells(wrong: dict[str, float]) -> list[str]:
    """Mean absolute errors of the labels."""
    return [f"{wrong['teff']:.2f}", f"{wrong['logg']:.4f}", f"{wrong['feh']:.4f}"]


def print_costs(case: str, methods: dict[str, Numbers]) -> None:
    """Errors at nodes and left out, size and times."""
    columns = ("", "nodes: median", "worst", "left out: median", "worst", "MB", "s to build", "ms")
    table = Table(*columns, title=f"{case}: flux rms (1e-4), size and times")
    for name, row in methods.items():
        if "reason" in row:
            continue
        cells = [f"{1e4 * row['nodes'][key]:.2f}" for key in ("median", "worst")]
        left = row["left_out"]
        cells += [f"{1e4 * left[key]:.2f}" if left else "–" for key in ("median", "worst")]
        seconds = f"{row['build_seconds']:.1f}"
        if "clone_seconds" in row:
            cloning = row["clone_seconds"]
            seconds = f"{'?' if cloning is None else round(cloning)} + {seconds}"
        cells += [f"{row['bytes'] / 1e6:.2f}", seconds, f"{row['milliseconds']:.1f}"]
        table.add_row(TITLES[name], *cells)
    Console(width=120).print(table)


def print_curve(case: str, rows: dict[str, Numbers]) -> None:
    """Size against error."""
    if not rows:
        return
    groups = list(next(iter(rows.values()))["held"])
    columns = ("residual", "modes", "MB", "spectra / model", "nodes: median", "worst")
    table = Table(*columns, *groups, title=f"{case}: size against flux rms (1e-4)")
    for row in rows.values():
        table.add_row(
            f"{row['residual']:g}",
            f"{row['modes']}",
            f"{row['bytes'] / 1e6:.2f}",
            f"{row['spectra_bytes'] / row['bytes']:.1f}",
            *(f"{1e4 * row['nodes'][key]:.2f}" for key in ("median", "worst")),
            *(f"{1e4 * row['held'][group]['median']:.2f}" for group in groups),
        )
    Console(width=120).print(table)


def print_growth(case: str, row: Numbers) -> None:
    """Size against nodes, by a power law to the paper's library."""
    lines, pixels_ = row["lines_bytes"], row["pixels"]
    table = Table("nodes", "modes", "MB", "of it residual", title=f"{case}: size against nodes")
    for each in row["rows"]:
        rest = each["bytes"] - lines
        cells = f"{each['nodes']}", f"{each['modes']}", f"{each['bytes'] / 1e6:.2f}"
        table.add_row(*cells, f"{rest / 1e6:.2f}")
    Console().print(table)
    nodes = np.array([each["nodes"] for each in row["rows"]], float)
    rest = np.maximum([each["bytes"] - lines for each in row["rows"]], 1.0)
    power = float(np.polyfit(np.log(nodes), np.log(rest), 1)[0])
    grown = rest[-1] * (PAPER_NODES / nodes[-1]) ** power
    total = (lines + grown) * PAPER_PIXELS / pixels_
    print(
        f"residual ~ nodes^{power:.2f}; {PAPER_NODES:,} nodes x {PAPER_PIXELS:,} px: "
        f"({lines / 1e6:.2f} + {grown / 1e6:.2f} MB) x {PAPER_PIXELS:,} / {pixels_:,} "
        f"= {total / 1e9:.2f} GB"
    )
