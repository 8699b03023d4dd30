"""The public surface is this list, and importing the package costs little."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import blase3d


def test_every_public_name_is_there_and_documented() -> None:
    for name in blase3d.__all__:
        value = getattr(blase3d, name)
        assert value.__doc__, name


def test_homes_and_list_agree() -> None:
    listed = [name for names in blase3d._HOMES.values() for name in names]
    assert sorted(listed) == sorted(blase3d.__all__)


def test_functions_are_not_hidden_by_modules() -> None:
    modules = {module.name for module in pkgutil.iter_modules(blase3d.__path__)}
    assert modules.isdisjoint(blase3d.__all__)


def test_import_is_light() -> None:
    code = (
        "import blase3d, blase3d.cli, sys; print(*{'jax', 'scipy', 'astropy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
