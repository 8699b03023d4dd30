"""Draw the pictures of docs/figures.md from the results of `blase3d demo --clone`.

blase3d demo --clone --out blase3d-demo && python tools/make_images.py blase3d-demo
"""

from __future__ import annotations

import sys
from pathlib import Path

import blase3d as b3
from blase3d.views.figures import figures_of
from blase3d.views.style import settings

NAMES = ("process", "line-counts", "line-maps", "reconstruction", "line-or-pixel")
IMAGES = Path(__file__).parents[1] / "docs" / "images"
DPI = 100


def main(folder: Path) -> None:
    """Draw figures of the model of the demonstration into docs/images."""
    clones = b3.open_archive(folder / "clones.zarr")
    makers = figures_of(b3.load_model(folder / "model.zip"), clones=clones)
    for name in NAMES:
        path = IMAGES / f"{name}.png"
        with settings():
            makers[name]().figure.savefig(path, dpi=DPI, metadata={"Software": None})
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
