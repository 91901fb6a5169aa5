"""Series about the work queue, read when Prometheus asks."""

from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from relay_operator.reconcile.work_queue import Urgency, WorkQueue


class QueueCollector(Collector):
    """Tells of a leader's queue alone: a standby's has every object, and nobody works on it."""

    def __init__(self, queue: WorkQueue, *, leads: Callable[[], bool]) -> None:
        self._queue = queue
        self._leads = leads

    def describe(self) -> Iterable[Metric]:
        """Names no metric beforehand, so that registering computes nothing."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Reads the first of each line: no more for a long queue than for a short one."""
        if not self._leads():
            return
        keys = GaugeMetricFamily(
            "relay_operator_queue_keys",
            "Objects that wait for a worker, by urgency.",
            labels=("urgency",),
        )
        oldest = GaugeMetricFamily(
            "relay_operator_queue_oldest_seconds",
            "For how long the one that waits longest has waited, by urgency; 0 while none does.",
            labels=("urgency",),
        )
        for urgency in Urgency:
            number, seconds = self._queue.waiting(urgency)
            keys.add_metric([urgency.name.lower()], number)
            oldest.add_metric([urgency.name.lower()], seconds)
        yield from (keys, oldest)
