"""Inference against closed forms and known truth, on a model with the lines of the toy universe."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io.fits import PrimaryHDU
from toy_models import model_of

from blase3d.errors import InputError, MissingExtra, SpectrumError
from blase3d.inference import Prior, infer, infer_many
from blase3d.inference import start as start_of_fit
from blase3d.inference.likelihood import forward, likelihood
from blase3d.inference.likelihood.likelihood import make_likelihood
from blase3d.inference.methods import nuts
from blase3d.inference.methods.least_squares import LeastSquares
from blase3d.inference.methods.nuts import effective_draws, split_r_hat
from blase3d.inference.problem import Options, make_problem
from blase3d.inference.solution import covariance, misfit_covariance
from blase3d.inference.start import scan_of, starts
from blase3d.libraries.toy import WAVELENGTH, toy_grid
from blase3d.model.model_file import load_model
from blase3d.recipe import PAPER
from blase3d.runtime import kept
from blase3d.runtime.precision import in_float32
from blase3d.runtime.units import SPEED_OF_LIGHT
from blase3d.spectra.formats import write_spectrum
from blase3d.spectra.spectrum import Spectrum, cut

TRUTH = {"teff": 5730.0, "logg": 4.32, "feh": -0.13}
OBSERVED = {"rv": -37.2, "vsini": 9.0, "resolution": 40_000.0}
INNER = WAVELENGTH[400:-400:2]
SHARP = {"vsini": 0.0, "resolution": np.inf}


@pytest.fixture(scope="module")
def model():
    """The true lines at the nodes, and nothing else."""
    recipe = PAPER.replace(interpolation="spline", composition="sum")
    return model_of(toy_grid(), recipe=recipe, meta={"library": "toy"})


@pytest.fixture(scope="module")
def doubtful(model):
    """The same model with error modes."""
    rng = np.random.default_rng(5)
    ripple = [np.sin(WAVELENGTH * k / 3.0) * rng.normal(1.0, 0.1) for k in (1, 2, 3)]
    return replace(model, error_modes=np.asarray(5e-3 * np.stack(ripple), np.float32))


def star(model, snr=200.0, seed=0, wavelength=INNER, slope=0.2, **given):
    """A noisy spectrum of a star with a sloping continuum."""
    flux = np.array(model.flux(**TRUTH, wavelength=wavelength, **{**OBSERVED, **given}), float)
    x = (wavelength - wavelength.mean()) / np.ptp(wavelength)
    flux *= 3e-13 * (1.0 + slope * x)
    error = np.full(flux.size, 3e-13 / snr)
    noise = np.random.default_rng(seed).normal(size=flux.size)
    resolution = given.get("resolution", OBSERVED["resolution"])
    known = resolution if np.ndim(resolution) == 0 and np.isfinite(resolution) else None
    return Spectrum(wavelength, flux + error * noise, error, resolution=known)


def check(answer, sigmas=4.0, **more):
    """Check that all estimates are within some standard deviations of the truth."""
    truth = {**TRUTH, **OBSERVED, **more}
    for name, found in {**answer.labels, **answer.nuisance}.items():
        assert abs(found.value - truth[name]) < sigmas * found.sigma, name


@pytest.mark.long
def test_a_moving_rotating_star(model):
    answer = infer(star(model), model)
    check(answer)
    assert answer.flags == ()
    assert 0.9 < answer.chi2_red < 1.1
    assert set(answer.nuisance) == {"rv", "vsini"}
    assert answer.fixed == {"resolution": 40_000.0, "vmac": 0.0, "dilution": 0.0}


def test_functions_of_an_inference_are_traced_in_the_first_process_alone(
    doubtful, monkeypatch, tmp_path
):
    monkeypatch.delenv(kept.VARIABLE, raising=False)
    monkeypatch.setenv("BLASE3D_CACHE", str(tmp_path))
    functions = (
        *(forward._star_with_slopes, forward._observed_with_slopes, start_of_fit._weights),
        *(likelihood.segment_products, likelihood.fitted_arrays),
        *(likelihood._whitened_modes, likelihood._observed_modes),
    )
    observed, answers = star(doubtful, wavelength=INNER[200:600]), []
    for _ in range(2):
        for function in functions:
            monkeypatch.setattr(function, "_known", {})
        answers.append(infer(observed, doubtful))
        assert all(function._known for function in functions)
        assert len(list((tmp_path / "traces").iterdir())) == len(functions)
        for function in functions:
            monkeypatch.setattr(function, "_function", None)  # cannot be traced again
    first, second = answers
    assert second.labels == first.labels
    np.testing.assert_array_equal(second.flux, first.flux)


@pytest.mark.x64
def test_without_stated_errors_the_scatter_is_the_error(model):
    stated = star(model)
    answer = infer(replace(stated, error=None), model)
    check(answer)
    assert np.isnan(answer.chi2_red)
    assert np.median(answer.error) == pytest.approx(3e-13 / 200, rel=0.1)
    assert answer.labels["teff"].sigma == pytest.approx(
        infer(stated, model).labels["teff"].sigma, rel=0.1
    )


def test_macroturbulence_is_found_where_rotation_is_known(model):
    spectrum = star(model, vmac=6.0, vsini=0.0, snr=500.0)
    answer = infer(spectrum, model, priors={"vmac": Prior(0.0, 20.0)}, fixed={"vsini": 0.0})
    check(answer, vmac=6.0)
    assert answer.nuisance["vmac"].sigma < 1.0


@pytest.mark.parametrize("dilution", [0.2, -0.05])
def test_dilution_is_found(model, dilution):
    """Light without lines, or too much sky subtracted, with the sign that the table states."""
    spectrum = star(model, dilution=dilution, snr=500.0)
    undiluted = np.asarray(model.flux(**TRUTH, wavelength=INNER, **OBSERVED))
    diluted = np.asarray(model.flux(**TRUTH, wavelength=INNER, **OBSERVED, dilution=dilution))
    np.testing.assert_allclose(diluted, (1.0 - dilution) * undiluted + dilution, atol=1e-6)
    answer = infer(spectrum, model, priors={"dilution": Prior(-0.3, 0.5)})
    check(answer, dilution=dilution)
    assert answer.nuisance["dilution"].sigma < 0.05


@pytest.mark.long
def test_a_resolution_that_varies(model):
    varying = np.linspace(20_000.0, 60_000.0, INNER.size)
    spectrum = star(model, resolution=varying, snr=500.0)
    check(infer(replace(spectrum, pixel_resolution=varying), model))
    assert infer(replace(spectrum, resolution=60_000.0), model).chi2_red > 1.3


@pytest.mark.long
def test_wide_pixels_average_the_flux(model):
    wide = WAVELENGTH[400:-400:30]
    given = {"vsini": 0.0, "resolution": np.inf}
    flux = np.asarray(
        model.flux(**TRUTH, rv=OBSERVED["rv"], wavelength=wide, integrate=True), float
    )
    error = np.full(wide.size, 1e-3)
    spectrum = Spectrum(wide, flux, error)
    fits = [infer(spectrum, model, fixed=given, integrate=kind) for kind in (True, False)]
    assert fits[0].chi2_red < 0.2 < fits[1].chi2_red
    assert fits[0].labels["teff"].value == pytest.approx(TRUTH["teff"], abs=1.0)


# The likelihood, against dense matrices


def dense_chi2(problem, likely, theta, modes):
    """min over c of (d − m T c)ᵀ N⁻¹ (d − m T c), in float64."""
    spectrum, fit = problem.spectrum, likely.fitted(likely.predicted(theta))
    m = fit.flux / fit.continuum
    covariance = np.diag(spectrum.error**2)
    covariance += (modes.T * fit.continuum[:, None]) @ (modes * fit.continuum)
    x = np.linspace(-1, 1, len(spectrum))
    columns = np.polynomial.chebyshev.chebvander(x, problem.options.degree) * m[:, None]
    inverse = np.linalg.inv(covariance)
    best = np.linalg.solve(columns.T @ inverse @ columns, columns.T @ inverse @ spectrum.flux)
    rest = spectrum.flux - columns @ best
    return rest @ inverse @ rest


def refined_at(problem, theta):
    likely = make_likelihood(problem)
    return likely.refined(likely.predicted(theta))


@pytest.mark.long
@in_float32  # as in `infer`
def test_modes_of_the_emulators_error_are_a_covariance(doubtful):
    spectrum = star(doubtful, wavelength=WAVELENGTH[500:1500], snr=300.0, **SHARP, rv=0.0)
    spectrum = replace(spectrum, flux=spectrum.flux * 1e13, error=spectrum.error * 1e13)
    fixed = {**SHARP, "rv": 0.0}
    problem = make_problem(spectrum, doubtful, fixed=fixed, options=Options(robust=False))
    theta = np.array([TRUTH["teff"], TRUTH["logg"], TRUTH["feh"]])
    likely = refined_at(problem, theta)
    scatter = max(make_likelihood(problem).chi2(theta) / likely.freedom(), 1.0)
    modes = doubtful.error_modes[:, 500:1500].astype(float) / np.sqrt(scatter)
    # the modes stand on the continuum that was best when they were set
    assert likely.chi2(theta) == pytest.approx(dense_chi2(problem, likely, theta, modes), rel=2e-3)
    assert likely.chi2(theta) < make_likelihood(problem).chi2(theta)


@pytest.mark.long
@in_float32  # as in `infer`
def test_first_derivatives_of_chi2(doubtful):
    problem = make_problem(star(doubtful), doubtful)
    theta = np.array([5800.0, 4.4, -0.2, -36.5, 11.0])
    likely = refined_at(problem, theta)
    fit = likely.fit(likely.predicted(theta))
    assert fit.chi2 == pytest.approx(likely.chi2(theta), rel=1e-5)
    for k, step in enumerate((10.0, 0.02, 0.01, 0.05, 0.1)):
        up, down = (theta + sign * step * np.eye(5)[k] for sign in (1, -1))
        slope = (likely.chi2(up) - likely.chi2(down)) / (2 * step)
        assert fit.gradient[k] == pytest.approx(slope / 2, rel=0.02), problem.names[k]


def test_similar_spectra_share_one_compilation(model):
    infer(star(model), model)
    before = compilations()
    infer(star(model, wavelength=INNER[5:-8]), model)
    assert compilations() == before


def compilations():
    traced = likelihood.segment_products, forward._star_with_slopes, forward._observed_with_slopes
    compiled = (found for function in traced for found in function._known.values())
    return sum(function._cache_size() for function in compiled)


@pytest.mark.long
def test_the_error_of_the_emulator_is_in_the_intervals(model, doubtful):
    """A mode equal to the change of the flux by 30 K adds 30 K to the error of Teff."""
    up, down = (np.asarray(model.flux(**{**TRUTH, "teff": 5730.0 + d})) for d in (15.0, -15.0))
    ripples = 0.02 * doubtful.error_modes
    modes = np.array([up - down, *ripples[1:]], np.float32)
    known = {
        "logg": TRUTH["logg"],
        "feh": TRUTH["feh"],
        "rv": OBSERVED["rv"],
        "vsini": OBSERVED["vsini"],
    }
    spectrum = star(model, snr=1000.0)
    sure, unsure = (
        infer(spectrum, m, fixed=known).labels["teff"].sigma
        for m in (replace(doubtful, error_modes=ripples), replace(doubtful, error_modes=modes))
    )
    assert sure < 3.0
    assert unsure == pytest.approx(30.0, rel=0.1)


@pytest.mark.long
@in_float32  # as in `infer`
def test_intervals_do_not_rely_on_what_is_corrected(doubtful):
    """Covariance of plain least squares by dense matrices: noise, and the effect of the modes on θ
    if their amplitudes are not measured from the data."""
    spectrum = star(doubtful, wavelength=WAVELENGTH[500:1500], snr=300.0, **SHARP)
    spectrum = replace(spectrum, flux=spectrum.flux * 1e13, error=spectrum.error * 1e13)
    problem = make_problem(
        spectrum, doubtful, fixed={**SHARP, "rv": OBSERVED["rv"]}, options=Options(robust=False)
    )
    solution = LeastSquares().solve(make_likelihood(problem), seed=0).best
    steps = np.diag([2.0, 0.01, 0.01])
    fits = [
        solution.likelihood.fitted(solution.likelihood.predicted(solution.theta + step))
        for step in (*steps, *-steps)
    ]
    flux = np.array([fit.flux / fit.continuum for fit in fits])
    slopes = (flux[:3] - flux[3:]) / (2.0 * np.diag(steps)[:, None])
    continuum, x = solution.fitted.continuum, np.linspace(-1, 1, len(spectrum))
    smooth = np.polynomial.chebyshev.chebvander(x, 3) * solution.fitted.flux[:, None]
    weight = 1.0 / spectrum.error
    basis = np.linalg.qr(smooth * weight[:, None])[0]

    def projected(rows):
        rows = (rows * continuum * weight).T
        return rows - basis @ (basis.T @ rows)

    place = np.searchsorted(WAVELENGTH, spectrum.wavelength * (1.0 - OBSERVED["rv"] / 299792.458))
    j, z = projected(slopes), projected(doubtful.error_modes[:, place])
    inverse = np.linalg.inv(j.T @ j)
    moved = inverse @ j.T @ z
    expected = np.sqrt(np.diag(inverse + moved @ moved.T))
    found = np.sqrt(np.diag(covariance(solution) + solution.model_covariance))
    np.testing.assert_allclose(found, expected, rtol=0.1)
    noise = np.sqrt(np.diag(covariance(solution)))
    assert (found > 1.1 * noise).any()


def test_the_scan_starts_near_the_truth(model):
    problem = make_problem(star(model, snr=50.0), model)
    (first, *_) = starts(problem)
    found = dict(zip(problem.names, first, strict=True))
    assert abs(found["teff"] - TRUTH["teff"]) < 400
    assert abs(found["rv"] - OBSERVED["rv"]) < 3.0


@pytest.mark.parametrize("rv", [-12.0, 60.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_velocity_is_found_where_the_strongest_lines_are_masked(rv, seed):
    """They are not in the spectrum, and are not sought in its weak lines."""
    model, pixels = load_model("rvs"), np.arange(8440.0, 8725.0, 0.3)
    labels = {"teff": 6200.0, "logg": 4.2, "feh": -1.0, "alpha": 0.2}
    flux = np.asarray(model.flux(**labels, wavelength=pixels, rv=rv, resolution=11_500.0))
    noise = np.random.default_rng(seed).normal(scale=0.025, size=pixels.size)
    triplet = np.array([8500.36, 8544.44, 8664.52]) * (1.0 + rv / SPEED_OF_LIGHT)
    masked = np.abs(pixels[:, None] - triplet).min(axis=1) < 5.0
    error = np.full(pixels.size, 0.025)
    given = Spectrum(pixels, flux + noise, error, masked, resolution=11_500.0)
    assert abs(scan_of(make_problem(given, model)).first["rv"] - rv) < 15.0


# Orders, outliers, jitter, telluric bands


def test_orders_have_continua_of_their_own(model):
    half = INNER.size // 2
    spectrum = star(model, slope=0.0)
    order = np.where(np.arange(INNER.size) < half, 7, 8)
    flux = spectrum.flux * np.where(order == 7, 1.0, 4.0) * np.linspace(1.0, 1.5, INNER.size)
    error = spectrum.error * flux / spectrum.flux
    broken = Spectrum(INNER, flux, error, resolution=40_000.0)
    check(infer(replace(broken, order=order), model))
    assert "poor fit" in infer(broken, model).flags


def test_the_answer_keeps_what_it_knows(model):
    """Continuum, orders, resolution and options, and the masked pixels, without a second fit."""
    half = INNER.size // 2
    order = np.where(np.arange(INNER.size) < half, 7, 8)
    mask = np.arange(INNER.size) % 50 == 3
    varying = np.linspace(30_000.0, 50_000.0, INNER.size)
    spectrum = star(model, resolution=varying, slope=0.5)
    spectrum = replace(
        spectrum, order=order, mask=mask, pixel_resolution=varying, resolution=40_000.0
    )
    answer = infer(spectrum, model, continuum_degree=2, limb_darkening=0.3)
    np.testing.assert_array_equal(answer.order, order[~mask])
    np.testing.assert_array_equal(answer.masked, INNER[mask])
    np.testing.assert_array_equal(answer.pixel_resolution, varying[~mask])
    assert answer.options == Options(continuum_degree=2, limb_darkening=0.3)
    x = (INNER - INNER.mean()) / np.ptp(INNER)
    np.testing.assert_allclose(answer.continuum, 3e-13 * (1.0 + 0.5 * x)[~mask], rtol=0.01)
    assert repr(answer) == f"<Inference: {answer}>"


@pytest.mark.long
def test_interleaving_orders_are_kept_apart(model):
    first, second = (
        star(model, wavelength=INNER + d, slope=s) for d, s in ((0, 0.3), (3e-3, -0.3))
    )
    wave = np.concatenate([first.wavelength, second.wavelength])
    place = np.argsort(wave)
    columns = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])[place]
        for name in ("flux", "error")
    }
    order = np.repeat([0, 1], INNER.size)[place]
    check(infer(Spectrum(wave[place], **columns, order=order, resolution=40_000.0), model))


def test_an_order_without_enough_pixels_is_left_out(model):
    spectrum = star(model)
    order = np.where(np.arange(INNER.size) < 5, 1, 2)
    answer = infer(replace(spectrum, order=order), model)
    assert answer.n_pixels == INNER.size - 5


def test_the_continuum_of_an_order_follows_its_unmasked_end(model):
    """As in an order of which telluric bands leave one end."""
    spectrum = star(model)
    order = np.where(np.arange(INNER.size) < INNER.size // 2, 1, 2)
    masked = (order == 2) & (np.arange(INNER.size) < INNER.size - 30)
    part = replace(spectrum, order=order, mask=masked)
    data = make_likelihood(make_problem(part, model, options=Options(continuum_degree=5))).data
    columns = np.asarray(data.basis * data.errors.noise.weight.reshape(2, 1, -1), np.float64)
    assert np.linalg.cond(columns[1] @ columns[1].T) < 100.0
    check(infer(part, model, continuum_degree=5))


def test_a_blaze_in_the_flux_raises_the_default_degree(model):
    """As in orders of HPF, whose blaze is a sinc² that a polynomial of degree 3 cannot follow."""
    spectrum = star(model)
    blaze = np.sinc(np.linspace(-0.6, 0.45, INNER.size)) ** 2
    meta = {**spectrum.meta, "blaze": "included"}
    bent = replace(spectrum, flux=spectrum.flux * blaze, error=spectrum.error * blaze, meta=meta)
    answer = infer(bent, model)
    check(answer)
    assert answer.flags == ("continuum of degree 6: the flux includes the blaze",)
    assert answer.options.continuum_degree == 6
    assert make_problem(bent, model, options=Options(continuum_degree=4)).messages == ()


def test_cosmic_rays_are_given_less_weight(model):
    spectrum = star(model)
    flux = spectrum.flux.copy()
    hit = np.arange(30, INNER.size, 97)
    flux[hit] *= 1.0 + np.geomspace(0.5, 1e6, hit.size)
    answer = infer(replace(spectrum, flux=flux), model)
    check(answer)
    assert answer.flags == (f"{hit.size} outlying pixels given less weight",)
    assert answer.weight.min() < 1e-6
    assert "poor fit" in infer(replace(spectrum, flux=flux), model, robust=False).flags


def test_jitter_is_found(model):
    spectrum = star(model, snr=100.0)
    understated = replace(spectrum, error=spectrum.error / 3)
    answer = infer(understated, model, jitter=True)
    check(answer)
    assert answer.jitter == pytest.approx(0.01 * np.sqrt(1 - 1 / 9), rel=0.1)
    assert answer.chi2_red == pytest.approx(1.0, abs=0.05)
    scaled = infer(understated, model)
    assert scaled.chi2_red == pytest.approx(9.0, rel=0.1)
    assert scaled.labels["teff"].sigma == pytest.approx(answer.labels["teff"].sigma, rel=0.15)
    assert infer(spectrum, model, jitter=True).jitter < 0.003


def test_telluric_bands_are_masked_of_observed_spectra_only(model, monkeypatch):
    from blase3d.spectra import telluric

    monkeypatch.setattr(telluric, "BANDS", ((INNER[100], INNER[200], "toy"),))
    computed = star(model)
    observed = replace(computed, meta={"telescope": "toy", "frame": "barycentric"})
    assert infer(computed, model).n_masked == 0
    answer = infer(observed, model)
    assert answer.n_masked == 101
    assert answer.flags == ("101 pixels in telluric bands masked",)
    assert infer(observed, model, telluric=False).n_masked == 0
    assert infer(computed, model, telluric=True).n_masked == 101
    shifted = replace(observed, meta={"telescope": "toy", "barycentric_correction": 300.0})
    moved = np.flatnonzero(telluric.telluric_bands(shifted))[0]
    assert INNER[moved] == pytest.approx(INNER[100] * (1 + 300 / SPEED_OF_LIGHT), abs=0.05)


# Draws


@pytest.mark.long
def test_spectra_on_the_models_own_pixels_share_what_is_compiled(model):
    """A process that infers spectra of many ranges does not compile for each of them."""
    still, compiled = {"rv": 0.0, **SHARP}, []
    for first, count in ((400, 600), (717, 600), (950, 583)):
        given = star(model, wavelength=WAVELENGTH[first : first + count], **still)
        assert make_problem(given, model, fixed=still).model is model
        check(infer(given, model, fixed=still))
        compiled.append(compilations())
    assert compiled[0] == compiled[-1]


@pytest.mark.lowest
@pytest.mark.long
def test_draws_agree_with_the_curvature(doubtful):
    pytest.importorskip("blackjax")
    part = cut(star(doubtful, snr=100.0), (INNER > 8494.0) & (INNER < 8504.0))
    fixed = {"logg": TRUTH["logg"], "vsini": OBSERVED["vsini"]}
    settings = {"fixed": fixed, "draws": 300, "chains": 2, "seed": 1}
    drawn = infer(part, doubtful, method="posterior", **settings)
    normal = infer(part, doubtful, fixed=fixed)
    assert drawn.draws.shape == (2, 300, 3)
    assert "not converged" not in drawn.flags
    for name, found in {**drawn.labels, **drawn.nuisance}.items():
        if name == "logg":
            continue
        expected = {**normal.labels, **normal.nuisance}[name]
        assert found.value == pytest.approx(expected.value, abs=0.4 * expected.sigma)
        assert found.sigma == pytest.approx(expected.sigma, rel=0.3)
        assert found.q16 < found.q50 < found.q84
    assert drawn.to_dict()["draws"] == [2, 300]
    pytest.importorskip("arviz")
    data = drawn.to_arviz()
    assert data["posterior"]["teff"].shape == (2, 300)
    assert data["posterior"]["teff"].attrs["units"] == "K"
    assert data["posterior"].attrs["inference_library"] == "blase3d"
    assert data["posterior"].attrs["model_library"] == "toy"
    mean = float(data["log_likelihood"]["spectrum"].mean())
    assert mean == pytest.approx(-1.5, abs=0.4)  # half of the number of free parameters
    assert data["sample_stats"]["lp"].shape == data["sample_stats"]["diverging"].shape == (2, 300)
    assert float(data["sample_stats"]["acceptance_rate"].mean()) > 0.5


def test_without_the_extra_it_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "blackjax", None)
    with pytest.raises(MissingExtra, match=r"blase3d\[posterior\]"):
        infer(star(model), model, method="posterior")
    with pytest.raises(MissingExtra):
        list(infer_many([star(model)], model, method="posterior"))
    with pytest.raises(InputError, match="makes no draws"):
        infer(star(model), model).to_arviz()


def test_a_file_of_unknown_layout_ends_no_list(model, tmp_path):
    cube = PrimaryHDU(np.zeros((3, 4, 5)))
    cube.writeto(tmp_path / "cube.fits")
    spectra = [tmp_path / "cube.fits", star(model)]
    first, second = (answer for _, answer in infer_many(spectra, model, fixed=TRUTH))
    assert isinstance(first, SpectrumError)
    assert "cube.fits" in str(first)
    assert not isinstance(second, Exception)


def test_columns_and_unit_are_given_to_the_reader(model, tmp_path):
    one = star(model)
    rows = zip(one.flux.tolist(), (one.wavelength / 10).tolist(), strict=True)
    (tmp_path / "star.csv").write_text("a,b\n" + "".join(f"{f!r},{w!r}\n" for f, w in rows))
    reading = {"medium": "vacuum", "columns": {"wavelength": "b", "flux": "a"}, "unit": "nm"}
    ((_, answer),) = infer_many([tmp_path / "star.csv"], model, **reading, fixed=TRUTH)
    assert abs(answer.nuisance["rv"].value - OBSERVED["rv"]) < 4 * answer.nuisance["rv"].sigma


def test_diagnostics_of_draws():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(4, 2000))
    assert split_r_hat(white) == pytest.approx(1.0, abs=0.01)
    assert effective_draws(white) == pytest.approx(8000, rel=0.2)
    walk = np.zeros_like(white)
    for n in range(1, 2000):  # correlation time (1 + 0.9) / (1 − 0.9) = 19
        walk[:, n] = 0.9 * walk[:, n - 1] + white[:, n]
    assert effective_draws(walk) == pytest.approx(8000 / 19, rel=0.4)
    apart = white + 3.0 * np.arange(4)[:, None]
    assert split_r_hat(apart) > 2.0
    assert effective_draws(apart) < 20


# Many


@pytest.mark.parametrize("executor", [None, 2])
def test_one_bad_spectrum_stops_no_other(model, executor, tmp_path):
    path = tmp_path / "star.npz"
    write_spectrum(star(model, seed=3), path)
    far = Spectrum(np.linspace(4000.0, 4100.0, 500), np.ones(500))
    spectra = [star(model), far, path, tmp_path / "absent.npz"]
    pool = None if executor is None else ThreadPoolExecutor(executor)
    found = dict(infer_many(spectra, model, executor=pool))
    assert sorted(found) == [0, 1, 2, 3]
    check(found[0])
    check(found[2])
    assert "do not overlap" in str(found[1])
    assert isinstance(found[3], SpectrumError)


@pytest.mark.x64
def test_priors_and_bounds_hold(model):
    answer = infer(star(model), model, priors={"teff": Prior(5900.0, 6100.0)})
    assert answer.labels["teff"].value == 5900.0
    assert np.isnan(answer.labels["teff"].sigma)
    assert "teff at a bound" in answer.flags
    with pytest.raises(InputError, match="a fixed value too"):
        infer(star(model), model, priors={"teff": Prior(5e3, 6e3)}, fixed={"teff": 5500.0})
    with pytest.raises(InputError, match="degree"):
        infer(star(model), model, continuum_degree=-2)


@pytest.mark.x64
def test_labels_may_all_be_known(model):
    answer = infer(star(model), model, fixed=TRUTH)
    assert answer.names == ("rv", "vsini")
    assert answer.labels["teff"].sigma == 0.0
    assert abs(answer.nuisance["rv"].value - OBSERVED["rv"]) < 4 * answer.nuisance["rv"].sigma
    with pytest.raises(InputError, match="leave at least one free"):
        infer(star(model), model, fixed={**TRUTH, **OBSERVED})


@in_float32  # as in `infer`
def scattered(model, factors):
    """The solution of a star, with scores between segments of `factors` (F,) times the scatter of
    white noise."""
    solution = LeastSquares().solve(make_likelihood(make_problem(star(model), model)), seed=0).best
    white = np.random.default_rng(2).multivariate_normal(np.zeros(5), solution.fit.normal, size=200)
    white *= np.sqrt(np.diag(solution.fit.normal) / np.sum(white**2, axis=0))
    return [replace(solution, fit=replace(solution.fit, scores=f * white)) for f in factors]


def widening(solutions):
    """Sigmas over those of the curvature (F, K)."""
    found = [np.diag(misfit_covariance(one, 1.0)) / np.diag(covariance(one)) for one in solutions]
    return np.sqrt(found)


def test_errors_that_go_together_widen_the_intervals(model):
    """Scatter between segments as by white noise changes nothing; wrong lines count fivefold."""
    usual, wider = widening(scattered(model, [1.0, 3.0]))
    np.testing.assert_allclose(usual, 1.0, rtol=0.2)
    np.testing.assert_allclose(wider, 15.5, rtol=0.25)


def test_the_widening_is_continuous(model):
    factors = np.linspace(0.8, 1.6, 41)
    steps = np.diff(np.log(widening(scattered(model, factors))), axis=0)
    assert (steps > -1e-9).all()
    assert steps.max() < 0.2


@in_float32
def test_parameters_that_are_alike_hide_no_wrong_lines(doubtful):
    """The model's errors, at a slightly other macroturbulence, leave the intervals as they are."""
    free = {"vmac": Prior(0.0, 10.0), "resolution": Prior(2e4, 2e5)}
    problem = make_problem(star(doubtful, vsini=0.0), doubtful, free, {"vsini": 0.0})
    solution = LeastSquares().solve(make_likelihood(problem), seed=0).best
    scores = np.random.default_rng(2).multivariate_normal(
        np.zeros(len(problem.names)), solution.fit.normal, size=200
    )
    solution = replace(solution, fit=replace(solution.fit, scores=scores))
    other = np.where(np.array(problem.names) == "vmac", 1.2, 1.0)
    errors = solution.likelihood.errors
    moved = replace(errors, model_covariance=errors.model_covariance * np.outer(other, other))
    again = replace(solution, likelihood=replace(solution.likelihood, errors=moved))
    usual, changed = (np.sqrt(np.diag(misfit_covariance(one, 1.0))) for one in (solution, again))
    np.testing.assert_allclose(changed[:4], usual[:4], rtol=0.02)  # the labels and the velocity


def test_draws_are_as_wide_as_the_intervals(model):
    (solution,) = scattered(model, [1.5])
    plain = covariance(solution, solution.scatter)
    draws = np.random.default_rng(3).multivariate_normal(solution.theta, plain, size=(4, 1000))
    widened = nuts._widened(draws, solution, seed=4).reshape(-1, 5).std(axis=0)
    expected = np.sqrt(np.diag(misfit_covariance(solution, solution.scatter)))
    np.testing.assert_allclose(widened, expected, rtol=0.08)
    assert (expected > 1.5 * np.sqrt(np.diag(plain))).all()


def test_no_rotation_ends_at_zero_and_says_so(model):
    answer = infer(star(model, vsini=0.0, seed=2), model, fixed={"resolution": 40_000.0})
    found = answer.nuisance["vsini"]
    assert found.value < 4.0
    assert ("vsini at a bound" in answer.flags) == (found.value == 0.0)
    for name in TRUTH:
        assert abs(answer.labels[name].value - TRUTH[name]) < 4 * answer.labels[name].sigma


@pytest.mark.long
def test_flux_of_the_model_takes_any_resolution(model):
    constant = model.flux(**TRUTH, resolution=3e4, wavelength=INNER)
    as_array = model.flux(**TRUTH, resolution=np.full(INNER.size, 3e4), wavelength=INNER)
    as_function = model.flux(**TRUTH, resolution=lambda w: 3e4 + 0.0 * w, wavelength=INNER)
    np.testing.assert_allclose(as_array, constant, atol=2e-5)
    np.testing.assert_allclose(as_function, constant, atol=2e-5)
    assert jnp.ptp(constant) > 0.1


def test_stars_with_wrong_lines_have_larger_errors(model):
    """Stars whose lines differ from the model's: intervals contain the truth."""
    fixed = {"resolution": OBSERVED["resolution"]}
    pulls = []
    for seed in range(4):
        base = np.array(model.line_grid.base)
        base[:, 1:3] += np.random.default_rng(seed).normal(0.0, 0.1, (len(base), 2))
        other = model.with_lines(replace(model.line_grid, base=base))
        labels = infer(star(other, snr=500.0), model, fixed=fixed).labels
        pulls.append([(labels[name].value - TRUTH[name]) / labels[name].sigma for name in TRUTH])
    assert np.sqrt(np.mean(np.square(pulls))) < 1.5


def test_errors_change_smoothly_with_those_stated(model):
    """Copies of one star whose errors are understated by √2: none is taken for another kind."""
    answers = [
        infer(replace(spectrum, error=spectrum.error / np.sqrt(2.0)), model)
        for spectrum in (star(model, snr=100.0, seed=seed) for seed in range(6))
    ]
    chi2 = np.array([answer.chi2_red for answer in answers])
    np.testing.assert_allclose(chi2, 2.0, rtol=0.2)
    for name in TRUTH:
        sigma = np.array([answer.labels[name].sigma for answer in answers])
        assert sigma.max() < 1.4 * sigma.min(), name
