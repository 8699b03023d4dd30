"""Settings of NumPy's floating-point errors in the user's script do not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_models import TINY, small_grid

import blase3d as b3
from blase3d.analysis.line_table import line_table
from blase3d.libraries.toy import toy_spectrum

TRUTH = {"teff": 5730.0, "logg": 4.32, "feh": -0.13}


@pytest.mark.long
def test_the_chain_runs_where_every_error_is_raised(tmp_path: Path) -> None:
    exact = toy_spectrum(**TRUTH)
    noise = 1.0 + np.random.default_rng(1).normal(size=len(exact)) / 200.0
    with np.errstate(all="raise"):
        model = b3.build(b3.clone(small_grid(), tmp_path / "clones.zarr", TINY))
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
