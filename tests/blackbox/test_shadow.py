"""A shadow copy has no effect on the caller: no latency, no status, no charge on the tenant's limits."""

from contextlib import ExitStack
from typing import Any

import orjson
import pytest
from tests.blackbox.relays import Relay
from tests.blackbox.scripted import (
    CHAT_ANSWER,
    DONE,
    USAGE_CHUNK,
    ScriptedProvider,
    chunk,
    scripted,
    stream,
    unary,
)
from tests.blackbox.tenant import Platform, provider, route, side
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually

from relay_contract.document import Limits, Route

CALLS = 20


@pytest.fixture
def shadowing(relay: Relay, platform: Platform) -> Route:
    """Makes the relay copy every call to the canary."""
    one = route(canary="canary", shadow_percent=100)
    relay.push(platform.document(routes=[one]))
    return one


def copied(canary: Upstream, count: int) -> None:
    eventually(canary.calls, lambda calls: calls == count, what=f"{count} shadow copies")


def test_stable_answers_the_caller_and_the_canary_gets_a_copy(
    relay: Relay, shadowing: Route, stable: Upstream, canary: Upstream
) -> None:
    stable.behave(completion_tokens=1)
    canary.behave(completion_tokens=9)
    assert relay.chat().json()["usage"]["completion_tokens"] == 1
    copied(canary, 1)
    # some calls are copied to stable as well
    copy = canary.only_request().json()
    assert all(asked.json() == copy for asked in stable.received())


def test_the_copy_carries_the_canarys_key_and_no_second_request_id(
    relay: Relay, shadowing: Route, stable: Upstream, canary: Upstream
) -> None:
    relay.chat(headers={"x-request-id": "once"})
    copied(canary, 1)
    first, copy = stable.received()[0], canary.only_request()
    assert first.header("authorization") != copy.header("authorization")
    assert copy.header("authorization") is not None


def test_a_copy_carries_no_idempotency_key(
    relay: Relay, shadowing: Route, canary: Upstream
) -> None:
    relay.chat(headers={"idempotency-key": "once"})
    copied(canary, 1)
    assert canary.only_request().header("idempotency-key") is None


def test_a_copy_that_hangs_delays_no_caller(
    relay: Relay, shadowing: Route, canary: Upstream
) -> None:
    canary.behave(hold_after_events=0)
    assert relay.chat().status == 200
    eventually(canary.stats, lambda stats: stats["held"] == 1, what="the held copy")


def test_a_failing_copy_does_not_show_in_the_answer(
    relay: Relay, shadowing: Route, canary: Upstream
) -> None:
    faults = ("reset", "not_http", "die", "garbage")
    for number, fault in enumerate(faults, start=1):
        canary.behave(fault=fault)
        assert relay.chat().status == 200
        # the next test begins when none is under way any more
        copied(canary, number)


def test_a_failing_copy_is_counted(relay: Relay, shadowing: Route, canary: Upstream) -> None:
    canary.behave(error_percent=100, error_status=500)
    relay.chat()
    copied(canary, 1)
    eventually(
        lambda: relay.metrics().total("relay_shadow_total", route=shadowing.name),
        lambda total: total == 1,
        what="relay_shadow_total",
    )
    outcomes = [
        labels["outcome"]
        for labels in relay.metrics().series("relay_shadow_total")
        if labels["route"] == shadowing.name
    ]
    assert "match" not in outcomes


def test_only_the_configured_share_of_calls_is_copied(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    one = route(canary="canary", shadow_percent=30)
    relay.push(platform.document(routes=[one]))
    for _ in range(200):
        relay.chat()
    eventually(
        lambda: relay.metrics().total("relay_shadow_total", route=one.name),
        lambda total: 30 <= total <= 95,
        what="about 60 copies",
    )
    assert 30 <= canary.calls() <= 95


def test_a_copy_uses_none_of_the_tenants_limits(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    limits = Limits(requests_per_minute=60, burst_seconds=60)
    one = route(canary="canary", shadow_percent=100)
    relay.push(platform.document(routes=[one], limits=limits))
    before = int(relay.chat().header("x-ratelimit-remaining-requests") or -1)
    copied(canary, 1)
    after = int(relay.chat().header("x-ratelimit-remaining-requests") or -1)
    assert before - after == 1


def test_streamed_calls_are_copied_too(relay: Relay, shadowing: Route, canary: Upstream) -> None:
    assert relay.chat(stream=True).body.endswith(b"data: [DONE]\n\n")
    copied(canary, 1)


def test_canary_traffic_is_not_copied_to_itself(
    relay: Relay, platform: Platform, stable: Upstream, canary: Upstream
) -> None:
    one = route(canary="canary", canary_percent=100, shadow_percent=100)
    relay.push(platform.document(routes=[one]))
    for _ in range(CALLS):
        relay.chat()
    assert (stable.calls(), canary.calls()) == (0, CALLS)


def test_a_copy_does_not_count_as_an_attempt_of_the_canary(
    relay: Relay, shadowing: Route, canary: Upstream
) -> None:
    relay.chat()
    copied(canary, 1)
    usage = relay.metrics()
    assert usage.total("relay_upstream_attempts_total", route=shadowing.name, side="canary") == 0


def test_failing_copies_do_not_open_the_breaker(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    target = side("canary")
    one = route("stable", target, shadow_percent=100)
    relay.push(platform.document(routes=[one]))
    canary.behave(error_percent=100)
    for _ in range(CALLS):
        relay.chat()
    assert relay.slo().total("relay_slo_breaker_open", route=one.name) == 0


def compared(relay: Relay, one: Route, pair: str = "canary") -> dict[str, float]:
    """Returns the outcomes of the route's copies, as far as there are any."""
    assert one.canary is not None
    slo = relay.slo()
    labels = {"route": one.name, "fingerprint": one.canary.fingerprint, "pair": pair}
    found = {
        seen["outcome"]: slo.total("relay_slo_shadow_total", **labels, outcome=seen["outcome"])
        for seen in slo.series("relay_slo_shadow_total")
        if seen["route"] == one.name
    }
    return {outcome: count for outcome, count in found.items() if count}


def first_compared(relay: Relay, one: Route) -> set[str]:
    return set(eventually(lambda: compared(relay, one), what="a comparison"))


SAID = b'"message":{"role":"assistant","content":"hi"}'
TOOL = b'"message":{"role":"assistant","tool_calls":[{"id":"x","type":"function","function":{"name":"%b","arguments":"%b"}}]}'

DEEP = b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}"


@pytest.mark.parametrize(
    ("body", "ours", "theirs", "outcome"),
    [
        ({}, SAID, SAID.replace(b"hi", b""), "empty"),
        (
            {"response_format": {"type": "json_object"}},
            SAID.replace(b"hi", b"{}"),
            SAID.replace(b"hi", b"Here: {}"),
            "invalid_json",
        ),
        ({}, TOOL % (b"f", rb"{\"a\":1}"), TOOL % (b"f", rb"{\"b\":1}"), "tool_calls"),
        ({}, TOOL % (b"f", b"{}"), TOOL % (b"g", b"{}"), "tool_calls"),
        # as an object, nested as deeply as it can be read
        ({}, TOOL % (b"f", b"{}"), (TOOL % (b"f", b"?")).replace(b'"?"', DEEP), "tool_calls"),
    ],
)
def test_what_the_answers_consist_of_is_compared(
    relay: Relay, platform: Platform, body: dict[str, Any], ours: bytes, theirs: bytes, outcome: str
) -> None:
    with ExitStack() as stack:
        answers = [unary(CHAT_ANSWER.replace(SAID, said)) for said in (ours, theirs)]
        first, second = (stack.enter_context(scripted(ScriptedProvider([one]))) for one in answers)
        one = route(canary="canary", shadow_percent=100)
        providers = [provider("stable", first.url), provider("canary", second.url)]
        relay.push(platform.document(providers=providers, routes=[one]))
        assert relay.chat(**body).status == 200
        assert first_compared(relay, one) == {outcome}


def test_the_tool_calls_of_streams_are_compared(relay: Relay, platform: Platform) -> None:
    def calling(argument: bytes) -> bytes:
        head = b'{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{"}}]}'
        rest = b'{"tool_calls":[{"index":0,"function":{"arguments":"\\"%b\\":1}"}}]}' % argument
        end = chunk("{}", '"tool_calls"') + USAGE_CHUNK + DONE
        return stream(chunk(head.decode()) + chunk(rest.decode()) + end)

    with ExitStack() as stack:
        providers = [
            provider(name, stack.enter_context(scripted(ScriptedProvider([calling(argument)]))).url)
            for name, argument in (("stable", b"a"), ("canary", b"b"))
        ]
        one = route(canary="canary", shadow_percent=100)
        relay.push(platform.document(providers=providers, routes=[one]))
        assert relay.chat(stream=True).body.endswith(DONE)
        assert first_compared(relay, one) == {"tool_calls"}


def test_stable_is_asked_again_for_some_copies(
    relay: Relay, shadowing: Route, stable: Upstream, canary: Upstream
) -> None:
    calls = 0
    while not compared(relay, shadowing, "stable"):
        calls += 1
        assert calls < 400, "of 400 copied calls stable was asked again for none"
        assert relay.chat().status == 200
        eventually(
            lambda: sum(compared(relay, shadowing).values()),
            lambda total: total == calls,  # noqa: B023
            what=f"{calls} comparisons",
        )
    assert stable.calls() > calls
    assert canary.calls() == calls


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/v1/chat/completions", {"store": True, "messages": []}),
        ("/v1/responses", {"input": "hi"}),
        ("/v1/responses", {"input": "hi", "store": False, "background": True}),
        ("/v1/responses", {"input": "hi", "store": False, "conversation": "conv_1"}),
    ],
)
def test_a_call_that_stores_something_at_its_provider_is_not_copied(
    relay: Relay, shadowing: Route, canary: Upstream, target: str, body: dict[str, Any]
) -> None:
    relay.ask("POST", target, body=orjson.dumps({"model": "gpt-4.1", **body}))
    assert first_compared(relay, shadowing) == {"skipped_state"}
    assert canary.calls() == 0


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/v1/chat/completions", {"messages": [], "tools": [{"type": "mcp"}]}),
        (
            "/v1/responses",
            {
                "store": False,
                "input": "Open a ticket",
                "tools": [{"type": "mcp", "server_url": "https://t", "require_approval": "never"}],
            },
        ),
    ],
)
def test_a_call_whose_tools_the_provider_runs_is_not_copied(
    relay: Relay, shadowing: Route, canary: Upstream, target: str, body: dict[str, Any]
) -> None:
    relay.ask("POST", target, body=orjson.dumps({"model": "gpt-4.1", **body}))
    assert first_compared(relay, shadowing) == {"skipped_state"}
    assert canary.calls() == 0


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (
            "/v1/responses",
            {
                "store": False,
                "input": [{"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAAA"}],
            },
        ),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
        ),
    ],
)
def test_a_call_that_goes_on_with_what_only_its_provider_reads_is_not_copied(
    relay: Relay, shadowing: Route, canary: Upstream, target: str, body: dict[str, Any]
) -> None:
    relay.ask("POST", target, body=orjson.dumps({"model": "gpt-4.1", **body}))
    assert first_compared(relay, shadowing) == {"skipped_state"}
    assert canary.calls() == 0


def test_a_response_that_is_not_stored_is_copied(
    relay: Relay, shadowing: Route, canary: Upstream
) -> None:
    body = orjson.dumps({"model": "gpt-4.1", "input": "hi", "store": False})
    assert relay.ask("POST", "/v1/responses", body=body).status == 200
    copied(canary, 1)


def test_a_route_without_copies_has_no_series_of_them(relay: Relay, platform: Platform) -> None:
    relay.push(platform.document(routes=[route(canary="canary")]))
    assert relay.slo().series("relay_slo_shadow_total") == []
