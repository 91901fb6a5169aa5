"""A worker that ends serves on first, then lets idle clients go, and aborts what is left when its time is up."""

import time
from pathlib import Path

import pytest
from tests.unit.relay.documents import document, provider
from tests.unit.relay.memory import MemoryRelay, call, reply, status

from relay.process.drain import ABORT_SECONDS, QUIET_SECONDS, Drain
from relay_contract import document as contract


class Listening:
    """The worker's server as a drain needs it."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Draining:
    """A relay that was told to end at `began`, with 3 s to serve on and 30 s in all."""

    def __init__(self, directory: Path) -> None:
        bounds = contract.Drain(max_seconds=600, max_tokens=100)
        providers = tuple(
            provider(name, drain=bounds) for name in ("legacy", "holysheep", "backup")
        )
        self.relay = MemoryRelay(document(providers=providers), directory)
        self.server = Listening()
        self.began = time.monotonic()
        self.drain = Drain(
            self.relay.service.connections,
            self.server,
            drained_answers=self.relay.service.drained_answers,
            now=self.began,
            accept_seconds=3.0,
            drain_seconds=30.0,
        )

    def after(self, seconds: float) -> bool:
        self.drain.advance(self.began + seconds)
        return self.drain.over


@pytest.fixture
async def draining(tmp_path: Path) -> Draining:
    return Draining(tmp_path)


async def test_new_connections_are_served_until_endpoints_have_left(draining: Draining) -> None:
    assert (draining.after(2.9), draining.server.closed) == (False, False)
    assert (draining.after(3.1), draining.server.closed) == (True, True)


async def test_an_idle_client_is_let_go_and_a_busy_one_is_not(draining: Draining) -> None:
    idle, busy = draining.relay.client(), draining.relay.client()
    upstream = draining.relay.provider()
    busy.send(call())
    assert not draining.after(3.0 + QUIET_SECONDS)
    assert (idle.transport.closed, busy.transport.closed) == (True, False)
    idle.hang_up()
    upstream.send(reply())
    assert status(busy.transport.taken()) == 200
    busy.hang_up()
    assert draining.after(6.0)


async def test_what_has_not_ended_in_time_is_aborted(draining: Draining) -> None:
    busy = draining.relay.client()
    draining.relay.provider()
    busy.send(call())
    assert not draining.after(30.0 - ABORT_SECONDS - 0.1)
    assert draining.after(30.0 - ABORT_SECONDS)
    assert busy.transport.aborted


async def test_an_answer_that_is_read_on_for_its_usage_is_waited_for(draining: Draining) -> None:
    client, upstream = draining.relay.client(), draining.relay.provider()
    client.send(call())
    client.hang_up()
    assert not draining.after(10.0)
    upstream.send(reply())
    assert draining.after(11.0)
    assert [one.estimated for one in draining.relay.log.events] == [False]


async def test_and_is_cancelled_when_the_time_is_up_as_is_one_whose_caller_is_aborted_then(
    draining: Draining,
) -> None:
    client, upstream = draining.relay.client(), draining.relay.provider()
    client.send(call())
    busy, busy_upstream = draining.relay.client(), draining.relay.provider()
    busy.send(call())
    client.hang_up()
    assert not draining.after(30.0 - ABORT_SECONDS - 0.1)
    assert not upstream.transport.aborted
    assert draining.after(30.0 - ABORT_SECONDS)
    assert (upstream.transport.aborted, busy.transport.aborted) == (True, True)
    busy.hang_up()
    assert busy_upstream.transport.aborted
    assert [one.outcome for one in draining.relay.log.events] == ["cancelled"] * 2
