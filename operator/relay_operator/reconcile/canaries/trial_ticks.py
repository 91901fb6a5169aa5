"""The ticks of a loop that looks at canaries on trial: most fleets have none most of the time, and a loop at rest is to cost nothing."""

import asyncio
from contextlib import suppress
from typing import Final

from relay_operator.decisions.canary_runs import CanaryRuns

REST_SECONDS: Final = 10.0
"""Between looks while no canary is on trial: the clock of the host may be set meanwhile, which a look notices."""


class TrialTicks:
    """Paces one loop. The first look that finds no canary on trial is followed by one more, which ends what went on for the last one."""

    def __init__(self, canaries: CanaryRuns) -> None:
        self._canaries = canaries
        self._begun = asyncio.Event()
        self._was_at_rest = False
        canaries.on_begin.append(self._begun.set)

    async def pause(self, seconds: float) -> None:
        """Waits for so long; where no canary was on trial at the last two looks, until one is, or for longer."""
        is_at_rest = self._canaries.are_at_rest
        was_at_rest, self._was_at_rest = self._was_at_rest, is_at_rest
        if not (is_at_rest and was_at_rest):
            await asyncio.sleep(seconds)
            return
        self._begun.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, REST_SECONDS)):
                await self._begun.wait()
