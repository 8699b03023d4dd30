"""The code of docs/own-grid.md runs, and its reader can be registered."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from blase3d.libraries import known_readers, open_grid

PAGE = Path(__file__).parents[2] / "docs" / "own-grid.md"


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Where the page ran, and what it left."""
    folder, names = tmp_path_factory.mktemp("page"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks("python"):
            exec(compile(block, str(PAGE), "exec"), names)
    return folder, names


@pytest.mark.long
def test_the_page_runs_and_finds_the_star(ran):
    _, names = ran
    for label, truth, near in (("teff", 5620, 25), ("logg", 4.37, 0.05), ("feh", -0.12, 0.03)):
        assert abs(names["answer"].labels[label].value - truth) < near
    assert names["grid"].holes() == []


@pytest.mark.long
def test_the_commands_of_the_page_run(ran, monkeypatch, run):
    folder, names = ran
    monkeypatch.chdir(folder)
    commands = re.findall(r"`blase3d ([^`]+)`", PAGE.read_text("utf-8"))
    assert len(commands) >= 2
    for command in commands:
        status, out, _ = run(*command.split())
        assert status == 0
        assert f"{len(names['grid'])}" in out
    written = open_grid(folder / "mine.zarr")
    np.testing.assert_allclose(written[5].flux, names["grid"].cut(8490, 8500)[5].flux)


def test_nothing_on_the_page_is_code_that_no_test_runs():
    kinds = re.findall(r"^```(\w*)$", PAGE.read_text("utf-8"), re.M)
    assert len(blocks("python")) + len(blocks("toml")) == len([kind for kind in kinds if kind])
    assert len(blocks("toml")) == 1  # the entry point, below


@pytest.mark.long
def test_the_source_of_the_page_is_found_by_its_entry_point(ran, tmp_path, monkeypatch):
    """The last block as a package, with the entry point of the page."""
    site = tmp_path / "site"
    told = site / "my_package-1.0.dist-info"
    told.mkdir(parents=True)
    (site / "my_package.py").write_text("import numpy as np\n" + blocks("python")[-1])
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (point,) = re.findall(r'^(nm = )"(.*)"$', blocks("toml")[0], re.M)
    (told / "entry_points.txt").write_text("[blase3d.sources]\n" + "".join(point) + "\n")
    monkeypatch.syspath_prepend(str(site))
    library = tmp_path / "library"
    library.mkdir()
    for teff in (5000, 6000):
        columns = np.column_stack([[849.0, 849.1, 849.2], [1.0, 0.5, teff]])
        np.savetxt(library / f"{teff}K.nm", columns)
    command = [sys.executable, "-m", "blase3d", "grid", str(library), "--json"]
    path = os.pathsep.join([str(site), *sys.path])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["library"] == "nm"
    grid = open_grid(library)
    assert grid.axes["teff"].tolist() == [5000, 6000]
    np.testing.assert_allclose(grid.wavelength, [8490, 8491, 8492])
    assert grid[1].flux[-1] == 6000
    sys.modules.pop("my_package", None)


def test_the_page_names_the_libraries_and_settings_that_there_are():
    from blase3d.libraries.readers.described import SETTINGS

    text = PAGE.read_text("utf-8")
    assert all(f"`{name}`" in text for name in SETTINGS)
    titles = {"phoenix": "PHOENIX", "bt-settl": "BT-Settl", "cooltlusty": "coolTLUSTY"}
    for source in known_readers():
        if source.name.startswith("sonora") or source.name in titles:
            title = titles.get(source.name) or source.name.replace("-", " ").title()
            assert f"| {title}" in text
