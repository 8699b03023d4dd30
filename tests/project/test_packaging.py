"""Version, classifiers and dependencies agree wherever they are stated."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import blase3d

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
RECIPE = (ROOT / "recipe" / "recipe.yaml").read_text("utf-8")
CONDA = {
    "astropy": "astropy-base",
    "flatbuffers": "python-flatbuffers",
    "matplotlib": "matplotlib-base",
}
"""Names on conda-forge: of packages without what is optional there, and of a Python package."""


def test_the_version_of_the_package_is_that_of_its_metadata():
    assert blase3d.__version__ == version("blase3d")


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("CITATION.cff", r"^version: (\S+)$"),
        ("recipe/recipe.yaml", r'^  version: "(\S+)"$'),
        ("CHANGELOG.md", r"^## \[(\d\S+)\]"),
    ],
)
def test_a_file_states_the_version_of_the_project(file, pattern):
    found = re.search(pattern, (ROOT / file).read_text("utf-8"), re.M)
    assert found is not None
    assert found[1] == PROJECT["version"]


def test_the_recipe_of_conda_forge_has_the_dependencies():
    run = RECIPE.partition("\n  run:\n")[2].partition("\n\n")[0]
    listed = dict(re.findall(r"^    - ([\w-]+) >=(\S+)$", run, re.M))
    needed = dict(re.split(">=", requirement) for requirement in PROJECT["dependencies"])
    assert listed == {CONDA.get(name, name): lowest for name, lowest in needed.items()}


def test_the_recipe_of_conda_forge_describes_the_project():
    assert f"summary: {PROJECT['description']}\n" in RECIPE
    assert f"license: {PROJECT['license']}\n" in RECIPE
    for command, function in PROJECT["scripts"].items():
        assert f"- {command} = {function}\n" in RECIPE


def test_pythons_are_those_of_the_workflow():
    """Each Python that a classifier names is tested."""
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    tested = re.findall(r'"(3\.\d+)"', workflow)
    named = re.findall(r":: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.M)
    assert sorted(set(tested)) == sorted(named)
    assert PROJECT["requires-python"] == f">={named[0]}"
