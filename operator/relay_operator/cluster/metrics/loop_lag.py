"""Measures how late the event loop is, for which everything else in the process waits."""

import asyncio

from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.cluster.metrics.catalogue import LOOP_LAG
from relay_operator.cluster.metrics.watch_ages import SAMPLE_SECONDS


class LoopLag:
    """Sets a timer twice a second, sees when it comes, and looks at the watches then."""

    def __init__(self, traffic: ApiTraffic) -> None:
        self._traffic = traffic

    async def run(self) -> None:
        """Measures until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SAMPLE_SECONDS
            await asyncio.sleep(SAMPLE_SECONDS)
            LOOP_LAG.observe(max(loop.time() - due, 0.0))
            self._traffic.watch_ages.sample(self._traffic.now())
