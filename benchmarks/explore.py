"""How long does it take from slider to plot in the browser?

    python benchmarks/explore.py --model turbo-cat.zip turbo-wide.zip --json explore.json

Serves each model with `blase3d explore`, opens the page in headless Chromium and moves sliders
there, one move after the other has been drawn: the labels, velocity, rotation and resolution in
turn, at random values. The time is measured by the clock of the page, from setting the value to the
second frame after the new curve arrived, and includes server, network and drawing. Results are for
the first window and the whole range: median, 95th percentile and maximum.

Needs Chromium with its driver, and selenium.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

MOVE = """
const [name, value, done] = arguments
const document_ = Bokeh.documents[0]
const slider = document_.get_model_by_name(name)
const source = document_.get_model_by_name("model-data")
const start = performance.now()
const arrived = () => {
  source.properties.data.change.disconnect(arrived)
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)))
}
source.properties.data.change.connect(arrived)
slider.value = value
"""
SLIDERS = """return Bokeh.documents[0].roots().flatMap(root =>
  [...root.references()]).filter(m => m.type == "Slider" && m.name != "centre" && m.name != "span")
  .map(m => [m.name, m.start, m.end])"""
WHOLE = """
const window_ = Bokeh.documents[0].get_model_by_name("window")
window_.setv({start: window_.bounds[0], end: window_.bounds[1]})"""
SHOWN = """return [Bokeh.documents[0].get_model_by_name("window").start,
  Bokeh.documents[0].get_model_by_name("window").end,
  Bokeh.documents[0].get_model_by_name("model-data").data.x.length]"""
SETTLED = """const words = Bokeh.documents[0].get_model_by_name("line").text
return words != "" && !words.includes("…")"""


def main() -> None:
    """Print the table; with --json write the numbers too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, nargs="+", required=True, help="by blase3d build")
    parser.add_argument("--moves", type=int, default=60, help="of each window")
    parser.add_argument("--size", default="1366x768", help="of the browser's window")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    rows = [row for path in args.model for row in measure(path, args.moves, args.size, rng)]
    print("model                 window Å  points   median ms  p95 ms  longest ms  load")
    for row in rows:
        print(
            f"{row['model']:20} {row['window']:9.1f} {row['points']:7}   {row['median_ms']:9.0f}"
            f" {row['p95_ms']:7.0f}  {row['longest_ms']:10.0f}  {row['load']:4.1f}"
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def measure(
    path: Path, moves: int, size: str, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Rows of the table for one model: the first window, and the whole range."""
    with serving(path) as url, browser(size) as page:
        page.get(url)
        wait(page, SETTLED)
        sliders = page.execute_script(SLIDERS)
        for prepare in ("", WHOLE):
            page.execute_script(prepare)
            wait(page, SETTLED)
            time.sleep(3)  # what is compiled for the window, at rest
            low, high, points = page.execute_script(SHOWN)
            times = []
            for k in range(moves):
                name, start, end = sliders[k % len(sliders)]
                times.append(page.execute_async_script(MOVE, name, rng.uniform(start, end)))
            yield {
                "model": path.name,
                "window": high - low,
                "points": points,
                "median_ms": float(np.median(times)),
                "p95_ms": float(np.quantile(times, 0.95)),
                "longest_ms": float(max(times)),
                "load": os.getloadavg()[0],
            }


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """The address of a page of the model, while it is served."""
    command = [sys.executable, "-m", "blase3d", "explore", str(path), "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            line = next(line for line in server.stderr or () if "http://" in line)
            yield next(word for word in line.split() if word.startswith("http://"))
        finally:
            server.terminate()


@contextmanager
def browser(size: str) -> Iterator[Any]:
    """Headless Chromium of so many pixels."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        width, height = size.split("x")
        for argument in (
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={profile}", f"--window-size={width},{height}"),
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        page = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        page.set_script_timeout(60)
        try:
            yield page
        finally:
            page.quit()


def wait(page: Any, script: str, seconds: float = 120.0) -> None:
    """Until a script that runs in the page is true."""
    from selenium.webdriver.support.ui import WebDriverWait

    def holds(page: Any) -> bool:
        return bool(page.execute_script(f"try {{ {script} }} catch {{ return false }}"))

    WebDriverWait(page, seconds, 0.1).until(holds)


if __name__ == "__main__":
    main()
