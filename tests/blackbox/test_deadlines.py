"""Deadlines of many waiting calls at once: every one of them is answered, however many there are."""

import contextlib
from collections import Counter
from typing import Any

import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Wire, request_bytes

from relay_contract.document import ProviderLimits, Queue

CALLS = 700
"""More than Python's recursion limit allows for, if the end of one waiting call ended the next."""
PIPELINED = 60
"""As many as a connection takes at once."""
REQUEST = request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, chat_body())
WIDE = {"concurrency": 1000, "max_depth": 1000}


@pytest.fixture
def many(patient_relay: Relay) -> Any:
    """Sends calls, each on a connection of its own."""
    with contextlib.ExitStack() as stack:

        def send(count: int) -> list[Wire]:
            wires = [stack.enter_context(patient_relay.wire()) for _ in range(count)]
            for wire in wires:
                wire.send(REQUEST)
            return wires

        yield send


def test_every_call_that_waits_in_vain_for_a_seat_is_answered(
    patient_relay: Relay, platform: Platform, stable: Upstream, many: Any
) -> None:
    stable.behave(hold_after_events=0)
    queue = Queue(concurrency=1, max_depth=1000, max_wait_seconds=3)
    patient_relay.push(platform.document(queue=queue))
    (holder,) = many(1)
    eventually(lambda: stable.stats()["held"], lambda held: held == 1, what="the held call")
    answers = [wire.answer() for wire in many(CALLS)]
    stable.release()
    assert holder.answer().status == 200
    codes = Counter(answer.error()["code"] for answer in answers)
    # what comes once some have waited in vain is told so at once
    assert codes.keys() <= {"queue_timeout", "queue_wait_too_long"}
    assert codes.total() == CALLS


def test_every_call_that_waits_in_vain_for_a_providers_quota_is_answered(
    patient_relay: Relay, platform: Platform, many: Any
) -> None:
    queue = Queue(**WIDE, max_wait_seconds=3)
    providers = platform.providers(limits=ProviderLimits(requests_per_minute=30))
    patient_relay.push(platform.document(queue=queue, providers=providers))
    answers = [wire.answer() for wire in many(CALLS)]
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) == {200, 429}
    assert sum(statuses.values()) == CALLS


def test_calls_that_wait_for_a_quota_which_a_new_document_takes_away_go_on(
    patient_relay: Relay, platform: Platform, stable: Upstream, many: Any
) -> None:
    queue = Queue(**WIDE, max_wait_seconds=60)
    providers = platform.providers(limits=ProviderLimits(requests_per_minute=1))
    patient_relay.push(platform.document(queue=queue, providers=providers))
    assert patient_relay.chat().status == 200
    waiting = many(5)
    eventually(
        lambda: patient_relay.metrics().total("relay_client_connections"),
        lambda connections: connections >= 5,
        what="the waiting calls",
    )
    patient_relay.push(platform.document(queue=queue))
    assert [wire.answer().status for wire in waiting] == [200] * 5
    assert stable.calls() == 6


def test_calls_that_wait_for_a_quota_which_is_raised_go_on(
    patient_relay: Relay, platform: Platform, stable: Upstream, many: Any
) -> None:
    queue = Queue(**WIDE, max_wait_seconds=60)
    scarce, ample = (
        platform.providers(limits=ProviderLimits(requests_per_minute=rate)) for rate in (1, 6000)
    )
    patient_relay.push(platform.document(queue=queue, providers=scarce))
    assert patient_relay.chat().status == 200
    waiting = many(5)
    eventually(
        lambda: patient_relay.metrics().total("relay_client_connections"),
        lambda connections: connections >= 5,
        what="the waiting calls",
    )
    patient_relay.push(platform.document(queue=queue, providers=ample))
    assert [wire.answer().status for wire in waiting] == [200] * 5
    assert stable.calls() == 6


def test_every_call_that_was_pipelined_behind_one_that_waits_is_answered(
    patient_relay: Relay, platform: Platform, stable: Upstream
) -> None:
    stable.behave(hold_after_events=0)
    patient_relay.push(platform.document())
    unknown = request_bytes(
        "POST", CHAT, {"authorization": f"Bearer {KEY}"}, chat_body(model="unknown")
    )
    with patient_relay.wire() as wire:
        wire.send(REQUEST + unknown * PIPELINED)
        eventually(lambda: stable.stats()["held"], lambda held: held == 1, what="the held call")
        stable.release()
        assert wire.answer().status == 200
        assert [wire.answer().status for _ in range(PIPELINED)] == [404] * PIPELINED
