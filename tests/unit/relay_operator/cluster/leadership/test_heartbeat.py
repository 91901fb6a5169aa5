"""A gap in the running of this process, by any of its clocks."""

import pytest
from tests.unit.relay_operator.in_memory_api_server import FakeClock

from relay_operator.cluster.leadership.heartbeat import Heartbeat


@pytest.mark.parametrize("stopped", [0, 1], ids=["boot time", "monotonic"])
def test_a_gap_by_either_clock_is_noticed_until_the_next_beginning(stopped: int) -> None:
    clocks = FakeClock(), FakeClock()
    heartbeat = Heartbeat(clocks)
    assert not heartbeat.is_steady()
    heartbeat.begin()
    assert heartbeat.is_steady()
    clocks[stopped].now += 3
    assert not heartbeat.is_steady()
    clocks[stopped].now -= 3
    assert not heartbeat.is_steady()
    heartbeat.begin()
    assert heartbeat.is_steady()
