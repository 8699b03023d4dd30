"""One loaded model, many threads: each gets what it would get alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from toy_models import model_of

from blase3d.inference import infer
from blase3d.libraries.toy import toy_flux, toy_grid
from blase3d.model.model import Model
from blase3d.model.model_file import load_model, save_model
from blase3d.spectra.spectrum import Spectrum

pytestmark = pytest.mark.long

THREADS, REQUESTS = 8, 24
SHARP = {"vsini": 0.0, "resolution": np.inf}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A model of the true lines, as a file."""
    path = tmp_path_factory.mktemp("service") / "model.zip"
    save_model(model_of(toy_grid()), path)
    return path


def request(k):
    """Labels and pixels of one request: three ranges, so that parts of the model are shared."""
    labels = {"teff": 5100.0 + 50.0 * k, "logg": 4.1 + 0.03 * k, "feh": -0.4 + 0.03 * k}
    start = 8482.0 + 4.0 * (k % 3)
    return labels, start + 0.02 * np.arange(1000)


def served(model: Model, k: int):
    """A spectrum of the model and the labels of a star, as plain numbers."""
    labels, wavelength = request(k)
    flux = np.asarray(model.flux(**labels, rv=3.0 * k, vsini=5.0, wavelength=wavelength))
    noise = np.random.default_rng(k).normal(0.0, 0.01, wavelength.size)
    error = np.full(wavelength.size, 0.01)
    star = Spectrum(wavelength, toy_flux(labels, wavelength) + noise, error)
    answer = infer(star, model, fixed=SHARP)
    found = {**answer.labels, **answer.nuisance}
    return flux, np.array([[one.value, one.sigma] for one in found.values()]), answer.flags


def test_threads_get_what_one_thread_gets(path):
    """The model of the threads is fresh: they meet while its caches are filled."""
    fresh, alone = load_model(path), load_model(path)
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(lambda k: served(fresh, k), range(REQUESTS)))
    for k, (flux, found, flags) in enumerate(together):
        flux_alone, found_alone, flags_alone = served(alone, k)
        np.testing.assert_array_equal(flux, flux_alone)
        np.testing.assert_array_equal(found, found_alone)
        assert flags == flags_alone
        labels = list(request(k)[0].values())
        assert (np.abs(found[:3, 0] - labels) < 5.0 * found[:3, 1]).all()
