"""Headers that are passed on, in both directions, and headers that never are."""

import re

import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.upstream import Upstream
from tests.blackbox.wire import request_bytes

from relay_contract.document import Limits

TRACE = "0af7651916cd43dd8448eb211c80319c"
DURATION = re.compile(r"^(\d+h)?(\d+m(?!s))?((\d+(\.\d+)?)s)?(\d+ms)?$")
RATE_HEADERS = tuple(
    f"x-ratelimit-{what}-{unit}"
    for what in ("limit", "remaining", "reset")
    for unit in ("requests", "tokens")
)


def test_every_answer_carries_a_request_id_of_its_own(relay: Relay) -> None:
    answers = [relay.chat(), relay.chat(), relay.chat(key=None), relay.ask("GET", "/nowhere")]
    ids = [answer.header("x-request-id") for answer in answers]
    assert None not in ids
    assert len(set(ids)) == len(ids)


def test_a_callers_request_id_is_kept_and_forwarded(relay: Relay, stable: Upstream) -> None:
    answer = relay.chat(headers={"x-request-id": "caller-42"})
    assert answer.header("x-request-id") == "caller-42"
    assert stable.only_request().header("x-request-id") == "caller-42"


@pytest.mark.parametrize(
    "given", ["a" * 5000, "two words", 'quote"and,comma', "caf\xe9", "{{7*7}}\x7f"]
)
def test_an_invalid_request_id_is_not_echoed(relay: Relay, given: str) -> None:
    answer = relay.chat(headers={"x-request-id": given})
    echoed = answer.header("x-request-id")
    assert echoed is not None
    assert echoed != given
    assert re.fullmatch(r"[!-~]{1,200}", echoed)


def test_the_providers_request_id_is_returned_under_another_name(relay: Relay) -> None:
    answer = relay.chat()
    serial = answer.json()["id"].removeprefix("chatcmpl-")
    assert answer.header("x-upstream-request-id") == f"req_{serial}"
    assert answer.header("x-request-id") != f"req_{serial}"


def test_rate_limit_headers_are_on_every_answer(relay: Relay, platform: Platform) -> None:
    limits = Limits(requests_per_minute=600, tokens_per_minute=100_000)
    relay.push(platform.document(limits=limits))
    for answer in (relay.chat(), relay.chat(stream=True), relay.chat(model="absent")):
        assert {name: answer.header(name) is not None for name in RATE_HEADERS} == dict.fromkeys(
            RATE_HEADERS, True
        ), answer
        assert answer.header("x-ratelimit-limit-requests") == "600"
        assert answer.header("x-ratelimit-limit-tokens") == "100000"
        for unit in ("requests", "tokens"):
            reset = answer.header(f"x-ratelimit-reset-{unit}")
            assert reset
            assert DURATION.fullmatch(reset), reset


def test_remaining_requests_go_down_with_each_call(relay: Relay, platform: Platform) -> None:
    relay.push(platform.document(limits=Limits(requests_per_minute=60, burst_seconds=60)))
    left = [int(relay.chat().header("x-ratelimit-remaining-requests") or "-1") for _ in range(4)]
    assert left[0] > left[1] > left[2] > left[3] >= 0, left


def test_the_providers_own_limits_are_not_shown_as_the_tenants(
    relay: Relay, stable: Upstream, platform: Platform
) -> None:
    stable.behave(requests_per_minute=77_777)
    relay.push(platform.document(limits=Limits(requests_per_minute=600)))
    assert relay.chat().header("x-ratelimit-limit-requests") == "600"


def test_hop_by_hop_headers_of_a_request_are_dropped(relay: Relay, stable: Upstream) -> None:
    # RFC 9110, 7.6.1: the fields named by Connection, and the old well-known ones
    relay.chat(
        headers={
            "connection": "keep-alive, x-private, x-other",
            "x-private": "1",
            "x-other": "2",
            "keep-alive": "timeout=5",
            "proxy-authorization": "Basic Zm9v",
            "proxy-connection": "keep-alive",
            "te": "trailers",
            "trailer": "x-sum",
            "upgrade": "h2c",
            "x-kept": "yes",
        }
    )
    request = stable.only_request()
    for name in (
        *("x-private", "x-other", "keep-alive", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "upgrade"),
    ):
        assert request.all_of(name) == [], name
    assert request.header("x-kept") == "yes"


def test_connection_cannot_remove_what_the_relay_sets(relay: Relay, stable: Upstream) -> None:
    relay.chat(
        headers={"connection": "authorization, content-length, host, content-type, x-request-id"}
    )
    request = stable.only_request()
    assert request.header("authorization") is not None
    assert request.header("content-length") is not None
    assert request.json()["messages"]


def test_host_and_internal_headers_are_set_by_the_relay(relay: Relay, stable: Upstream) -> None:
    relay.chat(
        headers={"x-request-priority": "low", "x-task-type": "reasoning", "cookie": "session=1"}
    )
    request = stable.only_request()
    assert request.header("host") == f"127.0.0.1:{stable.port}"
    for name in ("x-request-priority", "x-task-type", "x-tenant-id", "cookie"):
        assert request.all_of(name) == [], name


def test_unknown_headers_are_passed_on_in_both_directions(relay: Relay, stable: Upstream) -> None:
    answer = relay.chat(headers={"openai-beta": "assistants=v2", "idempotency-key": "once"})
    request = stable.only_request()
    assert request.header("openai-beta") == "assistants=v2"
    assert request.header("idempotency-key") == "once"
    assert answer.header("openai-processing-ms") is not None


def test_a_trace_continues_with_a_span_of_the_relay(relay: Relay, stable: Upstream) -> None:
    relay.chat(headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "tracestate": "v=1"})
    request = stable.only_request()
    version, trace, span, flags = (request.header("traceparent") or "---").split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert re.fullmatch(r"[0-9a-f]{16}", span)
    assert span != "b7ad6b7169203331"
    assert request.header("tracestate") == "v=1"


@pytest.mark.parametrize(
    "given",
    [None, "garbage", f"00-{'0' * 32}-b7ad6b7169203331-01", f"ff-{TRACE}-b7ad6b7169203331-01"],
)
def test_a_call_without_a_valid_trace_starts_a_new_one(
    relay: Relay, stable: Upstream, given: str | None
) -> None:
    # W3C Trace Context, 3.2.2: an all-zero id and version ff are invalid
    relay.chat(headers={} if given is None else {"traceparent": given})
    sent = stable.only_request().header("traceparent") or ""
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", sent)
    assert TRACE not in sent
    assert "0" * 32 not in sent


def test_fixed_headers_and_query_of_the_provider_are_added(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    providers = platform.providers(
        headers={"x-org": "acme"}, query={"api-version": "2025-01-01", "q": "a b&c"}
    )
    relay.push(platform.document(providers=providers))
    relay.chat(headers={"x-org": "spoofed"})
    request = stable.only_request()
    assert request.all_of("x-org") == ["acme"]
    assert request.target in (
        f"{CHAT}?api-version=2025-01-01&q=a%20b%26c",
        f"{CHAT}?api-version=2025-01-01&q=a+b%26c",
    )


def test_the_answer_has_one_framing_and_no_hop_by_hop_headers(relay: Relay) -> None:
    unary, streamed = relay.chat(), relay.chat(stream=True)
    assert unary.header("content-length") == str(len(unary.body))
    assert unary.header("transfer-encoding") is None
    assert streamed.header("transfer-encoding") == "chunked"
    assert streamed.header("content-length") is None
    for answer in (unary, streamed):
        assert answer.header("keep-alive") is None


def test_headers_of_an_answer_that_are_for_the_relay_alone_are_dropped(
    relay: Relay, stable: Upstream
) -> None:
    stable.behave(
        extra_headers={
            "connection": "x-hop",
            "x-hop": "1",
            "keep-alive": "timeout=5",
            "proxy-authenticate": "Basic",
            "set-cookie": "session=of-the-platform",
            "openai-organization": "the-platform",
            "x-ratelimit-remaining-requests": "12345",
            "x-kept": "yes",
        }
    )
    for answer in (relay.chat(), relay.chat(stream=True)):
        names = {name for name, _ in answer.headers}
        assert not names & {
            *("x-hop", "keep-alive", "proxy-authenticate", "set-cookie", "openai-organization"),
            "x-ratelimit-remaining-requests",
        }
        assert answer.header("x-kept") == "yes"


def test_a_provider_that_closes_its_connection_does_not_close_the_clients(
    relay: Relay, stable: Upstream
) -> None:
    stable.behave(close_connection=True)
    request = request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, chat_body())
    with relay.wire() as wire:
        for _ in range(3):
            wire.send(request)
            assert wire.answer().header("connection") is None


def test_a_compressed_request_is_refused_with_415(relay: Relay, stable: Upstream) -> None:
    answer = relay.chat(headers={"content-encoding": "gzip"})
    assert (answer.status, answer.error()["type"]) == (415, "invalid_request_error")
    assert stable.calls() == 0


def test_streams_are_marked_as_not_to_be_buffered(relay: Relay) -> None:
    answer = relay.chat(stream=True)
    assert (answer.header("content-type") or "").startswith("text/event-stream")
    assert answer.header("x-accel-buffering") == "no"


def test_one_connection_serves_many_calls(relay: Relay) -> None:
    request = request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, chat_body())
    with relay.wire() as wire:
        statuses = []
        for _ in range(20):
            wire.send(request)
            statuses.append(wire.answer().status)
    assert statuses == [200] * 20


def test_connection_close_is_obeyed_and_announced(relay: Relay) -> None:
    headers = {"authorization": f"Bearer {KEY}", "connection": "close"}
    with relay.wire() as wire:
        wire.send(request_bytes("POST", CHAT, headers, chat_body()))
        answer = wire.answer()
        assert answer.header("connection") == "close"
        assert wire.ended()


def test_a_compressed_answer_of_a_provider_can_be_read(relay: Relay, stable: Upstream) -> None:
    stable.behave(gzip=True)
    answer = relay.chat(headers={"accept-encoding": "gzip"})
    if answer.header("content-encoding") == "gzip":
        assert answer.body[:2] == b"\x1f\x8b"
    else:
        assert answer.json()["object"] == "chat.completion"
