"""A worker that ends serves on first, then lets idle clients go, and aborts what is left when its time is up."""

import time
from pathlib import Path

import pytest
from tests.unit.relay.documents import document, provider
from tests.unit.relay.memory import MemoryRelay, call, reply, status

from relay.process.drain import ABORT_SECONDS, IDLE_SECONDS, Drain
from relay_contract import document as contract


class Listening:
    """The worker's server as a drain needs it."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Draining:
    """A relay that was told to end at `began`, with 3 s to serve on."""

    def __init__(self, directory: Path, *, seconds: float = 30.0) -> None:
        bounds = contract.Drain(max_seconds=600, max_tokens=100)
        providers = tuple(
            provider(name, drain=bounds) for name in ("legacy", "holysheep", "backup")
        )
        self.relay = MemoryRelay(document(providers=providers), directory)
        self.relay.service.connections.drain()
        self.server = Listening()
        self.began = time.monotonic()
        self.drain = Drain(
            self.relay.service.connections,
            self.server,
            drained_answers=self.relay.service.drained_answers,
            now=self.began,
            accept_seconds=3.0,
            drain_seconds=seconds,
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
    assert not draining.after(IDLE_SECONDS + 0.1)
    assert (idle.transport.closed, busy.transport.closed) == (True, False)
    idle.hang_up()
    upstream.send(reply())
    assert status(busy.transport.taken()) == 200
    busy.hang_up()
    assert draining.after(IDLE_SECONDS + 1.0)


async def test_a_client_that_is_late_has_its_call_answered_and_is_told_that_it_was_the_last(
    draining: Draining,
) -> None:
    """One that may use the connection still, as the pools of httpx (5 s) and aiohttp (15 s) do."""
    late, upstream = draining.relay.client(), draining.relay.provider()
    assert not draining.after(15.0)
    assert draining.drain.takes_calls(draining.began + 15.0)
    late.send(call())
    assert not draining.drain.takes_calls(draining.began + 15.0)
    upstream.send(reply())
    answer = late.transport.taken()
    assert status(answer) == 200
    assert b"connection: close" in answer.lower()
    late.hang_up()
    assert draining.after(16.0)


async def test_who_is_idle_when_the_time_is_up_is_let_go_in_order(tmp_path: Path) -> None:
    draining = Draining(tmp_path, seconds=10.0)
    idle = draining.relay.client()
    assert not draining.after(10.0 - ABORT_SECONDS - 0.1)
    assert not idle.transport.closed
    assert draining.after(10.0 - ABORT_SECONDS)
    assert idle.transport.closed


async def test_new_clients_may_call_until_endpoints_have_left(draining: Draining) -> None:
    assert draining.drain.takes_calls(draining.began + 2.9)
    assert not draining.drain.takes_calls(draining.began + 3.1)


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
