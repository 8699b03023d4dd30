"""The whole chain on the toy universe: spectra to lines to a model to labels."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from toy_models import NODEWISE, TINY, model_of, small_grid

from blase3d.errors import ArchiveError, CloneError, GridError, LabelError
from blase3d.fitting import archive
from blase3d.fitting.archive import open_archive
from blase3d.fitting.build import build
from blase3d.fitting.clone_grid import clone, misfits
from blase3d.fitting.windows import WindowFits, windows
from blase3d.inference import infer
from blase3d.inference.methods import bayes_opt
from blase3d.inference.prior import Prior
from blase3d.libraries.grid import grid_of
from blase3d.libraries.toy import WAVELENGTH, toy_continuum, toy_flux, toy_grid, toy_lines
from blase3d.recipe import DEFAULT, PAPER
from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.spectrum import Spectrum

pytestmark = pytest.mark.long

RANGE = (8503.6, 8519.4)
"""Å: eleven lines of all kinds. The strong line at 8498 reaches in with half a per cent."""
PIXELS = toy_grid().cut(*RANGE).wavelength
QUICK = DEFAULT.replace(rounds=1, epochs=60, window=400, margin=60)
"""Two windows and few steps; the rest is as shipped. The lines of the stars compose likewise."""
QUICKER = QUICK.replace(rounds=0, epochs=40)
"""No lines are added."""
flux_of = partial(toy_flux, composition=QUICK.composition)
grid_of_stars = partial(toy_grid, composition=QUICK.composition)
OFF_NODES = [
    {"teff": 5230.0, "logg": 4.3, "feh": 0.2},
    {"teff": 5770.0, "logg": 4.44, "feh": 0.0},
    {"teff": 6290.0, "logg": 4.8, "feh": -0.31},
]
STILL = {"vsini": 0.0, "resolution": np.inf}


def rms(difference):
    """Root mean square."""
    return float(np.sqrt(np.mean(np.asarray(difference, np.float64) ** 2)))


def observed(labels, rv=0.0, snr=None, wavelength=PIXELS, seed=0):
    """The spectrum of a moving toy star, with noise and the star's continuum."""
    flux = flux_of(labels, wavelength / (1 + rv / SPEED_OF_LIGHT))
    flux = 3e-7 * flux * toy_continuum(labels["teff"], wavelength)
    if snr is None:
        return Spectrum(wavelength, flux)
    error = np.full(flux.shape, np.median(flux) / snr)
    noise = np.random.default_rng(seed).normal(size=flux.shape)
    return Spectrum(wavelength, flux + error * noise, error=error)


def same_lines(one, two):
    """Whether two archives hold exactly the same."""
    for i in range(len(one)):
        np.testing.assert_array_equal(one[i].flux, two[i].flux)
    ours, theirs = (WindowFits(a).lines(a.recipe.joint.rounds) for a in (one, two))
    for name in ("reference", "base", "area", "shape"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_array_equal(misfits(one), misfits(two))


# A model of the true lines: what interpolation alone does


@pytest.fixture(scope="module")
def true_model():
    """The true lines at the nodes, and nothing else."""
    return model_of(toy_grid())


@pytest.mark.parametrize("labels", OFF_NODES)
def test_true_lines_make_the_true_spectrum_everywhere(true_model, labels):
    np.testing.assert_allclose(true_model.flux(**labels), toy_flux(labels, WAVELENGTH), atol=2e-4)
    lines, truth = true_model.lines(**labels), toy_lines(labels)
    np.testing.assert_allclose(lines.center, truth.center, atol=1e-5)
    np.testing.assert_allclose(lines.params[:, 1:], truth.params[:, 1:], atol=2e-3)


def test_wings_are_cut_in_a_model_as_in_a_fit():
    """A hundred pixels are two Å: the strong line at 8498 ends one Å from its centre."""
    grid = toy_grid({"teff": (5500.0, 6000.0), "logg": (4.5,), "feh": (0.0,)})
    labels = {"teff": 5700.0, "logg": 4.5, "feh": 0.0}
    whole, cut = (model_of(grid, recipe=NODEWISE.replace(wing_cut=n)) for n in (0, 100))
    lost = np.asarray(cut.flux(**labels)) - np.asarray(whole.flux(**labels))
    distance = np.abs(WAVELENGTH - 8498.02)
    assert lost[distance < 1.0].max() < 1e-3  # of other lines
    assert lost[(distance > 3.6) & (distance < 4.0)].min() > 0.01  # a tile of 128 pixels beyond


@pytest.mark.parametrize("rv", [-45.0, 0.0, 12.3])
def test_a_moving_star(true_model, rv):
    labels = OFF_NODES[1]
    inner = WAVELENGTH[150:-150] + 0.007
    got = true_model.flux(**labels, rv=rv, wavelength=inner)
    truth = toy_flux(labels, inner / (1 + rv / SPEED_OF_LIGHT))
    np.testing.assert_allclose(got, truth, atol=1.5e-3)


def test_the_model_works_in_jit_grad_and_vmap(true_model):
    labels = OFF_NODES[1]

    def flux(teff):
        return true_model.flux(teff=teff, logg=labels["logg"], feh=labels["feh"])

    _, slope = jax.jvp(jax.jit(flux), (labels["teff"],), (1.0,))
    up, down = ({**labels, "teff": labels["teff"] + d} for d in (1.0, -1.0))
    truth = (toy_flux(up, WAVELENGTH) - toy_flux(down, WAVELENGTH)) / 2
    np.testing.assert_allclose(slope, truth, atol=0.02 * np.abs(truth).max())
    gradient = jax.grad(lambda teff: flux(teff).sum())(labels["teff"])
    assert gradient == pytest.approx(truth.sum(), rel=0.01)
    several = jax.vmap(flux)(np.array([5230.0, labels["teff"]], np.float32))
    np.testing.assert_allclose(several[1], flux(labels["teff"]), atol=1e-6)


@pytest.mark.parametrize(
    "labels",
    [
        {"teff": 4999.0, "logg": 4.5, "feh": 0.0},
        {"teff": 5500.0, "logg": 5.1, "feh": 0.0},
        {"teff": np.nan, "logg": 4.5, "feh": 0.0},
        {"teff": 5500.0, "logg": 4.5},
        {"teff": 5500.0, "logg": 4.5, "feh": 0.0, "alpha": 0.0},
    ],
)
def test_labels_outside_or_unknown_are_refused(true_model, labels):
    with pytest.raises(LabelError):
        true_model.flux(**labels)


# The chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Grid, archive and model of the default recipe, made quickly."""
    grid = grid_of_stars().cut(*RANGE)
    clones = clone(grid, tmp_path_factory.mktemp("chain") / "clones", QUICK)
    assert clones.failed == {}
    return grid, clones, build(clones)


@pytest.fixture(scope="module")
def model(chain):
    """The model of the chain."""
    return chain[2]


@pytest.mark.lowest
def test_exact_at_every_node(chain):
    grid, _, model = chain
    errors = []
    for labels in grid.labels:
        named = dict(zip(grid.label_names, labels.tolist(), strict=True))
        errors.append(rms(model.flux(**named) - flux_of(named, PIXELS)))
    assert max(errors) < 2.0 * QUICK.residual.tolerance  # its weights are those of the mean node
    assert np.median(errors) < QUICK.residual.tolerance
    np.testing.assert_allclose(model.meta["node_rms"], errors, rtol=0.05)


def test_lines_alone_are_close_at_the_nodes(chain):
    grid, clones, model = chain
    for i in range(0, 36, 5):
        alone = model.flux(**grid.labels_of(i), residual=False)
        error = rms(alone - flux_of(grid.labels[i], PIXELS))
        assert 1e-4 < error < 3e-3
        assert error == pytest.approx(misfits(clones)[i], rel=0.2)


def test_a_lost_data_basis_is_found_again(chain, tmp_path):
    """It is the same, so the lines that follow it are still valid."""
    grid, clones, model = chain
    again = tmp_path / "clones"
    shutil.copytree(clones.path, again)
    shutil.rmtree(again / "functions")
    with pytest.raises(CloneError, match="run blase3d clone again"):
        build(open_archive(again))
    mended = clone(grid, again, QUICK)
    np.testing.assert_array_equal(mended.data_basis(), clones.data_basis())
    np.testing.assert_array_equal(build(mended).flux(**OFF_NODES[0]), model.flux(**OFF_NODES[0]))


@pytest.mark.parametrize("labels", OFF_NODES)
def test_between_the_nodes(model, labels):
    truth = flux_of(labels, PIXELS)
    assert rms(model.flux(**labels) - truth) < 4e-4
    assert rms(model.flux(**labels, residual=False) - truth) < 2e-3
    # where the nearest node is no answer
    assert rms(flux_of((5500.0, 4.5, 0.0), PIXELS) - truth) > 0.01


def test_the_true_lines_are_among_those_of_the_model(model):
    labels = OFF_NODES[1]
    lines, truth = model.lines(**labels), toy_lines(labels)
    for n in np.flatnonzero((truth.reference > RANGE[0]) & (truth.reference < RANGE[1])):
        near = np.abs(lines.center - truth.center[n]) < 0.2
        others = np.abs(truth.center - truth.center[n]) < 0.4
        total = np.exp(lines.ln_area[near].astype(float)).sum()
        assert near.any()
        if others.sum() == 1 and truth.ln_area[n] > np.log(0.02):
            assert total == pytest.approx(np.exp(truth.ln_area[n]), rel=0.1)


@pytest.mark.parametrize("labels", OFF_NODES)
@pytest.mark.parametrize("snr", [None, 150.0])
def test_labels_are_recovered(model, labels, snr):
    answer = infer(observed(labels, rv=17.0, snr=snr), model, fixed=STILL)
    found = {name: e.value for name, e in answer.labels.items()}
    if snr is None:
        assert found["teff"] == pytest.approx(labels["teff"], abs=10.0)
        assert found["logg"] == pytest.approx(labels["logg"], abs=0.02)
        assert found["feh"] == pytest.approx(labels["feh"], abs=0.01)
        assert answer.nuisance["rv"].value == pytest.approx(17.0, abs=0.02)
        return
    for name, estimate in {**answer.labels, **answer.nuisance}.items():
        truth = {**labels, "rv": 17.0}[name]
        assert abs(estimate.value - truth) < 4 * estimate.sigma
        assert estimate.q16 < estimate.value < estimate.q84
    assert answer.labels["teff"].sigma < 100
    assert 0.85 < answer.chi2_red < 1.15
    assert "poor fit" not in answer.flags


def test_intervals_contain_the_truth_as_often_as_stated(model):
    """The rms of 24 pulls is known to 14 %, so this finds errors that are wrong by a factor of two,
    and not by 30 %; `benchmarks/inference.py` measures the coverage of hundreds of stars."""
    labels = OFF_NODES[1]
    pulls = []
    for seed in range(8):
        star = observed(labels, snr=80.0, seed=seed)
        answer = infer(star, model, fixed={**STILL, "rv": 0.0})
        pulls += [(e.value - labels[name]) / e.sigma for name, e in answer.labels.items()]
    assert 0.55 < rms(pulls) < 1.5


def test_masked_pixels_and_rotation(model):
    labels = OFF_NODES[0]
    star = observed(labels, snr=300.0)
    flux, mask = star.flux.copy(), np.zeros(len(star), bool)
    mask[100:140] = True
    flux[mask] *= 5
    answer = infer(Spectrum(PIXELS, flux, error=star.error, mask=mask), model, fixed=STILL)
    assert answer.n_masked == 40
    for name, estimate in answer.labels.items():
        assert abs(estimate.value - labels[name]) < 4 * estimate.sigma


def test_a_prior_and_a_fixed_label_have_effect(model):
    labels = OFF_NODES[0]
    star = observed(labels, snr=100.0)
    fixed = infer(star, model, fixed={**STILL, "logg": 4.3})
    assert (fixed.labels["logg"].value, fixed.labels["logg"].sigma) == (4.3, 0.0)
    held = infer(star, model, priors={"teff": Prior(-np.inf, np.inf, 5400.0, 1.0)}, fixed=STILL)
    assert held.labels["teff"].value == pytest.approx(5400.0, abs=15.0)


@pytest.mark.lowest
def test_gp_comes_close(model, monkeypatch):
    monkeypatch.setattr(bayes_opt, "RANDOM", 15)
    monkeypatch.setattr(bayes_opt, "GUIDED", 1)
    labels = OFF_NODES[1]
    fixed = {**STILL, "rv": 0.0, "logg": labels["logg"]}
    one, two = (infer(observed(labels), model, method="gp", fixed=fixed, seed=3) for _ in range(2))
    assert one.labels["teff"].value == two.labels["teff"].value
    assert one.labels["teff"].value == pytest.approx(labels["teff"], abs=400.0)
    assert one.labels["feh"].value == pytest.approx(labels["feh"], abs=0.3)


# Clones of parts, in turns, by others


@pytest.fixture(scope="module")
def small():
    """A grid of twelve nodes."""
    return small_grid()


@pytest.fixture(scope="module")
def undisturbed(small, tmp_path_factory):
    """Its clones, made in one run."""
    return clone(small, tmp_path_factory.mktemp("small") / "clones", TINY)


class Impatient:
    """A progress that interrupts a stage after so many items."""

    def __init__(self, stage, after):
        self.stage, self.after = stage, after

    def __call__(self, stage, done, total):
        if stage == self.stage and done == self.after:
            raise KeyboardInterrupt


FIRST, SECOND = (f"fit lines, round {k} of 2" for k in (1, 2))


@pytest.mark.parametrize(("stage", "after"), [("clone", 5), (FIRST, 1), (SECOND, 0), (SECOND, 1)])
def test_an_interrupted_run_resumes(small, undisturbed, tmp_path, stage, after):
    path = tmp_path / "clones"
    with pytest.raises(KeyboardInterrupt):
        clone(small, path, TINY, progress=Impatient(stage, after))
    found = open_archive(path)
    cloned = sum(found.is_done(i) for i in range(12))
    assert cloned == (5 if stage == "clone" else 12)
    with pytest.raises((ArchiveError, CloneError), match="clone again"):
        build(found)
    seen = []
    again = clone(small, path, TINY, progress=lambda stage, done, total: seen.append((stage, done)))
    assert seen[0] == ("clone", cloned)
    assert (stage, after) in seen
    assert (stage, after - 1) not in seen
    same_lines(again, undisturbed)


class Doomed:
    """`write_array` that ends the process at its n-th call."""

    def __init__(self, count):
        self.left, self.write = count, archive.write_array

    def __call__(self, *arguments, **options):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.write(*arguments, **options)


def test_a_run_that_is_interrupted_at_every_seventh_write_completes(
    small, undisturbed, tmp_path, monkeypatch
):
    path = tmp_path / "clones"
    for _ in range(60):
        with monkeypatch.context() as patch:
            patch.setattr(archive, "write_array", Doomed(7))
            try:
                again = clone(small, path, TINY)
            except KeyboardInterrupt:
                continue
        break
    same_lines(again, undisturbed)


@pytest.mark.x64
def test_a_node_that_failed_once_is_cloned_later(tmp_path):
    axes = {"teff": (5500.0,), "logg": (4.0, 4.5, 5.0), "feh": (0.0,)}
    grid = grid_of_stars(axes).cut(*RANGE)
    here = [False]

    def read(i):
        if i == 1 and not here[0]:
            raise GridError("the disk was away")
        return grid.read(i)

    flaky = replace(grid, read=read)
    assert list(clone(flaky, tmp_path / "clones", QUICKER).failed) == [1]
    here[0] = True
    again = clone(flaky, tmp_path / "clones", QUICKER)
    assert again.failed == {}  # or build would take it for a hole
    assert again.is_done(1)
    assert np.isfinite(misfits(again)).all()
    assert len(build(again).meta["nodes"]) == 3


def test_a_finished_run_is_not_done_again(small, undisturbed, monkeypatch):
    monkeypatch.setattr(archive, "write_array", Doomed(1))
    clone(small, undisturbed.path, TINY)


def test_windows_share_the_pixels_and_are_of_one_size():
    for n_pixels in (100, 790, 6_250, 25_001, 240_551, 338_651):
        for recipe in (DEFAULT, QUICK, DEFAULT.replace(window=1_000, margin=0)):
            cuts = windows(n_pixels, recipe.joint)
            pixels = np.arange(n_pixels)
            np.testing.assert_array_equal(np.concatenate([pixels[w.core] for w in cuts]), pixels)
            assert len({w.fitted.stop - w.fitted.start for w in cuts}) == 1
            for window in cuts:
                assert window.core.stop > window.core.start
                assert window.fitted.start == max(window.core.start - recipe.joint.margin, 0) or (
                    window.fitted.stop == n_pixels
                )
                assert window.fitted.stop >= min(window.core.stop + recipe.joint.margin, n_pixels)


def with_faults(grid, nan):
    """The grid with a node that has a pixel that is not finite."""
    flux = np.stack([spectrum.flux for spectrum in grid]).astype(np.float32)
    continuum = np.stack([spectrum.continuum for spectrum in grid]).astype(np.float32)
    flux[nan, 100] = np.nan
    return grid_of(grid.wavelength, grid.labels, grid.label_names, flux, continuum, grid.meta)


def test_a_hole_and_a_node_that_is_not_finite(tmp_path):
    axes = {"teff": (5000.0, 5500.0, 6000.0, 6500.0), "logg": (4.0, 5.0), "feh": (-0.5, 0.5)}
    grid = grid_of_stars(axes, missing=[6]).cut(*RANGE)
    broken = with_faults(grid, nan=9)
    assert broken.n_holes == 1
    clones = clone(broken, tmp_path / "clones", QUICKER)
    assert list(clones.failed) == [9]
    assert grid.describe(9) in clones.failed[9]
    assert "not finite" in clones.failed[9]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(misfits(clones))), [9])
    model = build(open_archive(clones.path))
    holes = [list(grid.labels[9]), list(grid.holes()[0].values())]
    assert sorted(model.meta["holes"]) == sorted(holes)
    for i in (0, 5, 6, 10, 14):
        labels = grid.labels_of(i)
        assert rms(model.flux(**labels) - flux_of(labels, PIXELS)) < 2.0 * QUICK.residual.tolerance
    for labels in (grid.labels_of(9), grid.holes()[0]):
        error = rms(model.flux(**labels) - flux_of(labels, PIXELS))
        assert 1e-4 < error < 0.02


def test_when_no_node_can_be_cloned(tmp_path):
    grid = grid_of_stars({"teff": (5500.0,), "logg": (4.0, 4.5), "feh": (0.0,)}).cut(8480, 8484)
    one = np.ones((2, len(grid.wavelength)))
    flat = grid_of(grid.wavelength, grid.labels, grid.label_names, one, one)
    with pytest.raises(CloneError, match="no line"):
        clone(flat, tmp_path / "flat", QUICK)
    with pytest.raises(CloneError):
        clone(with_faults(grid, nan=[0, 1]), tmp_path / "broken", QUICK)


def test_a_fourth_label(tmp_path):
    axes = {
        "teff": (5000.0, 5500.0, 6000.0),
        "logg": (4.0, 5.0),
        "feh": (-0.5, 0.0),
        "alpha": (0.0, 0.4),
    }
    model = build(clone(grid_of_stars(axes).cut(*RANGE), tmp_path / "clones", QUICKER))
    assert model.label_names == ("teff", "logg", "feh", "alpha")
    labels = {"teff": 5300.0, "logg": 4.6, "feh": -0.2, "alpha": 0.25}
    assert rms(model.flux(**labels) - flux_of(labels, PIXELS)) < 4e-3
    answer = infer(observed(labels), model, fixed={**STILL, "rv": 0.0})
    assert answer.labels["alpha"].value == pytest.approx(0.25, abs=0.06)
    assert answer.labels["teff"].value == pytest.approx(5300.0, abs=60.0)


def test_the_paper_recipe(tmp_path):
    axes = {"teff": (5500.0, 6000.0), "logg": (4.0, 4.5), "feh": (0.0, 0.5)}
    grid = toy_grid(axes).cut(*RANGE)
    clones = clone(grid, tmp_path / "clones", PAPER.replace(epochs=40))
    assert clones.failed == {}
    counts = [len(clones[i].lines) for i in range(8)]
    model = build(clones)
    assert len(model.reference) >= max(counts)
    assert model.residual is None
    for labels in (
        {"teff": 5500.0, "logg": 4.0, "feh": 0.0},
        {"teff": 5800.0, "logg": 4.2, "feh": 0.2},
    ):
        flux = np.asarray(model.flux(**labels))
        assert np.isfinite(flux).all()
        assert 0.0 < flux.min() < 0.8
    node = np.asarray(model.flux(teff=5500.0, logg=4.0, feh=0.0))
    assert rms(node - clones[0].flux) == pytest.approx(clones[0].misfit, rel=0.02)
