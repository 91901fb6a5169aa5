"""Fetches the evidence for all active canaries once a tick, judges each, and takes the weight from those in breach."""

import asyncio
import logging
from collections.abc import Callable

from relay_operator.cluster.prometheus import Prometheus
from relay_operator.decisions.analysis.verdict import Outcome
from relay_operator.decisions.canary_runs import CanaryRuns, RouteKey
from relay_operator.errors import MetricsUnavailable, OperatorError
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

logger = logging.getLogger(__name__)

_CROWDED = (
    "the relay pods of this namespace expose more series than can be read; "
    "remove pods with the relay's labels that are no relays"
)
_KEEP_SILENT_SERIES_SECONDS = 900.0


class SloLoop:
    """Judges and moves canaries until cancelled. A tick without evidence says so in each verdict."""

    def __init__(
        self,
        *,
        canaries: CanaryRuns,
        prometheus: Prometheus | None,
        publisher: DocumentPublisher,
        watched_state: WatchedState,
        queue: WorkQueue,
        tick_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._canaries = canaries
        self._prometheus = prometheus
        self._publisher = publisher
        self._watched_state = watched_state
        self._queue = queue
        self._tick_seconds = tick_seconds
        self._clock = clock
        self._moving: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Ticks at a steady pace; a slow tick is followed by the next at once, never by two."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.tick(now=self._clock())
            due = max(due + self._tick_seconds, loop.time())
            await asyncio.sleep(due - loop.time())

    async def tick(self, *, now: float) -> None:
        """Measures and judges every active canary once. Without one, asks Prometheus nothing."""
        active = [key for key, run in self._canaries.runs.items() if run.is_measured]
        if not active:
            return
        problems = await self._fetch({namespace for namespace, _ in active})
        for key in active:
            if key not in self._canaries.runs:
                continue
            before = self._canaries.runs[key].verdict
            problem = problems.get(key[0])
            if problem:
                self._canaries.mark_unmeasurable(key, message=problem, now=now)
            else:
                self._canaries.measure(key, expected_pods=self._serving_pods(key[0]), now=now)
            after = self._canaries.runs[key].verdict
            changed = (before.outcome, before.reason) != (after.outcome, after.reason)
            self._act(key, changed=changed, now=now)
        self._canaries.evidence.forget_before(now - _KEEP_SILENT_SERIES_SECONDS)

    async def _fetch(self, namespaces: set[str]) -> dict[str, str]:
        """Reads new evidence; returns, by namespace, why there is none."""
        if self._prometheus is None:
            return dict.fromkeys(
                namespaces, "no Prometheus is configured (OPERATOR_PROMETHEUS_URL)"
            )
        try:
            fetched = await self._prometheus.fetch(namespaces)
        except MetricsUnavailable as error:
            return dict.fromkeys(namespaces, str(error))
        pods = {(pod.namespace, pod.uid) for pod in self._watched_state.all_relay_pods()}
        self._canaries.observe(fetched.series, pods=pods)
        return dict.fromkeys(fetched.crowded, _CROWDED)

    def _act(self, key: RouteKey, *, changed: bool, now: float) -> None:
        run = self._canaries.runs[key]
        moved = self._canaries.decide(key, now=now, stored=self._publisher.weight_is_stored(*key))
        if moved:
            # push the weight now in its own task; status and Events follow through the queue
            self._publisher.set_weight(*key, run.state.weight_percent)
            task = asyncio.create_task(self._distribute(key))
            self._moving.add(task)
            task.add_done_callback(self._moving.discard)
        if moved or changed:
            urgent = run.verdict.outcome is Outcome.BREACHED
            namespace, name = key
            queue_key = Key("RelayRoute", namespace, name)
            self._queue.add(queue_key, Urgency.URGENT if urgent else Urgency.NORMAL)

    async def _distribute(self, key: RouteKey) -> None:
        try:
            await self._publisher.distribute(key[0])
        except OperatorError as error:
            logger.warning(
                "weight pushed to the relays but not stored yet, will retry",
                extra={"route": "/".join(key), "why": str(error)},
            )

    def _serving_pods(self, namespace: str) -> frozenset[str]:
        return frozenset(
            pod.uid
            for pod in self._watched_state.relay_pods(namespace)
            if pod.ready and not pod.terminating
        )
