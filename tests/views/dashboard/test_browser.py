"""The dashboard in a real browser: what its user does, and what comes of it."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from toy_models import model_of

from blase3d.libraries.toy import toy_grid
from blase3d.model.model_file import load_model, save_model
from blase3d.spectra.formats import read_spectrum, write_spectrum
from blase3d.spectra.spectrum import Spectrum
from blase3d.views.dashboard.uploads import LARGEST

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="Chromium with its driver is not installed",
    ),
]
AXES = {"teff": (5250.0, 5750.0, 6250.0), "logg": (4.25, 4.75), "feh": (-0.25, 0.25)}
TRUTH = {"teff": 5480.0, "logg": 4.42, "feh": 0.11}
CALCIUM = 8498.02
ORANGE = np.array([0xD5, 0x5E, 0x00]) / 255.0


def script(name):
    """A script of benchmarks/ as a module."""
    path = Path(__file__).parents[3] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"script_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


bench = script("explore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("explore")


@pytest.fixture(scope="module")
def model(folder):
    save_model(model_of(toy_grid(AXES), meta={"library": {"library": "toy"}}), folder / "toy.zip")
    return load_model(folder / "toy.zip")


@pytest.fixture(scope="module")
def star(folder, model):
    flux = np.asarray(model.flux(**TRUTH, rv=11.0, resolution=40_000), np.float64)
    noise = np.random.default_rng(4).normal(size=flux.size) / 300.0
    error = np.full(flux.size, 1.0 / 300.0)
    path = folder / "star.ecsv"
    write_spectrum(Spectrum(model.wavelength, flux + noise, error=error, resolution=4e4), path)
    return path


@pytest.fixture(scope="module")
def browser(folder, model):
    """The page of the model, open. Tests leave it as it comes, so they set what they need."""
    with bench.serving(folder / "toy.zip") as url, bench.browser("1366x768") as page:
        page.get("about:blank")
        page.get_log("performance")
        page.get(url)
        bench.wait(page, bench.SETTLED)
        yield page


def value(page, name, expression):
    return page.execute_script(
        f"const it = Bokeh.documents[0].get_model_by_name(arguments[0]); return {expression}", name
    )


def until(page, name, expression):
    model_ = f'const it = Bokeh.documents[0].get_model_by_name("{name}")'
    bench.wait(page, f"{model_}; return {expression}", 60)


def curve(page, name="model-data"):
    return [np.array(value(page, name, f"Array.from(it.data.{axis})"), float) for axis in "xy"]


def move(page, name, to):
    if value(page, name, "it.value") != to:
        page.execute_async_script(bench.MOVE, name, to)


def window(page, low, high):
    value(page, "window", f"it.setv({{start: {low}, end: {high}}})")
    until(page, "model-data", f"it.data.x[0] <= {low} && it.data.x.at(-1) >= {high}")


def button(page, text):
    """The button that says this, wherever it is among the roots of shadows."""
    return page.execute_script(
        """const find = root => { for (const one of root.querySelectorAll("*")) {
             if (one.tagName == "BUTTON" && one.textContent.includes(arguments[0])) return one
             const inner = one.shadowRoot && find(one.shadowRoot)
             if (inner) return inner } }
           return find(document)""".replace("arguments[0]", json.dumps(text))
    )


def upload(page, path):
    page.find_element(By.ID, "file").send_keys(str(path))


def test_everything_comes_from_the_server_itself(browser):
    own = browser.execute_script("return location.host")
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        event["params"].get("request", event["params"])["url"]
        for event in events
        if event["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated")
    ]
    foreign = [url for url in asked if not re.match(rf"(http|ws)://{own}/|data:|about:", url)]
    assert len(asked) > 4
    assert foreign == []


def test_nothing_is_wrong_on_the_console(browser):
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_sliders_move_the_spectrum(browser, model):
    window(browser, 8490.0, 8510.0)
    for name, to in (("teff", 6100.0), ("logg", 4.3), ("rv", 40.0), ("vsini", 9.0)):
        before = curve(browser)[1]
        move(browser, name, to)
        assert not np.array_equal(curve(browser)[1], before)
    move(browser, "resolution", 4.5)
    x, y = curve(browser)
    labels = {"teff": 6100.0, "logg": 4.3, "feh": value(browser, "feh", "it.value")}
    expected = model.flux(**labels, rv=40.0, vsini=9.0, resolution=10**4.5, wavelength=x)
    assert np.abs(y - np.asarray(expected))[20:-20].max() < 1e-4
    for name, to in (("rv", 0.0), ("vsini", 0.0), ("resolution", 6.0)):
        move(browser, name, to)


def test_boxes_and_sliders_follow_each_other(browser):
    move(browser, "teff", 5333.0)
    box = browser.execute_script(
        """return [...Bokeh.documents[0].all_models].find(
             one => one.type == "NumericInput" && one.value == 5333)?.id"""
    )
    assert box
    browser.execute_script(
        """[...Bokeh.documents[0].all_models].find(one => one.id == arguments[0]).value = 5444""",
        box,
    )
    assert value(browser, "teff", "it.value") == 5444


def test_the_window_has_sliders_too(browser):
    window(browser, 8490.0, 8510.0)
    value(browser, "span", "it.value = Math.log10(4)")
    value(browser, "centre", "it.value = 8505")
    assert value(browser, "window", "it.start") == pytest.approx(8503.0)
    assert value(browser, "window", "it.end") == pytest.approx(8507.0)
    window(browser, 8495.0, 8501.0)
    assert value(browser, "centre", "it.value") == pytest.approx(8498.0)
    assert 10 ** value(browser, "span", "it.value") == pytest.approx(6.0)


def test_a_line_that_is_clicked_shows_its_manifold(browser, model):
    for name, to in (("teff", 5750.0), ("rv", 0.0)):
        move(browser, name, to)
    window(browser, 8490.0, 8510.0)
    for wavelength in (8502.84, 8509.48):
        left, top = value(
            browser,
            "flux",
            f"""(() => {{ const view = Bokeh.index.find_one(it), box = view.frame.bbox
                const at = view.el.getBoundingClientRect()
                return [at.x + view.frame.x_scale.compute({wavelength}),
                        at.y + (box.y0 + box.y1) / 2] }})()""",
        )
        ActionChains(browser).move_by_offset(0, 0).perform()
        actions = ActionChains(browser)
        actions.w3c_actions.pointer_action.move_to_location(round(left), round(top))
        actions.click().perform()
        until(browser, "line", f'it.text.includes("{wavelength:.2f}")')
        until(
            browser,
            "line",
            'it.text.includes("Share of the information on each label") && !it.text.includes("…")',
        )
    line = int(np.abs(model.reference - 8509.48).argmin())
    corner = model.lines(teff=5250.0, logg=4.25, feh=value(browser, "feh", "it.value"))

    def maps_follow(page):
        corners = page.execute_script(
            """return [...Bokeh.documents[0].all_models].filter(one => one.data?.image?.length)
                 .map(one => Number(one.data.image[0][0]))"""
        )
        near = [abs(at - corner.ln_area[line]) < 1e-3 for at in corners]
        return len(corners) == 3 and any(near)  # pairs of labels, one of them Teff and log g

    WebDriverWait(browser, 30).until(maps_follow)


def test_a_spectrum_is_fitted_and_shown(browser, star):
    upload(browser, star)
    until(browser, "fit-button", "it.disabled == false")
    assert browser.find_element(By.ID, "file-name").text == "star.ecsv"
    button(browser, "Fit the spectrum").click()
    until(browser, "message", 'it.text.includes("reduced")')
    for name, within in (("teff", 15.0), ("logg", 0.03), ("feh", 0.02)):
        assert value(browser, name, "it.value") == pytest.approx(TRUTH[name], abs=within)
    assert value(browser, "rv", "it.value") == pytest.approx(11.0, abs=0.2)
    window(browser, 8490.0, 8510.0)
    drawn = "Array.from(it.data.y).every(y => !(Math.abs(y) > 0.1))"  # the frame of the fit
    until(browser, "residual-data", f"it.data.x.length > 900 && {drawn}")
    _, residual = curve(browser, "residual-data")
    assert np.nanstd(residual) == pytest.approx(1.0 / 300.0, rel=0.25)


def test_a_bad_file_gives_one_sentence(browser, folder):
    for name, content in (("bad.npz", b"PK\x03\x04nonsense"), ("bad.fits", b"\0" * 5000)):
        (folder / name).write_bytes(content)
        upload(browser, folder / name)
        until(browser, "message", f'it.text.includes("{name}") && it.text.includes("error")')
        said = re.sub("<[^>]*>", "", value(browser, "message", "it.text"))
        assert said.strip().endswith(".")
        assert "Traceback" not in said
    before = curve(browser)[1]
    move(browser, "teff", 6000.0)  # the page goes on
    assert not np.array_equal(curve(browser)[1], before)


def test_a_hostile_name_is_shown_as_text(browser, folder):
    name = "<img src=x onerror=document.title=1>.csv"
    (folder / name).write_text("nothing")
    upload(browser, folder / name)
    until(browser, "message", 'it.text.includes("onerror") && it.text.includes("error\\"")')
    assert browser.title == "blase3D"
    assert "<img" not in value(browser, "message", "it.text")


def test_a_file_over_the_stated_size_is_not_even_sent(browser, folder):
    with open(folder / "huge.fits", "wb") as stream:
        stream.truncate(LARGEST + 1)
    upload(browser, folder / "huge.fits")
    until(browser, "message", 'it.text.includes("huge.fits has 64.0 MB")')
    assert "64 MB" in browser.find_element(By.ID, "drop").text


def test_what_is_shown_can_be_taken_away(browser, model, folder):
    window(browser, 8496.0, 8500.0)
    browser.execute_script(
        """window.taken = {}
           document.addEventListener("blase3d-save", event => {
             window.taken[event.detail.name] = event.detail.text })"""
    )
    for text, name in (
        ("Model", "model"),
        ("Spectrum and residual", "spectrum"),
        ("Lines", "lines"),
    ):
        button(browser, f"↓ {text}").click()
        bench.wait(browser, f'return "blase3d-{name}.ecsv" in window.taken', 30)
        content = browser.execute_script(f'return window.taken["blase3d-{name}.ecsv"]')
        (folder / f"{name}.ecsv").write_text(content)
    taken = read_spectrum(folder / "model.ecsv")
    labels = taken.meta["labels"]
    sight = {name: taken.meta[name] for name in ("rv", "vsini", "resolution") if name in taken.meta}
    sight["resolution"] = taken.resolution
    expected = model.flux(**labels, **sight, wavelength=taken.wavelength)
    assert taken.flux == pytest.approx(np.asarray(expected), abs=1e-5)
    assert 8496.0 <= taken.wavelength[0] < taken.wavelength[-1] <= 8500.0
    assert len(read_spectrum(folder / "spectrum.ecsv")) == len(taken)
    assert f"{CALCIUM:.2f}"[:6] in (folder / "lines.ecsv").read_text()


@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080)])
def test_the_page_fits_the_screen_and_shows_the_spectrum(browser, folder, size):
    width, height = size
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    window(browser, 8490.0, 8510.0)
    bench.wait(browser, "return document.fonts.status == 'loaded'")
    scrolls = browser.execute_script(
        "const it = document.documentElement; return [it.scrollWidth, it.scrollHeight]"
    )
    assert scrolls == [width, height]
    browser.save_screenshot(str(folder / "page.png"))
    picture = imread(folder / "page.png")[:, :, :3]
    assert (np.abs(picture - ORANGE).max(axis=2) < 0.1).sum() > 300


def test_an_interruption_ends_it_and_the_page_says_so(browser, folder):
    # a shell's background jobs, and what they start, ignore Ctrl-C
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    start = f"{heed}; from blase3d.cli import main; main()"
    command = [sys.executable, "-c", start, "explore", folder / "toy.zip", "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert "prepared" in running.stderr.readline()
        said = running.stderr.readline()
        browser.get(re.search(r"http://localhost:\d+/", said)[0])
        bench.wait(browser, bench.SETTLED)
        running.send_signal(signal.SIGINT)
        try:
            assert running.wait(30) == 0
        finally:
            running.kill()  # or the test would wait for it for ever
        assert running.stderr.read() == ""
    bench.wait(browser, 'return !document.getElementById("lost").hidden', 30)
