"""Metrics of thousands of objects as lines that were written when an object changed, and not anew at each scrape."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from operator import is_
from typing import Final

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

Lines = Mapping[str, str]
"""Lines about one object, by the name of their metric."""

_ESCAPED: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def line(name: str, labels: Mapping[str, str], value: float) -> str:
    """Returns a sample as Prometheus reads it. Source: prometheus.io, "Exposition formats", text-based format."""
    named = ",".join(
        f'{label}="{told.translate(_ESCAPED)}"' for label, told in sorted(labels.items())
    )
    number: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return f"{name}{{{named}}} {number}\n"


class KeptLines:
    """Lines of objects, each with what they were made of."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[tuple[object, ...], Lines]] = {}

    def of(self, key: Hashable, made_of: tuple[object, ...], write: Callable[[], Lines]) -> Lines:
        """Returns an object's lines, written anew when one of what they are made of is not the very same any more."""
        known = self._kept.get(key)
        if known is not None and all(map(is_, known[0], made_of)):
            return known[1]
        lines = write()
        self._kept[key] = made_of, lines
        return lines

    def forget_others(self, keys: set[Hashable]) -> None:
        """Drops the lines of all objects but these."""
        for gone in self._kept.keys() - keys:
            del self._kept[gone]

    def clear(self) -> None:
        """Drops all."""
        self._kept.clear()


class _Samples(list[Sample]):
    """The samples of a metric's lines, read when somebody wants them one by one: no scrape does."""

    def __init__(self, metric: "WrittenMetric") -> None:
        super().__init__()
        self._metric = metric

    def __iter__(self) -> Iterator[Sample]:
        for _ in self._metric.steps:
            pass
        for family in text_string_to_metric_families("".join(self._metric.lines)):
            yield from family.samples


class WrittenMetric(Metric):
    """A gauge for many objects. Its lines are complete once the steps were gone through, which several metrics may share."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: tuple[str, ...],
        *,
        lines: list[str],
        steps: Iterator[None],
    ) -> None:
        super().__init__(name, documentation, "gauge")
        # as the library's own families have them
        self._labelnames = labels
        self.lines, self.steps = lines, steps
        self.samples = _Samples(self)
