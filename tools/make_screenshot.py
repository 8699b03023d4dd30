"""Take the pictures of the dashboard, for docs/explore.md, and of a report, for docs/figures.md.

    python tools/make_screenshot.py                  # the dashboard: a packaged star and its model
    blase3d demo && python tools/make_screenshot.py blase3d-demo/gaia-rvs.html

Chromium and its driver have to be installed (on Debian: chromium, chromium-driver).
"""

from __future__ import annotations

import json
import sys
from importlib.resources import as_file, files
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import explore as bench  # noqa: E402
from blase3d.libraries.packaged import STARS  # noqa: E402
from blase3d.model.installed import model_path  # noqa: E402

STAR, SIZE = "harps", "1366x900"
IMAGES = ROOT / "docs" / "images"
WINDOW = 5875.0, 5905.0
"""Å shown, with the sodium doublet."""
CALLED = "const it = Bokeh.documents[0].get_model_by_name({name}); "
BUTTON = """const find = root => { for (const one of root.querySelectorAll("*")) {
  if (one.tagName == "BUTTON" && one.textContent.includes("Fit the spectrum")) return one
  const inner = one.shadowRoot && find(one.shadowRoot)
  if (inner) return inner } }
find(document).click()"""


TOP = """document.documentElement.style.overflow = "hidden"
for (const one of document.querySelectorAll("p"))
  if (one.textContent.includes("Method:"))
    one.innerHTML = one.innerHTML.replace(/, [\\d.]+ s\\./, ".")
"""
"""Without the scroll bar, and the seconds, which are of the machine."""


def report(path: Path) -> None:
    """Save the picture of the top of a report."""
    with bench.browser("1000x1240") as page:
        page.get(path.resolve().as_uri())
        page.execute_script(TOP)
        page.save_screenshot(str(IMAGES / "report.png"))


def dashboard() -> None:
    """Open the dashboard, fit the star, choose the window, and save the picture."""
    with (
        bench.serving(model_path(STARS[STAR])) as url,
        bench.browser(SIZE) as page,
        as_file(files("blase3d.libraries") / "data" / f"{STAR}.npz") as star,
    ):
        page.get(url)
        bench.wait(page, bench.SETTLED)
        page.find_element("id", "file").send_keys(str(star))
        bench.wait(page, of("fit-button") + "return it.disabled == false")
        page.execute_script(BUTTON)
        bench.wait(page, of("message") + 'return it.text.includes("reduced")')
        low, high = WINDOW
        page.execute_script(of("window") + f"it.setv({{start: {low}, end: {high}}})")
        bench.wait(page, of("model-data") + f"return it.data.x.at(-1) >= {high}")
        bench.wait(page, bench.SETTLED)
        page.save_screenshot(str(IMAGES / "explore.png"))


def of(name: str) -> str:
    """The beginning of a script about the widget of a name."""
    return CALLED.format(name=json.dumps(name))


if __name__ == "__main__":
    report(Path(sys.argv[1])) if sys.argv[1:] else dashboard()
