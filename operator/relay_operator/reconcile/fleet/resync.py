"""How often everything is looked at again without a reason: as often as is asked for, but never more in a second than costs little.

So what a fleet at rest costs does not grow with it. What watches show is never waited for; a resync finds what none has shown.
"""

import zlib
from typing import Final

from relay_operator.reconcile.watched_state import WatchedState

SECONDS_EACH: Final = 0.4
"""Of one Tenant or route: 750 of each are looked at in ten minutes, five thousand in 67."""
TOGETHER_SECONDS: Final = 10.0
"""Objects that are due within so long are looked at one after the other: a look on its own finds the processor's caches full of
something else, and takes twice the time.
"""
_FEWEST_MOMENTS: Final = 60
"""Of a period, however short it is."""
_SAME_MOMENT: Final = 0.01
"""Of the period."""


def period_seconds(state: WatchedState, least: float) -> float:
    """Returns the time in which every Tenant and route known is looked at once; at least as long as was asked for."""
    return max(least, (state.tenants.count + state.routes.count) * SECONDS_EACH)


def wait_seconds(name: str, period: float, *, now: float) -> float:
    """Returns how long until an object's own moment in the period, once it was looked at.

    What was looked at all at once, after a start, is so spread over the period the next time, some objects at each moment.
    """
    moment = zlib.crc32(name.encode()) / 2**32 * period
    wait = (moment - moment % min(TOGETHER_SECONDS, period / _FEWEST_MOMENTS) - now) % period
    # this look may be the one that was due now
    return wait + period if wait < _SAME_MOMENT * period else wait
