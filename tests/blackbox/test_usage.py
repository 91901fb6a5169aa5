"""Each attempt writes one usage line with its tokens, whatever its outcome; bills rest on these lines."""

import json
from typing import Any

import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.scripted import GOOD_STREAM, ScriptedProvider, scripted, stream
from tests.blackbox.tenant import KEY, Platform, provider, route, side
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import request_bytes


def usage_lines(relay: Relay, request_id: str, count: int = 1) -> list[dict[str, Any]]:
    """Returns the usage events of a call, once there are that many."""

    def found() -> list[dict[str, Any]]:
        lines = (line for line in relay.output().splitlines() if request_id in line)
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in events if event.get("event") == "usage"]

    return eventually(found, lambda events: len(events) >= count, what=f"{count} usage events")


@pytest.fixture
def costed(stable: Upstream) -> Upstream:
    """Makes the provider's answers cost a known number of tokens."""
    stable.behave(prompt_tokens=100, cached_tokens=40, completion_tokens=5, reasoning_tokens=7)
    return stable


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
def test_reported_tokens_are_written_as_reported(
    relay: Relay, costed: Upstream, stream: bool
) -> None:
    name = f"usage-{stream}"
    relay.chat(headers={"x-request-id": name}, stream=stream)
    (event,) = usage_lines(relay, name)
    assert event["tokens"] == {"input": 100, "output": 12, "cached": 40, "reasoning": 7}
    assert event["estimated"] is False
    assert event["client_gone"] is False
    assert (event["key"], event["model"], event["status"]) == ("production", "gpt-4.1", 200)
    assert event["latency_seconds"] > 0


def test_unreported_tokens_are_estimated_and_flagged(relay: Relay, stable: Upstream) -> None:
    stable.behave(report_usage=False, completion_tokens=50)
    relay.chat(headers={"x-request-id": "usage-estimated"}, stream=True)
    (event,) = usage_lines(relay, "usage-estimated")
    assert event["estimated"] is True
    assert event["tokens"]["input"] > 0
    assert event["tokens"]["output"] > 0


def test_a_call_whose_client_left_is_flagged_and_its_tokens_are_estimated(
    relay: Relay, stable: Upstream
) -> None:
    stable.behave(hold_after_events=4)
    with relay.wire() as wire:
        headers = {"authorization": f"Bearer {KEY}", "x-request-id": "usage-left"}
        wire.send(request_bytes("POST", CHAT, headers, chat_body(stream=True)))
        wire.head()
        wire.chunk()
    (event,) = usage_lines(relay, "usage-left")
    assert event["client_gone"] is True
    assert event["estimated"] is True
    assert event["tokens"]["input"] > 0


def test_each_attempt_of_a_call_has_its_own_line(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    relay.push(platform.document(routes=[route(fallback=(side("backup"),))]))
    stable.behave(error_percent=100, error_status=503)
    relay.chat(headers={"x-request-id": "usage-twice"})
    events = usage_lines(relay, "usage-twice", 2)
    assert [(event["provider"], event["attempt"]) for event in events] == [
        ("stable", 1),
        ("backup", 2),
    ]
    assert [event["status"] for event in events] == [503, 200]


def test_a_refused_call_has_no_usage_line(relay: Relay) -> None:
    relay.chat(headers={"x-request-id": "usage-refused"}, model="absent")
    relay.chat(headers={"x-request-id": "usage-marker"})
    usage_lines(relay, "usage-marker")
    refused = [line for line in relay.output().splitlines() if "usage-refused" in line]
    assert not any('"usage"' in line for line in refused)


@pytest.mark.parametrize("fault", ["reset", "die", "no_answer", "not_http"])
def test_a_failed_attempt_has_a_usage_line_with_its_outcome(
    relay: Relay, stable: Upstream, fault: str
) -> None:
    stable.behave(fault=fault)
    name = f"usage-{fault}"
    relay.chat(headers={"x-request-id": name}, stream=True)
    (event,) = usage_lines(relay, name)
    assert event["outcome"] not in ("ok", "client_error")


def test_calls_that_carry_one_request_id_are_as_many_events(relay: Relay) -> None:
    for _ in range(3):
        relay.chat(headers={"x-request-id": "usage-thrice"})
    events = usage_lines(relay, "usage-thrice", 3)
    assert len({event["event_id"] for event in events}) == 3
    assert len({event["call_id"] for event in events}) == 3
    assert len({event["attempt_id"] for event in events}) == 3
    assert {event["request_id"] for event in events} == {"usage-thrice"}
    assert not any("usage-thrice" in event["event_id"] for event in events)


def test_the_attempts_of_a_call_share_its_id_and_have_their_own(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    relay.push(
        platform.document(
            routes=[route(canary=side("canary"), shadow_percent=100, fallback=(side("backup"),))]
        )
    )
    stable.behave(error_percent=100, error_status=503)
    relay.chat(headers={"x-request-id": "usage-attempts"})
    events = usage_lines(relay, "usage-attempts", 3)
    assert {event["side"] for event in events} == {"stable", "shadow", "fallback"}
    assert len({event["call_id"] for event in events}) == 1
    # one in ten copies asks stable once more, for comparison
    assert len({event["attempt_id"] for event in events}) == len(events)
    assert len({event["event_id"] for event in events}) == len(events)


@pytest.mark.parametrize("asked", [None, False, True])
def test_a_provider_that_refuses_stream_options_is_not_asked_for_usage(
    relay: Relay, platform: Platform, stable: Upstream, asked: bool | None
) -> None:
    relay.push(platform.document(providers=platform.providers(stream_usage=False)))
    options = {} if asked is None else {"stream_options": {"include_usage": asked}}
    body = chat_body(stream=True, **options)
    answer = relay.ask("POST", CHAT, body=body, headers={"x-request-id": f"quiet-{asked}"})
    assert answer.status == 200
    assert stable.only_request().body == body
    (event,) = usage_lines(relay, f"quiet-{asked}")
    assert event["estimated"] is not bool(asked)
    assert event["tokens"]["output"] > 0


def test_each_target_is_asked_for_usage_as_it_can_bear_it(
    relay: Relay, platform: Platform, stable: Upstream, backup: Upstream
) -> None:
    providers = [
        provider("stable", stable.url, stream_usage=False),
        provider("backup", backup.url),
    ]
    relay.push(platform.document(providers=providers, routes=[route(fallback=(side("backup"),))]))
    stable.behave(error_percent=100, error_status=503)
    answer = relay.chat(stream=True)
    assert b"stream_options" not in stable.only_request().body
    assert b'"stream_options":{"include_usage":true}' in backup.only_request().body
    # asked for on the caller's behalf, so hidden from it
    assert b'"usage":{' not in answer.body


def test_usage_that_a_provider_reports_unasked_is_the_callers_too(
    relay: Relay, platform: Platform
) -> None:
    with scripted(ScriptedProvider([stream(GOOD_STREAM)])) as stable:
        providers = [provider("stable", stable.url, stream_usage=False)]
        relay.push(platform.document(providers=providers))
        answer = relay.chat(stream=True, headers={"x-request-id": "usage-unasked"})
    assert answer.body == GOOD_STREAM
    (event,) = usage_lines(relay, "usage-unasked")
    assert (event["estimated"], event["tokens"]["input"]) == (False, 3)
