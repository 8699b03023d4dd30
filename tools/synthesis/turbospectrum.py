"""One spectrum by Turbospectrum: continuous opacity (`babsma_lu`), then the spectrum (`bsyn_lu`).

LTE. The transfer is plane-parallel also where the model atmosphere is spherical (giants): the
spherical transfer of this version fails for many of them.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .atmospheres import Atmospheres, model_text
from .described import Described, Labels, microturbulence

PADDING = 2.0
"""Å that are computed more at each end, and cut: bsyn ignores lines beyond 2 Å outside."""
TOLERANCE = 1e-3
"""Largest excess of the flux over the continuum; bsyn has some 1e-4 of numerical noise."""
TIMEOUT = 3600.0
"""Seconds before a program is given up; it takes a few seconds on a free processor."""

Computed = NDArray[np.float32]
"""(2, P): flux in units of the continuum, and flux at the surface in erg/s/cm²/Å."""


class Hole(Exception):
    """There is no spectrum at these labels; the message is the reason."""


@dataclass(frozen=True)
class Synthesiser:
    """Computes spectra of a library: call it with labels."""

    library: Described
    atmospheres: Atmospheres
    programs: Path
    data: Path
    lists: Sequence[Path]
    scratch: Path

    def __call__(self, labels: Labels) -> Computed:
        """Return the checked spectrum at some labels.

        Raises `Hole` where there is no atmosphere, the code fails, or the spectrum is not valid.
        """
        teff, logg, feh, alpha = (*labels, 0.0)[:4]
        structure = self.atmospheres.at(teff, logg, feh)
        if structure is None:
            raise Hole("no MARCS model")
        common = _common(self.library, feh, alpha, microturbulence(teff, logg, feh))
        folder = Path(tempfile.mkdtemp(prefix="spectrum-", dir=self.scratch))
        try:
            (folder / "DATA").symlink_to(self.data)
            (folder / "model").write_text(model_text(structure))
            _run(self.programs / "babsma_lu", common, folder)
            _run(self.programs / "bsyn_lu", common + _transfer(self.lists), folder)
            return checked(_output(folder / "out", self.library), self.library.pixels)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _common(library: Described, feh: float, alpha: float, velocity: float) -> str:
    return f"""'LAMBDA_MIN:' '{library.low - PADDING:.3f}'
'LAMBDA_MAX:' '{library.high + PADDING:.3f}'
'LAMBDA_STEP:' '{library.step}'
'MODELINPUT:' 'model'
'MARCS-FILE:' '.true.'
'MODELOPAC:' 'opac'
'METALLICITY:' '{feh:.3f}'
'ALPHA/Fe   :' '{alpha:.3f}'
'HELIUM     :' '0.00'
'R-PROCESS  :' '0.00'
'S-PROCESS  :' '0.00'
'INDIVIDUAL ABUNDANCES:' '0'
'XIFIX:' 'T'
{velocity:.4f}
"""


def _transfer(lists: Sequence[Path]) -> str:
    files = "\n".join(str(path) for path in lists)
    return f"""'INTENSITY/FLUX:' 'Flux'
'RESULTFILE :' 'out'
'NFILES   :' '{len(lists)}'
{files}
'SPHERICAL:'  'F'
  30
  300.00
  15
  1.30
"""


def _run(program: Path, text: str, folder: Path) -> None:
    done = subprocess.run(
        [program],
        input=text,
        cwd=folder,
        capture_output=True,
        encoding="latin-1",
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode < 0:
        raise RuntimeError(f"{program.name} was ended by signal {-done.returncode}.")
    if done.returncode:
        last = " ".join((done.stdout + done.stderr).split())[-200:]
        raise Hole(f"{program.name} failed with status {done.returncode}: {last}")


def _output(path: Path, library: Described) -> NDArray[np.float64]:
    """Read wavelength, normalised flux and flux, and cut the padding."""
    if not path.is_file():
        raise Hole("bsyn_lu wrote no spectrum")
    table = np.loadtxt(path, ndmin=2)
    air = table[:, 0]
    inside = (air > library.low - library.step / 2) & (air < library.high + library.step / 2)
    return table[inside, 1:3].T


def checked(spectrum: NDArray[np.float64], pixels: int) -> Computed:
    """Return a spectrum (2, P) if it is valid, else raise `Hole` with the reason."""
    if spectrum.shape != (2, pixels):
        raise Hole(f"the spectrum has shape {spectrum.shape}, expected {(2, pixels)}")
    if not np.isfinite(spectrum).all():
        raise Hole("the spectrum has pixels that are not finite")
    if spectrum.min() <= 0.0:
        raise Hole("the spectrum has pixels that are not positive")
    if spectrum[0].max() > 1.0 + TOLERANCE:
        raise Hole(f"the flux exceeds the continuum by {spectrum[0].max() - 1.0:.1e}")
    return spectrum.astype(np.float32)
