"""An outage of both sides: a canary's breaker opens, and what its probes find is not held against the canary alone."""

from collections.abc import Callable

import pytest
from tests.unit.relay.documents import CANARY, STABLE
from tests.unit.relay.memory import MemoryRelay, call, reply

from relay_contract.document import Breaker, Route

Make = Callable[..., MemoryRelay]
BROKEN = reply({"error": {"message": "boom"}}, status="500 X")


@pytest.mark.parametrize(("of_stable", "certain"), [(BROKEN, 0), (reply(), 1)])
async def test_a_failed_probe_counts_where_stable_answers_meanwhile(
    relay_with: Make, of_stable: bytes, certain: int
) -> None:
    # the next call is the probe at once
    breaker = Breaker(min_failures=1, open_seconds=1e-9)
    route = Route(name="chat", stable=STABLE, canary=CANARY, canary_percent=100, breaker=breaker)
    relay = relay_with(routes=(route,))
    client, stable, canary = relay.client(), relay.provider(), relay.provider("holysheep")
    client.send(call())
    canary.send(reply({"error": {}}, status="503 X"))
    stable.send(of_stable)
    ((_, watched),) = relay.tenant.router.breakers.states()
    assert (watched.trips, watched.failed_probes) == (1, 0)
    client.send(call())
    canary.send(BROKEN)
    assert (watched.trips, watched.failed_probes) == (2, certain)
