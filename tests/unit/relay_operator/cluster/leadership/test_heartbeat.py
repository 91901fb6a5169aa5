"""A gap in the running of this process, by any of its clocks."""

import asyncio

import pytest
from tests.unit.relay_operator.in_memory_api_server import FakeClock
from tests.unit.relay_operator.virtual_time import in_virtual_time, running_clock

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


@in_virtual_time
async def test_a_standby_does_not_beat_and_a_leader_does() -> None:
    reads = 0

    def clock() -> float:
        nonlocal reads
        reads += 1
        return running_clock()()

    heartbeat = Heartbeat((clock,))
    beating = asyncio.create_task(heartbeat.run())
    reads = 0
    await asyncio.sleep(60)
    assert reads == 0
    heartbeat.begin()
    await asyncio.sleep(60)
    assert heartbeat.is_steady()
    assert reads > 200
    beating.cancel()
