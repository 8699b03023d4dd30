"""Everything that the pages of one server share: the model, compiled code, and threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from ...model.model import Model
from .compiled_model import CompiledModel
from .state import ViewState, first_state
from .visible_lines import LineNames

Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class Session:
    """The model and its threads. Frames have a thread of their own and never wait for slow work."""

    model: Model
    compiled: CompiledModel
    names: LineNames
    first: ViewState
    name: str = "MODEL"
    quick: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    slow: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))

    async def run_quick(self, work: Callable[..., Answer], *given: object) -> Answer:
        """Run work that a slider waits for."""
        return await asyncio.get_running_loop().run_in_executor(self.quick, work, *given)

    async def run_slow(self, work: Callable[..., Answer], *given: object) -> Answer:
        """Run work that may take seconds."""
        return await asyncio.get_running_loop().run_in_executor(self.slow, work, *given)

    def close(self) -> None:
        """End the threads."""
        self.quick.shutdown(wait=False, cancel_futures=True)
        self.slow.shutdown(wait=False, cancel_futures=True)


def make_session(model: Model, name: str = "MODEL") -> Session:
    """A session with the model of this name, compiled, so that the first frame takes no time."""
    first, compiled = first_state(model), CompiledModel(model)
    compiled.flux(first)
    return Session(model, compiled, LineNames(model), first, name)
