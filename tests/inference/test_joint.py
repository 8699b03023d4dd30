"""One star in several spectra and models: against single fits, known truth and brute force."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from toy_models import model_of, true_params

import blase3d as b3
from blase3d.errors import InputError
from blase3d.inference.joint_likelihood import JointLikelihood, minimise
from blase3d.inference.joint_problem import cut_to_models, make_joint_problem
from blase3d.inference.solution import covariance
from blase3d.libraries.toy import toy_grid
from blase3d.recipe import PAPER
from blase3d.runtime.precision import in_float32
from blase3d.spectra.spectrum import Spectrum, cut

TRUTH = {"teff": 5730.0, "logg": 4.32, "feh": -0.13}
RECIPE = PAPER.replace(interpolation="spline", composition="sum")
SLOW = {"priors": {"rv": (-60.0, 60.0)}}
"""Prior on velocities, with which windows lose only 1.7 Å at their ends."""
META = {"library": "toy"}


@pytest.fixture(scope="module")
def whole():
    """The true lines over the whole range."""
    return model_of(toy_grid(), recipe=RECIPE, meta=META)


@pytest.fixture(scope="module")
def halves():
    """Two models of one library, below and above 8500 Å."""
    ranges = {"left": (8480.0, 8500.0), "right": (8500.0, 8520.0)}
    return {
        name: model_of(toy_grid().cut(*ends), recipe=RECIPE, meta=META)
        for name, ends in ranges.items()
    }


@pytest.fixture(scope="module")
def alpha_model():
    """Lines above 8500 Å, a third of which are stronger by half of a fourth label."""
    grid = toy_grid().cut(8500.0, 8520.0)
    alpha = np.array([-0.4, 0.0, 0.4])
    params = np.repeat(true_params(grid), alpha.size, axis=0)
    params[:, ::3, 1] += 0.5 * np.tile(alpha, len(grid.labels))[:, None]
    axes = {**grid.axes, "alpha": alpha}
    return model_of(SimpleNamespace(wavelength=grid.wavelength, axes=axes), params, recipe=RECIPE)


def star(model, rv=-17.2, seed=0, snr=200.0, vsini=9.0, **labels):
    """A noisy normalised spectrum of R = 40,000."""
    wavelength = model.wavelength[2:-2:2]
    observed = {"rv": rv, "vsini": vsini, "resolution": 40_000.0}
    flux = np.asarray(model.flux(**{**TRUTH, **labels}, wavelength=wavelength, **observed), float)
    error = np.full(flux.size, 1.0 / snr)
    noise = np.random.default_rng(seed).normal(size=flux.size)
    return Spectrum(wavelength, flux + error * noise, error, resolution=40_000.0)


def split(spectrum, at=8500.0):
    """A spectrum cut in two."""
    return [cut(spectrum, spectrum.wavelength < at), cut(spectrum, spectrum.wavelength >= at)]


def assert_true(answer, **more):
    """Check that all estimates are within four standard deviations of the truth."""
    for name, truth in {**TRUTH, **more}.items():
        found = {**answer.labels, **answer.nuisance}[name]
        assert abs(found.value - truth) < 4.0 * found.sigma, name


def test_one_window_is_the_single_fit(whole):
    spectrum = cut_to_models(star(whole), {"": whole}, 60.0)[""]
    single, joint = b3.infer(spectrum, whole, **SLOW), b3.infer_joint(spectrum, whole, **SLOW)
    assert joint.names == single.names
    assert joint.flags == single.flags
    np.testing.assert_allclose(joint.covariance, single.covariance, rtol=1e-3)
    for name, found in joint.labels.items():
        assert abs(found.value - single.labels[name].value) < 0.01 * found.sigma
    assert joint.chi2_red == pytest.approx(single.chi2_red)


def test_two_halves_of_a_spectrum_are_the_whole(whole):
    spectrum = cut_to_models(star(whole), {"": whole}, 60.0)[""]
    settings = {**SLOW, "continuum_degree": -1}
    single = b3.infer(spectrum, whole, **settings)
    joint = b3.infer_joint(split(spectrum), whole, common=("rv", "vsini"), **settings)
    assert joint.names == single.names
    for name in (*TRUTH, "rv", "vsini"):
        one, two = ({**a.labels, **a.nuisance}[name] for a in (single, joint))
        assert abs(two.value - one.value) < 0.1 * one.sigma
        assert two.sigma == pytest.approx(one.sigma, rel=0.15)  # the scatter between segments


@pytest.mark.long
def test_two_models_of_one_star(whole, halves):
    spectrum = star(whole)
    answer = b3.infer_joint(spectrum, halves, **SLOW)
    assert_true(answer, rv=-17.2, vsini=9.0)
    assert [(one.spectrum, one.model) for one in answer.windows] == [
        ("spectrum 1", "left"),
        ("spectrum 1", "right"),
    ]
    assert np.unique(answer.wavelength).size == answer.n_pixels == answer.order.size
    for part, model in zip(split(spectrum), halves.values(), strict=True):
        alone = b3.infer(part, model, **SLOW)
        for name, found in answer.labels.items():
            assert found.sigma < alone.labels[name].sigma
    assert len(answer.plot().subfigs) == 2
    assert answer.to_table()["teff"][0].value == answer.labels["teff"].value


@pytest.mark.long
def test_a_label_that_one_model_has(whole, halves, alpha_model):
    left, right = star(halves["left"]), star(alpha_model, alpha=0.2, seed=1, rv=30.0)
    models = {"left": halves["left"], "right": alpha_model}
    answer = b3.infer_joint({"a": left, "b": right}, models, **SLOW)
    assert tuple(answer.labels) == (*TRUTH, "alpha")
    assert_true(answer, alpha=0.2, rv_1=-17.2, rv_2=30.0, vsini=9.0)
    alone = b3.infer(right, alpha_model, **SLOW)
    assert answer.labels["alpha"].sigma < alone.labels["alpha"].sigma
    assert tuple(answer.windows[0].fit.labels) == tuple(TRUTH)
    assert answer.windows[1].fit.nuisance["rv"] == answer.nuisance["rv_2"]


def test_the_covariance_is_that_of_stacked_jacobians(whole, halves):
    """Weighted derivatives of both windows by finite differences, without the continuum."""
    spectrum = star(whole, snr=1000.0)
    answer = b3.infer_joint(spectrum, halves, **SLOW)
    at = {name: one.value for name, one in {**answer.labels, **answer.nuisance}.items()}
    steps = {"teff": 20.0, "logg": 0.05, "feh": 0.03, "rv": 0.3, "vsini": 0.3}
    total = np.zeros((5, 5))
    for window in answer.windows:
        fit, model = window.fit, halves[window.model]

        def flux(model=model, wavelength=fit.wavelength, **change):
            values = {**at, **change, "resolution": 40_000.0}
            return np.asarray(model.flux(**values, wavelength=wavelength), float)

        rows = np.stack(
            [
                (flux(**{name: at[name] + h}) - flux(**{name: at[name] - h})) / (2.0 * h)
                for name, h in steps.items()
            ]
        )
        x = np.linspace(-1.0, 1.0, fit.n_pixels)
        basis = np.linalg.qr(np.polynomial.chebyshev.chebvander(x, 3) * flux()[:, None])[0]
        rows = (rows - (rows @ basis) @ basis.T) * 1000.0
        total += rows @ rows.T / max(fit.chi2_red, 1.0)
    problem = make_joint_problem({"": spectrum}, halves, **SLOW)
    expected, found = np.linalg.inv(total), covariance(in_float32(minimise)(problem)[0])
    sigma = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(
        found / np.outer(sigma, sigma), expected / np.outer(sigma, sigma), atol=0.1
    )


def test_spectra_of_two_stars_disagree(whole):
    spectra = [star(whole), star(whole, seed=1, teff=5400.0)]
    answer = b3.infer_joint(spectra, whole, **SLOW)
    assert any("windows disagree" in flag for flag in answer.flags)
    same = b3.infer_joint([star(whole), star(whole, seed=1, rv=40.0)], whole, **SLOW)
    assert same.flags == ()


def test_parameters_are_common_or_apart_as_asked(whole):
    unknown = replace(star(whole), resolution=None)
    spectra = {"a": star(whole), "b": unknown}
    problem = make_joint_problem(spectra, {"m": whole}, fixed={"rv_2": 3.0})
    assert problem.names == (*TRUTH, "rv_1", "vsini", "resolution_2")
    assert problem.fixed == {"rv_2": 3.0, "resolution_1": 40_000.0, "vmac": 0.0, "dilution": 0.0}
    problem = make_joint_problem(spectra, {"m": whole}, common=("rv", "resolution"))
    assert problem.names == (*TRUTH, "rv", "vsini_1", "vsini_2")
    assert problem.fixed["resolution"] == 40_000.0
    alone = make_joint_problem({"b": unknown}, {"m": whole})
    assert alone.names == (*TRUTH, "rv", "resolution")


def test_windows_keep_masks_and_orders_and_no_pixel_twice(whole, halves):
    spectrum = star(whole)
    order = np.arange(len(spectrum)) % 2
    spectrum = replace(spectrum, mask=spectrum.wavelength > 8510.0, order=order)
    found = cut_to_models(spectrum, {"left": halves["left"], "all": whole}, 0.0)
    assert sum(map(len, found.values())) == len(spectrum)
    assert found["left"].wavelength[-1] <= 8500.0 < found["all"].wavelength[0]
    assert set(found["all"].order) == {0, 1}
    assert found["all"].n_masked == spectrum.n_masked
    nothing = replace(spectrum, mask=spectrum.wavelength > 8490.0)
    assert list(cut_to_models(nothing, halves, 0.0)) == ["left"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": {"hot": 7000.0}}, r"no range of teff in common \(left .*, hot 7000 to"),
        ({"spectra": [1]}, "expected"),
        ({"spectra": []}, "got no spectrum"),
        ({"fixed": {"rv_3": 0.0}}, "got the parameter rv_3"),
        ({"common": ("seeing",)}, "got 'seeing' as common"),
        ({"method": "posterior"}, "expected gradient"),
        ({"unheard": 1}, "got the option 'unheard'"),
    ],
)
def test_bad_input_is_one_sentence(whole, halves, change, message):
    arguments = {"spectra": star(whole), "models": halves, **SLOW, **change}
    if "models" in change:
        axes = {**halves["right"].axes, "teff": halves["right"].axes["teff"] + 2000.0}
        arguments["models"] = {"left": halves["left"], "hot": replace(halves["right"], axes=axes)}
    with pytest.raises(InputError, match=message):
        b3.infer_joint(arguments.pop("spectra"), arguments.pop("models"), **arguments)


def test_spectra_and_models_that_do_not_overlap_are_named(whole, halves):
    left, right = split(star(whole))
    with pytest.raises(InputError, match="spectrum 2 covers 8500–8520 Å, of which no model"):
        b3.infer_joint([left, right], halves["left"], **SLOW)
    with pytest.raises(InputError, match="right covers 8500–8520 Å, where at most 20"):
        b3.infer_joint(left, halves, **SLOW)


@pytest.mark.long
def test_the_command(whole, halves, tmp_path, run):
    for name, model in halves.items():
        b3.save_model(model, tmp_path / f"{name}.zip")
        b3.write_spectrum(star(model), tmp_path / f"{name}.npz")
    spectra = [tmp_path / f"{name}.npz" for name in halves]
    models = [word for name in halves for word in ("--model", tmp_path / f"{name}.zip")]
    words = ("infer", *spectra, "--joint", *models, "--prior", "rv=-60:60")
    done = run(*words, "--json", "-o", tmp_path / "table.ecsv")
    assert done.status == 0, done.err
    (found,) = json.loads(done.out)
    assert set(found["nuisance"]) == {"rv_1", "rv_2", "vsini"}
    assert [one["model"] for one in found["windows"]] == ["left", "right"]
    assert [one["spectrum"] for one in found["windows"]] == list(map(str, spectra))
    assert "rv_2_sigma" in (tmp_path / "table.ecsv").read_text()
    failed = run("infer", spectra[0], "--joint", *models, "--json")
    assert failed.status == 1
    assert "right covers" in json.loads(failed.out)[0]["error"]


def test_windows_count_by_their_information_in_the_share_of_independent_pixels():
    shares = [SimpleNamespace(independent_in_lines=lambda _, share=x: share) for x in (0.2, 1.0)]
    columns = SimpleNamespace(windows=[SimpleNamespace(columns=np.array([0]))] * 2)
    parts = tuple(SimpleNamespace(normal=np.array([[x]])) for x in (2.0, 3.0))
    fit = SimpleNamespace(normal=np.array([[4.0]]), windows=parts)
    likelihood = JointLikelihood(columns, tuple(shares), (2.0, 1.0))
    assert likelihood.independent_in_lines(fit) == pytest.approx(0.25 * 0.2 + 0.75)
