"""Commands without a model: which installed one is taken, and that it is named."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from quick_survey import answer_of
from toy_models import model_of, true_params

from blase3d.analysis.many_stars import Labeller
from blase3d.analysis.selection import infer_by_chosen, select
from blase3d.cli.joint import write_reports
from blase3d.cli.lines import explore
from blase3d.errors import InputError
from blase3d.inference.result import Estimate, WindowFit
from blase3d.libraries import write_grid
from blase3d.libraries.toy import AXES, toy_grid, toy_spectrum
from blase3d.model import installed
from blase3d.model.installed import InstalledModel, is_model, model_covering
from blase3d.model.model_file import save_model
from blase3d.spectra.formats import write_spectrum
from blase3d.spectra.formats.many import NamedFile
from blase3d.spectra.spectrum import Spectrum, cut

TRUTH = {"teff": 5730.0, "logg": 4.3, "feh": -0.1}
LABELS = [word for name, value in TRUTH.items() for word in (f"--{name}", str(value))]


def described(name: str, low: float, high: float) -> InstalledModel:
    return InstalledModel(name, Path(f"{name}.zip"), "toy", (low, high), {}, 0, {}, ())


def noisy(exact: Spectrum) -> Spectrum:
    error = exact.flux / 300
    flux = exact.flux + error * np.random.default_rng(3).normal(size=len(exact))
    return Spectrum(exact.wavelength, flux, error, resolution=1e6)


BLUE, RED = described("blue", 8480.0, 8498.0), described("red", 8499.0, 8520.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models blue and red of two windows, and in a folder of its own `wrong`, whose lines are too
    strong, in the window of blue; a star that all cover, and one that none covers."""
    folder = tmp_path_factory.mktemp("choice")
    grid = toy_grid()
    windows = {"blue": grid.cut(8480.0, 8498.0), "red": grid.cut(8499.0, 8520.0)}
    (folder / "models").mkdir()
    for name, window in windows.items():
        save_model(model_of(window, meta=META), folder / "models" / f"{name}.zip")
    strong = true_params(grid) + np.array([0.0, 0.5, 0.0, 0.0])
    save_model(model_of(windows["blue"], strong, meta=META), folder / "wrong.zip")
    star = noisy(toy_spectrum(**TRUTH))
    write_spectrum(star, folder / "star.npz")
    write_spectrum(replace(star, wavelength=star.wavelength - 4000.0), folder / "far.npz")
    return folder


META = {"node_rms": [1e-4] * 36, "node_lines_rms": [1e-3] * 36, "library": {"library": "toy"}}


@pytest.fixture(autouse=True)
def _installed(folder, monkeypatch):
    monkeypatch.setenv("BLASE3D_MODELS", str(folder / "models"))
    monkeypatch.setattr(installed, "packaged_folder", lambda: folder / "none")


# --- by coverage -------------------------------------------------------------------------------


def test_windows_are_taken_in_the_order_of_their_usable_pixels():
    star = toy_spectrum(**TRUTH)
    found = select(star, [BLUE, RED], {})
    assert [model.name for model in found.models] == ["red", "blue"]
    assert found.reasons[1] == "blue 8480–8498 Å: 901 of 2001 usable pixels"
    half_masked = replace(star, mask=star.wavelength > 8505.0)
    assert [m.name for m in select(half_masked, [BLUE, RED], {}).models] == ["blue", "red"]


def test_a_window_without_usable_pixels_is_not_taken():
    star = toy_spectrum(**TRUTH)
    assert [
        m.name for m in select(cut(star, star.wavelength < 8499.3), [BLUE, RED], {}).models
    ] == ["blue"]


def test_no_coverage_is_one_sentence_with_what_exists():
    star = replace(toy_spectrum(**TRUTH), wavelength=np.linspace(4000.0, 4040.0, 2001))
    with pytest.raises(InputError) as caught:
        select(star, [BLUE, RED], {})
    for word in ("4000–4040 Å", "blue 8480–8498 Å, red 8499–8520 Å", "docs/models.md"):
        assert word in str(caught.value)


def test_a_range_takes_the_model_that_covers_most():
    assert model_covering(8490.0, 8520.0, [BLUE, RED]) is RED
    assert model_covering(8490.0, 8490.0, [BLUE, RED]) is BLUE
    assert model_covering(-np.inf, np.inf, [BLUE]) is BLUE
    with pytest.raises(InputError, match="expected a name: blue, red"):
        model_covering(-np.inf, np.inf, [BLUE, RED])
    with pytest.raises(InputError, match=r"covers 8000–8001 Å .*installed: blue"):
        model_covering(8000.0, 8001.0, [BLUE, RED])


# --- by evidence -------------------------------------------------------------------------------


def test_of_two_models_of_one_window_the_better_is_taken(folder):
    star = toy_spectrum(**TRUTH)
    star = Spectrum(star.wavelength, star.flux, star.flux / 300, resolution=1e6)
    wrong = replace(BLUE, name="wrong", path=folder / "wrong.zip")
    blue = replace(BLUE, path=folder / "models" / "blue.zip")
    known = {"vsini": 0.0, "rv": 0.0, "logg": TRUTH["logg"], "feh": TRUTH["feh"]}
    found = select(star, [wrong, blue], {"fixed": known})
    assert [model.name for model in found.models] == ["blue"]
    assert "wrong not taken: odds of 0" in found.reasons[-1]


# --- by labels ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wide_and_narrow():
    """Models of two windows: red, and blue for dwarfs alone."""
    whole, dwarfs = toy_grid(), toy_grid({**AXES, "logg": (4.5, 5.0)})
    return {
        "red": model_of(whole.cut(8499.0, 8520.0), meta=META),
        "blue": model_of(dwarfs.cut(8480.0, 8498.0), meta=META),
    }


@pytest.mark.parametrize(("logg", "by"), [(4.15, ("red",)), (4.7, ("red", "blue"))])
def test_a_star_beyond_the_labels_of_a_model_is_inferred_without_it(wide_and_narrow, logg, by):
    star = noisy(toy_spectrum(**{**TRUTH, "logg": logg}))
    found = infer_by_chosen({"star": star}, wide_and_narrow, {"fixed": {"vsini": 0.0}})
    assert tuple(found.models) == by
    assert len(found.answer.windows or by[:1]) == len(by)
    estimate = found.answer.labels["logg"]
    assert abs(estimate.value - logg) < 4.0 * estimate.sigma
    if "blue" not in by:
        (reason,) = found.reasons
        assert reason.startswith("blue not taken: logg 4.")
        assert reason.endswith("is beyond its 4.5 to 5")


WIDE = {"logg": (0.0, 5.0), "feh": (-2.5, 0.5)}
NARROW = {"logg": (3.0, 5.0), "feh": (-1.0, 0.5)}


def by_wide_alone(monkeypatch, labels):
    """The answer for a star that ends on two bounds of a narrow model, and by a wide one alone has
    these labels, or an error."""

    def alone(*_, **__):
        if isinstance(labels, InputError):
            raise labels
        return answer_of(labels)

    on_bounds = {name: Estimate.normal(low, np.nan) for name, (low, _) in NARROW.items()}
    both = replace(answer_of({}), labels=on_bounds)
    monkeypatch.setattr("blase3d.analysis.selection.infer_joint", lambda *_, **__: both)
    monkeypatch.setattr("blase3d.analysis.selection.infer", alone)
    models = {"wide": SimpleNamespace(bounds=WIDE), "narrow": SimpleNamespace(bounds=NARROW)}
    return both, infer_by_chosen({"star": toy_spectrum(**TRUTH)}, models, {})


def test_a_model_is_kept_where_the_others_find_the_star_within_it(monkeypatch):
    """Wrong lines may drive a joint fit to the bound of one model."""
    both, found = by_wide_alone(monkeypatch, {"logg": 3.5, "feh": -0.5})
    assert tuple(found.models) == ("wide", "narrow")
    assert found.answer is both
    assert not found.reasons


def test_one_label_beyond_a_model_is_enough(monkeypatch):
    _, found = by_wide_alone(monkeypatch, {"logg": 1.6, "feh": -0.5})
    assert tuple(found.models) == ("wide",)
    assert found.answer.labels["logg"].value == 1.6
    assert found.reasons == ("narrow not taken: logg 1.6 is beyond its 3 to 5",)


def test_the_answer_by_all_models_stays_where_that_without_one_fails(monkeypatch):
    both, found = by_wide_alone(monkeypatch, InputError("wide covers no pixel."))
    assert found.answer is both
    assert found.reasons == (
        "narrow taken, on whose bound the star is: without, wide covers no pixel.",
    )


# --- the commands ------------------------------------------------------------------------------


def test_infer_takes_all_windows_and_names_their_models(folder, run, tmp_path):
    table = tmp_path / "table.ecsv"
    paths = folder / "star.npz", folder / "far.npz"
    done = run("infer", *paths, "--fix", "vsini=0", "--json", "-o", table)
    near, far = json.loads(done.out)
    assert done.status == 1
    assert near["model"] == "red, blue"
    assert [window["model"] for window in near["windows"]] == ["red", "blue"]
    assert abs(near["labels"]["teff"]["value"] - TRUTH["teff"]) < 50
    assert "red 8499–8520 Å: 1051 of 2001 usable pixels" in done.err
    assert "no installed model covers the spectrum, 4480–4520 Å" in far["error"]
    assert Table.read(table)["model"][0] == "red, blue"


def test_methods_of_one_model_take_the_window_of_most_pixels(folder, monkeypatch):
    monkeypatch.setattr("blase3d.analysis.selection.infer", lambda star, model, **_: model)
    label = Labeller(None, installed.installed_models(), {}, {"method": "posterior"})
    star = label(NamedFile("star", folder / "star.npz"))
    assert star.models == ("red",)
    assert star.reasons[-1] == "red alone is used, not blue"


def test_many_spectra_are_read_once_and_models_listed_once(folder, run, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("blase3d.analysis.selection.infer_joint", lambda *_, **__: answer_of({}))
    for module, name in (
        ("blase3d.spectra.formats.many", "read_spectrum"),
        ("blase3d.model.installed", "installed_models"),
    ):
        counted(monkeypatch, module, name, calls)
    star = folder / "star.npz"
    done = run("infer", star, star, "-o", tmp_path / "table.ecsv")
    assert (done.status, sorted(calls)) == (0, ["installed_models", *["read_spectrum"] * 2])


def counted(monkeypatch, module, name, calls):
    """Note each call of a function."""
    function = getattr(import_module(module), name)
    monkeypatch.setattr(f"{module}.{name}", lambda *a, **b: calls.append(name) or function(*a, **b))


def test_pixels_that_a_model_covers_for_no_velocity_do_not_count(folder):
    """A joint fit leaves out the ends of a model: 21 pixels there are no window."""
    star = toy_spectrum(**TRUTH)
    at_the_end = cut(star, star.wavelength < 8499.6)
    assert (at_the_end.wavelength >= RED.wavelength[0]).sum() > 20
    assert [model.name for model in select(at_the_end, [BLUE, RED], {}).models] == ["blue"]


def test_a_model_that_is_given_by_name_is_taken_alone(folder, run):
    words = "--model", "blue", "--fix", "vsini=0", "--json"
    done = run("infer", folder / "star.npz", *words)
    assert json.loads(done.out)[0]["model"] == "blue"
    assert "usable pixels" not in done.err


def test_synth_takes_the_model_of_its_range(run, tmp_path, monkeypatch):
    path, words = tmp_path / "s.npz", ("synth", *LABELS, "--wave", "8490:8496", "-o")
    done = run(*words, path)
    assert done.status == 0
    assert "hole" not in done.err
    monkeypatch.setattr("blase3d.model.model.Model.near_hole", lambda self, **labels: True)
    assert "labels are beside a hole of the library" in run(*words, path).err.replace("\n", " ")
    done = run("synth", *LABELS, "-o", path)
    assert done.status == 1
    assert "a name: blue, red" in done.err


@pytest.mark.parametrize(
    ("words", "name"),
    [(("lines", "--near", "8514.3"), "red"), (("validate", "--holdout", "held.npz"), "blue")],
)
def test_lines_and_validate_take_the_model_of_their_range(words, name, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_grid(toy_grid().cut(8481.0, 8497.0), "held.npz")

    def load(path):
        raise InputError(f"loads {path.name}")

    monkeypatch.setattr("blase3d.model.model_file.load_model", load)
    assert f"loads {name}.zip" in run(*words).err


def test_explore_tells_a_spectrum_from_a_model(folder, monkeypatch, capsys):
    served = []
    monkeypatch.setattr(
        "blase3d.views.dashboard.explore", lambda model, star, **_: served.append((model, star))
    )
    explore(folder / "star.npz")
    explore(Path("blue"))
    assert "is being prepared" in capsys.readouterr().err
    (model, star), (named, no_star) = served
    assert len(star) == 2001
    assert model.wavelength[0] > 8498.0 > named.wavelength[0]
    assert no_star is None


def test_a_model_is_recognised(folder):
    assert is_model("blue")
    assert is_model(folder / "wrong.zip")
    assert not is_model(folder / "star.npz")
    assert not is_model("absent")


def two_windows():
    """A joint answer whose windows have no flags of their own."""
    fit = replace(answer_of({"logg": 3.0}), seconds=0.0)
    windows = tuple(WindowFit("star.fits", name, fit) for name in "ab")
    return replace(answer_of({"logg": 3.0}, ("logg at a bound",)), windows=windows)


def test_reports_of_windows_have_the_flags_of_the_star(monkeypatch, tmp_path):
    fits = []
    monkeypatch.setattr("blase3d.views.report.write_report", lambda _, fit, *__: fits.append(fit))
    answer = two_windows()
    write_reports(answer, {"a": None, "b": None}, "star", tmp_path / "star.html")
    assert [fit.flags for fit in fits] == [("logg at a bound",)] * 2
    assert [fit.seconds for fit in fits] == [answer.seconds] * 2


def test_reports_of_windows_are_named(monkeypatch, tmp_path, capsys):
    written = []
    monkeypatch.setattr("blase3d.views.report.write_report", lambda path, *_: written.append(path))
    write_reports(two_windows(), {"a": None, "b": None}, "star", tmp_path / "star.html")
    assert written == [tmp_path / "star-1.html", tmp_path / "star-2.html"]
    assert "report of star.fits (b):" in capsys.readouterr().err
