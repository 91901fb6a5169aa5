"""Notices that this process did not run for a while: it was stopped, or its machine was."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from relay_operator.cluster.leadership.fence import boot_seconds

_BEAT_SECONDS: Final = 0.25
_LONGEST_GAP_SECONDS: Final = 2.0
"""A busy machine takes a turn from us for less; whoever takes the lead over meanwhile has waited for longer."""


class Heartbeat:
    """Beats while the event loop runs. A gap that was too long stays noticed until the next beginning.

    clocks are the clocks of which any may count the time for which the process was stopped.
    """

    def __init__(
        self, clocks: tuple[Callable[[], float], ...] = (boot_seconds, time.monotonic)
    ) -> None:
        self._clocks = clocks
        self._last = self._read()
        self._is_steady = False
        self._begun = asyncio.Event()

    def begin(self) -> None:
        """Forgets the gaps so far: what this process knows is new as of now."""
        self._last, self._is_steady = self._read(), True
        self._begun.set()

    def is_steady(self) -> bool:
        """Tells whether there was no gap since the beginning, up to this moment."""
        gap = max(now - last for now, last in zip(self._read(), self._last, strict=True))
        self._is_steady = self._is_steady and gap <= _LONGEST_GAP_SECONDS
        return self._is_steady

    async def run(self) -> None:
        """Beats from the first beginning on, until cancelled: before that nothing asks for it."""
        await self._begun.wait()
        while True:
            self.is_steady()
            self._last = self._read()
            await asyncio.sleep(_BEAT_SECONDS)

    def _read(self) -> tuple[float, ...]:
        return tuple(clock() for clock in self._clocks)
