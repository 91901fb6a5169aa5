"""The open breakers of all workers, for whoever waits to hear of a change."""

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

BreakerName = tuple[str, str, str]
"""Tenant UID, route and fingerprint of a canary."""
MAX_WAIT_SECONDS: Final = 20.0
"""Longest that an answer is held back; less than the admin port allows an answer."""


class OpenBreakers:
    """Which canaries the workers keep calls away from, and how many probes of each failed since. Workers have numbers."""

    def __init__(self) -> None:
        self._of: dict[int, dict[BreakerName, int]] = {}
        self._changed = asyncio.Event()
        self._ended = False

    def report(self, worker: int, open_breakers: Mapping[BreakerName, int]) -> None:
        """Takes in all open breakers of one worker."""
        self._of[worker] = dict(open_breakers)
        self._changed.set()

    def forget(self, worker: int) -> None:
        """Drops the breakers of a worker that has ended: its successor knows of none."""
        self._of.pop(worker, None)
        self._changed.set()

    def end(self) -> None:
        """Answers everybody who waits, and from now on at once: the pod is about to go."""
        self._ended = True
        self._changed.set()

    def failed_probes(self) -> dict[BreakerName, int]:
        """Returns the open breakers, each with the failed probes of the worker that has most."""
        merged: dict[BreakerName, int] = {}
        for breakers in self._of.values():
            for name, failed in breakers.items():
                merged[name] = max(failed, merged.get(name, 0))
        return merged

    def answer(self) -> dict[str, Any]:
        """Returns the open breakers as the admin port shows them, with a tag of this state."""
        entries = [
            {"route": route, "fingerprint": fingerprint, "failedProbes": failed}
            for (_, route, fingerprint), failed in sorted(self.failed_probes().items())
        ]
        tag = hashlib.sha256(orjson.dumps(entries)).hexdigest()[:16]
        return {"tag": tag, "open": entries}

    async def answer_once_changed(self, seen: str, *, seconds: float) -> dict[str, Any]:
        """Returns what `answer` does, at once if its tag is another than the one seen, else once it is, or later."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(seconds, 0.0), MAX_WAIT_SECONDS)):
                while not self._ended and self.answer()["tag"] == seen:
                    self._changed.clear()
                    await self._changed.wait()
        return self.answer()
