"""The clock by which canaries are moved: the time of day for what status tells, and steady for what is waited for.

Clocks of hosts are set: by a time service that finds them an hour off, by a person. A step of a canary is to last as long as its
spec says all the same.
"""

import logging
from collections.abc import Callable
from typing import Final

from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.reconcile.work_queue import Key, WorkQueue

logger = logging.getLogger(__name__)

_SMALLEST_SECONDS: Final = 1.0
"""What differs by less runs on; a clock that is corrected gently is so far off only after hours."""
_LOOKS: Final = 2
"""The process may have been stopped between reading the one clock and the other."""


class StepClock:
    """Seconds since the epoch, which pass as they do for the steady clock.

    Where the host's clock was set, all times of canaries move with it before anybody reads the new one, and statuses are told anew.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], float],
        steady: Callable[[], float],
        canaries: CanaryRuns,
        queue: WorkQueue,
    ) -> None:
        self._wall, self._steady = wall, steady
        self._canaries, self._queue = canaries, queue
        self._offset = wall() - steady()

    def __call__(self) -> float:
        """Returns the time."""
        now, set_by = 0.0, 0.0
        for _ in range(_LOOKS):
            now = self._steady() + self._offset
            set_by = self._wall() - now
            if abs(set_by) < _SMALLEST_SECONDS:
                return now
        self._offset += set_by
        logger.warning(
            "the clock of this host was set; steps of canaries last as long as before",
            extra={"seconds": round(set_by, 3)},
        )
        now += set_by
        for key in self._canaries.go_on_by_another_clock(set_by, now=now):
            self._queue.add(Key("RelayRoute", *key))
        return now
