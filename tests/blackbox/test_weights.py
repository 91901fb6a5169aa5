"""The canary gets its percent of the sessions, and a session changes side at most once while the weight rises."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.tenant import KEY, Platform, route, side
from tests.blackbox.upstream import Upstream
from tests.blackbox.wire import Wire, request_bytes

from relay_contract.document import Side

SESSIONS = 400
STABLE_WORDS, CANARY_WORDS = 1, 2
"""The providers answer with different lengths, so the client can tell which one answered."""
FAR = 4.0
"""Standard deviations: a healthy relay fails a share test once in 15,000 runs."""


def served_by_canary(wire: Wire, headers: dict[str, str] | None = None, **fields: Any) -> bool:
    named = {"authorization": f"Bearer {KEY}", **(headers or {})}
    wire.send(request_bytes("POST", CHAT, named, chat_body(**fields)))
    answer = wire.answer()
    assert answer.status == 200, answer
    words: int = answer.json()["usage"]["completion_tokens"]
    assert words in (STABLE_WORDS, CANARY_WORDS)
    return words == CANARY_WORDS


def conversation(number: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"conversation {number}"}]}


def canary_sessions(relay: Relay, sessions: int = SESSIONS) -> set[int]:
    with relay.wire() as wire:
        return {n for n in range(sessions) if served_by_canary(wire, **conversation(n))}


class Split:
    """A route whose percent changes while its sides and its salt stay."""

    def __init__(self, relay: Relay, platform: Platform) -> None:
        self._relay = relay
        self._platform = platform
        self._stable: Side = side("stable")
        self._canary: Side = side("canary")
        self._name = f"split-{self._canary.fingerprint}"

    def set(self, percent: int) -> None:
        one = route(self._stable, self._canary, name=self._name, canary_percent=percent, salt="s")
        self._relay.push(self._platform.document(routes=[one]))


@pytest.fixture
def split(relay: Relay, platform: Platform, upstreams: dict[str, Upstream]) -> Split:
    upstreams["stable"].behave(completion_tokens=STABLE_WORDS)
    upstreams["canary"].behave(completion_tokens=CANARY_WORDS)
    return Split(relay, platform)


def test_no_session_uses_the_canary_at_zero_percent(relay: Relay, split: Split) -> None:
    split.set(0)
    assert canary_sessions(relay) == set()


def test_every_session_uses_the_canary_at_a_hundred_percent(relay: Relay, split: Split) -> None:
    split.set(100)
    assert canary_sessions(relay) == set(range(SESSIONS))


@pytest.mark.parametrize("percent", [5, 30, 70])
def test_the_share_of_sessions_on_the_canary_is_the_percent_within_chance(
    relay: Relay, split: Split, percent: int
) -> None:
    split.set(percent)
    share = percent / 100
    deviation = math.sqrt(SESSIONS * share * (1 - share))
    served = len(canary_sessions(relay))
    assert abs(served - SESSIONS * share) <= FAR * deviation, served


def test_sessions_only_join_the_canary_while_the_weight_rises_and_only_leave_while_it_falls(
    relay: Relay, split: Split
) -> None:
    seen = []
    for percent in (0, 10, 40, 80, 100):
        split.set(percent)
        seen.append(canary_sessions(relay, 150))
    assert all(before <= after for before, after in itertools.pairwise(seen))
    split.set(40)
    assert canary_sessions(relay, 150) == seen[2]


def test_a_session_stays_on_its_side(relay: Relay, split: Split) -> None:
    split.set(50)
    with relay.wire() as wire:
        for number in range(20):
            sides = {served_by_canary(wire, **conversation(number)) for _ in range(5)}
            assert len(sides) == 1


def test_a_conversation_keeps_its_side_as_it_grows(relay: Relay, split: Split) -> None:
    split.set(50)
    with relay.wire() as wire:
        for number in range(20):
            turns = [
                {"role": "system", "content": "be brief"},
                *conversation(number)["messages"],
            ]
            first = served_by_canary(wire, messages=turns)
            turns += [{"role": "assistant", "content": "x"}, {"role": "user", "content": "more"}]
            assert served_by_canary(wire, messages=turns) is first


def test_a_session_header_takes_precedence_over_everything_else(relay: Relay, split: Split) -> None:
    split.set(50)
    with relay.wire() as wire:
        for session in range(12):
            sides = {
                served_by_canary(
                    wire,
                    {"x-session-id": f"s{session}"},
                    prompt_cache_key=f"key {number}",
                    **conversation(1000 + number + session * 10),
                )
                for number in range(4)
            }
            assert len(sides) == 1


PREFACE = "You are a helpful assistant of one application. " * 200
ONE_APPLICATION: dict[str, Callable[[int], dict[str, Any]]] = {
    "a cache key": lambda number: {**conversation(number), "prompt_cache_key": "the application"},
    "a cache key and nothing else": lambda _: {
        "messages": [],
        "prompt_cache_key": "the application",
    },
    "a long system message": lambda number: {
        "messages": [{"role": "system", "content": PREFACE}, *conversation(number)["messages"]]
    },
    "a long text before each question": lambda number: {
        "messages": [{"role": "user", "content": f"{PREFACE} question {number}"}]
    },
    "a system message alone": lambda _: {"messages": [{"role": "system", "content": PREFACE}]},
}


@pytest.mark.parametrize("said", ONE_APPLICATION.values(), ids=ONE_APPLICATION)
def test_what_all_calls_of_an_application_share_does_not_put_them_on_one_side(
    relay: Relay, split: Split, said: Callable[[int], dict[str, Any]]
) -> None:
    split.set(50)
    conversations = 300
    with relay.wire() as wire:
        served = sum(served_by_canary(wire, **said(number)) for number in range(conversations))
    deviation = math.sqrt(conversations * 0.25)
    assert abs(served - conversations / 2) <= FAR * deviation, served


def test_what_an_application_tells_each_response_first_does_not_put_them_on_one_side(
    relay: Relay, split: Split, canary: Upstream, stable: Upstream
) -> None:
    split.set(50)
    conversations = 300
    developer = {"role": "developer", "content": PREFACE}
    with relay.wire() as wire:
        for number in range(conversations):
            asked = [developer, {"role": "user", "content": f"question {number}"}]
            body = orjson.dumps({"model": "gpt-4.1", "input": asked, "prompt_cache_key": "one"})
            fields = {"authorization": f"Bearer {KEY}"}
            wire.send(request_bytes("POST", "/v1/responses", fields, body))
            assert wire.answer().status == 200
    deviation = math.sqrt(conversations * 0.25)
    assert canary.calls() + stable.calls() == conversations
    assert abs(canary.calls() - conversations / 2) <= FAR * deviation


def test_another_canary_gets_other_sessions(relay: Relay, platform: Platform, split: Split) -> None:
    split.set(50)
    first = canary_sessions(relay, 100)
    Split(relay, platform).set(50)
    second = canary_sessions(relay, 100)
    # two independent halves agree on about half; full agreement would expose the same group to every canary
    assert 20 <= len(first & second) + (100 - len(first | second)) <= 80


def test_a_call_that_continues_a_response_goes_to_the_side_that_created_it(
    relay: Relay, split: Split, canary: Upstream, stable: Upstream
) -> None:
    split.set(100)
    created = relay.ask("POST", "/v1/responses", body=b'{"model":"gpt-4.1","input":"one"}')
    identifier = created.json()["id"]
    assert canary.calls() == 1
    split.set(1)
    body = b'{"model":"gpt-4.1","input":"two","previous_response_id":"%b"}' % identifier.encode()
    followed = relay.ask("POST", "/v1/responses", body=body)
    assert followed.status == 200, followed
    assert (canary.calls(), stable.calls()) == (2, 0)


def test_a_change_of_weight_does_not_affect_a_stream_in_flight(
    relay: Relay, split: Split, canary: Upstream
) -> None:
    canary.behave(completion_tokens=CANARY_WORDS, hold_after_events=1)
    split.set(100)
    with relay.wire() as wire:
        body = chat_body(stream=True)
        wire.send(request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, body))
        head = wire.head()
        assert wire.chunk().startswith(b"data: ")
        split.set(0)
        assert relay.chat().json()["usage"]["completion_tokens"] == STABLE_WORDS
        canary.release()
        assert wire.body_of(head).body.endswith(b"data: [DONE]\n\n")
