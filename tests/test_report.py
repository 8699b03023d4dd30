"""The report of an inference, and its figures."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from blase3d import toy
from blase3d.inference.result import Estimate, Inference
from blase3d.report import overview_figure, write_report
from worlds import model_of, true_params

AXES = {"teff": (5500.0, 5750.0, 6000.0), "logg": (4.25, 4.75), "feh": (-0.25, 0.25)}
FOUND = {
    "teff": Estimate.normal(5617.3, 12.4),
    "logg": Estimate.normal(4.412, 0.0231),
    "feh": Estimate.normal(0.0913, 0.0087),
}
TRUTH = {"teff": 5620.0, "logg": 4.4, "feh": 0.1, "rv": 12.0}
HOSTILE = "<script>alert('x')</script> & \"star\".npz"
VOID = {"meta", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """Reads a page: its elements, its text, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.count, self.words, self.attributes = [], {}, [], []
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
        self.words.append(data)

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


def make_inference(model, flags=(), stated=True):
    wavelength = np.arange(8484.0, 8517.0, 0.05)
    wavelength = wavelength[(wavelength < 8494.0) | (wavelength > 8496.0)]
    labels = {name: estimate.value for name, estimate in FOUND.items()}
    flux = np.asarray(model.flux(**labels, rv=12.0, wavelength=wavelength), float)
    continuum = 3e5 * (1.0 + 0.1 * np.linspace(-1.0, 1.0, wavelength.size))
    noise = np.random.default_rng(0).normal(0.0, 0.01, wavelength.size)
    return Inference(
        labels=dict(FOUND),
        nuisance={"rv": Estimate.normal(12.0, 0.04)},
        fixed={},
        names=("teff", "logg", "feh", "rv"),
        covariance=np.eye(4),
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
    )


@pytest.fixture(scope="module")
def report(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "star.html"
    flags = ("teff at a bound", "something <new>")
    command = 'blase3d infer "a b.npz" --model <m>'
    write_report(path, make_inference(model, flags), model, HOSTILE, command, TRUTH)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(report):
    return Page(report)


def test_page_is_well_formed_and_alone(report, page):
    assert report.startswith("<!DOCTYPE html>")
    assert page.open == []
    assert page.count["html"] == page.count["head"] == page.count["body"] == page.count["h1"] == 1
    assert "script" not in page.count
    assert not re.search(r"""(src|href)=["'](?!data:)""", report)
    assert "width=device-width" in report


def test_labels_stand_beside_the_truth(page):
    for text in ("5617", "± 12", "4.412", "± 0.023", "0.0913", "± 0.0087", "12.000", "± 0.040"):
        assert text in page.text
    for text in ("5620", "-3 (-0.2 σ)", "0.1000", "-0.0087 (-1.0 σ)"):
        assert text in page.text
    assert "1.23" in page.text
    assert "7 masked" in page.text


def test_names_cannot_break_out_of_the_page(report, page):
    assert "<script" not in report
    assert HOSTILE in page.text
    assert 'blase3d infer "a b.npz" --model <m>' in page.text
    assert "toy <grid>" in page.text
    assert "A & B 2026" in page.text
    assert "something <new>" in page.text


def test_flags_are_explained(page):
    assert "teff at a bound" in page.text
    assert "the star may lie beyond it" in page.text


def test_everything_to_repeat_it_is_there(page):
    for text in ("abc123", "A & B 2026", '"name": "nodewise"', '"prominence": 0.005', "jax 0.6"):
        assert text in page.text


def test_figures_are_pictures(report):
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', report)
    assert len(pictures) >= 3
    assert all(base64.b64decode(data).startswith(b"\x89PNG") for data in pictures)
    assert report.count('<img alt="') == len(pictures)


def test_lines_of_each_label_are_listed(page):
    assert page.count["caption"] == 3
    assert "8498.02" in page.text
    assert page.text.count("These lines together") == 3


def test_without_flags_truth_command_and_errors(model, tmp_path):
    path = tmp_path / "bare.html"
    write_report(path, make_inference(model, stated=False), model, "star")
    found = Page(path.read_text(encoding="utf-8"))
    assert "Nothing that was checked speaks against this fit" in found.text
    assert "truth" not in found.text
    assert "states no errors" in found.text
    assert list(tmp_path.iterdir()) == [path]


def test_a_label_on_a_bound_has_no_uncertainty(model, tmp_path):
    inference = make_inference(model)
    inference.labels["teff"] = Estimate(6000.0, np.nan, np.nan, 6000.0, np.nan)
    inference.labels["feh"] = Estimate.normal(0.1, 0.0)
    write_report(tmp_path / "r.html", inference, model, "star", truth=TRUTH)
    text = Page((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "nan" not in text.lower()
    assert "none" in text
    assert "fixed" in text


def test_overview_draws_data_model_and_marks(model):
    figure = overview_figure(make_inference(model), model)
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
