"""Every failure of a provider gives the client a status it can act on, never a partial answer that looks complete."""

from typing import Any

import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.tenant import KEY, MODEL, Platform, provider
from tests.blackbox.test_usage import usage_lines
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Answer, Gone, request_bytes

BEFORE_THE_HEAD: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "no-answer": ({"fault": "no_answer"}, 504, ("upstream_timeout",)),
    "reset": ({"fault": "reset"}, 502, ("upstream_invalid", "upstream_truncated")),
    "close": ({"fault": "close"}, 502, ("upstream_invalid", "upstream_truncated")),
    "conflicting-length": ({"fault": "conflicting_length"}, 502, ("upstream_invalid",)),
    "not-http": ({"fault": "not_http"}, 502, ("upstream_invalid",)),
    "huge-headers": ({"fault": "huge_headers"}, 502, ("upstream_invalid",)),
    "own-key-refused": ({"api_key": "another"}, 502, ("upstream_unauthorized",)),
    "forbidden": (
        {"error_percent": 100, "error_status": 403},
        502,
        ("upstream_unauthorized",),
    ),
}
AFTER_THE_HEAD = ("stall", "die", "die_reset", "long_content_length")


@pytest.mark.parametrize(
    ("behaviour", "status", "codes"), BEFORE_THE_HEAD.values(), ids=BEFORE_THE_HEAD
)
def test_a_call_without_an_answer_gets_an_error(
    relay: Relay,
    stable: Upstream,
    behaviour: dict[str, Any],
    status: int,
    codes: tuple[str, ...],
) -> None:
    stable.behave(**behaviour)
    answer = relay.chat()
    assert answer.status == status
    assert answer.error()["code"] in codes
    assert stable.calls() == 1
    assert relay_recovers(relay, stable)


@pytest.mark.parametrize("fault", AFTER_THE_HEAD)
def test_a_call_with_half_an_answer_gets_an_error_instead_of_the_half(
    relay: Relay, stable: Upstream, fault: str
) -> None:
    # a broken connection would make the SDKs try again, and the caller pay twice
    stable.behave(fault=fault)
    answer = relay.chat()
    assert answer.status in (502, 504)
    assert answer.error()["code"] in ("upstream_truncated", "upstream_timeout")
    assert stable.calls() == 1
    assert relay_recovers(relay, stable)


@pytest.mark.parametrize("fault", AFTER_THE_HEAD[:3])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_half_of_a_large_answer_ends_with_a_broken_connection(
    relay: Relay, stable: Upstream, fault: str, framing: str
) -> None:
    stable.behave(fault=fault, framing=framing, completion_tokens=200_000)
    try:
        answer = relay.chat()
    except Gone:
        return
    assert answer.status in (502, 504)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
@pytest.mark.parametrize("fault", ["no_answer", "reset", "close", "not_http"])
def test_a_failure_before_the_head_gets_a_status_for_streams_too(
    relay: Relay, stable: Upstream, fault: str, stream: bool
) -> None:
    stable.behave(fault=fault)
    assert relay.chat(stream=stream).status == (504 if fault == "no_answer" else 502)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
def test_a_providers_server_error_stays_a_server_error(
    relay: Relay, stable: Upstream, status: int
) -> None:
    stable.behave(error_percent=100, error_status=status)
    answer = relay.chat()
    assert 500 <= answer.status < 600
    assert answer.error()["message"]
    assert stable.calls() == 1


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_providers_refusal_of_the_call_is_passed_on_unchanged(
    relay: Relay, stable: Upstream, status: int
) -> None:
    stable.behave(error_percent=100, error_status=status)
    answer = relay.chat()
    assert answer.status == status
    assert "simulator" in answer.error()["message"] or status == 404


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_neither_followed_nor_passed_on(
    relay: Relay, stable: Upstream, status: int
) -> None:
    # the SDKs follow redirects: the tenant's prompt would go to wherever the provider points
    stable.behave(error_percent=100, error_status=status)
    name = f"redirected-{status}"
    answer = relay.chat(headers={"x-request-id": name})
    assert (answer.status, answer.error()["code"]) == (502, "upstream_invalid")
    assert answer.header("location") is None
    assert stable.calls() == 1
    # nothing was processed
    assert [line["tokens"] for line in usage_lines(relay, name)] == [None]


def test_a_providers_429_keeps_its_status_and_its_retry_after(
    relay: Relay, stable: Upstream
) -> None:
    stable.behave(error_percent=100, error_status=429, retry_after="7")
    answer = relay.chat()
    assert (answer.status, answer.error()["code"]) == (429, "rate_limit_exceeded")
    assert answer.header("retry-after") == "7"


def test_a_providers_429_without_retry_after_gets_a_short_one(
    relay: Relay, stable: Upstream
) -> None:
    # above 120 s the official SDKs give up at once
    stable.behave(error_percent=100, error_status=429)
    answer = relay.chat()
    assert answer.status == 429
    assert 1 <= int(answer.header("retry-after") or "1") <= 120


def test_a_provider_that_refuses_the_relays_key_gives_502_without_a_retry(
    relay: Relay, stable: Upstream
) -> None:
    stable.behave(api_key="another")
    answer = relay.chat()
    assert answer.status == 502
    assert answer.header("x-should-retry") == "false"
    assert "Incorrect API key" not in answer.body.decode()


def test_a_provider_whose_name_does_not_resolve_gives_502(relay: Relay, platform: Platform) -> None:
    gone = provider("stable", "http://no-such-host.invalid/v1")
    relay.push(platform.document(providers=[gone]))
    answer = relay.chat()
    assert (answer.status, answer.error()["code"]) == (502, "upstream_unreachable")


def test_a_provider_that_refuses_the_connection_gives_502(relay: Relay, platform: Platform) -> None:
    # nothing serves port 1 (tcpmux)
    closed = provider("stable", "http://127.0.0.1:1/v1")
    relay.push(platform.document(providers=[closed]))
    answer = relay.chat()
    assert (answer.status, answer.error()["code"]) == (502, "upstream_unreachable")


def test_a_connection_that_is_never_accepted_times_out(relay: Relay, platform: Platform) -> None:
    # TEST-NET-1 (RFC 5737) is routed nowhere: either the kernel says so or the connect times out
    nowhere = provider("stable", "http://192.0.2.1:81/v1")
    relay.push(platform.document(providers=[nowhere]))
    answer = relay.chat()
    assert answer.status in (502, 504), answer
    assert answer.error()["code"] in ("upstream_unreachable", "upstream_timeout")


def test_early_hints_do_not_disturb_the_answer(relay: Relay, stable: Upstream) -> None:
    stable.behave(fault="early_hints")
    for _ in range(3):
        assert relay.chat().json()["model"] == MODEL


def test_a_connection_that_the_provider_closed_is_not_used_for_the_next_call(
    relay: Relay, stable: Upstream
) -> None:
    # a close that crosses the next request cannot be told from a call that was processed; one that arrived
    # before it can
    stable.behave(fault="close_after")
    for number in range(1, 21):
        assert relay.chat().status == 200
        eventually(lambda: closed(stable), number.__le__, what="the close")


def closed(upstream: Upstream) -> int:
    """Returns how many connections were opened and closed."""
    stats = upstream.stats()
    return int(stats["connections_total"] - stats["connections_open"])


def test_bytes_beyond_content_length_never_reach_another_call(
    relay: Relay, stable: Upstream
) -> None:
    stable.behave(fault="short_content_length")
    cut = relay.chat()
    stable.behave(fault=None)
    for _ in range(5):
        assert relay.chat().json()["object"] == "chat.completion"
    assert cut.status in (200, 502)


def test_an_answer_whose_head_trickles_in_times_out(relay: Relay, stable: Upstream) -> None:
    stable.behave(fault="slow_headers", token_interval_ms=400)
    assert relay.chat().status == 504


def test_garbage_instead_of_json_counts_as_invalid(relay: Relay, stable: Upstream) -> None:
    stable.behave(fault="garbage")
    answer = relay.chat()
    assert answer.status == 502 or b"<html>" in answer.body
    assert relay_recovers(relay, stable)


@pytest.mark.parametrize("fault", ["die", "die_reset"])
def test_a_stream_that_breaks_off_delivers_its_events_and_then_an_error(
    relay: Relay, stable: Upstream, fault: str
) -> None:
    stable.behave(fault=fault, fault_after_events=3, token_interval_ms=10)
    body = streamed(relay)
    assert body.count(b'"delta"') == 3
    assert b"[DONE]" not in body
    assert b'"error"' in body.rpartition(b"data: ")[2]


def test_a_stream_that_stalls_is_ended_with_an_error_event(relay: Relay, stable: Upstream) -> None:
    stable.behave(hold_after_events=2)
    body = streamed(relay)
    assert body.count(b'"delta"') == 2
    assert b"upstream_timeout" in body.rpartition(b"data: ")[2]


def test_an_error_event_of_the_provider_is_passed_on(relay: Relay, stable: Upstream) -> None:
    stable.behave(fault="error_event", fault_after_events=2)
    body = streamed(relay)
    assert body.count(b'"delta"') == 2
    assert b'"server_error"' in body
    assert b"[DONE]" not in body


def test_a_garbage_stream_does_not_stop_the_relay(relay: Relay, stable: Upstream) -> None:
    stable.behave(fault="garbage")
    streamed(relay)
    assert relay_recovers(relay, stable)


def test_a_failed_call_is_not_repeated_by_the_relay(relay: Relay, stable: Upstream) -> None:
    for number, fault in enumerate(("no_answer", "reset", "close", "die", "stall"), start=1):
        stable.behave(fault=fault)
        relay.chat()
        assert stable.calls() == number, fault


def streamed(relay: Relay) -> bytes:
    """Returns the body of a streamed call, complete or aborted."""
    with relay.wire() as wire:
        headers = {"authorization": f"Bearer {KEY}"}
        wire.send(request_bytes("POST", CHAT, headers, chat_body(stream=True)))
        head = wire.head()
        if head.status != 200:
            return wire.body_of(head).body
        return b"".join(chunks(wire))


def chunks(wire: Any) -> list[bytes]:
    found = []
    try:
        while chunk := wire.chunk():
            found.append(chunk)
    except Gone:
        pass
    return found


def relay_recovers(relay: Relay, upstream: Upstream) -> bool:
    """Makes the provider healthy and returns whether calls succeed again."""
    upstream.reset()
    answers: list[Answer] = [relay.chat() for _ in range(3)]
    return [answer.status for answer in answers] == [200] * 3
