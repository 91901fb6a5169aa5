"""The lag of the event loop is how late its timers are."""

import asyncio

from prometheus_client import REGISTRY
from tests.unit.relay_operator.virtual_time import in_virtual_time, running_clock

from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.cluster.metrics.loop_lag import LoopLag


def lags(most: str) -> float:
    found = REGISTRY.get_sample_value("relay_operator_loop_lag_seconds_bucket", {"le": most})
    return found or 0.0


@in_virtual_time
async def test_a_callback_that_holds_the_loop_is_seen_once() -> None:
    before, late = lags("+Inf"), lags("+Inf") - lags("1.0")
    measuring = asyncio.create_task(LoopLag(ApiTraffic(asyncio.get_running_loop().time)).run())
    await asyncio.sleep(10.1)
    assert lags("+Inf") - lags("1.0") == late

    def hold() -> None:
        running_clock().now += 3

    asyncio.get_running_loop().call_soon(hold)
    await asyncio.sleep(10)
    measuring.cancel()
    assert lags("+Inf") - lags("1.0") == late + 1
    assert 30 < lags("+Inf") - before < 45
