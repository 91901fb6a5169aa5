"""Fetches the evidence for all active canaries once a tick, judges each, and takes the weight from those in breach."""

import asyncio
from collections.abc import Callable, Mapping

from relay_operator.cluster.metrics.catalogue import SLO_TICKS
from relay_operator.cluster.prometheus.client import Prometheus
from relay_operator.decisions.analysis.scrapes import RouteKey
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.errors import MetricsUnavailable
from relay_operator.reconcile.canaries.canary_moves import CanaryMoves, alone
from relay_operator.reconcile.canaries.trial_ticks import TrialTicks
from relay_operator.reconcile.watched_state import WatchedState

_CROWDED = (
    "the relay pods of this namespace expose more series than can be read; "
    "remove pods with the relay's labels that are no relays"
)


class SloLoop:
    """Judges and moves canaries until cancelled. A tick without evidence says so in each verdict."""

    def __init__(
        self,
        *,
        canaries: CanaryRuns,
        prometheus: Prometheus | None,
        moves: CanaryMoves,
        watched_state: WatchedState,
        tick_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._canaries = canaries
        self._prometheus = prometheus
        self._moves = moves
        self._watched_state = watched_state
        self._tick_seconds = tick_seconds
        self._clock = clock
        self._ticks = TrialTicks(canaries)

    async def run(self) -> None:
        """Ticks at a steady pace; a slow tick is followed by the next at once, never by two."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.tick(now=self._clock())
            due = max(due + self._tick_seconds, loop.time())
            await self._ticks.pause(due - loop.time())

    async def tick(self, *, now: float) -> None:
        """Measures and judges every active canary once. Asks Prometheus only when a scrape of one of them is due."""
        active = {
            key: run.state.run_token for key, run in self._canaries.on_trial() if run.is_measured
        }
        self._canaries.follow(active)
        if active:
            with SLO_TICKS.time():
                await self._look_at_all(active, now=now)

    async def _look_at_all(self, active: Mapping[RouteKey, str], *, now: float) -> None:
        at = asyncio.get_running_loop().time()
        problems = await self._fetch({namespace for namespace, _ in active}, at)
        serving: dict[str, frozenset[str]] = {}
        for key, token in active.items():
            space = key[0]
            if space not in serving:
                serving[space] = self._serving_pods(space)
            with alone(key):
                self._look(key, token, problems.get(space, ""), serving[space], at=at, now=now)

    def _look(
        self,
        key: RouteKey,
        token: str,
        problem: str,
        serving: frozenset[str],
        *,
        at: float,
        now: float,
    ) -> None:
        """Judges and moves one canary, unless a look would find what the last one did."""
        is_due = problem or self._canaries.evidence.is_due(key, expected=serving, at=at)
        if not is_due or not self._is_still_measured(key, token):
            return
        run = self._canaries.runs[key]
        before = run.verdict.gist
        if problem:
            self._canaries.mark_unmeasurable(key, message=problem, now=now)
        else:
            self._canaries.measure(key, expected_pods=serving, at=at, now=now)
        self._moves.act(key, told_anew=before != run.verdict.gist)

    def _is_still_measured(self, key: RouteKey, token: str) -> bool:
        """Tells whether the run that Prometheus was asked about goes on: a breaker or a person may have ended it meanwhile."""
        run = self._canaries.runs.get(key)
        return run is not None and run.is_measured and run.state.run_token == token

    async def _fetch(self, namespaces: set[str], at: float) -> dict[str, str]:
        """Reads new evidence; returns, by namespace, why there is none."""
        if self._prometheus is None:
            return dict.fromkeys(
                namespaces, "no Prometheus is configured (prometheus.url of the chart)"
            )
        pods = {space: self._known_pods(space) for space in namespaces}
        question = self._canaries.evidence.question(pods, at=at)
        if question is None:
            return {}
        try:
            fetched = await self._prometheus.fetch(question)
        except MetricsUnavailable as error:
            return dict.fromkeys(namespaces, str(error))
        self._canaries.evidence.take(fetched.series, at=at)
        return dict.fromkeys(fetched.crowded, _CROWDED)

    def _known_pods(self, namespace: str) -> frozenset[str]:
        return frozenset(pod.name for pod in self._watched_state.relay_pods(namespace))

    def _serving_pods(self, namespace: str) -> frozenset[str]:
        return frozenset(
            pod.name
            for pod in self._watched_state.relay_pods(namespace)
            if pod.ready and not pod.terminating
        )
