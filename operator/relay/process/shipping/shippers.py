"""Runs the shippers of attempts and of tool calls side by side: neither waits for the other, whatever the ledger says to it."""

import asyncio
from typing import Final

from relay.accounting.metric_report import Report, merge
from relay.process.shipping.shipper import Shipper

_OF_ATTEMPTS: Final = "relay_outbox_attempts_"


class Shippers:
    """Both of a pod. A ledger that knows no tool calls refuses them alone; they wait in their files for one that does."""

    def __init__(self, *, attempts: Shipper, tool_calls: Shipper) -> None:
        self._attempts = attempts
        self._tool_calls = tool_calls

    async def run(self) -> None:
        """Delivers until both are finished."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._attempts.run())
            group.create_task(self._tool_calls.run())

    def finish(self, seconds: float) -> None:
        """Ends `run` as soon as everything is delivered, and after that time at the latest."""
        self._attempts.finish(seconds)
        self._tool_calls.finish(seconds)

    def report(self) -> Report:
        """Returns the counts of both, but of attempts their own."""
        calls = {
            name: series
            for name, series in self._tool_calls.report().items()
            if not name.startswith(_OF_ATTEMPTS)
        }
        merged = merge([self._attempts.report(), calls])
        return {name: list(series.items()) for name, series in merged.items()}

    def close(self) -> None:
        """Ends the threads."""
        self._attempts.close()
        self._tool_calls.close()
