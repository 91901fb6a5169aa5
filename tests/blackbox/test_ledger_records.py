"""Every attempt at a provider is booked in the ledger once, with what it used and on which evidence."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.blackbox.ledgers import BOOKED_SECONDS, BookingLedger
from tests.blackbox.relays import CHAT, NewRelay, Relay, chat_body
from tests.blackbox.scripted import (
    CHAT_ANSWER,
    DONE,
    END,
    STREAM_HEAD,
    USAGE_CHUNK,
    Script,
    ScriptedProvider,
    chunk,
    piece,
    scripted,
    stream,
    unary,
)
from tests.blackbox.tenant import KEY, Platform, provider, route, side
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import request_bytes

from relay_contract.document import RetryOn

pytestmark = pytest.mark.timeout(180)
BEGINNING = chunk('{"role":"assistant"}') + chunk('{"content":"hi there, my friend"}')
FINISH = chunk("{}", '"stop"')
HANG = 30.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[BookingLedger]:
    ledger = BookingLedger(tmp_path / "ledger")
    ledger.process.start()
    yield ledger
    ledger.process.end()


@pytest.fixture
def booked(new_relay: NewRelay, ledger: BookingLedger, tmp_path: Path) -> Relay:
    """A relay that delivers, and gives up on silent providers after two seconds."""
    return new_relay(
        document="plain",
        **ledger.settings(
            tmp_path / "outbox",
            first_byte_timeout_seconds="2",
            upstream_idle_timeout_seconds="2",
            connect_timeout_seconds="2",
        ),
    )


def ask(relay: Relay, name: str, **fields: Any) -> int:
    return relay.chat(headers={"x-request-id": name}, **fields).status


def test_a_call_is_booked_with_everything_that_is_known_of_it(
    booked: Relay, ledger: BookingLedger, stable: Upstream
) -> None:
    stable.behave(prompt_tokens=100, cached_tokens=40, completion_tokens=7, reasoning_tokens=3)
    assert ask(booked, "whole") == 200
    record = ledger.attempt("whole")
    assert record["tokens"] == {"input": 60, "cacheRead": 40, "output": 7, "reasoning": 3}
    assert (record["usageSource"], record["outcome"], record["status"]) == ("provider", "ok", 200)
    assert (record["delivered"], record["side"], record["provider"]) == (True, "stable", "stable")
    assert (record["requestedModel"], record["routedModel"]) == ("gpt-4.1", "gpt-4.1")
    assert record["answeredModel"].startswith("gpt-4.1")
    assert (record["keyName"], record["relay"], record["tenant"]) == (
        "production",
        "relay-0",
        "finance",
    )
    assert record["attemptId"] == f"{record['callId']}-1"
    assert 0 <= record["closedAt"] - record["dispatchedAt"] < 60_000_000
    assert abs(record["closedAt"] / 1e6 - time.time()) < 120


def test_a_stream_is_booked_by_the_usage_that_the_caller_did_not_ask_for(
    booked: Relay, ledger: BookingLedger
) -> None:
    assert ask(booked, "streamed", stream=True) == 200
    record = ledger.attempt("streamed")
    assert (record["usageSource"], record["stream"], record["delivered"]) == (
        "provider",
        True,
        True,
    )
    assert record["tokens"]["output"] == 16
    assert record["answeredModel"].startswith("gpt-4.1")


def answered(
    booked: Relay,
    platform: Platform,
    ledger: BookingLedger,
    name: str,
    *answers: Script,
    **body: Any,
) -> dict[str, Any]:
    """The record of a call that gets this answer."""
    with scripted(ScriptedProvider(answers)) as other:
        routes = [route("stable")]
        booked.push(platform.document(providers=[provider("stable", other.url)], routes=routes))
        booked.chat(headers={"x-request-id": name}, **body)
        return ledger.attempt(name)


TIERED = CHAT_ANSWER[:-1] + b',"service_tier":"priority"}'
WITHOUT_USAGE = CHAT_ANSWER[: CHAT_ANSWER.index(b',"usage"')] + b"}"
ZERO = CHAT_ANSWER.replace(
    b'"prompt_tokens":3,"completion_tokens":1,"total_tokens":4',
    b'"prompt_tokens":0,"completion_tokens":0,"total_tokens":0',
)
WRONG = CHAT_ANSWER.replace(b'"total_tokens":4', b'"total_tokens":2')
REFUSED_WITH_USAGE = (
    b'{"error":{"message":"no","type":"server_error"},'
    b'"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}'
)
ANSWERS: dict[str, tuple[Script, dict[str, Any], dict[str, Any]]] = {
    "tier": (
        unary(TIERED),
        {},
        {"usageSource": "provider", "serviceTier": "priority", "answeredModel": "m"},
    ),
    "no-usage": (unary(WITHOUT_USAGE), {}, {"usageSource": "estimated", "cacheReported": False}),
    "zero": (unary(ZERO), {}, {"usageSource": "provider", "tokens": {}}),
    "impossible": (unary(WRONG), {}, {"usageSource": "estimated", "doubt": "total"}),
    "400": (
        unary(b'{"error":{"message":"no"}}', status=b"400 X"),
        {},
        {"usageSource": "none", "outcome": "client_error", "status": 400},
    ),
    "429": (
        unary(b'{"error":{"message":"no"}}', status=b"429 X"),
        {},
        {"usageSource": "none", "outcome": "throttled"},
    ),
    "500": (
        unary(b'{"error":{"message":"no"}}', status=b"500 X"),
        {},
        {"usageSource": "none", "outcome": "failed"},
    ),
    "error-under-200": (
        unary(b'{"error":{"message":"no","type":"server_error"}}'),
        {},
        {"usageSource": "none", "delivered": True},
    ),
    # a status that says that nothing was done is what providers bill by, whatever the body says
    "400-with-usage": (
        unary(REFUSED_WITH_USAGE, status=b"400 X"),
        {},
        {"usageSource": "none", "delivered": True},
    ),
    "500-with-usage": (
        unary(REFUSED_WITH_USAGE, status=b"500 X"),
        {},
        {"usageSource": "none", "outcome": "failed"},
    ),
    # under 200 the provider has worked, and says itself what for
    "error-under-200-with-usage": (
        unary(REFUSED_WITH_USAGE),
        {},
        {"usageSource": "provider", "tokens": {"input": 3, "output": 1}},
    ),
    "garbage": (
        unary(b"<html>"),
        {},
        {"usageSource": "unknown", "outcome": "invalid", "delivered": False},
    ),
    "stream-without-usage": (
        stream(BEGINNING + FINISH + DONE),
        {"stream": True},
        {"usageSource": "estimated"},
    ),
    "usage-twice": (
        stream(BEGINNING + FINISH + USAGE_CHUNK + USAGE_CHUNK + DONE),
        {"stream": True},
        {"usageSource": "provider", "tokens": {"input": 3, "output": 1}},
    ),
    "stream-broken": (
        (STREAM_HEAD + piece(BEGINNING),),
        {"stream": True},
        {"usageSource": "partial", "outcome": "truncated", "delivered": True},
    ),
    "stream-broken-after-usage": (
        (STREAM_HEAD + piece(BEGINNING + FINISH + USAGE_CHUNK),),
        {"stream": True},
        {"usageSource": "provider", "tokens": {"input": 3, "output": 1}},
    ),
    "stream-silent": (
        (STREAM_HEAD + piece(BEGINNING), HANG),
        {"stream": True},
        {"usageSource": "partial", "outcome": "timeout", "delivered": True},
    ),
    "silent": ((HANG,), {}, {"usageSource": "unknown", "outcome": "timeout", "delivered": False}),
    "reset": ((b"",), {}, {"usageSource": "unknown", "outcome": "failed"}),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_evidence_of_each_answer(
    name: str, booked: Relay, platform: Platform, ledger: BookingLedger
) -> None:
    script, body, expected = ANSWERS[name]
    with scripted(
        ScriptedProvider(
            [script], closes=name in ("stream-broken", "stream-broken-after-usage", "reset")
        )
    ) as other:
        booked.push(
            platform.document(providers=[provider("stable", other.url)], routes=[route("stable")])
        )
        booked.chat(headers={"x-request-id": name}, **body)
        record = ledger.attempt(name)
    assert {field: record.get(field) for field in expected} == expected, record
    counted = record["usageSource"] in ("provider", "partial", "estimated")
    assert ("tokens" in record) is counted


ABORTS: dict[str, tuple[Script, bytes, dict[str, Any]]] = {
    "before the head": ((HANG,), b"", {"usageSource": "partial", "delivered": False}),
    "in the middle": (
        (STREAM_HEAD + piece(BEGINNING), HANG),
        b"my friend",
        {"usageSource": "partial", "delivered": True},
    ),
    "after the finish": (
        (STREAM_HEAD + piece(BEGINNING + FINISH), HANG),
        b'"stop"',
        {"usageSource": "partial", "delivered": True},
    ),
    "before the usage": (
        (STREAM_HEAD + piece(BEGINNING + FINISH), 0.5, piece(USAGE_CHUNK + DONE) + END),
        b'"stop"',
        {"outcome": "ok", "usageSource": "provider", "tokens": {"input": 3, "output": 1}},
    ),
    "after the usage": (
        (STREAM_HEAD + piece(BEGINNING + FINISH + USAGE_CHUNK), HANG),
        b'"stop"',
        {"usageSource": "provider", "delivered": True, "tokens": {"input": 3, "output": 1}},
    ),
}


@pytest.mark.parametrize("name", ABORTS)
def test_a_client_that_leaves_is_booked_by_how_far_the_answer_came(
    name: str, booked: Relay, platform: Platform, ledger: BookingLedger
) -> None:
    script, seen, expected = ABORTS[name]
    label = name.replace(" ", "-")
    provider_one = ScriptedProvider([script])
    with scripted(provider_one) as other:
        booked.push(
            platform.document(providers=[provider("stable", other.url)], routes=[route("stable")])
        )
        with booked.wire() as wire:
            fields = {"authorization": f"Bearer {KEY}", "x-request-id": label}
            wire.send(request_bytes("POST", CHAT, fields, chat_body(stream=True)))
            if seen:
                wire.until(seen)
            eventually(lambda: len(provider_one.heads), bool, what="the call at the provider")
            time.sleep(0.2)
        record = ledger.attempt(label)
    expected = {"outcome": "cancelled", **expected}
    assert {field: record.get(field) for field in expected} == expected, record
    if record["usageSource"] == "partial":
        assert record["tokens"]["input"] > 0


def test_a_call_that_nobody_could_be_sent_used_nothing(
    booked: Relay, platform: Platform, ledger: BookingLedger
) -> None:
    with scripted(ScriptedProvider([b""])) as other:
        url = other.url
    booked.push(platform.document(providers=[provider("stable", url)], routes=[route("stable")]))
    assert ask(booked, "unreachable") == 502
    record = ledger.attempt("unreachable")
    assert (record["usageSource"], record["outcome"]) == ("none", "unreachable")
    booked.push(platform.document(providers=[provider("missing", url)], routes=[route("missing")]))
    assert ask(booked, "keyless") == 503
    record = ledger.attempt("keyless")
    assert (record["usageSource"], record["outcome"]) == ("none", "no_key")


@pytest.mark.parametrize(
    ("answer", "outcome", "source"),
    [
        (unary(b'{"error":{"message":"later"}}', status=b"429 X"), "throttled", "none"),
        (unary(b'{"error":{"message":"later"}}', status=b"503 X"), "failed", "none"),
        ((HANG,), "timeout", "unknown"),
    ],
    ids=["429", "503", "timeout"],
)
def test_a_retry_is_an_attempt_of_its_own_and_one_of_them_is_delivered(
    answer: Script,
    outcome: str,
    source: str,
    booked: Relay,
    platform: Platform,
    ledger: BookingLedger,
    backup: Upstream,
) -> None:
    name = f"retried-{outcome}"
    with scripted(ScriptedProvider([answer])) as first:
        retry = RetryOn(failures=("Timeout",))
        providers = [provider("stable", first.url, retry_on=retry), provider("backup", backup.url)]
        routes = [route(fallback=(side("backup"),))]
        booked.push(platform.document(providers=providers, routes=routes))
        assert ask(booked, name) == 200
        records = ledger.attempts(name, 2)
    one, two = records
    assert one["callId"] == two["callId"]
    assert [record["attempt"] for record in records] == [1, 2]
    assert [record["side"] for record in records] == ["stable", "fallback"]
    assert [record["provider"] for record in records] == ["stable", "backup"]
    assert [record["delivered"] for record in records] == [False, True]
    assert (one["outcome"], one["usageSource"]) == (outcome, source)
    assert (two["outcome"], two["usageSource"]) == ("ok", "provider")


def test_a_copy_is_booked_and_delivered_to_nobody(
    booked: Relay, platform: Platform, ledger: BookingLedger, canary: Upstream
) -> None:
    booked.push(
        platform.document(routes=[route("stable", "canary", canary_percent=0, shadow_percent=100)])
    )
    assert ask(booked, "copied") == 200
    found = eventually(
        lambda: {one["provider"]: one for one in ledger.closed() if one["side"] == "shadow"},
        lambda copies: "canary" in copies,
        within_seconds=BOOKED_SECONDS,
        what="the copy in the ledger",
    )
    copy = found["canary"]
    assert (copy["delivered"], copy["usageSource"]) == (False, "provider")
    assert copy["attemptId"] == f"{copy['callId']}-shadow-1"
    assert canary.calls() == 1
    # one in ten copies asks stable once more, for comparison
    assert not any(one["delivered"] for one in found.values())
    (served,) = eventually(
        lambda: [one for one in ledger.closed() if one["side"] != "shadow"],
        within_seconds=BOOKED_SECONDS,
        what="the call in the ledger",
    )
    assert (served["side"], served["delivered"]) == ("stable", True)
    assert served["callId"] == copy["callId"]


def test_attempts_opened_are_closed_under_way_or_left_open(
    new_relay: NewRelay, ledger: BookingLedger, stable: Upstream, tmp_path: Path
) -> None:
    booked = new_relay(document="plain", **ledger.settings(tmp_path / "outbox"))
    for number in range(5):
        assert ask(booked, f"counted-{number}") == 200
    stable.behave(hold_after_events=0)
    waiting = threading.Thread(target=ask, args=(booked, "held"))
    waiting.start()

    def counts() -> tuple[float, ...]:
        metrics = booked.metrics()
        return tuple(
            metrics.total(f"relay_outbox_attempts_{name}")
            for name in ("opened_total", "closed_total", "under_way", "left_open_total")
        )

    eventually(counts, lambda seen: seen == (6, 5, 1, 0), what="one attempt under way")
    # long enough to be told as opened
    eventually(
        lambda: [one["requestId"] for one in ledger.records() if one["phase"] == "opened"],
        lambda found: found == ["held"],
        within_seconds=20,
        what="the attempt that is under way",
    )
    stable.release()
    waiting.join()
    eventually(counts, lambda seen: seen == (6, 6, 0, 0), what="all closed")
    assert ledger.attempt("held")["usageSource"] == "provider"


def test_without_a_ledger_nothing_is_written(new_relay: NewRelay, tmp_path: Path) -> None:
    place = tmp_path / "none"
    place.mkdir()
    relay = new_relay(outbox_directory=str(place))
    assert ask(relay, "unrecorded") == 200
    assert list(place.iterdir()) == []
    assert len(relay.process.workers()) == 1
