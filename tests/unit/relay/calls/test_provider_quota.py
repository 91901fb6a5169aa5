"""Provider quotas as a call meets them: waits in the line, refusals, and holds at fallback providers."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.relay.documents import BACKUP, CANARY, STABLE, STAGING_KEY, provider
from tests.unit.relay.memory import MemoryRelay, Peer, call, error, fields, reply, status

from relay.admission.limiter import ANY_MODEL
from relay.admission.token_buckets import Hold, RateLimit
from relay_contract.document import Limits, ProviderLimits, Queue, Route

Make = Callable[..., MemoryRelay]


def limited(relay_with: Make, queue: Queue, **quota: Any) -> MemoryRelay:
    """A relay whose one provider has this quota."""
    providers = (
        provider("legacy", limits=ProviderLimits(**quota)),
        provider("holysheep"),
        provider("backup"),
    )
    return relay_with(providers=providers, routes=(Route(name="chat", stable=STABLE),), queue=queue)


def serve(relay: MemoryRelay, client: Peer) -> None:
    upstream = relay.provider()
    client.send(call())
    upstream.send(reply())
    assert status(client.transport.taken()) == 200


def rejections(relay: MemoryRelay) -> dict[str, float]:
    return {reason: count for (reason,), count in relay.service.metrics.rejections.items()}


@pytest.mark.parametrize(
    ("quota", "kind", "reason"),
    [
        ({"requests_per_minute": 1}, "requests", "provider_requests_limited"),
        ({"tokens_per_minute": 400}, "tokens", "provider_tokens_limited"),
    ],
)
async def test_a_call_refused_by_a_quota_is_not_told_that_the_queue_is_full(
    relay_with: Make, quota: dict[str, int], kind: str, reason: str
) -> None:
    relay = limited(relay_with, Queue(max_wait_seconds=1), **quota)
    client = relay.client()
    answer = b""
    while not answer:
        upstream = relay.provider()
        answer = client.send(call({"model": "gpt-4.1", "messages": [], "max_tokens": 100}))
        if not answer:
            upstream.send(reply())
            client.transport.taken()
    assert status(answer) == 429
    assert (error(answer)["code"], error(answer)["type"]) == ("upstream_rate_limited", kind)
    assert "the provider's" in error(answer)["message"]
    assert int(fields(answer)["retry-after"]) > 1
    assert rejections(relay) == {reason: 1}


async def test_a_call_larger_than_a_quotas_minute_is_told_so(relay_with: Make) -> None:
    relay = limited(relay_with, Queue(), tokens_per_minute=100)
    answer = relay.client().send(call({"model": "gpt-4.1", "messages": [], "max_tokens": 1000}))
    assert (status(answer), fields(answer)["x-should-retry"]) == (429, "false")
    assert "the provider's tokens" in error(answer)["message"]
    assert rejections(relay) == {"provider_request_too_large": 1}


async def test_a_full_line_for_a_quota_is_told_apart_from_a_full_queue(relay_with: Make) -> None:
    relay = limited(relay_with, Queue(max_depth=1, max_wait_seconds=60), requests_per_minute=2)
    serve(relay, relay.client())
    # the first waits with the right to try, the second behind it
    waiting = [relay.client(), relay.client()]
    assert [client.send(call()) for client in waiting] == [b"", b""]
    answer = relay.client().send(call())
    assert (status(answer), error(answer)["code"]) == (429, "upstream_rate_limited")
    assert rejections(relay) == {"provider_queue_full": 1}


async def test_a_wait_that_ends_in_vain_names_the_quota(relay_with: Make) -> None:
    relay = limited(relay_with, Queue(max_wait_seconds=60), requests_per_minute=2)
    serve(relay, relay.client())
    first, second = relay.client(), relay.client()
    assert (first.send(call()), second.send(call())) == (b"", b"")
    admission = relay.admission
    (behind,) = admission._lines["legacy"].queue._deadlines._entries
    admission.tick(behind[0] + 1)
    relay.service.outbox.flush()
    answer = second.transport.taken()
    assert (status(answer), error(answer)["code"]) == (429, "upstream_rate_limited")
    assert rejections(relay) == {"provider_queue_timeout": 1}


async def test_a_wait_for_a_quota_is_queue_time_and_not_overhead(
    relay_with: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = limited(relay_with, Queue(max_wait_seconds=60), requests_per_minute=6)
    serve(relay, relay.client())
    client, upstream = relay.client(), relay.provider()
    assert client.send(call()) == b""
    later = time.monotonic() + 11
    monkeypatch.setattr(time, "monotonic", lambda: later)
    line = relay.admission._lines["legacy"]
    (first,) = line.queue.running()
    relay.admission._retry(line, first)
    relay.service.outbox.flush()
    assert upstream.transport.taken()
    upstream.send(reply())
    assert status(client.transport.taken()) == 200
    metrics = relay.service.metrics
    assert metrics.queue_wait.total == pytest.approx(11, abs=1)
    assert metrics.overhead.total < 1


async def test_a_hopeless_wait_is_refused_as_such(relay_with: Make) -> None:
    relay = relay_with(queue=Queue(concurrency=1, max_wait_seconds=5))
    admission = relay.admission
    queue = admission.queue
    flow = admission._flows["production"]
    now = 0.0
    for _ in range(20):
        ticket = queue.submit(flow, priority="high", now=now)
        now += 10.0
        queue.release(ticket, now=now)  # type: ignore[arg-type]  # a lone call is never refused
    upstream = relay.provider()
    relay.client().send(call())
    assert upstream.transport.taken()
    answer = relay.client().send(call())
    assert (status(answer), error(answer)["code"]) == (429, "queue_wait_too_long")
    assert rejections(relay) == {"queue_wait_too_long": 1}


async def test_a_call_that_lost_its_place_is_told_that_the_queue_is_full(relay_with: Make) -> None:
    relay = relay_with(queue=Queue(concurrency=1, max_depth=2, max_wait_seconds=60))
    upstream = relay.provider()
    running, waiting, displaced, other = (relay.client() for _ in range(4))
    running.send(call())
    assert upstream.transport.taken()
    assert (waiting.send(call()), displaced.send(call())) == (b"", b"")
    # another API key has a better claim to the second place
    assert other.send(call(key=STAGING_KEY)) == b""
    relay.admission._expire()
    relay.service.outbox.flush()
    answer = displaced.transport.taken()
    assert (status(answer), error(answer)["code"]) == (429, "queue_full")
    assert rejections(relay) == {"queue_full": 1}


async def test_a_hold_is_given_back_when_the_retry_budget_forbids_the_fallback(
    relay_with: Make,
) -> None:
    backup = provider("backup", limits=ProviderLimits(tokens_per_minute=60_000))
    relay = relay_with(
        {"retry_ratio": 0.0, "retry_burst": 1},
        providers=(provider("legacy"), provider("holysheep"), backup),
        routes=(Route(name="chat", stable=STABLE, fallback=(BACKUP,)),),
    )
    client = relay.client()
    for expected in (200, 503):
        stable, fallback = relay.provider("legacy"), relay.provider("backup")
        client.send(call())
        stable.send(reply({"error": {"message": "busy"}}, status="503 Service Unavailable"))
        if expected == 200:
            fallback.send(reply())
        assert status(client.transport.taken()) == expected

    (bucket,) = relay.admission._lines["backup"].limiter._models[ANY_MODEL].tokens
    assert (bucket.open_holds, bucket.held) == (0, 0)


def behind_a_breaker(relay_with: Make, **stable_quota: int) -> MemoryRelay:
    """A relay with one seat, every call on the canary, and quotas at both providers."""
    providers = (
        provider("legacy", limits=ProviderLimits(**stable_quota)),
        provider("holysheep", limits=ProviderLimits(tokens_per_minute=60_000)),
    )
    route = Route(name="chat", stable=STABLE, canary=CANARY, canary_percent=100)
    queue = Queue(concurrency=1, max_wait_seconds=60)
    return relay_with(providers=providers, routes=(route,), queue=queue)


def tokens_of(relay: MemoryRelay, name: str) -> RateLimit:
    (bucket,) = relay.admission._lines[name].limiter._models[ANY_MODEL].tokens
    return bucket


async def seated_after_the_trip(relay: MemoryRelay) -> Peer:
    """A call that waits for its seat while the canary's breaker opens, and gets it then."""
    running, waiting, canary = relay.client(), relay.client(), relay.provider("holysheep")
    running.send(call())
    assert waiting.send(call()) == b""
    relay.tenant.router.breakers.follow("chat", CANARY.fingerprint, time.monotonic())
    canary.send(reply())
    await asyncio.sleep(0)
    relay.service.outbox.flush()
    return waiting


async def test_a_call_that_the_breaker_sends_to_stable_is_charged_to_stables_quota(
    relay_with: Make,
) -> None:
    relay = behind_a_breaker(relay_with, tokens_per_minute=60_000)
    stable = relay.provider()
    client = await seated_after_the_trip(relay)
    assert stable.transport.taken()
    assert tokens_of(relay, "legacy").open_holds == 1
    assert tokens_of(relay, "holysheep").open_holds == 0
    stable.send(reply())
    assert status(client.transport.taken()) == 200
    assert (tokens_of(relay, "legacy").charges, tokens_of(relay, "legacy").open_holds) == (1, 0)
    assert tokens_of(relay, "holysheep").open_holds == 0


async def test_a_call_that_the_breaker_sends_to_stable_waits_for_stables_quota_off_its_seat(
    relay_with: Make,
) -> None:
    relay = behind_a_breaker(relay_with, requests_per_minute=6)
    line = relay.admission._lines["legacy"]
    assert isinstance(line.try_now(0, 0, time.monotonic()), Hold)
    stable = relay.provider()
    client = await seated_after_the_trip(relay)
    assert stable.transport.taken() == b""
    assert (relay.admission.queue.in_flight, line.queue.in_flight) == (0, 1)
    (ticket,) = line.queue.running()
    line.limiter.reconfigure(Limits(), share=1.0, now=time.monotonic())
    relay.admission._retry(line, ticket)
    relay.service.outbox.flush()
    assert stable.transport.taken()
    stable.send(reply())
    assert status(client.transport.taken()) == 200
    assert (relay.admission.queue.in_flight, line.queue.in_flight) == (0, 0)
    assert relay.service.metrics.queue_wait.counts[0] >= 1


async def test_a_call_that_the_breaker_sends_to_stable_is_refused_if_stables_line_is_full(
    relay_with: Make,
) -> None:
    relay = behind_a_breaker(relay_with, requests_per_minute=1)
    line = relay.admission._lines["legacy"]
    assert isinstance(line.try_now(0, 0, time.monotonic()), Hold)
    line.reconfigure(
        ProviderLimits(requests_per_minute=1),
        share=1.0,
        max_depth=10,
        max_wait_seconds=1,
        now=time.monotonic(),
    )
    client = await seated_after_the_trip(relay)
    answer = client.transport.taken()
    assert (status(answer), error(answer)["code"]) == (429, "upstream_rate_limited")
    assert int(fields(answer)["retry-after"]) > 1
    assert relay.admission.queue.in_flight == 0
    assert tokens_of(relay, "holysheep").open_holds == 0


async def test_calls_that_wait_for_a_canarys_quota_go_to_stable_when_its_breaker_opens(
    relay_with: Make,
) -> None:
    providers = (
        provider("legacy"),
        provider("holysheep", limits=ProviderLimits(requests_per_minute=1)),
    )
    route = Route(name="chat", stable=STABLE, canary=CANARY, canary_percent=100)
    relay = relay_with(providers=providers, routes=(route,), queue=Queue(max_wait_seconds=120))
    canary, stable = relay.provider("holysheep"), [relay.provider() for _ in range(3)]
    relay.client().send(call())
    assert canary.transport.taken()
    waiting = [relay.client() for _ in range(3)]
    assert [client.send(call()) for client in waiting] == [b""] * 3
    relay.service.follow_trip("uid-1", "chat", CANARY.fingerprint)
    for _ in range(5):
        await asyncio.sleep(0)
    relay.service.outbox.flush()
    assert all(upstream.transport.taken() for upstream in stable)
    for upstream in stable:
        upstream.send(reply())
    assert [status(client.transport.taken()) for client in waiting] == [200] * 3
    line = relay.admission._lines["holysheep"].queue
    assert (line.in_flight, line.depth) == (0, 0)
