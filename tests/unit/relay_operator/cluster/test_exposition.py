"""What Prometheus scrapes is what the library writes, and others have their turn while it is written."""

import asyncio
from collections.abc import Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.registry import Collector

from relay_operator.cluster.metrics import exposition
from relay_operator.cluster.metrics.written_metric import WrittenMetric, line


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


class Written(Collector):
    """Has some thousand lines, written in steps of a hundred."""

    def __init__(self, series: int) -> None:
        self._series = series

    def collect(self) -> Iterable[Metric]:
        lines: list[str] = []
        others: list[str] = []
        steps = self._steps(lines, others)
        labels = ("tenant", "key")
        yield WrittenMetric("tenant_ready", "Says \\ and\nmore.", labels, lines=lines, steps=steps)
        yield WrittenMetric("tenant_pods", "Of each.", labels, lines=others, steps=steps)

    def _steps(self, lines: list[str], others: list[str]) -> Iterator[None]:
        for number in range(self._series):
            if not number % 100:
                yield
            labels = {"tenant": f't{number} # "\\\n', "key": "k"}
            lines.append(line("tenant_ready", labels, number / 4))
            others.append(line("tenant_pods", labels, number))


async def test_lines_are_what_the_library_writes_of_their_samples() -> None:
    for series in (0, 1, 250):
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Written(series))
        text = await exposition.written(registry)
        assert text == generate_latest(registry)
        assert text.count(b"\n") == 4 + 2 * series


async def test_others_have_their_turn_while_lines_are_written() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Written(5000))
    running = asyncio.create_task(others())
    await exposition.written(registry)
    running.cancel()
    assert turns >= 50
