"""A folder of state dictionaries of the toy universe."""

from __future__ import annotations

from pathlib import Path

import pytest
from state_files import TOY, toy_name, toy_state, write_state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for labels in TOY:
        write_state(tmp_path / "states" / toy_name(*labels), toy_state(*labels))
    return tmp_path / "states"
