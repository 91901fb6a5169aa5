"""A canary is probed before any caller gets it, and the admin port tells what was found."""

import json
import random
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from tests.blackbox.process import free_ports
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.scripted import (
    CHAT_ANSWER,
    DONE,
    GOOD_STREAM,
    Script,
    ScriptedProvider,
    chunk,
    scripted,
    stream,
    unary,
)
from tests.blackbox.tenant import Platform, provider, route
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Wire, request_bytes

from relay_contract.document import Document, Limits, ProviderModel, Route
from relay_contract.endpoints import HEALTH_PATH, PREFLIGHTS_PATH
from relay_contract.preflight import Preflight, Preflights

SECRET = "sk-upstream-canary-secret"
TOKEN = "0123456789ab/1"
GOOD = unary(CHAT_ANSWER)
HTML = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 24\r\n\r\n<html>Sign in now</html>"
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n"
ELSEWHERE = b"HTTP/1.1 302 Found\r\nlocation: https://x.test/\r\ncontent-length: 0\r\n\r\n"
CUT_BY_LENGTH = CHAT_ANSWER.replace(b'"hi"', b'""').replace(b'"stop"', b'"length"')
NO_WORDS = chunk('{"role":"assistant","content":""}') + chunk("{}", '"length"') + DONE
EMBEDDING = (
    b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1]}],"model":"m"}'
)


def error(status: bytes, message: str, **fields: Any) -> bytes:
    body = {"error": {"message": message, "type": "e", "param": None, **fields}}
    return unary(json.dumps(body).encode(), status=status)


def asking(token: str | None = TOKEN, **fields: Any) -> Route:
    return route(canary="canary", preflight=token, **fields)


def told(relay: Relay, query: str = "") -> Preflights:
    return Preflights.model_validate_json(relay.admin("GET", PREFLIGHTS_PATH + query).body)


def found(relay: Relay, one: Route, *, state: str = "") -> Preflight:
    """Returns the end of a route's preflight, as soon as the pod tells of one, or of one in this state."""

    def look() -> Preflight | None:
        mine = [told_of for told_of in told(relay).preflights if told_of.route == one.name]
        return mine[0] if mine else None

    def is_over(seen: Preflight | None) -> bool:
        return seen is not None and (seen.state != "Running" if not state else seen.state == state)

    seen = eventually(look, is_over, within_seconds=25.0, what=f"the preflight of {one.name}")
    assert seen is not None
    return seen


def usage_lines(relay: Relay, one: Route) -> list[dict[str, Any]]:
    lines = [line for line in relay.output().splitlines() if f'"{one.name}"' in line]
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in events if event.get("event") == "usage"]


def with_canary(platform: Platform, url: str, one: Route, **fields: Any) -> Document:
    providers = [
        provider("stable", "http://127.0.0.1:1/v1"),
        provider("canary", url, **fields),
    ]
    return platform.document(providers=providers, routes=[one])


def outcome(
    relay: Relay,
    platform: Platform,
    answers: Sequence[Script],
    *,
    hangs: bool = False,
    closes: bool = False,
    **fields: Any,
) -> tuple[Preflight, list[bytes]]:
    """Returns what a preflight finds at a provider that answers so, and the first lines of what it was asked."""
    with scripted(ScriptedProvider(answers, hangs=hangs, closes=closes)) as canary:
        one = asking()
        relay.push(with_canary(platform, canary.url, one, **fields))
        seen = found(relay, one)
        relay.push(platform.document())
        return seen, [head.split(b"\r\n")[0] for head in canary.heads]


def test_a_canary_that_answers_and_streams_has_passed(
    relay: Relay, platform: Platform, stable: Upstream, canary: Upstream
) -> None:
    one = asking()
    relay.push(platform.document(routes=[one]))
    seen = found(relay, one)
    assert (seen.token, seen.state, seen.reason, seen.message) == (TOKEN, "Passed", "", "")
    first, second = canary.received()
    assert first.json()["model"] == "gpt-4.1"
    assert (first.json().get("stream"), second.json()["stream"]) == (None, True)
    assert first.json()["max_tokens"] <= 16
    assert first.header("authorization") is not None
    assert stable.calls() == 0


def test_a_document_that_asks_for_none_starts_none(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    relay.push(platform.document(routes=[asking(None)]))
    assert relay.chat().status == 200
    assert (told(relay).preflights, canary.calls()) == ((), 0)


def test_a_probe_is_booked_as_a_side_of_its_own_and_counts_for_nobody(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    canary.behave(prompt_tokens=7, completion_tokens=3)
    limits = Limits(requests_per_minute=60, burst_seconds=60)
    one = asking()
    relay.push(platform.document(routes=[one], limits=limits))
    found(relay, one, state="Passed")
    lines = eventually(lambda: usage_lines(relay, one), lambda seen: len(seen) == 2)
    assert {(line["side"], line["key"], line["outcome"]) for line in lines} == {
        ("preflight", "", "ok")
    }
    assert [line["tokens"]["input"] for line in lines] == [7, 7]
    assert len({line["event_id"] for line in lines}) == 2
    assert relay.chat().header("x-ratelimit-remaining-requests") == "59"
    metrics, slo = relay.metrics(), relay.slo()
    name = "relay_upstream_attempts_total"
    assert metrics.total(name, route=one.name, side="preflight", outcome="ok") == 2
    assert metrics.total(name, route=one.name, side="canary") == 0
    assert slo.total("relay_slo_attempts_started_total", route=one.name, side="canary") == 0
    assert {labels["side"] for labels in slo.series("relay_slo_attempts_started_total")} == {
        "stable",
        "canary",
    }


def test_a_failing_preflight_opens_no_breaker_and_callers_notice_nothing(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    canary.behave(error_percent=100, error_status=500)
    one = asking()
    relay.push(platform.document(routes=[one]))
    assert found(relay, one).reason == "ServerError"
    assert relay.slo().total("relay_slo_breaker_open", route=one.name) == 0
    assert relay.chat().status == 200


@pytest.mark.parametrize(
    ("answers", "reason", "words"),
    [
        ([error(b"401 X", "Incorrect API key provided.")], "Unauthorized", "401"),
        ([error(b"403 X", "No access for this account.")], "Unauthorized", "No access"),
        ([error(b"404 X", "The model `m` does not exist.")], "ModelUnknown", "does not exist"),
        ([error(b"400 X", "odd", code="model_not_found")], "ModelUnknown", "odd"),
        ([error(b"400 X", "Invalid model: gpt-4.1")], "ModelUnknown", "Invalid model"),
        ([unary(b"<html>", status=b"404 X")], "ModelUnknown", "the path of the Provider's URL"),
        ([error(b"429 X", "You exceeded your quota.")], "Throttled", "quota"),
        ([error(b"402 X", "Insufficient balance.")], "Refused", "Insufficient balance"),
        ([error(b"400 X", "Send less.")], "Refused", "Send less"),
        ([error(b"500 X", "Oh.")], "ServerError", "500"),
        ([unary(b"<html>bad gateway</html>", status=b"502 X")], "ServerError", "502"),
        ([error(b"200 OK", "Overloaded", code=503)], "ServerError", "Overloaded"),
        ([HTML], "NoAnswer", "text/html"),
        ([EMPTY], "NoAnswer", "200"),
        ([unary(b"{}")], "NoAnswer", "200"),
        ([ELSEWHERE], "NoAnswer", "302"),
        ([b"SSH-2.0-OpenSSH_9\r\n\r\n"], "NoAnswer", "no HTTP"),
        ([GOOD, GOOD], "NoStream", "stream"),
        ([GOOD, error(b"400 X", "You may not stream.")], "NoStream", "may not stream"),
        ([GOOD, stream(chunk('{"content":"hi"}'))], "NoStream", "early"),
        ([GOOD, HTML], "NoStream", "stream"),
        ([GOOD, error(b"429 X", "Slow down.")], "Throttled", "Slow down"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_canary_that_cannot_be_used_fails_with_its_reason(
    relay: Relay, platform: Platform, answers: list[Script], reason: str, words: str
) -> None:
    seen, _ = outcome(relay, platform, answers)
    assert (seen.state, seen.reason) == ("Failed", reason)
    assert words in seen.message
    assert "canary" in seen.message


def test_an_answer_that_ends_early_is_none(relay: Relay, platform: Platform) -> None:
    seen, _ = outcome(relay, platform, [GOOD[:-20]], closes=True)
    assert (seen.state, seen.reason) == ("Failed", "NoAnswer")


def test_a_provider_nobody_listens_for_is_unreachable(relay: Relay, platform: Platform) -> None:
    (port,) = free_ports(1)
    one = asking()
    relay.push(with_canary(platform, f"http://127.0.0.1:{port}/v1", one))
    seen = found(relay, one)
    assert (seen.state, seen.reason) == ("Failed", "Unreachable")
    assert "cannot be reached" in seen.message


def test_a_host_without_an_address_is_unreachable(relay: Relay, platform: Platform) -> None:
    one = asking()
    relay.push(with_canary(platform, "http://canary.invalid/v1", one))
    assert found(relay, one).reason == "Unreachable"


def test_a_server_without_tls_under_https_is_unreachable(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    one = asking()
    relay.push(with_canary(platform, canary.url.replace("http:", "https:"), one))
    assert found(relay, one).reason == "Unreachable"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [([GOOD], "Unreachable"), ([(GOOD[:80], 20.0, b"x")], "NoAnswer")],
    ids=["silent", "stuck"],
)
def test_a_provider_that_hangs_fails_within_its_time_for_the_first_byte(
    relay: Relay, platform: Platform, answers: list[Script], reason: str
) -> None:
    seen, _ = outcome(
        relay,
        platform,
        answers,
        hangs=reason == "Unreachable",
        first_byte_timeout_seconds=1.0,
        idle_timeout_seconds=30.0,
    )
    assert (seen.state, seen.reason) == ("Failed", reason)
    assert "within 1 s" in seen.message
    assert "internal_error" not in relay.output()


def test_a_slow_provider_passes(relay: Relay, platform: Platform) -> None:
    answers: list[Script] = [(0.5, GOOD), (0.5, stream(GOOD_STREAM))]
    seen, asked = outcome(relay, platform, answers)
    assert (seen.state, len(asked)) == ("Passed", 2)


def test_a_missing_key_fails_without_a_call(
    new_relay: NewRelay, platform: Platform, canary: Upstream
) -> None:
    relay = new_relay()
    (relay.keys_directory / "canary").unlink()
    relay.restart()
    relay.wait_ready()
    one = asking()
    relay.push(platform.document(routes=[one]))
    seen = found(relay, one)
    assert (seen.state, seen.reason) == ("Failed", "Unauthorized")
    assert "not in the relay pod" in seen.message
    assert canary.calls() == 0


def test_a_model_that_thinks_until_its_bound_has_answered(relay: Relay, platform: Platform) -> None:
    seen, _ = outcome(relay, platform, [unary(CUT_BY_LENGTH), stream(NO_WORDS)])
    assert seen.state == "Passed"


def test_a_bound_that_is_refused_gives_way_to_another_and_to_none(
    relay: Relay, platform: Platform
) -> None:
    first = error(
        b"400 X",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    )
    second = error(b"400 X", "Could not finish: max_tokens or model output limit was reached.")
    answers = [first, second, GOOD, stream(GOOD_STREAM)]
    seen, asked = outcome(relay, platform, answers)
    assert (seen.state, len(asked)) == ("Passed", 4)


@pytest.mark.parametrize(
    "refusal",
    [
        error(b"403 X", "You are not allowed to sample from this model"),
        error(b"400 X", "The model `e5` does not support Chat Completions API"),
        error(b"400 X", '"nomic-embed-text" does not support chat'),
        error(
            b"400 X",
            "The chatCompletion operation does not work with the specified model, text-embedding-3-small.",
        ),
        error(b"404 X", "This is not a chat model. Did you mean to use v1/completions?"),
        unary(b"404 page not found", status=b"404 X"),
    ],
    ids=["openai", "vllm", "ollama", "azure", "openai-404", "no-path"],
)
def test_a_model_for_embeddings_is_asked_for_one(
    relay: Relay, platform: Platform, refusal: bytes
) -> None:
    seen, asked = outcome(relay, platform, [refusal, unary(EMBEDDING)])
    assert seen.state == "Passed"
    assert [line.split()[1] for line in asked] == [b"/v1/chat/completions", b"/v1/embeddings"]


def test_a_model_that_no_endpoint_takes_fails_with_what_the_one_for_chats_said(
    relay: Relay, platform: Platform
) -> None:
    refused = error(b"404 X", "no such model, say the embeddings")
    seen, asked = outcome(
        relay, platform, [error(b"403 X", "You are not allowed to sample"), refused]
    )
    assert (seen.reason, len(asked)) == ("Unauthorized", 3)
    assert "not allowed to sample" in seen.message


def test_no_key_is_ever_told(relay: Relay, platform: Platform) -> None:
    shown = f"Incorrect API key provided: {SECRET}; was {SECRET[:8]}***{SECRET[-4:]}, {SECRET[-8:]}"
    seen, _ = outcome(relay, platform, [error(b"401 X", shown + " " + "x" * 5000)])
    assert seen.reason == "Unauthorized"
    for part in (SECRET, SECRET[:8], SECRET[-4:]):
        assert part not in seen.message
    assert len(seen.message) < 400


def test_a_failed_preflight_is_tried_again_and_passes_once_the_canary_is_well(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    canary.behave(api_key="another")
    one = asking()
    relay.push(platform.document(routes=[one]))
    seen = told(relay)
    assert found(relay, one).reason == "Unauthorized"
    canary.behave(api_key=None)
    assert found(relay, one, state="Passed").reason == ""
    assert told(relay).tag != seen.tag
    calls = canary.calls()
    # a newer document that asks for the same has its answer already
    relay.push(platform.document(routes=[one]))
    assert found(relay, one).state == "Passed"
    assert canary.calls() == calls


def test_another_token_starts_at_once_and_the_former_probe_ends(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    canary.behave(hold_after_events=0)
    one = asking()
    relay.push(platform.document(routes=[one]))
    eventually(canary.stats, lambda stats: stats["held"] == 1, what="the held probe")
    canary.behave(hold_after_events=None)
    again = one.model_copy(update={"preflight": "0123456789ab/2"})
    relay.push(platform.document(routes=[again]))
    assert found(relay, again, state="Passed").token == "0123456789ab/2"
    eventually(canary.stats, lambda stats: stats["held"] == 0, what="the end of the former probe")


def test_a_canary_that_has_passed_is_probed_again_at_another_address(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    one = asking()
    relay.push(platform.document(routes=[one]))
    assert found(relay, one, state="Passed").message == ""
    calls = canary.calls()
    (port,) = free_ports(1)
    relay.push(with_canary(platform, f"http://127.0.0.1:{port}/v1", one))
    assert found(relay, one, state="Failed").reason == "Unreachable"
    relay.push(platform.document(routes=[one]))
    assert found(relay, one, state="Passed").message == ""
    assert canary.calls() == 2 * calls


def test_a_token_that_is_gone_ends_its_probe(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    canary.behave(hold_after_events=0)
    one = asking()
    relay.push(platform.document(routes=[one]))
    eventually(canary.stats, lambda stats: stats["held"] == 1, what="the held probe")
    asked = told(relay)
    assert [seen.state for seen in asked.preflights] == ["Running"]
    relay.push(platform.document(routes=[one.model_copy(update={"preflight": None})]))
    assert told(relay, f"?seen={asked.tag}&wait=5").preflights == ()
    eventually(canary.stats, lambda stats: stats["held"] == 0, what="the end of the probe")
    (line,) = eventually(lambda: usage_lines(relay, one))
    assert (line["side"], line["outcome"]) == ("preflight", "cancelled")


def test_whoever_asks_for_preflights_hears_of_one_that_ends(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    canary.behave(hold_after_events=0)
    one = asking()
    relay.push(platform.document(routes=[one]))
    running = told(relay)
    with Wire(relay.admin_port, deadline_seconds=30) as wire:
        wire.send(request_bytes("GET", f"{PREFLIGHTS_PATH}?seen={running.tag}&wait=20"))
        eventually(canary.stats, lambda stats: stats["held"] == 1, what="the held probe")
        canary.behave(hold_after_events=None)
        canary.release()
        (seen,) = Preflights.model_validate_json(wire.answer().body).preflights
    assert seen.state == "Passed"


@pytest.mark.parametrize("wait", ["-1", "1e9", "x", "99999", ""])
def test_a_time_to_wait_that_is_none_is_refused(relay: Relay, wait: str) -> None:
    assert relay.admin("GET", f"{PREFLIGHTS_PATH}?wait={wait}").status == 400


def test_one_worker_of_each_pod_probes(
    new_relay: NewRelay, platform: Platform, canary: Upstream
) -> None:
    pods = [new_relay(workers="2"), new_relay(workers="2")]
    one = asking()
    document = platform.document(routes=[one])
    for pod in pods:
        pod.push(document)
    for pod in pods:
        assert found(pod, one).state == "Passed"
    assert canary.calls() == 2 * len(pods)


def test_the_next_worker_probes_when_one_dies_and_repeats_nothing_that_has_passed(
    new_relay: NewRelay, platform: Platform, canary: Upstream
) -> None:
    relay = new_relay(workers="2")
    passed, held = asking(), asking("0123456789ab/2")
    relay.push(platform.document(routes=[passed]))
    found(relay, passed, state="Passed")
    canary.behave(hold_after_events=0)
    relay.push(platform.document(routes=[passed, held]))
    eventually(canary.stats, lambda stats: stats["held"] == 1, what="the held probe")
    calls = canary.calls()
    canary.behave(hold_after_events=None)
    # whichever of them probes, it ends
    relay.process.kill_workers()
    assert found(relay, held, state="Passed").token == "0123456789ab/2"
    assert found(relay, passed).state == "Passed"
    # a probe is two calls, and the second worker may have made either before its own end
    assert calls + 2 <= canary.calls() <= calls + 4


def test_a_pod_that_drains_waits_neither_for_a_probe_nor_for_whoever_asks(
    new_relay: NewRelay, platform: Platform, canary: Upstream
) -> None:
    relay = new_relay()
    canary.behave(hold_after_events=0)
    relay.push(platform.document(routes=[asking()]))
    eventually(canary.stats, lambda stats: stats["held"] == 1, what="the held probe")
    with Wire(relay.admin_port) as wire:
        wire.send(request_bytes("GET", f"{PREFLIGHTS_PATH}?seen={told(relay).tag}&wait=20"))
        # the next answer on another connection shows that the question was taken
        assert relay.admin("GET", HEALTH_PATH).status == 200
        relay.process.send_signal(signal.SIGTERM)
        assert relay.process.wait(8) == 0
    eventually(canary.stats, lambda stats: stats["held"] == 0, what="the end of the probe")


def test_documents_that_come_and_go_during_probes_leave_nothing_behind(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    draw = random.Random(1)
    one = asking()
    trouble: list[dict[str, Any]] = [
        {},
        {"hold_after_events": 0},
        {"hold_after_events": 1},
        {"fault": "reset"},
        {"fault": "garbage"},
        {"fault": "stall"},
        {"error_percent": 100, "error_status": 429},
    ]
    for number in range(30):
        canary.reset()
        canary.behave(**draw.choice(trouble))
        token = draw.choice([None, "0123456789ab/1", f"0123456789ab/{number}"])
        relay.push(platform.document(routes=[one.model_copy(update={"preflight": token})]))
        assert relay.chat().status == 200
        time.sleep(draw.choice([0.0, 0.02, 0.1]))
    relay.push(platform.document(routes=[one.model_copy(update={"preflight": None})]))
    assert told(relay).preflights == ()
    eventually(canary.stats, lambda stats: stats["held"] == 0, what="the end of every probe")
    for gauge in ("relay_in_flight", "relay_queue_depth", "relay_buffered_bytes"):
        assert relay.metrics().total(gauge) == 0
    slo = relay.slo()
    for label in ("stable", "canary"):
        total = slo.total("relay_slo_attempts_under_way", route=one.name, side=label)
        assert total == 0
    assert slo.total("relay_slo_attempts_started_total", route=one.name, side="canary") == 0
    ids = [line["event_id"] for line in usage_lines(relay, one)]
    assert len(set(ids)) == len(ids)
    assert "internal_error" not in relay.output()


def test_many_preflights_at_once_all_end_and_leave_nothing_behind(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    routes = [asking(f"0123456789ab/{number}") for number in range(1, 31)]
    relay.push(platform.document(routes=routes))
    seen = eventually(
        lambda: {one.token: one.state for one in told(relay).preflights},
        lambda states: set(states.values()) == {"Passed"},
        within_seconds=30,
        what="thirty preflights",
    )
    assert len(seen) == 30
    assert canary.calls() == 60
    relay.push(platform.document())
    eventually(lambda: relay.metrics().total("relay_in_flight"), lambda value: value == 0)


def test_what_the_provider_refuses_is_dropped_and_the_model_is_named_as_it_knows_it(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    named = ProviderModel(
        name="gpt-4.1", upstream_name="vendor/gpt-4.1-x", drop_parameters=("max_tokens",)
    )
    providers = [provider("stable", canary.url), provider("canary", canary.url, models=(named,))]
    one = asking()
    relay.push(platform.document(providers=providers, routes=[one]))
    assert found(relay, one).state == "Passed"
    for received in canary.received():
        assert received.model == "vendor/gpt-4.1-x"
        assert "max_tokens" not in received.json()
        assert received.json()["max_completion_tokens"] <= 16


def test_a_route_whose_models_the_canary_lacks_fails_and_says_so(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    one = asking(match={"models": ["another-model"]})
    relay.push(platform.document(routes=[one]))
    seen = found(relay, one)
    assert (seen.state, seen.reason) == ("Failed", "ModelUnknown")
    assert "another-model" in seen.message
    assert canary.calls() == 0


def test_probes_of_several_providers_end_apart(relay: Relay, platform: Platform) -> None:
    with ExitStack() as stack:
        bad = stack.enter_context(scripted(ScriptedProvider([GOOD], hangs=True)))
        good = stack.enter_context(scripted(ScriptedProvider([GOOD, stream(GOOD_STREAM)])))
        hanging = route(canary="hanging", preflight=TOKEN)
        well = asking()
        providers = [
            provider("stable", good.url),
            provider("hanging", bad.url, auth={"keyFile": "canary"}),
            provider("canary", good.url),
        ]
        relay.push(platform.document(providers=providers, routes=[hanging, well]))
        assert found(relay, well).state == "Passed"
        assert [seen.state for seen in told(relay).preflights if seen.route == hanging.name] == [
            "Running"
        ]
        relay.push(platform.document())
