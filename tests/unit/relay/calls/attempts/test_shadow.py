"""Copies: what they may take, and how they are compared."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.relay.documents import BACKUP, CANARY, STABLE, provider
from tests.unit.relay.memory import (
    COMPLETION,
    STREAM_HEAD,
    MemoryRelay,
    call,
    chunk,
    event,
    reply,
    status,
)

from relay.calls.attempts.answer import Answer
from relay.dialect.answers.answer_parts import AnswerParts, parts_of_document
from relay.dialect.endpoints import Endpoint
from relay.dialect.request_body import OutputBound
from relay_contract.document import ProviderLimits, Route
from relay_contract.shadow import OUTCOMES, PAIRS

Make = Callable[..., MemoryRelay]
SHADOWED = (Route(name="chat", stable=STABLE, canary=CANARY, shadow_percent=100),)


async def copied(relay: MemoryRelay, theirs: bytes, *, headers: str = "") -> tuple[int, bytes]:
    """The caller's status when stable answers well and the copy gets `theirs`; and what the copy asked."""
    client, stable, canary = relay.client(), relay.provider(), relay.provider("holysheep")
    client.send(call(headers=headers))
    assert canary.transport.sent == b""
    await asyncio.sleep(0)
    asked = canary.transport.taken()
    stable.send(reply())
    canary.send(theirs)
    answered = status(client.transport.taken())
    # the caller's own answer is read when the caller has it
    await asyncio.sleep(0)
    return answered, asked


OTHER_REASON = json.loads(json.dumps(COMPLETION).replace('"stop"', '"length"'))
OTHER_TOKENS = {**COMPLETION, "usage": {"prompt_tokens": 90, "completion_tokens": 4}}
OTHER_SHAPE = {**COMPLETION, "more": 1}


@pytest.mark.parametrize(
    ("theirs", "outcome"),
    [
        (reply(), "match"),
        (reply(OTHER_REASON), "finish_reason"),
        (reply(OTHER_TOKENS), "tokens"),
        (reply(OTHER_SHAPE), "shape"),
        (reply({"error": {}}, status="500 X"), "failed"),
        (reply({"error": {}}, status="429 X"), "throttled"),
        (reply({"error": {}}, status="400 X"), "status"),
        (reply(status="201 X"), "status"),
    ],
)
async def test_a_copy_is_compared_and_the_caller_sees_nothing_of_it(
    relay_with: Make, theirs: bytes, outcome: str
) -> None:
    relay = relay_with(routes=SHADOWED)
    # the fake answers arrive together, so the time between them says nothing
    answered, _ = await copied(relay, theirs)
    assert answered == 200
    counted = {name[1] for name in relay.service.metrics.shadow}
    assert counted in ({outcome}, {"slower"} if outcome == "match" else {outcome})


async def test_a_copy_counts_apart_from_the_canary(relay_with: Make) -> None:
    relay = relay_with(routes=SHADOWED)
    await copied(relay, reply({"error": {}}, status="500 X"))
    assert relay.side("shadow", CANARY.fingerprint).failed == 1
    assert relay.side("canary", CANARY.fingerprint).started == 0
    assert relay.service.report()["relay_slo_breaker_open"][0][1] == 0


async def test_an_idempotency_key_stays_with_the_call(relay_with: Make) -> None:
    _, asked = await copied(relay_with(routes=SHADOWED), reply(), headers="Idempotency-Key: k\r\n")
    assert b"idempotency-key" not in asked


@pytest.mark.parametrize(
    ("settings", "body", "outcome"),
    [
        ({"shadow_max_body_bytes": 1}, None, "skipped_size"),
        ({}, {"model": "gpt-4.1", "previous_response_id": "resp_1"}, "skipped_state"),
    ],
)
async def test_what_is_not_copied_is_counted(
    relay_with: Make, settings: dict[str, int], body: dict[str, str] | None, outcome: str
) -> None:
    relay = relay_with(settings, routes=SHADOWED)
    relay.provider()
    canary = relay.provider("holysheep")
    relay.client().send(call(body))
    await asyncio.sleep(0)
    assert canary.transport.sent == b""
    assert dict(relay.service.metrics.shadow) == {("chat", outcome): 1}


async def test_copies_have_a_budget_of_their_own(relay_with: Make) -> None:
    relay = relay_with({"shadow_concurrency": 1}, routes=SHADOWED)
    for _ in range(2):
        relay.provider()
        relay.provider("holysheep")
        relay.client().send(call())
    assert dict(relay.service.metrics.shadow) == {("chat", "skipped_budget"): 1}


async def test_copies_do_not_wait_for_the_canarys_slice(relay_with: Make) -> None:
    limited = provider("holysheep", limits=ProviderLimits(requests_per_minute=1))
    relay = relay_with(providers=(provider("legacy"), limited), routes=SHADOWED)
    for _ in range(2):
        relay.provider()
        relay.provider("holysheep")
        relay.client().send(call())
    await asyncio.sleep(0)
    assert dict(relay.service.metrics.shadow) == {("chat", "skipped_slice"): 1}


def outcomes(relay: MemoryRelay, pair: str) -> dict[str, int]:
    """Returns what the SLO page counts of the pair, without what it counts 0 times."""
    series = relay.service.report()["relay_slo_shadow_total"]
    found: dict[str, int] = {}
    for (_, route, fingerprint, of, outcome), count in series:
        assert (route, fingerprint) == ("chat", CANARY.fingerprint)
        if of == pair and count:
            found[outcome] = count
    return found


def message(**fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": "stop"}
    return {**COMPLETION, "choices": [choice]}


def tool(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "x", "type": "function", "function": {"name": name, "arguments": arguments}}


def streamed(*deltas: dict[str, Any]) -> bytes:
    events = [event({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    events.append(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    return STREAM_HEAD + chunk(b"".join(events) + b"data: [DONE]\n\n") + b"0\r\n\r\n"


JSON_ASKED = {"response_format": {"type": "json_object"}}
SAID = {"content": "hi"}


@pytest.mark.parametrize(
    ("asked", "ours", "theirs", "outcome"),
    [
        ({}, message(content="a"), message(content=""), "empty"),
        ({}, message(content="a"), message(content="b"), "match"),
        ({}, message(content=""), message(content=""), "match"),
        (JSON_ASKED, message(content="{}"), message(content="```{}```"), "invalid_json"),
        (JSON_ASKED, message(content="no"), message(content="nor"), "match"),
        ({}, message(content="{}"), message(content="```{}```"), "match"),
        (
            {},
            message(tool_calls=[tool("f", '{"a":1}')]),
            message(tool_calls=[tool("f", '{"a":2}')]),
            "match",
        ),
        (
            {},
            message(tool_calls=[tool("f", '{"a":1}')]),
            message(tool_calls=[tool("f", '{"b":1}')]),
            "tool_calls",
        ),
        (
            {},
            message(tool_calls=[tool("f", "{}")]),
            message(tool_calls=[tool("g", "{}")]),
            "tool_calls",
        ),
        (
            {},
            message(tool_calls=[tool("f", "{}")]),
            message(content="I would call f"),
            "tool_calls",
        ),
        (
            {},
            message(tool_calls=[tool("f", "{}")]),
            message(tool_calls=[tool("f", '{"a":')]),
            "invalid_json",
        ),
    ],
)
async def test_what_a_document_consists_of_is_compared(
    relay_with: Make,
    asked: dict[str, Any],
    ours: dict[str, Any],
    theirs: dict[str, Any],
    outcome: str,
) -> None:
    relay = relay_with(routes=SHADOWED)
    await both(relay, asked, reply(ours), reply(theirs))
    found = outcomes(relay, "canary")
    assert set(found) <= ({"match", "slower"} if outcome == "match" else {outcome})
    assert sum(found.values()) == 1


async def test_each_answer_is_decoded_once_to_be_compared(
    relay_with: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Answer] = []
    document = Answer.document

    def reading(answer: Answer) -> dict[str, Any] | None:
        read.append(answer)
        return document(answer)

    monkeypatch.setattr(Answer, "document", reading)
    relay = relay_with(routes=SHADOWED)
    await both(relay, {}, reply(message(content="a")), reply(message(content="b")))
    assert len(read) == len(set(map(id, read))) == 2


async def both(relay: MemoryRelay, asked: dict[str, Any], ours: bytes, theirs: bytes) -> bytes:
    """Lets a call and its copy be answered; returns what the caller got."""
    client, stable, canary = relay.client(), relay.provider(), relay.provider("holysheep")
    client.send(call({"model": "gpt-4.1", **asked}))
    await asyncio.sleep(0)
    stable.send(ours)
    canary.send(theirs)
    await asyncio.sleep(0)
    return client.transport.taken()


DEEP = b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}"


@pytest.mark.parametrize("is_ours", [True, False])
async def test_arguments_that_are_nested_deeply_are_compared_by_their_names(
    relay_with: Make, is_ours: bool
) -> None:
    relay = relay_with(routes=SHADOWED)
    deep = json.dumps(message(tool_calls=[tool("f", "deep")])).encode().replace(b'"deep"', DEEP)
    other = json.dumps(message(tool_calls=[tool("f", '{"b":1}')])).encode()
    answers = (deep, other) if is_ours else (other, deep)
    await both(relay, {}, *map(reply, answers))
    assert outcomes(relay, "canary") == {"tool_calls": 1}
    assert relay.log.lines == []


@pytest.mark.parametrize("unread", ["ours", "theirs"])
async def test_a_copy_is_counted_whatever_raises_in_reading_the_answers(
    relay_with: Make, monkeypatch: pytest.MonkeyPatch, unread: str
) -> None:
    def raising(document: dict[str, Any], endpoint: Endpoint) -> AnswerParts:
        if document["choices"][0]["message"]["content"] == unread:
            raise LookupError
        return parts_of_document(document, endpoint)

    monkeypatch.setattr("relay.calls.attempts.shadow_comparison.parts_of_document", raising)
    relay = relay_with(routes=SHADOWED)
    got = await both(relay, {}, *(reply(message(content=name)) for name in ("ours", "theirs")))
    assert status(got) == 200
    assert outcomes(relay, "canary") == {"not_comparable": 1}
    assert [name for name, _ in relay.log.lines] == ["internal_error"]


def piece(index: int, **function: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": function}]}


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"),
    [
        (streamed(SAID), streamed({"content": "h"}, {"content": "i"}), "match"),
        (streamed(SAID), streamed({"role": "assistant"}), "empty"),
        (
            streamed(piece(0, name="f", arguments='{"a"'), piece(0, arguments=":1}")),
            streamed(piece(0, name="f", arguments='{"a":2}')),
            "match",
        ),
        (
            streamed(piece(0, name="f", arguments='{"a":1}')),
            streamed(piece(0, name="f", arguments='{"b":1}')),
            "tool_calls",
        ),
        (
            streamed(piece(0, name="f", arguments='{"a":1}')),
            streamed(piece(0, name="f", arguments='{"a"')),
            "invalid_json",
        ),
    ],
)
async def test_what_a_stream_consists_of_is_compared(
    relay_with: Make, ours: bytes, theirs: bytes, outcome: str
) -> None:
    relay = relay_with(routes=SHADOWED)
    got = await both(relay, {"stream": True}, ours, theirs)
    assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    found = outcomes(relay, "canary")
    assert set(found) <= ({"match", "slower"} if outcome == "match" else {outcome})
    assert sum(found.values()) == 1


async def test_a_stream_that_is_too_long_to_keep_is_compared_by_the_rest(
    relay_with: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.calls.attempts.shadow_comparison.MAX_TRANSCRIPT_BYTES", 10)
    relay = relay_with(routes=SHADOWED)
    await both(relay, {"stream": True}, streamed(SAID), streamed({"role": "assistant"}))
    assert set(outcomes(relay, "canary")) <= {"match", "slower"}


async def test_stable_is_asked_again_for_some_and_its_copy_is_counted_apart(
    relay_with: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.calls.attempts.shadow.random.random", lambda: 0.05)
    relay = relay_with(routes=SHADOWED)
    client, stable, again = relay.client(), relay.provider(), relay.provider()
    canary = relay.provider("holysheep")
    client.send(call())
    # the last connection that became idle is taken first
    stable, again = (again, stable) if again.transport.sent else (stable, again)
    await asyncio.sleep(0)
    assert again.transport.sent != b""
    stable.send(reply())
    again.send(reply(OTHER_REASON))
    canary.send(reply(OTHER_SHAPE))
    await asyncio.sleep(0)
    assert status(client.transport.taken()) == 200
    assert outcomes(relay, "canary") == {"shape": 1}
    assert outcomes(relay, "stable") == {"finish_reason": 1}
    assert dict(relay.service.metrics.shadow) == {("chat", "shape"): 1}
    assert relay.side("stable", STABLE.fingerprint).started == 1
    events = relay.log.events
    assert sorted(one.subject.side for one in events) == ["shadow", "shadow", "stable"]
    assert len({one.attempt_id for one in events}) == 3


async def test_a_provider_that_has_no_room_for_copies_is_not_passed_over_for_callers(
    relay_with: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.calls.attempts.shadow.random.random", lambda: 0.05)
    routes = (SHADOWED[0].model_copy(update={"fallback": (BACKUP,)}),)
    relay = relay_with(routes=routes)
    client, stable, again = relay.client(), relay.provider(), relay.provider()
    canary, fallback = relay.provider("holysheep"), relay.provider("backup")
    client.send(call())
    # the last connection that became idle is taken first
    stable, again = (again, stable) if again.transport.sent else (stable, again)
    await asyncio.sleep(0)
    busy = "content-type: application/json\r\nretry-after: 30\r\n"
    for copy in (again, canary):
        copy.send(reply({"error": {"message": "later"}}, status="429 X", headers=busy))
    stable.send(reply())
    await asyncio.sleep(0)
    assert status(client.transport.taken()) == 200
    assert outcomes(relay, "canary") == outcomes(relay, "stable") == {"throttled": 1}
    assert not relay.tenant.router.cool_downs.any
    asked = len(stable.transport.sent) + len(again.transport.sent)
    client.send(call())
    assert len(stable.transport.sent) + len(again.transport.sent) > asked
    assert fallback.transport.sent == b""


async def test_asking_stable_again_is_within_the_budget_of_copies(
    relay_with: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.calls.attempts.shadow.random.random", lambda: 0.05)
    relay = relay_with({"shadow_concurrency": 1}, routes=SHADOWED)
    relay.provider()
    relay.provider("holysheep")
    relay.client().send(call())
    await asyncio.sleep(0)
    assert outcomes(relay, "stable") == {"skipped_budget": 1}
    assert outcomes(relay, "canary") == {}


async def test_an_answer_that_a_fallback_gave_is_no_measure_for_the_canary(
    relay_with: Make,
) -> None:
    routes = (SHADOWED[0].model_copy(update={"fallback": (BACKUP,)}),)
    relay = relay_with(routes=routes)
    client, stable, canary = relay.client(), relay.provider(), relay.provider("holysheep")
    fallback = relay.provider("backup")
    client.send(call())
    await asyncio.sleep(0)
    canary.send(reply())
    stable.send(reply({"error": {"message": "later"}}, status="429 X"))
    await asyncio.sleep(0)
    fallback.send(reply())
    await asyncio.sleep(0)
    assert status(client.transport.taken()) == 200
    assert outcomes(relay, "canary") == {"not_comparable": 1}


async def test_a_call_that_stores_something_is_not_copied(relay_with: Make) -> None:
    relay = relay_with(routes=SHADOWED)
    relay.provider()
    canary = relay.provider("holysheep")
    relay.client().send(call({"model": "gpt-4.1", "store": True}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert canary.transport.sent == b""
    assert outcomes(relay, "canary") == {"skipped_state": 1}


async def test_only_routes_with_copies_have_their_series_and_have_all_of_them_from_0(
    relay_with: Make,
) -> None:
    assert "relay_slo_shadow_total" not in relay_with().service.report()
    series = relay_with(routes=SHADOWED).service.report()["relay_slo_shadow_total"]
    assert {(labels[3], labels[4]) for labels, _ in series} == {
        (pair, outcome) for pair in PAIRS for outcome in OUTCOMES
    }


async def test_copies_neither_count_as_the_relays_overhead_nor_teach_what_calls_use(
    relay_with: Make,
) -> None:
    plain, shadowed = relay_with(), relay_with(routes=SHADOWED)
    for relay in (plain, shadowed):
        await both(relay, {}, reply(), reply(OTHER_TOKENS))
    for relay in (plain, shadowed):
        (row,) = relay.service.report()["relay_overhead_seconds"]
        assert sum(row[1][:-1]) == 1
    learned = [
        relay.tenant.recorder.estimator.estimate(
            "gpt-4.1", text_bytes=4000, attachments=0, bound=OutputBound(tokens=None, choices=1)
        ).input_tokens
        for relay in (plain, shadowed)
    ]
    assert learned[0] == learned[1]


async def test_copies_under_way_when_the_process_ends_are_aborted_and_counted(
    relay_with: Make,
) -> None:
    relay = relay_with(routes=SHADOWED)
    client, stable, canary = relay.client(), relay.provider(), relay.provider("holysheep")
    client.send(call())
    await asyncio.sleep(0)
    stable.send(reply())
    await asyncio.sleep(0)
    relay.service.stop()
    assert canary.transport.aborted
    assert outcomes(relay, "canary") == {"not_comparable": 1}
