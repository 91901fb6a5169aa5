"""Probes of providers on the operator's request: one at a time of each provider, and none sooner than a while after the last."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path
from typing import Any, Final

from relay_contract.provider_probe import PROBE_CACHE_SECONDS, ProviderProbe

_MOST_REMEMBERED: Final = 256
"""More than the largest document has providers, each asked in two ways."""


def stamps_of(directory: Path) -> Hashable:
    """Returns what changes with the files of a directory: keys are replaced while a document stays in force."""
    try:
        with os.scandir(directory) as found:
            stats = [(entry.name, entry.stat()) for entry in found if entry.is_file()]
    except OSError:
        return None
    return frozenset((name, stat.st_mtime_ns, stat.st_ino) for name, stat in stats)


class ProviderProbing:
    """Whoever reaches the admin port can ask, and costs a provider no more than one small call in this time.

    shown names the document in force and the keys that calls show: what was found under others is forgotten.
    """

    def __init__(
        self, ask: Callable[[str, str], Awaitable[Any]], shown: Callable[[], Hashable]
    ) -> None:
        self._ask = ask
        self._shown = shown
        self._found_under: Hashable = None
        # by provider, and whether a stream is asked for; each with the model that is
        self._running: dict[tuple[str, bool], tuple[str, asyncio.Task[ProviderProbe]]] = {}
        self._found: dict[tuple[str, bool], tuple[float, str, ProviderProbe]] = {}

    async def probe(self, provider: str, stream: str = "") -> ProviderProbe:
        """Returns what a probe finds, or found a moment ago; with stream one that asks this model for a stream.

        Calls for streams are paid, so that another model is not asked a moment later either.
        """
        asked = provider, bool(stream)
        shown = self._shown()
        if self._found_under != shown:
            self._found_under = shown
            self._found.clear()
        known = self._found.get(asked)
        if known is not None and time.monotonic() - known[0] < PROBE_CACHE_SECONDS:
            return known[2] if known[1] == stream else _too_soon(provider)
        running = self._running.get(asked)
        if running is None:
            running = stream, asyncio.create_task(self._probe(provider, stream))
            self._running[asked] = running
        model, task = running
        return await asyncio.shield(task) if model == stream else _too_soon(provider)

    async def _probe(self, provider: str, stream: str) -> ProviderProbe:
        try:
            shown = self._shown()
            answer = await self._ask(provider, stream)
            if answer is None:
                return ProviderProbe(provider=provider, outcome="NotInUse")
            found = ProviderProbe.model_validate(answer)
            if found.outcome != "NotInUse" and shown == self._shown():
                self._remember(provider, stream, found)
            return found
        finally:
            self._running.pop((provider, bool(stream)), None)

    def _remember(self, provider: str, stream: str, found: ProviderProbe) -> None:
        if len(self._found) >= _MOST_REMEMBERED:
            self._found.pop(next(iter(self._found)))
        self._found[provider, bool(stream)] = time.monotonic(), stream, found


def _too_soon(provider: str) -> ProviderProbe:
    """Returns what says nothing of the provider: it was asked for a stream of another model a moment ago."""
    message = "another model of it was asked for a stream a moment ago"
    return ProviderProbe(provider=provider, outcome="NotInUse", message=message, streamed=True)
