"""A state of the pod that its admin port tells of, at once or as soon as it changes."""

import asyncio
import contextlib
import hashlib
from abc import ABC, abstractmethod
from typing import Any, Final

import orjson

MAX_WAIT_SECONDS: Final = 20.0
"""Longest that an answer is held back; less than the admin port allows an answer."""


class WaitedState(ABC):
    """What workers report of one thing, for whoever waits to hear of a change. field names the entries in the answer."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._changed = asyncio.Event()
        self._ended = False

    @abstractmethod
    def entries(self) -> list[dict[str, Any]]:
        """Returns the entries of the state, in an order that depends on nothing else."""

    def changed(self) -> None:
        """Lets everybody who waits look again."""
        self._changed.set()

    def end(self) -> None:
        """Answers everybody who waits, and from now on at once: the pod is about to go."""
        self._ended = True
        self._changed.set()

    def answer(self) -> dict[str, Any]:
        """Returns the state as the admin port shows it, with a tag of it."""
        entries = self.entries()
        tag = hashlib.sha256(orjson.dumps(entries)).hexdigest()[:16]
        return {"tag": tag, self._field: entries}

    async def answer_once_changed(self, seen: str, *, seconds: float) -> dict[str, Any]:
        """Returns what `answer` does, at once if its tag is another than the one seen, else once it is, or later."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(seconds, 0.0), MAX_WAIT_SECONDS)):
                while not self._ended and self.answer()["tag"] == seen:
                    self._changed.clear()
                    await self._changed.wait()
        return self.answer()
