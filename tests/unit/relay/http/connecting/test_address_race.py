"""The race between a provider's addresses (RFC 8305): silent ones cost a moment, failing ones nothing."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay.http.connecting.address_race import ATTEMPT_DELAY_SECONDS, AddressRace, Connector
from relay.http.connecting.client_identity import ClientIdentity
from relay.http.connecting.resolver import Resolver
from relay.http.connection_pool import Origin, Pool, PoolLimits
from relay.http.deadlines import DeadlineWheel
from relay.http.outbox import Outbox
from relay.http.upstream import UpstreamConnection

NEVER = 1e6


def pool() -> Pool:
    return Pool(
        Origin("p", "http", "p.test", 80, None),
        limits=PoolLimits(connect_timeout=5, keepalive=50, age=600, warm=0),
        resolver=Resolver(30, is_own=lambda _: False),
        identity=ClientIdentity(Path(), ca_bundle=None, uses_tls=False),
        wheel=DeadlineWheel(0.0),
        outbox=Outbox(),
    )


class Network(Connector):
    """Addresses, each with the seconds until it answers and the error it answers with, if any."""

    def __init__(self, **addresses: float | tuple[float, Exception]) -> None:
        self._addresses = addresses
        self._owner = pool()
        self.tried: list[tuple[str, float]] = []
        self.ended: list[str] = []
        self._start = asyncio.get_running_loop().time()

    @property
    def seconds(self) -> float:
        return round(asyncio.get_running_loop().time() - self._start, 3)

    async def connect_to(self, address: str) -> UpstreamConnection:
        self.tried.append((address, self.seconds))
        answer = self._addresses[address]
        seconds, error = answer if isinstance(answer, tuple) else (answer, None)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.ended.append(address)
        if error is not None:
            raise error
        return UpstreamConnection(self._owner)


@in_virtual_time
async def test_the_first_address_that_answers_at_once_is_the_only_one_tried() -> None:
    network = Network(a=0.01, b=0.01)
    winner = await AddressRace(network, ["a", "b"]).run()
    assert (network.tried, winner.beaten) == ([("a", 0.0)], [])


@in_virtual_time
async def test_a_silent_address_costs_a_moment() -> None:
    network = Network(a=NEVER, b=NEVER, c=0.01, d=0.01)
    winner = await AddressRace(network, ["a", "b", "c", "d"]).run()
    delay = ATTEMPT_DELAY_SECONDS
    assert network.tried == [("a", 0.0), ("b", delay), ("c", 2 * delay)]
    assert winner.beaten == ["a", "b"]
    await asyncio.sleep(0)
    assert network.ended == ["c", "a", "b"]


@in_virtual_time
async def test_a_failing_address_costs_nothing() -> None:
    network = Network(a=(0.01, ConnectionRefusedError()), b=0.01)
    winner = await AddressRace(network, ["a", "b"]).run()
    assert network.tried == [("a", 0.0), ("b", 0.01)]
    assert winner.beaten == ["a"]


@in_virtual_time
async def test_a_slow_address_still_wins_over_one_that_was_tried_later() -> None:
    network = Network(a=0.3, b=NEVER)
    winner = await AddressRace(network, ["a", "b"]).run()
    assert (network.seconds, winner.beaten) == (0.3, [])


@in_virtual_time
async def test_the_last_error_is_raised_when_every_address_fails() -> None:
    network = Network(a=(0.4, OSError("a")), b=(0.01, OSError("b")))
    with pytest.raises(OSError, match="a"):
        await AddressRace(network, ["a", "b"]).run()
    assert network.seconds == 0.4


@in_virtual_time
async def test_a_race_that_is_given_up_leaves_nothing_behind() -> None:
    network = Network(a=NEVER, b=NEVER)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await AddressRace(network, ["a", "b"]).run()
    await asyncio.sleep(0)
    assert sorted(network.ended) == ["a", "b"]


@in_virtual_time
async def test_no_address_is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        await AddressRace(Network(), []).run()
