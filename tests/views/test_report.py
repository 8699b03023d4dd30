"""The report of an inference, and its figures."""

import base64
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from toy_models import model_of, true_params

import blase3d.inference.flags as flag_sources
import blase3d.views.report
from blase3d.inference import Options
from blase3d.inference.plots import DATA, MODEL, Section
from blase3d.inference.result import Estimate, Inference
from blase3d.libraries import toy
from blase3d.model.model_file import load_model, save_model
from blase3d.spectra.formats import write_spectrum
from blase3d.spectra.spectrum import Spectrum
from blase3d.views.flag_advice import advice
from blase3d.views.report import model_checksum, write_report
from blase3d.views.report.limits import limit_notes
from blase3d.views.report.misfit import WrongLine, wrong_lines
from blase3d.views.report.plots import corner_figure, corner_svg, spectrum_svg
from blase3d.views.report.report_data import make_report_data
from blase3d.views.report.tables import quality, wrong_table
from blase3d.views.report.viewer_data import kept_pixels, viewer_data

AXES = {"teff": (5500.0, 5750.0, 6000.0), "logg": (4.25, 4.75), "feh": (-0.25, 0.25)}
FOUND = {
    "teff": Estimate.normal(5617.3, 12.4),
    "logg": Estimate.normal(4.412, 0.0231),
    "feh": Estimate.normal(0.0913, 0.0087),
}
TRUTH = {"teff": 5620.0, "logg": 4.4, "feh": 0.1, "rv": 12.0}
HOSTILE = "<script>alert('x')</script> & \"star\".npz"
TOOLS = Path(__file__).parents[2] / "tools"
VIEWER = Path(blase3d.views.report.__file__).with_name("viewer.js")
VOID = {"meta", "img", "br", "link", "hr"}
EVIL = "</script><script>alert(1)</script>"


def nameless(model, labels, reference):
    return [""] * len(reference)


class Page(HTMLParser):
    """Reads a page: its elements, its text, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.count, self.words, self.attributes, self.scripts = [], {}, [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        kinds = {"script": self.scripts, "style": []}
        words = kinds.get(self.open[-1] if self.open else "", self.words)
        words.append(data.replace("\N{NO-BREAK SPACE}", " "))

    def value(self, name):
        return [value for key, value in self.attributes if key == name]

    @property
    def text(self):
        return " ".join(self.words)


@pytest.fixture(scope="module")
def model():
    grid = toy.toy_grid(AXES)
    params = true_params(grid)
    params[:, :-1, 1] += 0.03  # lines that are a little wrong, so that there is a residual
    blank = np.full((len(grid), grid.wavelength.size), 1e-3, np.float32)
    meta = {
        "library": {"library": "toy <grid>", "citation": ["A & B 2026"], "licence": "BSD"},
        "fingerprint": "abc123",
        "versions": {"clone": {"jax": "0.5"}, "build": {"jax": "0.6"}},
    }
    return model_of(grid, params, blank, meta)


def evil(model, labels, reference):
    """Species with a name that would break out of the page."""
    return [EVIL, *["Fe I"] * (len(reference) - 1)]


def continuum_at(wavelength):
    return 3e5 * (1.0 + 0.1 * (wavelength - 8500.0) / 16.0)


def make_inference(model, flags=(), stated=True):
    wavelength = np.arange(8484.0, 8517.0, 0.05)
    wavelength = wavelength[(wavelength < 8494.0) | (wavelength > 8496.0)]
    labels = {name: estimate.value for name, estimate in FOUND.items()}
    flux = np.asarray(model.flux(**labels, rv=12.0, wavelength=wavelength), float)
    continuum = continuum_at(wavelength)
    noise = np.random.default_rng(0).normal(0.0, 0.01, wavelength.size)
    return Inference(
        labels=dict(FOUND),
        nuisance={"rv": Estimate.normal(12.0, 0.04)},
        fixed={},
        names=("teff", "logg", "feh", "rv"),
        covariance=np.diag([12.4, 0.0231, 0.0087, 0.04]) ** 2,
        chi2_red=1.234 if stated else np.nan,
        method="gradient",
        seconds=0.7,
        flags=tuple(flags),
        n_pixels=wavelength.size,
        n_masked=7,
        wavelength=wavelength,
        flux=(flux + noise) * continuum,
        model=flux * continuum,
        error=0.01 * continuum,
        continuum=continuum,
        options=Options(limb_darkening=0.25),
    )


@pytest.fixture(scope="module")
def report(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "star.html"
    flags = ("teff at a bound", "something <new>", "logg at a bound")
    command = 'blase3d infer "a b.npz" --model <m>'
    inference = make_inference(model, flags)
    write_report(path, inference, model, HOSTILE, command, TRUTH, namer=evil)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(report):
    return Page(report)


def test_page_is_well_formed_and_alone(report, page):
    assert report.startswith("<!DOCTYPE html>")
    assert page.open == []
    for element in ("html", "head", "body", "h1", "style", "canvas"):
        assert page.count[element] == 1
    assert {"link", "img", "iframe", "object"}.isdisjoint(page.count)
    assert {"src", "href", "srcset", "action"}.isdisjoint(key for key, _ in page.attributes)
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|import\(", report)
    within = re.findall(r'url\(#(\w+)\)|xlink:href="#(\w+)"', report)
    assert {url or link for url, link in within} <= set(page.value("id"))
    assert all(value.startswith("#") for value in page.value("xlink:href"))
    assert len(page.value("id")) == len(set(page.value("id")))
    assert "width=device-width" in report


def test_browser_may_run_the_script_of_the_page_and_nothing_else(page):
    data, script = page.scripts
    policy = next(value for value in page.value("content") if "default-src" in value)
    mark = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{mark}'" in policy
    assert json.loads(data)["pixels"] == 620


def test_labels_stand_beside_the_truth(page):
    for text in ("5617", "± 12", "4.412", "± 0.023", "0.0913", "± 0.0087", "12.000", "± 0.040"):
        assert text in page.text
    for text in ("5620", "-3 (-0.2 σ)", "0.1000", "-0.0087 (-1.0 σ)"):
        assert text in page.text
    assert "1.23" in page.text
    assert "7 masked" in page.text


def test_names_cannot_break_out_of_the_page(report, page):
    assert page.count["script"] == report.count("<script") == 2
    assert HOSTILE in page.text
    assert EVIL in page.text
    assert EVIL in {line["name"] for line in json.loads(page.scripts[0])["lines"]}
    assert 'blase3d infer "a b.npz" --model <m>' in page.text
    assert "toy <grid>" in page.text
    assert "A & B 2026" in page.text
    assert "something <new>" in page.text


def test_flags_are_explained(page):
    assert "teff at a bound" in page.text
    assert "logg at a bound" in page.text
    assert page.text.count("the star may lie beyond it") == 1
    assert "What to do:" in page.text


def test_ticks_of_the_viewer_have_the_digits_that_they_need():
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    source = VIEWER.read_text(encoding="utf-8")
    (ticks,) = re.findall(r"^  const ticks = .*?^  };$", source, re.MULTILINE | re.DOTALL)
    ranges = [[5151, 6502], [0, 140], [0, 14], [0, 1.2]]
    ask = f"console.log(JSON.stringify({ranges}.map((range) => ticks(range, 6)[1][1])))"
    done = subprocess.run([node, "-e", ticks + ask], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["5500", "25", "2.5", "0.2"]


def test_rotation_that_is_not_resolved_is_no_fault(model, tmp_path):
    write_report(tmp_path / "r.html", make_inference(model, ["vsini at a bound"]), model, "star")
    text = Page((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "No check found a fault" in text
    assert "no rotation beyond its resolution" in text
    assert "the star may lie beyond it" not in text


def test_errors_that_are_widened_for_one_label_are_not_called_those_of_two():
    found = advice("errors of other labels widened for logg beyond the library")
    assert found is not None
    assert not found.severe
    assert "two or more" not in found.meaning


def test_misfit_by_the_stated_errors_stands_beside_that_of_the_fit(model):
    inference = replace(make_inference(model), chi2_stated=191.5)
    assert "Reduced χ² 1.23, 192 by the stated errors alone;" in quality(
        make_report_data(inference, model)
    )


def test_every_flag_has_its_advice():
    source = Path(flag_sources.__file__).read_text(encoding="utf-8")
    flags = re.findall(r'(?:append\(|yield |^ +)f?"([^"]+)"', source, re.MULTILINE)
    known = [flag for flag in flags if advice(flag)]
    assert len(known) >= 8
    assert known == flags


def test_everything_to_repeat_it_is_there(page, model):
    assert "limb_darkening 0.25" in page.text
    for text in ("abc123", "A & B 2026", '"name": "nodewise"', '"prominence": 0.005', "jax 0.6"):
        assert text in page.text
    assert model_checksum(model) in page.text


def test_checksum_is_of_the_content(model, tmp_path):
    save_model(model, tmp_path / "a.zip")
    first, second = load_model(tmp_path / "a.zip"), load_model(tmp_path / "a.zip")
    assert model_checksum(first) == model_checksum(second) == model_checksum(model)
    lines = first.line_grid
    zero = replace(lines, shape=np.where(lines.shape == 0, -0.0, 0.0).astype(np.float32))
    same = replace(zero, shape=np.zeros_like(zero.shape))
    marks = {model_checksum(replace(first, line_grid=one)) for one in (zero, same)}
    assert len(marks) == 1
    area = lines.area.copy()
    area[0, 0] += 1e-3
    other = replace(first, line_grid=replace(lines, area=area))
    assert model_checksum(other) != model_checksum(first)


def test_pictures_have_words_for_those_who_cannot_see_them(report, page):
    drawn = re.findall(r'<svg viewBox="[^"]+" (role="img" aria-label="[^"]+"|aria-hidden)', report)
    assert len(drawn) == page.count["svg"] >= 4
    assert page.count["title"] == 1 + sum("role" in kind for kind in drawn)


def test_size_is_stated(report, page):
    stated = float(re.search(r"This page: ([\d.]+) MB", page.text)[1])
    assert stated == pytest.approx(len(report.encode()) / 1e6, abs=0.006)


def array(entry, kind):
    whole = np.frombuffer(base64.b64decode(entry["data"]), kind)
    return entry["low"] + entry["step"] * whole


def test_viewer_has_the_numbers_of_the_result(page, model):
    inference = make_inference(model)
    data = json.loads(page.scripts[0])
    fitted, seen = array(data["model"], "<u2"), array(data["wavelength"], "<u4")
    off = np.frombuffer(base64.b64decode(data["residual"]), "<f4")
    continuum = continuum_at(inference.wavelength)
    assert np.abs(seen - inference.wavelength).max() < 1e-4
    assert fitted == pytest.approx(inference.model / continuum, abs=1e-4)
    assert off == pytest.approx((inference.flux - inference.model) / continuum, rel=1e-3, abs=1e-6)
    assert data["orders"] == [0, 620]
    assert data["unused"] == [[pytest.approx(8494.0, abs=0.03), pytest.approx(8496.0, abs=0.03)]]


def test_lines_of_each_label_are_listed(page):
    assert "8498.02" in page.text
    assert page.text.count("These lines together") == 3
    assert "Fe I" in page.text


def test_a_line_tells_what_it_would_by_itself(model, page):
    found = make_report_data(make_inference(model), model).information
    best = int(found.top("teff", 1)[0])
    alone = found.sigma[0] / np.sqrt(found.share[best, 0])
    assert f"± {alone:.2g}" in page.text
    assert "Alone (K)" in page.text


@pytest.mark.long
def test_lines_are_those_of_the_star_as_it_was_observed(model):
    """Uncertainties agree with finite differences of the flux with all effects that were fitted."""
    inference = make_inference(model)
    wavelength = inference.wavelength
    resolution = np.linspace(25_000.0, 60_000.0, wavelength.size)
    observation = {"rv": 12.0, "vsini": 6.0, "vmac": 8.0}
    options = Options(limb_darkening=0.2, integrate=True)
    fixed = {"vsini": 6.0, "vmac": 8.0}
    observed = replace(inference, fixed=fixed, pixel_resolution=resolution, options=options)
    data = make_report_data(observed, model)
    labels = {name: estimate.value for name, estimate in FOUND.items()}
    how = {"wavelength": wavelength, "resolution": resolution, "limb_darkening": 0.2}

    def flux(**changed):
        found = model.flux(**{**labels, **changed}, **observation, **how, integrate=True)
        return np.asarray(found, np.float64)

    jacobian = np.stack(
        [
            (flux(**{name: labels[name] + h}) - flux(**{name: labels[name] - h})) / (2 * h)
            for name, h in (("teff", 20.0), ("logg", 0.03), ("feh", 0.03))
        ]
    )
    expected = np.sqrt(np.diag(np.linalg.inv(jacobian @ jacobian.T))) * 0.01
    assert data.information.sigma == pytest.approx(expected, rel=0.03)
    plain = make_report_data(inference, model).information.sigma
    assert (data.information.sigma > 1.2 * plain).all()
    width = np.sqrt((10.0 / 299792.458) ** 2 + (1.0 / 42_500.0) ** 2)
    assert data.width == pytest.approx(width, rel=1e-3)


def test_without_flags_truth_command_and_errors(model, tmp_path):
    path = tmp_path / "bare.html"
    write_report(path, make_inference(model, stated=False), model, "star", namer=nameless)
    found = Page(path.read_text(encoding="utf-8"))
    assert "No check found a fault in this fit" in found.text
    assert "truth" not in found.text
    assert "Species" not in found.text
    assert "states no errors" in found.text
    assert list(tmp_path.iterdir()) == [path]


def test_a_label_on_a_bound_has_no_uncertainty(model, tmp_path):
    inference = make_inference(model)
    inference.labels["teff"] = Estimate(6000.0, np.nan, np.nan, 6000.0, np.nan)
    inference.labels["feh"] = Estimate.normal(0.1, 0.0)
    write_report(tmp_path / "r.html", inference, model, "star", truth=TRUTH, namer=nameless)
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "nan" not in page.text.lower()
    assert "none" in page.text
    assert "fixed" in page.text
    assert "Corner plot of log g, Radial velocity" in page.text  # what has an uncertainty


# The numbers behind.


def test_a_line_that_the_model_gets_wrong_is_found(model):
    inference = make_inference(model)
    assert wrong_lines(make_report_data(inference, model)) == []
    center = 8509.48 * (1.0 + 12.0 / 299792.458)
    bump = 0.06 * np.exp(-0.5 * ((inference.wavelength - center) / 0.12) ** 2)
    flux = inference.flux - bump * inference.model.max()
    worst = wrong_lines(make_report_data(replace(inference, flux=flux), model))[0]
    assert worst.center == pytest.approx(8509.48, abs=0.01)
    assert worst.off == pytest.approx(-0.06, abs=0.015)
    assert worst.sigmas < -8.0


def test_masked_pixels_and_outliers_are_marked(model):
    inference = make_inference(model)
    wavelength = inference.wavelength
    keep = np.ones(wavelength.size, bool)
    keep[[100, 300, 301, 302]] = False
    weight = np.ones(wavelength.size)
    weight[50] = 0.2
    names = ("wavelength", "flux", "model", "error", "continuum")
    used = {name: getattr(inference, name)[keep] for name in names}
    found = replace(inference, weight=weight[keep], masked=wavelength[~keep], **used)
    report_data = make_report_data(found, model)
    pixels = report_data.pixels
    assert pixels.wavelength[pixels.outlier] == pytest.approx([wavelength[50]])
    for masked in found.masked:
        assert any(low < masked < high for low, high in report_data.unused)
    assert len(report_data.unused) == 3  # with the gap of the spectrum itself
    data = json.loads(viewer_data(report_data, [], {}))
    flags = np.frombuffer(base64.b64decode(data["flags"]), np.uint8)
    assert np.flatnonzero(flags & 1).tolist() == [50]
    assert np.flatnonzero(flags & 2).size == 1 + 3


def test_a_spectrum_is_accepted_for_one_version(model, tmp_path):
    inference = make_inference(model)
    spectrum = Spectrum(inference.wavelength, inference.flux)
    write_report(tmp_path / "a.html", inference, model, "star", namer=nameless)
    with pytest.warns(DeprecationWarning, match="no longer needs spectrum"):
        write_report(
            tmp_path / "b.html", inference, model, "star", spectrum=spectrum, namer=nameless
        )
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def two_orders(model):
    """An inference of two interleaved orders of different brightness, and the orders."""
    inference = make_inference(model)
    order = np.where(np.arange(inference.wavelength.size) % 2, 52, 51)
    bright = np.where(order == 52, 3.0, 1.0)
    names = ("flux", "model", "error", "continuum")
    scaled = {name: getattr(inference, name) * bright for name in names}
    return replace(inference, order=order, **scaled), order


def test_orders_have_continua_of_their_own(model):
    inference, order = two_orders(model)
    plain = make_report_data(make_inference(model), model).pixels
    found = make_report_data(inference, model)
    assert [section.order for section in found.sections] == [51, 52]
    wavelength = found.pixels.wavelength
    assert all((np.diff(wavelength[order]) > 0).all() for order in found.orders)
    assert found.sections[1].model == pytest.approx(plain.model[order == 52], abs=2e-3)
    data = json.loads(viewer_data(found, [], {}))
    assert data["orders"] == [0, 310, 620]


def test_interleaved_orders_that_are_not_known_are_levelled(model):
    inference, _ = two_orders(model)
    found = make_report_data(replace(inference, order=None), model)
    plain = make_report_data(make_inference(model), model)
    assert found.pixels.model == pytest.approx(plain.pixels.model, abs=4e-2)


@pytest.fixture
def long(model):
    """The data of a long spectrum, with one low pixel and one outlier."""
    report_data = make_report_data(make_inference(model), model)
    count = 240_000
    rng = np.random.default_rng(1)
    flux = 1.0 - 0.5 * rng.random(count) ** 8
    flux[[1234, 200_000]] = [0.01, 5.0]
    wide = {"wavelength": np.linspace(8480.0, 12000.0, count), "flux": flux, "model": flux * 0.999}
    error, gaps = np.full(count, 0.01), np.zeros(count, bool)
    section = Section(None, **wide, error=error, outlier=flux > 2.0, gap_before=gaps)
    return replace(report_data, sections=(section,))


def test_long_spectra_keep_their_extremes_in_little_room(long):
    kept = kept_pixels(long)
    assert {0, 1234, 200_000, 239_999} <= set(kept.tolist())
    assert kept.size <= 100_000
    assert len(viewer_data(long, [], {})) < 2.4e6


def test_thousands_of_outliers_are_plotted_in_little_room(long):
    (section,) = long.sections
    many = replace(section, outlier=section.outlier | (np.arange(240_000) % 12 == 0))
    found = [replace(long, sections=(one,)) for one in (section, many)]
    one, thousands = (spectrum_svg(data, data.range, "") for data in found)
    assert one.count("<use") < thousands.count("<use")
    assert len(thousands) < len(one) + 0.3e6


@pytest.mark.long
def test_a_report_from_the_command_line_has_orders_and_masked_pixels(model, tmp_path, run):
    inference = make_inference(model)
    order = np.where(inference.wavelength < 8500.0, 52, 51)
    mask = np.zeros(order.size, bool)
    mask[100:104] = True
    spectrum = Spectrum(
        inference.wavelength, inference.flux, inference.error, mask, order=order, resolution=1e5
    )
    write_spectrum(spectrum, tmp_path / "star.npz")
    save_model(model, tmp_path / "model.zip")
    report = tmp_path / "star.html"
    words = ("infer", tmp_path / "star.npz", "--model", tmp_path / "model.zip", "--fix", "vsini=0")
    status, _, err = run(*words, "--report", report)
    assert (status, err) == (0, "")
    page = Page(report.read_text(encoding="utf-8"))
    data = json.loads(page.scripts[0])
    first = int((order == 51).sum())
    assert data["orders"] == [0, first, order.size - 4]
    masked = inference.wavelength[mask]
    assert any(low < masked[0] and masked[-1] < high for low, high in data["unused"])
    assert "4 masked" in page.text
    assert "not used, or no pixel" in page.text


# Pictures.


def test_corner_plot_of_a_normal_distribution(model):
    inference = make_inference(model)
    drawn = corner_svg(inference, {"teff": 5620.0})
    assert "Corner plot of Teff, log g, [Fe/H], Radial velocity: normal" in drawn
    panels = corner_figure(inference, {"teff": 5620.0}).axes
    assert len(panels) == 16
    texts = [text.get_text() for panel in panels for text in panel.texts]
    assert len(texts) == 6  # correlations
    assert all(re.fullmatch(r"[+−][01]\.\d\d", text) for text in texts)
    colours = [line.get_color() for panel in panels for line in panel.lines]
    assert colours.count(DATA) == 4 + 2 * 6
    assert colours.count(MODEL) == 4  # the truth, in the column of Teff
    assert drawn.count("var(--model)") == 4


def test_ticks_of_the_corner_plot_do_not_overlap(model):
    figure = corner_figure(make_inference(model), {})
    figure.draw_without_rendering()
    for panel in figure.axes:
        for axis in (panel.xaxis, panel.yaxis):
            shown = [label for label in axis.get_ticklabels() if label.get_text()]
            boxes = [label.get_window_extent() for label in shown if label.get_visible()]
            along = [(box.x0, box.y0) for box in boxes]
            steps = np.abs(np.diff(along, axis=0)).max(axis=1) if len(along) > 1 else [np.inf]
            assert min(steps) > min((box.height for box in boxes), default=0.0) * 0.4


def test_corner_plot_of_draws(model):
    draws = np.random.default_rng(0).normal(size=(2, 50, 4)) * [12.4, 0.0231, 0.0087, 0.04]
    center = [e.value for e in (*FOUND.values(), Estimate.normal(12.0, 0.04))]
    drawn = corner_svg(replace(make_inference(model), draws=draws + center), {})
    pairs = re.findall(r'd="([^"]+)"[^>]*stroke-linecap: round', drawn)
    assert len(pairs) == 6
    assert all(95 <= pair.count("M") <= 100 for pair in pairs)  # a few may lie outside


def test_no_corner_plot_without_uncertainties(model):
    inference = make_inference(model)
    for estimates in (inference.labels, inference.nuisance):
        for name in estimates:
            estimates[name] = Estimate.normal(estimates[name].value, np.nan)
    assert corner_svg(inference, {}) == ""


def test_overview_draws_data_model_and_marks(model):
    spec = importlib.util.spec_from_file_location("make_picture", TOOLS / "make_picture.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    figure = tool.overview_figure(make_inference(model), model)
    top, bottom = figure.axes
    low, high = top.get_xlim()
    assert high - low == pytest.approx(60.0)
    assert low < 8498.02 < high  # the range lacks 8664 Å: the deepest line is in the middle
    labels = [line.get_label() for line in top.lines]
    assert {"spectrum", "model"} <= set(labels)
    assert len(top.texts) >= 3
    assert bottom.get_ylabel() == "Residual"
    gap = top.lines[0].get_ydata()
    assert np.isnan(gap).sum() == 1


def test_page_shows_the_limits_of_the_library(model):
    told = replace(model, meta={**model.meta, "limits": "no TiO & no <H2O>"})
    assert "no TiO &amp; no &lt;H2O&gt;" in limit_notes(told, values())
    assert limit_notes(model, values()) == ""


@pytest.mark.parametrize(("hottest", "outside"), [(5900.0, False), (5500.0, True)])
def test_page_says_whether_a_star_is_like_those_of_the_calibration(model, hottest, outside):
    stars = [{"labels": {"teff": [teff, 20.0]}} for teff in (5000.0, hottest)]
    calibrated = replace(model, meta={**model.meta, "calibration": {"stars": stars}})
    note = limit_notes(calibrated, values())
    assert f"2 spectra of stars with Teff 5000 to {hottest:.0f} K" in note
    assert ("outside in Teff" in note) is outside


def test_page_says_that_lines_of_the_library_fit_better(model):
    calibration = {"stars": [{"labels": {"teff": [5000.0, 20.0]}}]}
    calibrated = replace(model, meta={**model.meta, "calibration": calibration})
    assert "fit this star better" in limit_notes(calibrated, values(), "library")
    assert "fit this star better" not in limit_notes(calibrated, values(), "stars")


def test_wrong_lines_say_whether_the_calibration_knows_them(model):
    data = make_report_data(make_inference(model), model)
    wrong = [WrongLine(line, 8500.0, 0.5, 0.03, 9.0) for line in (0, 1)]
    known = SimpleNamespace(stars=np.array([0, 3]), sigma=np.array([[0.4], [0.04]]))
    assert "Calibrated" not in wrong_table(data, wrong, {})
    shown = wrong_table(data, wrong, {}, known)
    assert "<td>no</td>" in shown
    assert "<td>3, ± 4 %</td>" in shown.replace("\N{NO-BREAK SPACE}", " ")


def values():
    return {name: estimate.value for name, estimate in FOUND.items()}
