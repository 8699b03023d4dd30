"""Cut the library that ships with the package out of the Turbospectrum grid.

    python tools/make_library.py ../shared/data

Writes 45 nodes of turbo-cat.npz, and the first spectrum of turbo-cat-offgrid.npz that lies among
them, to src/blase3d/libraries/data. To
make deflate work, the last bits of each number are rounded away: the
continuum keeps 15 bits after the leading one. The flux is the original normalised flux times that
continuum, and keeps 17, so flux / continuum is within 4e-6 of the original. As the flux keeps all
bits that the continuum has, none is rounded above its continuum.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BOX = {"teff": (5250.0, 6250.0), "logg": (4.0, 5.0), "feh": (-0.5, 0.5)}
CONTINUUM_BITS = 15
FLUX_BITS = 17
MANTISSA_BITS = 23
TOLERANCE = 1e-5
MAX_BYTES = 5_000_000
DESTINATION = Path(__file__).parents[1] / "src" / "blase3d" / "libraries" / "data"

Library = dict[str, NDArray]


def main() -> None:
    parser = argparse.ArgumentParser(description="Cut the library that ships with the package.")
    parser.add_argument("source", type=Path, help="folder with turbo-cat.npz")
    parser.add_argument("--out", type=Path, default=DESTINATION, help="default: the package's data")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    nodes = read(args.source / "turbo-cat.npz")
    offgrid = read(args.source / "turbo-cat-offgrid.npz")
    window = json.loads(str(nodes["meta"]))["window"]  # the other file says "as turbo-cat"
    total = save(
        args.out / "turbo-cat-45.npz", nodes, np.flatnonzero(inside(nodes)), "turbo-cat", window
    )
    first = np.flatnonzero(inside(offgrid))[:1]
    total += save(args.out / "turbo-cat-offgrid-1.npz", offgrid, first, "turbo-cat-offgrid", window)
    print(f"total {total} bytes")
    if total > MAX_BYTES:
        raise SystemExit(f"The files have {total} bytes, more than {MAX_BYTES}: keep fewer bits.")


def read(path: Path) -> Library:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def inside(library: Library) -> NDArray[np.bool_]:
    """Which spectra have all labels within BOX, its faces included."""
    low, high = np.array([BOX[str(name)] for name in library["label_names"]]).T
    return np.all((library["labels"] >= low) & (library["labels"] <= high), axis=1)


def save(path: Path, library: Library, rows: NDArray[np.intp], source: str, window: str) -> int:
    """Write the chosen spectra, say how well they are kept, and return the size in bytes."""
    flux, continuum = library["flux"][rows], library["continuum"][rows]
    normalised = flux.astype(np.float64) / continuum
    kept_continuum = keep_bits(continuum, CONTINUUM_BITS)
    kept_flux = keep_bits((normalised * kept_continuum).astype(np.float32), FLUX_BITS)
    error = np.abs(kept_flux.astype(np.float64) / kept_continuum - normalised).max()
    scale = np.abs(kept_continuum.astype(np.float64) / continuum - 1.0).max()
    if error > TOLERANCE:
        raise SystemExit(f"{path.name}: error {error:.1e} exceeds {TOLERANCE:.0e}: keep more bits.")
    write_npz(
        path,
        {
            "wavelength": library["wavelength"],
            "labels": library["labels"][rows],
            "label_names": library["label_names"],
            "flux": kept_flux,
            "continuum": kept_continuum,
            "meta": np.array(json.dumps(describe(library, source, window), ensure_ascii=False)),
        },
    )
    size = path.stat().st_size
    print(
        f"{path.name}: spectra {len(rows)}, bytes {size}; worst error of the normalised flux "
        f"{error:.2e}, of the continuum {scale:.2e} (relative)"
    )
    return size


def keep_bits(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Round positive float32 numbers to `bits` binary digits after the leading one."""
    drop = MANTISSA_BITS - bits
    pattern = values.view(np.uint32)
    return ((pattern + np.uint32(1 << (drop - 1))) >> drop << drop).view(np.float32)


def describe(library: Library, source: str, window: str) -> dict[str, object]:
    """The metadata of the source, with the licence and what was done here."""
    box = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in BOX.items())
    which = "All nodes" if source == "turbo-cat" else "The first spectrum"
    return json.loads(str(library["meta"])) | {
        "window": window,
        "licence": "BSD-3-Clause, as the package: the spectra were computed for this project",
        "provenance": (
            f"{which} of {source} with {box}, at all its wavelengths, cut by "
            f"tools/make_library.py; the continuum is rounded to {CONTINUUM_BITS} bits after the "
            "leading one, and the flux, which is the original normalised flux times that "
            f"continuum, to {FLUX_BITS}, so flux / continuum is within 1e-5 of the original."
        ),
    }


def write_npz(path: Path, arrays: Library) -> None:
    """As np.savez_compressed, deflated as well as zlib can; member dates are fixed (1980)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


if __name__ == "__main__":
    main()
