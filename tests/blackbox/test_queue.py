"""The tenant's seats and queue: bounds, fairness between keys, priorities, refusals."""

import contextlib
import statistics
from collections.abc import Iterator
from typing import Any

import pytest
from tests.blackbox.relays import CHAT, NewRelay, Relay, chat_body
from tests.blackbox.tenant import KEY, OTHER_KEY, Platform, api_key
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Wire, request_bytes

from relay_contract.document import Queue

HOLDER_KEY = "sk-relay-finance-holder-0b0b"
ONE_SEAT = {"concurrency": 1, "max_depth": 100, "max_wait_seconds": 30}


class Seats:
    """Unary calls that hang upstream until released."""

    def __init__(self, relay: Relay, upstream: Upstream, stack: contextlib.ExitStack) -> None:
        self._relay = relay
        self._upstream = upstream
        self._stack = stack

    def send(self, name: str, *, key: str = KEY, **headers: str) -> Wire:
        """Sends a call with its name as request id."""
        wire = self._stack.enter_context(self._relay.wire())
        fields = {
            "authorization": f"Bearer {key}",
            "x-request-id": name,
            **{header.replace("_", "-"): value for header, value in headers.items()},
        }
        wire.send(request_bytes("POST", CHAT, fields, chat_body()))
        return wire

    def queued(self, count: int) -> None:
        """Waits until that many calls wait for a seat."""
        eventually(
            lambda: self._relay.metrics().total("relay_queue_depth"),
            lambda depth: depth == count,
            what=f"relay_queue_depth == {count}",
        )

    def upstream_has(self, count: int) -> None:
        """Waits until exactly that many calls hang upstream."""
        eventually(
            lambda: self._upstream.stats()["held"],
            lambda held: held == count,
            what=f"{count} calls upstream",
        )

    def order(self, expected: int) -> list[str | None]:
        """Releases all calls and returns the request ids in the order in which the upstream got them."""
        self._upstream.behave(hold_after_events=None)
        self._upstream.release()
        eventually(self._upstream.calls, lambda calls: calls == expected, what="every call")
        return [received.header("x-request-id") for received in self._upstream.received()]


@pytest.fixture
def seats(patient_relay: Relay, stable: Upstream) -> Iterator[Seats]:
    stable.behave(hold_after_events=0)
    with contextlib.ExitStack() as stack:
        yield Seats(patient_relay, stable, stack)


def queue(relay: Relay, platform: Platform, **fields: Any) -> None:
    relay.push(platform.document(queue=Queue(**{**ONE_SEAT, **fields})))


def test_at_most_as_many_calls_are_upstream_as_there_are_seats(
    patient_relay: Relay, platform: Platform, seats: Seats
) -> None:
    queue(patient_relay, platform, concurrency=3)
    wires = [seats.send(f"call-{number}") for number in range(8)]
    seats.queued(5)
    seats.upstream_has(3)
    seats.order(8)
    assert [wire.answer().status for wire in wires] == [200] * 8


def test_a_full_queue_refuses_with_429_and_a_time_to_retry(
    patient_relay: Relay, platform: Platform, seats: Seats
) -> None:
    queue(patient_relay, platform, max_depth=2)
    waiting = [seats.send(f"call-{number}") for number in range(3)]
    seats.queued(2)
    refused = patient_relay.chat()
    assert (refused.status, refused.error()["code"]) == (429, "queue_full")
    assert int(refused.header("retry-after") or "0") >= 1
    seats.order(3)
    assert [wire.answer().status for wire in waiting] == [200] * 3


def test_a_call_that_waited_for_the_maximum_time_is_refused(
    new_relay: NewRelay, platform: Platform, stable: Upstream
) -> None:
    # a relay that has served for a while predicts long waits and refuses at once
    relay = new_relay()
    queue(relay, platform, max_wait_seconds=0.3)
    stable.behave(hold_after_events=0)
    with contextlib.ExitStack() as stack:
        seats = Seats(relay, stable, stack)
        holder = seats.send("holder")
        seats.upstream_has(1)
        refused = seats.send("late").answer()
        assert (refused.status, refused.error()["code"]) == (429, "queue_timeout")
        assert refused.header("retry-after") is not None
        assert seats.order(1) == ["holder"]
        assert holder.answer().status == 200


def test_a_client_that_leaves_the_queue_takes_no_seat(
    patient_relay: Relay, platform: Platform, seats: Seats
) -> None:
    queue(patient_relay, platform)
    seats.send("holder")
    seats.upstream_has(1)
    leaver = seats.send("leaver")
    seats.queued(1)
    leaver.close()
    seats.queued(0)
    seats.send("stayer")
    seats.queued(1)
    assert seats.order(2) == ["holder", "stayer"]


def ranks(order: list[str | None], name: str) -> float:
    """Returns the mean position of the calls whose id begins with the prefix."""
    return statistics.mean(
        place for place, found in enumerate(order) if found is not None and found.startswith(name)
    )


@pytest.fixture
def fresh_seats(new_relay: NewRelay, platform: Platform, stable: Upstream) -> Iterator[Seats]:
    """Starts a relay with one seat, held by a third key; OTHER_KEY may ask for low at most, KEY for high."""
    keys = (
        api_key("low", OTHER_KEY, priority="low"),
        api_key("high", KEY, priority="high"),
        api_key("holder", HOLDER_KEY),
    )
    relay = new_relay(document=platform.document(queue=Queue(**ONE_SEAT), keys=keys))
    stable.behave(hold_after_events=0)
    with contextlib.ExitStack() as stack:
        seats = Seats(relay, stable, stack)
        seats.send("holder", key=HOLDER_KEY)
        seats.upstream_has(1)
        yield seats


def test_a_call_of_high_priority_starts_before_those_of_low(fresh_seats: Seats) -> None:
    for name in ("low", "high"):
        for number in range(6):
            fresh_seats.send(f"{name}-{number}", x_request_priority=name)
    fresh_seats.queued(12)
    order = fresh_seats.order(13)
    assert ranks(order, "high") + 3 < ranks(order, "low"), order


def test_a_keys_priority_is_the_highest_its_calls_can_ask_for(fresh_seats: Seats) -> None:
    for number in range(6):
        fresh_seats.send(f"pretender-{number}", key=OTHER_KEY, x_request_priority="high")
    for number in range(6):
        fresh_seats.send(f"entitled-{number}", x_request_priority="high")
    fresh_seats.queued(12)
    order = fresh_seats.order(13)
    assert ranks(order, "entitled") + 3 < ranks(order, "pretender"), order


def test_two_keys_share_the_seats_fairly(
    patient_relay: Relay, platform: Platform, seats: Seats
) -> None:
    keys = (api_key("noisy", KEY), api_key("quiet", OTHER_KEY))
    patient_relay.push(platform.document(queue=Queue(**ONE_SEAT), keys=keys))
    seats.send("holder")
    seats.upstream_has(1)
    for number in range(10):
        seats.send(f"noisy-{number}")
    seats.queued(10)
    seats.send("quiet", key=OTHER_KEY)
    seats.queued(11)
    order = seats.order(12)
    assert order.index("quiet") <= 3, order


def test_more_seats_take_effect_at_once(
    new_relay: NewRelay, platform: Platform, stable: Upstream
) -> None:
    # a relay of its own: one that saw several keys keeps a seat in reserve for the quiet ones
    relay = new_relay(document=platform.document(queue=Queue(**ONE_SEAT)))
    stable.behave(hold_after_events=0)
    with contextlib.ExitStack() as stack:
        seats = Seats(relay, stable, stack)
        for number in range(4):
            seats.send(f"call-{number}")
        seats.queued(3)
        queue(relay, platform, concurrency=4)
        seats.upstream_has(4)
