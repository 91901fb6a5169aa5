"""Failures after which a call goes on to the next target: those that prove it unprocessed, a canary's own, and those that
its provider's retryOn names."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from tests.blackbox.measured import Measured, exactly
from tests.blackbox.relays import CHAT, NewRelay, Relay, chat_body
from tests.blackbox.scripted import (
    CHAT_ANSWER,
    END,
    STREAM_HEAD,
    ScriptedProvider,
    chunk,
    piece,
    scripted,
    stream,
    unary,
)
from tests.blackbox.tenant import KEY, Platform, provider, route, side
from tests.blackbox.test_usage import usage_lines
from tests.blackbox.upstream import Upstream
from tests.blackbox.wire import request_bytes

from relay_contract.document import RetryOn

TIMEOUT = RetryOn(failures=("Timeout",))
DISCONNECT = RetryOn(failures=("Disconnect",))
INVALID_ANSWER = RetryOn(failures=("InvalidAnswer",))
HTML = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"


def error(
    status: int, body: bytes = b'{"error":{"message":"no"}}', *, fields: bytes = b""
) -> bytes:
    return unary(body, status=b"%d X" % status, fields=fields)


@contextmanager
def stable_with_backup(
    relay: Relay, platform: Platform, backup: Upstream, *answers: Any, **fields: Any
) -> Iterator[ScriptedProvider]:
    """A route whose stable provider gives these answers, and that has a fallback."""
    with scripted(ScriptedProvider(answers)) as stable:
        providers = [provider("stable", stable.url, **fields), provider("backup", backup.url)]
        routes = [route(fallback=(side("backup"),))]
        relay.push(platform.document(providers=providers, routes=routes))
        yield stable


@contextmanager
def canary_that_answers(
    relay: Relay, platform: Platform, stable: Upstream, *answers: Any, **fields: Any
) -> Iterator[tuple[Measured, ScriptedProvider]]:
    """A route whose canary gives these answers and gets every call."""
    with scripted(ScriptedProvider(answers)) as other:
        providers = [provider("stable", stable.url), provider("canary", other.url, **fields)]
        measured = Measured(relay, platform, providers=providers, canary_percent=100)
        yield measured, other


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
def test_529_is_as_unprocessed_as_503(
    relay: Relay, platform: Platform, backup: Upstream, stream: bool
) -> None:
    with stable_with_backup(relay, platform, backup, error(529)):
        assert relay.chat(stream=stream).status == 200
    assert backup.calls() == 1


def test_529_without_another_target_keeps_its_status(relay: Relay, platform: Platform) -> None:
    with scripted(ScriptedProvider([error(529, b"overloaded")])) as stable:
        relay.push(platform.document(providers=[provider("stable", stable.url)]))
        assert relay.chat().status == 529


CANARYS_OWN: dict[str, bytes] = {
    **{str(status): error(status) for status in (401, 402, 403, 404, 405, 407, 410, 421, 426)},
    "401 without a body": error(401, b""),
    "404 as a page": error(404, b"<html>"),
    "a redirect": error(307, fields=b"location: https://elsewhere.example.com/\r\n"),
    "400 for a model that it lacks": error(
        400, b'{"error":{"message":"x","code":"model_not_found"}}'
    ),
    "a 200 that reports 401": unary(b'{"error":{"message":"no","code":401}}'),
    "a 200 that reports no such model": unary(
        b'{"error":{"message":"no","code":"model_not_found"}}'
    ),
    "a stream that reports 402 first": stream(b'data: {"error":{"message":"no","code":402}}\n\n'),
}


@pytest.mark.parametrize("answer", CANARYS_OWN.values(), ids=CANARYS_OWN)
def test_what_is_the_canarys_own_lack_goes_on_to_stable(
    relay: Relay, platform: Platform, stable: Upstream, answer: bytes
) -> None:
    with canary_that_answers(relay, platform, stable, answer) as (measured, other):
        assert relay.chat(stream=b"event-stream" in answer).status == 200
        assert (len(other.heads), stable.calls()) == (1, 1)
        measured.settled(1, of="canary")
        assert measured.counts("canary") == exactly(started=1, finished=1, failed=1)
        fallbacks = relay.metrics().total("relay_fallbacks_total", route=measured.route.name)
        assert fallbacks == 1


CALLERS_OWN: dict[str, bytes] = {
    "400": error(400),
    "413": error(413),
    "422": error(422),
    "403 for the caller's content": error(
        403, b'{"error":{"message":"flagged","metadata":{"flagged_input":"..."}}}'
    ),
    "500": error(500),
    "504": error(504),
    "408": error(408),
    "404 for what the caller stored": error(404),
}


@pytest.mark.parametrize("answer", CALLERS_OWN.values(), ids=CALLERS_OWN)
def test_what_may_be_processed_or_is_the_callers_mistake_stays_with_the_canary(
    relay: Relay, platform: Platform, stable: Upstream, answer: bytes
) -> None:
    with canary_that_answers(relay, platform, stable, answer):
        stored = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]
        assert relay.chat(messages=stored).status >= 400
        assert stable.calls() == 0


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_the_lack_of_stable_stays_with_stable_unless_it_is_named(
    relay: Relay, platform: Platform, backup: Upstream, status: int
) -> None:
    with stable_with_backup(relay, platform, backup, error(status)):
        assert relay.chat().status in (404, 502)
    assert backup.calls() == 0
    named = RetryOn(statuses=(status,))
    with stable_with_backup(relay, platform, backup, error(status), retry_on=named):
        assert relay.chat().status == 200


NAMED: dict[str, tuple[Any, RetryOn]] = {
    "500": (error(500), RetryOn(statuses=(500,))),
    "504 as a page": (error(504, b"<html>"), RetryOn(statuses=(500, 504))),
    "408": (error(408), RetryOn(statuses=(408,))),
    "a status without a name": (error(599), RetryOn(statuses=(599,))),
    "a 200 that reports 500": (unary(b'{"error":{"message":"no"}}'), RetryOn(statuses=(500,))),
    "a stream that reports 500 first": (
        stream(b'data: {"error":{"message":"no"}}\n\n'),
        RetryOn(statuses=(500,)),
    ),
    "silence": ((3.0,), TIMEOUT),
    "silence after the head": (
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n", 4.0),
        TIMEOUT,
    ),
    "silence inside the document": (
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{",
            4.0,
        ),
        TIMEOUT,
    ),
    "a closed connection": (b"", DISCONNECT),
    "half of a document": (unary(CHAT_ANSWER)[:-20], DISCONNECT),
    "not HTTP": (b"SSH-2.0-x\r\n\r\n", INVALID_ANSWER),
    "a page": (HTML, INVALID_ANSWER),
    "an empty answer": (unary(b""), INVALID_ANSWER),
    "a redirect": (error(302), INVALID_ANSWER),
}


@pytest.mark.parametrize(("answer", "retry_on"), NAMED.values(), ids=NAMED)
def test_a_failure_that_is_named_goes_on_and_each_attempt_is_booked(
    relay: Relay, platform: Platform, backup: Upstream, answer: Any, retry_on: RetryOn
) -> None:
    with scripted(ScriptedProvider([answer], closes=True)) as stable:
        providers = [
            provider("stable", stable.url, retry_on=retry_on),
            provider("backup", backup.url),
        ]
        served = route(fallback=(side("backup"),))
        relay.push(platform.document(providers=providers, routes=[served]))
        seen = relay.chat(
            stream=b"event-stream" in answer if isinstance(answer, bytes) else False,
            headers={"x-request-id": f"hop-{served.name}"},
        )
        assert seen.status == 200
        assert (len(stable.heads), backup.calls()) == (1, 1)
        lines = usage_lines(relay, f"hop-{served.name}", 2)
        assert sorted((line["provider"], line["attempt"]) for line in lines) == [
            ("backup", 2),
            ("stable", 1),
        ]
        outcomes = {line["provider"]: line["outcome"] for line in lines}
        assert outcomes["backup"] == "ok"
        assert outcomes["stable"] != "ok"
        metrics = relay.metrics()
        assert metrics.total("relay_fallbacks_total", route=served.name) == 1
        assert metrics.total("relay_in_flight") == 0


@pytest.mark.parametrize(("answer", "retry_on"), NAMED.values(), ids=NAMED)
def test_a_failure_that_is_not_named_does_not_go_on(
    relay: Relay, platform: Platform, backup: Upstream, answer: Any, retry_on: RetryOn
) -> None:
    others = RetryOn(
        statuses=() if retry_on.statuses else (500, 502, 504),
        failures=tuple(
            name
            for name in ("Timeout", "Disconnect", "InvalidAnswer")
            if name not in retry_on.failures and not retry_on.statuses
        ),
    )
    with scripted(ScriptedProvider([answer], closes=True)) as stable:
        providers = [
            provider("stable", stable.url, retry_on=others),
            provider("backup", backup.url),
        ]
        relay.push(
            platform.document(providers=providers, routes=[route(fallback=(side("backup"),))])
        )
        streams = b"event-stream" in answer if isinstance(answer, bytes) else False
        assert relay.chat(stream=streams).status >= 400
        assert backup.calls() == 0


EVERYTHING = RetryOn(
    statuses=(400, 500, 502, 504), failures=("Timeout", "Disconnect", "InvalidAnswer")
)
BEGUN: dict[str, Any] = {
    "an error after a role": (
        STREAM_HEAD + piece(chunk('{"role":"assistant","content":"hi"}')),
        0.2,
        piece(b'data: {"error":{"message":"no"}}\n\n') + END,
    ),
    "silence after an event": (STREAM_HEAD + piece(chunk('{"content":"hi"}')), 4.0),
    "an end after an event": STREAM_HEAD + piece(chunk('{"content":"hi"}')),
}


@pytest.mark.parametrize("answer", BEGUN.values(), ids=BEGUN)
def test_nothing_goes_on_after_the_callers_first_byte(
    relay: Relay, platform: Platform, backup: Upstream, answer: Any
) -> None:
    with scripted(ScriptedProvider([answer], closes=True)) as stable:
        providers = [
            provider("stable", stable.url, retry_on=EVERYTHING),
            provider("backup", backup.url),
        ]
        relay.push(
            platform.document(providers=providers, routes=[route(fallback=(side("backup"),))])
        )
        seen = relay.chat(stream=True)
        assert seen.status == 200
        assert b'"error"' in seen.body
        assert (len(stable.heads), backup.calls()) == (1, 0)


def test_named_failures_are_bounded_by_the_budget(
    new_relay: NewRelay, platform: Platform, stable: Upstream, backup: Upstream
) -> None:
    providers = [
        provider("stable", stable.url, retry_on=RetryOn(statuses=(500,))),
        provider("backup", backup.url),
    ]
    routes = [route(fallback=(side("backup"),))]
    document = platform.document(providers=providers, routes=routes)
    relay = new_relay(document=document, retry_ratio="0", retry_burst="3")
    stable.behave(error_percent=100, error_status=500)
    statuses = [relay.chat().status for _ in range(8)]
    assert statuses == [200, 200, 200, 500, 500, 500, 500, 500]
    assert backup.calls() == 3


def test_the_last_targets_failure_is_the_callers(
    relay: Relay, platform: Platform, stable: Upstream, backup: Upstream
) -> None:
    providers = platform.providers(retry_on=RetryOn(statuses=(500,)))
    relay.push(platform.document(providers=providers, routes=[route(fallback=(side("backup"),))]))
    for upstream in (stable, backup):
        upstream.behave(error_percent=100, error_status=500)
    assert relay.chat().status == 500
    assert (stable.calls(), backup.calls()) == (1, 1)


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        ({"error_percent": 100, "error_status": 429, "retry_after": "1"}, 429),
        ({"error_percent": 100, "error_status": 500}, 500),
        ({"fault": "reset"}, 502),
    ],
    ids=["429", "500", "reset"],
)
def test_a_call_that_may_be_paid_already_is_not_to_be_repeated(
    relay: Relay, platform: Platform, backup: Upstream, behaviour: dict[str, Any], status: int
) -> None:
    backup.behave(**behaviour)
    with stable_with_backup(relay, platform, backup, (3.0,), retry_on=TIMEOUT):
        seen = relay.chat()
    found = [value for name, value in seen.headers if name == "x-should-retry"]
    assert (seen.status, found) == (status, ["false"])
    assert backup.calls() == 1


def test_a_call_that_continues_a_stored_response_never_goes_on(
    relay: Relay, platform: Platform, stable: Upstream, backup: Upstream
) -> None:
    providers = platform.providers(retry_on=EVERYTHING)
    relay.push(platform.document(providers=providers, routes=[route(fallback=(side("backup"),))]))
    stable.behave(error_percent=100, error_status=500)
    body = orjson.dumps({"model": "gpt-4.1", "input": "x", "previous_response_id": "resp_1"})
    assert relay.ask("POST", "/v1/responses", body=body).status == 500
    assert backup.calls() == 0


def test_a_client_that_leaves_while_the_call_goes_on_frees_everything(
    relay: Relay, platform: Platform, backup: Upstream
) -> None:
    backup.behave(latency_ms=60_000)
    with stable_with_backup(relay, platform, backup, error(500), retry_on=RetryOn(statuses=(500,))):
        with relay.wire() as wire:
            headers = {"authorization": f"Bearer {KEY}", "x-request-id": "hop-left"}
            wire.send(request_bytes("POST", CHAT, headers, chat_body()))
            usage_lines(relay, "hop-left", 1)
        lines = usage_lines(relay, "hop-left", 2)
    assert {line["provider"]: line["outcome"] for line in lines} == {
        "stable": "failed",
        "backup": "cancelled",
    }
