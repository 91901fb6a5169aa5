"""Hears from the relay pods of canaries that have no weight yet whether they can use them.

What a pod tells concerns the canaries of its own tenant alone, and the worst that it can do is to let one of them begin, or
wait.
"""

from collections.abc import Callable, Iterable

from relay_contract.preflight import Preflight
from relay_operator.cluster.relays import Pod, Relays, ToldPreflights
from relay_operator.decisions.analysis.scrapes import RouteKey
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.reconcile.canaries.canary_moves import CanaryMoves, alone
from relay_operator.reconcile.canaries.pod_questions import PodQuestions
from relay_operator.reconcile.canaries.trial_ticks import TrialTicks
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.watched_state import WatchedState


class PreflightWatch:
    """Asks until cancelled. While no canary is to be probed it asks nobody."""

    def __init__(
        self,
        *,
        canaries: CanaryRuns,
        relays: Relays,
        moves: CanaryMoves,
        publisher: DocumentPublisher,
        watched_state: WatchedState,
        tick_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._canaries = canaries
        self._moves = moves
        self._publisher = publisher
        self._ticks, self._tick_seconds = TrialTicks(canaries), tick_seconds
        self._clock = clock
        self._relays = relays
        self._asked: dict[str, set[tuple[str, str]]] = {}
        self._heard: set[str] = set()
        self._questions: PodQuestions[ToldPreflights] = PodQuestions(
            noun="preflights",
            ask=self._ask,
            answered=self._answered,
            watched_state=watched_state,
        )

    async def run(self) -> None:
        """Looks at every tick which pods are to be asked, and at what those that are ready have told so far.

        Those in line for a place are looked at once it is their turn.
        """
        try:
            while True:
                self._moves.take_back_places()
                self._asked = self._probed()
                self._heard.clear()
                self._questions.ask_in(self._asked)
                for namespace in self._asked:
                    self._hear(namespace)
                await self._ticks.pause(self._tick_seconds)
        finally:
            self._questions.ask_in(())

    def _probed(self) -> dict[str, set[tuple[str, str]]]:
        """Returns route and token of the canaries that are to be probed, by tenant."""
        probed: dict[str, set[tuple[str, str]]] = {}
        for (namespace, name), run in self._canaries.on_trial():
            token = run.preflight_token
            if token is not None:
                probed.setdefault(namespace, set()).add((name, token))
        return probed

    async def _ask(self, pod: Pod, *, seen: str, wait_seconds: int) -> ToldPreflights:
        return await self._relays.preflights(
            pod,
            seen=seen,
            wait_seconds=wait_seconds,
            asked=lambda: self._asked.get(pod.namespace, ()),
        )

    def _answered(self, namespace: str) -> None:
        """Takes in the first answer of a tenant's pods after a tick at once; the next tick takes all others."""
        if namespace not in self._heard:
            self._heard.add(namespace)
            self._hear(namespace)

    def _keys(self, namespace: str) -> list[RouteKey]:
        """Lists the tenant's canaries that were to be probed at the last tick, and still are."""
        keys = [(namespace, name) for name, _ in sorted(self._asked.get(namespace, ()))]
        runs = self._canaries.runs
        return [key for key in keys if key in runs and runs[key].preflight_token is not None]

    def _hear(self, namespace: str) -> None:
        """Takes in what pods tell that run the document in force: what an older one asks for is another matter."""
        publication = self._publisher.publication(namespace)
        if publication is None:
            return
        serving = self._questions.serving(namespace)
        up_to_date = [pod for pod in serving if publication.has_acknowledged(pod)]
        told: dict[str, list[Preflight]] = {}
        for answer in self._questions.answers(up_to_date):
            for one in answer.preflights:
                told.setdefault(one.route, []).append(one)
        for key in self._keys(namespace):
            with alone(key):
                self._take_in(key, told.get(key[1], ()), pods=len(serving))

    def _take_in(self, key: RouteKey, told: Iterable[Preflight], *, pods: int) -> None:
        is_news = self._canaries.hear_probes(key, told, pods=pods, now=self._clock())
        has_passed = self._canaries.runs[key].has_passed
        if is_news or (has_passed and not self._canaries.is_behind_in_line(key)):
            # also if it was not the time to start when it passed
            self._moves.act(key, told_anew=is_news)
