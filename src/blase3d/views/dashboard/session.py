"""What all pages of one server share: the model, what is compiled of it, and threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from ...model.model import Model
from .model_parts import Pieces
from .settings import Settings, first_settings
from .visible_lines import Names

Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class Workshop:
    """The model at work: pictures have a thread of their own, so that they never wait for what
    takes long."""

    model: Model
    pieces: Pieces
    names: Names
    first: Settings
    quick: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    slow: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))

    async def picture(self, work: Callable[..., Answer], *given: object) -> Answer:
        """Run what a slider waits for."""
        return await asyncio.get_running_loop().run_in_executor(self.quick, work, *given)

    async def long(self, work: Callable[..., Answer], *given: object) -> Answer:
        """Run what may take seconds."""
        return await asyncio.get_running_loop().run_in_executor(self.slow, work, *given)

    def close(self) -> None:
        """Let the threads go."""
        self.quick.shutdown(wait=False, cancel_futures=True)
        self.slow.shutdown(wait=False, cancel_futures=True)


def make_workshop(model: Model) -> Workshop:
    """With the whole model compiled, so that the first picture is there at once."""
    first = first_settings(model)
    pieces = Pieces(model)
    pieces.best(first.window).flux(first)
    return Workshop(model, pieces, Names(model), first)
