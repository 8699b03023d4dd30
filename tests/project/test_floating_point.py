"""Settings of NumPy's floating-point errors in the user's script do not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import blase3d as b3
from blase3d.analysis.line_table import line_table
from blase3d.libraries.toy import toy_grid, toy_spectrum

AXES = {"teff": (5000.0, 5500.0, 6000.0), "logg": (4.0, 5.0), "feh": (-0.5, 0.5)}
RANGE = 8503.6, 8511.5
TRUTH = {"teff": 5730.0, "logg": 4.32, "feh": -0.13}


@pytest.mark.long
def test_the_chain_runs_where_every_error_is_raised(tmp_path: Path) -> None:
    grid = toy_grid(AXES).cut(*RANGE)
    exact = toy_spectrum(**TRUTH)
    noise = 1.0 + np.random.default_rng(1).normal(size=len(exact)) / 200.0
    with np.errstate(all="raise"):
        recipe = b3.DEFAULT.replace(rounds=0, epochs=5)
        model = b3.build(b3.clone(grid, tmp_path / "clones.zarr", recipe))
        b3.save_model(model, tmp_path / "model.zip")
        b3.write_spectrum(
            b3.Spectrum(exact.wavelength, exact.flux * noise, exact.flux / 200.0),
            tmp_path / "star.npz",
        )
        model = b3.load_model(tmp_path / "model.zip")
        star = b3.read_spectrum(tmp_path / "star.npz")
        answer = b3.infer(star, model)
        assert len(line_table(model, TRUTH, count=3)) == 3
    assert answer.labels["teff"].value > 0
