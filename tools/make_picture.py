"""Draw the picture of the README from the results of `blase3d demo`.

blase3d demo --out blase3d-demo && python tools/make_picture.py blase3d-demo
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import blase3d as b3
from blase3d.views.report import overview_figure


def main(folder: Path) -> None:
    """Infer the star of the demonstration and draw it into docs/images/star.png."""
    model = b3.load_model(folder / "model.zip")
    star = b3.read_spectrum(folder / "star.npz")
    answer = b3.infer(star, model, fixed={"resolution": np.inf, "vsini": 0.0})
    path = Path(__file__).parents[1] / "docs" / "images" / "star.png"
    overview_figure(answer, model).savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
