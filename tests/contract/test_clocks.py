"""Clocks of hosts that are set while an operator leads, and that differ when another one takes over, on a real API server.

The machine's own clock is left alone: an operator's process is told another time of day.
"""

import signal
import time
from typing import Final

import pytest
from tests.contract.led_tenants import Climbing
from tests.contract.operators import Operators
from tests.contract.referee import Referee

from relay_operator.decisions.timestamps import from_text

HOUR: Final = 3600.0
STEP: Final = 40
OFF_BY: Final = 600.0
"""Of a renewal, from the time that the clock was set to: more than a busy machine takes."""


def renewed_by(at: Operators, ahead_seconds: float) -> None:
    """Waits for a renewal of the Lease by a clock that is so far ahead of this machine's."""
    at.until(
        f"a renewal by a clock that is {ahead_seconds:g} s ahead",
        lambda: from_text(at.lease()["renewTime"]) - time.time(),
        lambda seen: abs(seen - ahead_seconds) < OFF_BY,
    )


@pytest.mark.timeout(300)
def test_a_climb_goes_on_step_by_step_whatever_clocks_are_set_to(
    refereed_operators: Operators, referee: Referee
) -> None:
    at = refereed_operators
    leader = at.start()
    at.leader()
    tenant = Climbing(at, referee=referee, address=referee.addresses[0])
    standby = at.start(ahead_seconds=HOUR / 2)
    tenant.begin(11)
    tenant.climb(step_percent=STEP)
    tenant.reaches(STEP)
    leader.set_clock(HOUR)
    renewed_by(at, HOUR)
    tenant.reaches(2 * STEP)
    leader.set_clock(-HOUR)
    renewed_by(at, -HOUR)
    assert (at.holder(), at.lease()["leaseTransitions"]) == (leader.name, 1)
    leader.signal(signal.SIGKILL)
    assert at.leader(other_than=leader.name) is standby
    renewed_by(at, HOUR / 2)
    tenant.is_promoted()
    tenant.has_climbed_by_its_steps(STEP)
    tenant.is_stored_as_in_force()
