"""Reads from Prometheus how shadow copies compare, of the canaries that wait for that before any weight."""

import asyncio
from typing import Final

from relay_operator.cluster.prometheus.client import Prometheus
from relay_operator.decisions.analysis.scrapes import RouteKey
from relay_operator.decisions.analysis.shadow_evidence import ShadowEvidence
from relay_operator.decisions.canary.run import Run
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.errors import MetricsUnavailable
from relay_operator.reconcile.canaries.canary_moves import CanaryMoves, alone
from relay_operator.reconcile.canaries.trial_ticks import TrialTicks
from relay_operator.reconcile.watched_state import WatchedState

_UNCONFIGURED: Final = "no Prometheus is configured (prometheus.url of the chart)"
_CROWDED: Final = "the relay pods of this namespace expose more series than can be read"
_UNSEEN: Final = "Prometheus has no samples of shadow copies of this route"
_UNSEEN_SECONDS: Final = 30.0
"""Until then the first scrape may be on its way."""


class ShadowWatch:
    """Looks until cancelled. While no canary is shadowed for its first weight it asks nobody."""

    def __init__(
        self,
        *,
        canaries: CanaryRuns,
        prometheus: Prometheus | None,
        moves: CanaryMoves,
        watched_state: WatchedState,
        scrape_seconds: float,
        tick_seconds: float,
    ) -> None:
        self._canaries = canaries
        self._prometheus = prometheus
        self._moves = moves
        self._watched_state = watched_state
        self._evidence = ShadowEvidence(scrape_seconds=scrape_seconds)
        self._ticks, self._tick_seconds = TrialTicks(canaries), tick_seconds
        self._since: dict[RouteKey, float] = {}

    async def run(self) -> None:
        """Ticks with a pause in between, so that the verdicts of canaries with weight come first."""
        while True:
            await self.tick()
            await self._ticks.pause(self._tick_seconds)

    async def tick(self) -> None:
        """Takes in what is new of every shadowed canary, and decides on it."""
        shadowed = {
            key: run.state.run_token for key, run in self._canaries.on_trial() if run.is_shadowed
        }
        runs = self._canaries.runs
        self._evidence.follow({key: runs[key].plan.fingerprint for key in shadowed})
        at = asyncio.get_running_loop().time()
        self._since = {key: self._since.get(key, at) for key in shadowed}
        if not shadowed:
            return
        problems = await self._fetch({namespace for namespace, _ in shadowed})
        for key, token in shadowed.items():
            run = runs.get(key)
            if run is None or not run.is_shadowed or run.state.run_token != token:
                # ended while Prometheus was asked
                continue
            with alone(key):
                self._look(key, run, problems.get(key[0], ""), at)

    def _look(self, key: RouteKey, run: Run, problem: str, at: float) -> None:
        before = run.standing.reason if run.standing is not None else None
        known = run.trial.problem if run.trial is not None else ""
        self._take(key, problem, at)
        self._moves.act(key, told_anew=False)
        after = run.standing.reason if run.standing is not None else None
        if (before, known) != (after, run.try_copies().problem):
            self._moves.tell_anew(key)

    def _take(self, key: RouteKey, problem: str, at: float) -> None:
        taken = None if problem else self._evidence.taken(key)
        if taken is not None:
            self._canaries.take_copies(key, *taken)
        elif problem or at - self._since[key] >= _UNSEEN_SECONDS:
            self._canaries.mark_copies_unread(key, problem or _UNSEEN)

    async def _fetch(self, namespaces: set[str]) -> dict[str, str]:
        """Reads new counts; returns, by namespace, why there are none."""
        if self._prometheus is None:
            return dict.fromkeys(namespaces, _UNCONFIGURED)
        pods = {space: self._known_pods(space) for space in namespaces}
        at = asyncio.get_running_loop().time()
        question = self._evidence.question(pods, at=at)
        if question is None:
            return {}
        try:
            fetched = await self._prometheus.fetch(question)
        except MetricsUnavailable as error:
            return dict.fromkeys(namespaces, str(error))
        self._evidence.take(fetched.series, at=at)
        return dict.fromkeys(fetched.crowded, _CROWDED)

    def _known_pods(self, namespace: str) -> frozenset[str]:
        return frozenset(pod.name for pod in self._watched_state.relay_pods(namespace))
