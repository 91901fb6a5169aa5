"""Tells how much of its part of each provider's quota the pod uses, and wakes those who wait for a change of that."""

from collections.abc import Iterable
from typing import Any

from relay.process.pod_state.waited_state import WaitedState
from relay_contract.quota_use import MAX_USES, QUOTA_LEVELS, QuotaLevel

Row = tuple[str, QuotaLevel]
"""Provider and level."""


class PodQuotaUse(WaitedState):
    """Keeps what the workers report, by their numbers, each of its own part: the one that uses most of it counts."""

    def __init__(self) -> None:
        super().__init__("uses")
        self._of: dict[int, dict[str, QuotaLevel]] = {}

    def report(self, worker: int, rows: Iterable[Row]) -> None:
        """Takes in all providers with a quota of one worker."""
        self._of[worker] = dict(rows)
        self.changed()

    def forget(self, worker: int) -> None:
        """Drops what a worker that has ended told."""
        self._of.pop(worker, None)
        self.changed()

    def levels(self) -> dict[str, QuotaLevel]:
        """Returns the highest level of each provider."""
        merged: dict[str, QuotaLevel] = {}
        for rows in self._of.values():
            for provider, level in rows.items():
                merged[provider] = max(merged.get(provider, level), level, key=QUOTA_LEVELS.index)
        return merged

    def entries(self) -> list[dict[str, Any]]:
        """Returns the levels by provider."""
        levels = sorted(self.levels().items())[:MAX_USES]
        return [{"provider": provider, "level": level} for provider, level in levels]
