"""Hears from the relay pods of running canaries which breakers are open, as they open: no scrape and no Prometheus between.

What a pod tells concerns the canaries of its own tenant alone, and the worst that it can do is to have its tenant's
traffic go back to stable.
"""

from collections.abc import Callable

from relay_operator.cluster.relays import OpenBreakers, Relays
from relay_operator.decisions.analysis.scrapes import RouteKey
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.reconcile.canaries.canary_moves import CanaryMoves
from relay_operator.reconcile.canaries.pod_questions import PodQuestions
from relay_operator.reconcile.canaries.trial_ticks import TrialTicks
from relay_operator.reconcile.watched_state import WatchedState


class BreakerWatch:
    """Asks until cancelled. While no canary is measured it asks nobody."""

    def __init__(
        self,
        *,
        canaries: CanaryRuns,
        relays: Relays,
        moves: CanaryMoves,
        watched_state: WatchedState,
        tick_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._canaries = canaries
        self._moves = moves
        self._ticks, self._tick_seconds = TrialTicks(canaries), tick_seconds
        self._clock = clock
        self._questions: PodQuestions[OpenBreakers] = PodQuestions(
            noun="breakers",
            ask=relays.breakers,
            answered=self._judge,
            watched_state=watched_state,
        )

    async def run(self) -> None:
        """Looks at every tick which pods are to be asked."""
        try:
            while True:
                self._questions.ask_in({namespace for namespace, _ in self._measured()})
                await self._ticks.pause(self._tick_seconds)
        finally:
            self._questions.ask_in(())

    def _measured(self) -> list[RouteKey]:
        return [key for key, run in self._canaries.on_trial() if run.is_measured]

    def _judge(self, namespace: str) -> None:
        serving = self._questions.serving(namespace)
        told = self._questions.answers(serving)
        for key, run in self._canaries.in_namespace(namespace):
            if not run.is_measured:
                continue
            canary = (key[1], run.plan.fingerprint)
            certain = sum(one.failed_probes.get(canary, 0) > 0 for one in told)
            if self._canaries.trip(
                key, pods=certain, expected_pods=len(serving), now=self._clock()
            ):
                self._moves.act_alone(key, told_anew=True)
