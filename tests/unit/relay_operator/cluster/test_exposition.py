"""What Prometheus scrapes is what the library writes, and others have their turn while it is written."""

import asyncio

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from relay_operator.cluster.metrics import exposition


def a_registry(series: int) -> CollectorRegistry:
    registry = CollectorRegistry()
    gauge = Gauge("tenant_ready", "Says \\ and\nmore.", ["tenant"], registry=registry)
    for number in range(series):
        gauge.labels(f't{number} # "\\').set(number)
    Gauge("of_nobody", "Has no series.", ["tenant"], registry=registry)
    Counter("calls", "Of the API server.", registry=registry).inc()
    Histogram("seconds", "Of a reconcile.", ["kind"], registry=registry).labels("Tenant").observe(1)
    return registry


async def test_the_pieces_are_what_the_library_writes_at_once() -> None:
    for series in (0, 1, 999, 1000, 1001, 2500):
        registry = a_registry(series)
        assert await exposition.written(registry) == generate_latest(registry)


async def test_others_have_their_turn_between_the_pieces() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    running = asyncio.create_task(others())
    await exposition.written(a_registry(20_000))
    running.cancel()
    assert turns >= 20
