"""The SLO loop's reading, tick by tick, without its waiting: the real adapter and the real evidence on a simulated clock."""

from collections.abc import Iterator

from tests.simulation.relay_operator.analysis.simulated_prometheus import SimulatedPrometheus

from relay_operator.cluster.prometheus.access import Access
from relay_operator.cluster.prometheus.client import Prometheus
from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.analysis.increments import Increments
from relay_operator.decisions.analysis.scrapes import RouteKey, Subject
from relay_operator.errors import MetricsUnavailable

STABLE, CANARY = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
ROUTE: RouteKey = ("relay-finance", "chat")
STABLE_SIDE, CANARY_SIDE = ("chat", "stable", STABLE), ("chat", "canary", CANARY)
SUBJECT = Subject(stable=STABLE, canary=CANARY, signals=frozenset({"Total"}), tokens=True)
TICK_SECONDS = 0.5


class Ticking:
    """One life of the operator after another, over a Prometheus that goes on. Begin the next with restart()."""

    def __init__(self, prometheus: SimulatedPrometheus, *, scrape_seconds: float = 2.0) -> None:
        self.prometheus = prometheus
        self._scrape_seconds = scrape_seconds
        self._client = Prometheus(
            Access(url="http://prometheus.test"),
            transport=prometheus,
        )
        self._pods = {ROUTE[0]: [pod.name for pod in prometheus.pods]}
        self.restart()

    def restart(self) -> None:
        """Begins another life of the operator, which knows nothing."""
        self.evidence = Evidence(scrape_seconds=self._scrape_seconds)
        self.evidence.follow({ROUTE: SUBJECT})

    def ticks(
        self, until: float, *, every: float = TICK_SECONDS
    ) -> Iterator[tuple[float, Increments]]:
        """Yields each tick until this moment of the run, with what it brought. A failed fetch brings nothing."""
        at = self.prometheus.now
        while at + every <= until:
            at += every
            self.prometheus.advance(at)
            self.fetch(at)
            expected = self._pods[ROUTE[0]]
            yield at, self.evidence.increments(ROUTE, expected=expected, at=at)

    def known(self) -> dict[str, float]:
        """Returns the time of the newest scrape of each pod that the evidence knows."""
        return {name: pod.at for name, pod in self.evidence._routes[ROUTE].pods.items()}

    def fetch(self, at: float) -> None:
        """Asks for what is due."""
        question = self.evidence.question(self._pods, at=at)
        if question is None:
            return
        try:
            fetched = self._client.read(question)
        except MetricsUnavailable:
            return
        self.evidence.take(fetched.series, at=at)

    def close(self) -> None:
        """Ends the adapter's thread."""
        self._client.close()
