"""An answer whose caller left is read on where its Provider says so: the ledger has the provider's own count, within bounds of time, tokens and number."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.blackbox.ledgers import BookingLedger
from tests.blackbox.relays import CHAT, NewRelay, Relay, chat_body
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.test_ledger_records import ledger as ledger
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import request_bytes

from relay_contract.document import Document, Drain, Queue

pytestmark = pytest.mark.timeout(180)
WIDE = Drain(max_seconds=60, max_tokens=10_000)
INPUT, OUTPUT = 100, 40
SEEN = 5
"""Events that a provider sends before it waits for the test."""


@pytest.fixture
def booked(new_relay: NewRelay, ledger: BookingLedger, tmp_path: Path) -> Callable[..., Relay]:
    """Starts a relay that delivers to the ledger."""

    def start(document: Document, **settings: str) -> Relay:
        return new_relay(document=document, **ledger.settings(tmp_path / "outbox", **settings))

    return start


@pytest.fixture(autouse=True)
def _held(stable: Upstream) -> None:
    """Has the provider wait in the middle of its answers."""
    stable.behave(prompt_tokens=INPUT, completion_tokens=OUTPUT, hold_after_events=SEEN)


def drained(platform: Platform, drain: Drain = WIDE, **fields: Any) -> Document:
    return platform.document(providers=platform.providers(drain=drain), **fields)


def leave(relay: Relay, stable: Upstream, name: str, *, stream: bool = True) -> None:
    """Asks, and leaves once the provider works and, in a stream, some of the answer has come."""
    before = relay.metrics().total("relay_client_disconnects_total")
    held = stable.stats()["held"]
    with relay.wire() as wire:
        fields = {"authorization": f"Bearer {KEY}", "x-request-id": name}
        wire.send(request_bytes("POST", CHAT, fields, chat_body(stream=stream)))
        if stream:
            wire.head()
            wire.chunk()
        eventually(lambda: stable.stats()["held"], lambda now: now > held, what="the held answer")
    eventually(
        lambda: relay.metrics().total("relay_client_disconnects_total"),
        lambda now: now == before + 1,
        what="the disconnect",
    )


def ends(relay: Relay, end: str) -> float:
    return relay.metrics().total("relay_drained_answers_total", provider="stable", end=end)


def wait_end(relay: Relay, end: str, count: int = 1) -> None:
    eventually(lambda: ends(relay, end), lambda found: found == count, what=f"{count} x {end}")
    eventually(
        lambda: relay.metrics().total("relay_in_flight"), lambda found: found == 0, what="no seat"
    )


def aborted(stable: Upstream) -> int:
    return int(stable.stats()["outcomes"].get("aborted", 0))


def is_true_number(record: dict[str, Any]) -> bool:
    return bool(
        record["usageSource"] == "provider"
        and record["outcome"] == "cancelled"
        and record["tokens"] == {"input": INPUT, "output": OUTPUT}
    )


def is_partial(record: dict[str, Any]) -> bool:
    tokens = record.get("tokens", {})
    return bool(
        record["usageSource"] == "partial"
        and record["outcome"] == "cancelled"
        and tokens["input"] > 0
        and tokens.get("output", 0) < OUTPUT
    )


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "document"])
def test_the_providers_own_count_is_booked(
    booked: Callable[..., Relay],
    platform: Platform,
    ledger: BookingLedger,
    stable: Upstream,
    stream: bool,
) -> None:
    relay = booked(drained(platform))
    leave(relay, stable, "left", stream=stream)
    assert relay.metrics().total("relay_in_flight") == 1
    assert relay.metrics().total("relay_client_connections") == 0
    stable.release()
    wait_end(relay, "usage")
    record = ledger.attempt("left")
    assert is_true_number(record), record
    # nobody has anything of a document before it is whole
    assert record["delivered"] is stream
    assert stable.stats()["outcomes"] == {"answered": 1}


def test_after_its_seconds_it_is_cancelled_and_partial(
    booked: Callable[..., Relay], platform: Platform, ledger: BookingLedger, stable: Upstream
) -> None:
    relay = booked(drained(platform, Drain(max_seconds=1, max_tokens=10_000)))
    leave(relay, stable, "long")
    wait_end(relay, "seconds")
    assert is_partial(ledger.attempt("long"))
    eventually(lambda: aborted(stable), lambda found: found == 1, what="the end at the provider")


def test_after_its_tokens_it_is_cancelled_and_partial(
    booked: Callable[..., Relay], platform: Platform, ledger: BookingLedger, stable: Upstream
) -> None:
    stable.behave(completion_tokens=100_000, token_interval_ms=5)
    relay = booked(drained(platform, Drain(max_seconds=60, max_tokens=20)))
    leave(relay, stable, "wordy")
    stable.release()
    wait_end(relay, "tokens")
    record = ledger.attempt("wordy")
    assert (record["usageSource"], record["outcome"]) == ("partial", "cancelled")
    assert 20 <= record["tokens"]["output"] < 100_000
    eventually(lambda: aborted(stable), lambda found: found == 1, what="the end at the provider")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "document"])
def test_a_provider_that_hangs_is_given_up_by_its_own_times(
    booked: Callable[..., Relay],
    platform: Platform,
    ledger: BookingLedger,
    stable: Upstream,
    stream: bool,
) -> None:
    settings = {"first_byte_timeout_seconds": "2", "upstream_idle_timeout_seconds": "2"}
    relay = booked(drained(platform), **settings)
    leave(relay, stable, "silent", stream=stream)
    wait_end(relay, "unreported")
    assert is_partial(ledger.attempt("silent"))
    # nor is its silence the side's: the caller had left
    outcomes = relay.metrics().series("relay_upstream_attempts_total")
    assert {one["outcome"] for one in outcomes} == {"cancelled"}


def test_what_is_too_much_is_cancelled(
    booked: Callable[..., Relay], platform: Platform, ledger: BookingLedger, stable: Upstream
) -> None:
    relay = booked(drained(platform), max_drained_answers="2")
    for number in range(3):
        leave(relay, stable, f"one-of-{number}")
    assert ends(relay, "refused") == 1
    assert relay.metrics().total("relay_in_flight") == 2
    eventually(lambda: aborted(stable), lambda found: found == 1, what="the end at the provider")
    stable.release()
    wait_end(relay, "usage", 2)
    assert is_true_number(ledger.attempt("one-of-0"))
    assert is_true_number(ledger.attempt("one-of-1"))
    assert is_partial(ledger.attempt("one-of-2"))


def test_callers_who_come_and_leave_cannot_hold_more_than_the_tenants_seats(
    new_relay: NewRelay, platform: Platform, stable: Upstream
) -> None:
    seats = Queue(concurrency=3, max_depth=50, max_wait_seconds=30)
    relay = new_relay(document=drained(platform, queue=seats))
    fields = {"authorization": f"Bearer {KEY}"}
    for _ in range(3):
        leave(relay, stable, "one")
    for _ in range(20):
        with relay.wire() as wire:
            wire.send(request_bytes("POST", CHAT, fields, chat_body(stream=True)))
            eventually(
                lambda: relay.metrics().total("relay_queue_depth"),
                lambda depth: depth == 1,
                what="the call that waits",
            )
        eventually(
            lambda: relay.metrics().total("relay_queue_depth"),
            lambda depth: depth == 0,
            what="the end of a call that waits",
        )
    assert stable.calls() == 3
    assert relay.metrics().total("relay_in_flight") == 3
    stable.behave(hold_after_events=None)
    stable.release()
    wait_end(relay, "usage", 3)
    assert relay.chat().status == 200


def test_a_relay_that_is_ended_waits_for_the_count(
    booked: Callable[..., Relay], platform: Platform, ledger: BookingLedger, stable: Upstream
) -> None:
    relay = booked(drained(platform), drain_seconds="60", outbox_drain_seconds="20")
    leave(relay, stable, "ended")
    relay.process.send_signal(signal.SIGTERM)
    eventually(lambda: relay.ready().status, lambda status: status == 503, what="not ready")
    stable.release()
    assert relay.process.wait(30) == 0
    assert is_true_number(ledger.attempt("ended"))


def test_a_relay_that_is_ended_waits_no_longer_than_for_others(
    booked: Callable[..., Relay], platform: Platform, ledger: BookingLedger, stable: Upstream
) -> None:
    relay = booked(drained(platform), drain_seconds="2", outbox_drain_seconds="20")
    leave(relay, stable, "ended")
    relay.process.send_signal(signal.SIGTERM)
    # the provider never goes on
    assert relay.process.wait(30) == 0
    assert is_partial(ledger.attempt("ended"))


def test_all_workers_together_read_no_more_on(
    new_relay: NewRelay, platform: Platform, stable: Upstream
) -> None:
    relay = new_relay(document=drained(platform), workers="2", max_drained_answers="4")
    for number in range(12):
        leave(relay, stable, f"one-of-{number}")
    assert relay.metrics().total("relay_in_flight") <= 4
    assert ends(relay, "refused") >= 8
