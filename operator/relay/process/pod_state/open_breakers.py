"""The open breakers of all workers, for whoever waits to hear of a change."""

from collections.abc import Mapping
from typing import Any

from relay.process.pod_state.waited_state import WaitedState

BreakerName = tuple[str, str, str]
"""Tenant UID, route and fingerprint of a canary."""


class OpenBreakers(WaitedState):
    """Which canaries the workers keep calls away from, and how many probes of each failed since. Workers have numbers."""

    def __init__(self) -> None:
        super().__init__("open")
        self._of: dict[int, dict[BreakerName, int]] = {}

    def report(self, worker: int, open_breakers: Mapping[BreakerName, int]) -> None:
        """Takes in all open breakers of one worker."""
        self._of[worker] = dict(open_breakers)
        self.changed()

    def forget(self, worker: int) -> None:
        """Drops the breakers of a worker that has ended: its successor knows of none."""
        self._of.pop(worker, None)
        self.changed()

    def failed_probes(self) -> dict[BreakerName, int]:
        """Returns the open breakers, each with the failed probes of the worker that has most."""
        merged: dict[BreakerName, int] = {}
        for breakers in self._of.values():
            for name, failed in breakers.items():
                merged[name] = max(failed, merged.get(name, 0))
        return merged

    def entries(self) -> list[dict[str, Any]]:
        """Returns the open breakers by route and fingerprint."""
        return [
            {"route": route, "fingerprint": fingerprint, "failedProbes": failed}
            for (_, route, fingerprint), failed in sorted(self.failed_probes().items())
        ]
