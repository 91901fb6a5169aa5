"""The text that Prometheus scrapes, written in pieces: between two of them everything else has its turn."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from prometheus_client import Metric, generate_latest
from prometheus_client.registry import Collector

from relay_operator.cluster.metrics.written_metric import WrittenMetric

_SAMPLES_AT_ONCE: Final = 1000
"""A few milliseconds."""


class _One(Collector):
    """A part of a metric, as the library's own writer takes it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


class Collected(Protocol):
    """A registry, or anything else with metrics."""

    def collect(self) -> Iterable[Metric]: ...


async def written(registry: Collected) -> bytes:
    """Returns what the library writes of a registry at once."""
    text = bytearray()
    for metric in registry.collect():
        await asyncio.sleep(0)
        if isinstance(metric, WrittenMetric):
            for _ in metric.steps:
                await asyncio.sleep(0)
            text += _head(metric) + "".join(metric.lines).encode()
            continue
        for number, part in enumerate(_parts(metric)):
            piece = generate_latest(_One(part))
            text += _without_head(piece) if number else piece
            await asyncio.sleep(0)
    return bytes(text)


def _head(metric: Metric) -> bytes:
    """Returns what is said of a metric before its samples."""
    return generate_latest(_One(Metric(metric.name, metric.documentation, metric.type)))


def _parts(metric: Metric) -> Iterator[Metric]:
    """Yields a metric with some of its samples at a time; once without any, if it has none."""
    for begin in range(0, max(len(metric.samples), 1), _SAMPLES_AT_ONCE):
        part = Metric(metric.name, metric.documentation, metric.type, metric.unit)
        part.samples = metric.samples[begin : begin + _SAMPLES_AT_ONCE]
        yield part


def _without_head(piece: bytes) -> bytes:
    """Takes out what is said of a metric before its samples."""
    lines = piece.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b"#"))
