"""Series from the answer of Prometheus. What a counter cannot be, not a number included, is no sample."""

from collections.abc import Iterable, Mapping
from typing import Any

from relay_operator.cluster.prometheus.query import Labels
from relay_operator.decisions.analysis.scrapes import PodName, Series
from relay_operator.errors import MetricsUnavailable

_LARGEST_COUNT = 2.0**53
"""Beyond this a counter cannot count one more."""


def series_of(result: Iterable[Any], pods: Mapping[PodName, float], labels: Labels) -> list[Series]:
    """Returns the series of these pods, with the samples that are newer than the time given for each.

    Raises MetricsUnavailable when the result is of another form.
    """
    found = []
    namespace_label, pod_label = labels.namespace_label, labels.pod_label
    try:
        for entry in result:
            metric = entry["metric"]
            pod = (metric.get(namespace_label), metric.get(pod_label))
            since = pods.get(pod)
            if since is not None:
                samples = _newer(entry.get("values", ()), since)
                if samples:
                    found.append(Series(pod, metric, samples))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise MetricsUnavailable(
            f"Prometheus answered something else than series: {type(error).__name__}"
        ) from error
    return found


def _newer(values: list[tuple[float, str]], since: float) -> list[tuple[float, float]]:
    samples = []
    for at, text in reversed(values):
        if at <= since:
            break
        value = float(text)
        if 0 <= value <= _LARGEST_COUNT:
            samples.append((float(at), value))
    samples.reverse()
    return samples
