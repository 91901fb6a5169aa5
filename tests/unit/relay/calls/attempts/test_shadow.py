"""Copies: what they may take, and how they are compared."""

import asyncio
import json
from collections.abc import Callable

import pytest
from tests.unit.relay.documents import CANARY, STABLE, provider
from tests.unit.relay.memory import COMPLETION, MemoryRelay, call, reply, status

from relay_contract.document import ProviderLimits, Route

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
    return status(client.transport.taken()), asked


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
    assert dict(relay.service.metrics.shadow) == {("chat", "skipped_slice"): 1}
