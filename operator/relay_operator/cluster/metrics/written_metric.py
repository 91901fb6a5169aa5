"""Metrics of thousands of objects as lines that were written when an object changed, and not anew at each scrape."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from operator import is_
from typing import Final, Generic, TypeVar

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

Key = TypeVar("Key", bound=Hashable)
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


class KeptLines(Generic[Key]):
    """Lines of many objects by metric, each object's with what they were made of. Several scrapes may go through them at once."""

    def __init__(self, metrics: Iterable[str]) -> None:
        self.of_metric: dict[str, dict[Key, str]] = {metric: {} for metric in metrics}
        self._made_of: dict[Key, tuple[object, ...] | None] = {}

    def are_made_of(self, key: Key, parts: tuple[object, ...] | None) -> bool:
        """Tells whether an object's lines were made of these very parts; without any they are to be written anew each time."""
        known = self._made_of.get(key)
        return known is not None and parts is not None and all(map(is_, known, parts))

    def put(self, key: Key, parts: tuple[object, ...] | None, lines: Lines) -> None:
        """Keeps the lines of an object in place of those before."""
        self._made_of[key] = parts
        for metric, kept in self.of_metric.items():
            if metric in lines:
                kept[key] = lines[metric]
            else:
                kept.pop(key, None)

    def drop(self, is_gone: Callable[[Key], bool], *, but: set[Key]) -> None:
        """Drops the lines of those objects that are gone; of these ones it is known that they are not."""
        for key in self._made_of.keys() - but:
            if is_gone(key):
                del self._made_of[key]
                for kept in self.of_metric.values():
                    kept.pop(key, None)

    def clear(self) -> None:
        """Drops all."""
        self._made_of.clear()
        for kept in self.of_metric.values():
            kept.clear()


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
        lines: Iterable[str],
        steps: Iterator[None],
    ) -> None:
        super().__init__(name, documentation, "gauge")
        # as the library's own families have them
        self._labelnames = labels
        self.lines, self.steps = lines, steps
        self.samples = _Samples(self)
