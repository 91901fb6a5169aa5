"""Prometheus as it stands in: the pages of the relay pods, scraped at each fetch."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.unit.relay_operator.in_memory_api_server import FakeClock, InMemoryApiServer
from tests.unit.relay_operator.relay_counters import RelayCounters
from tests.unit.relay_operator.relay_pods import RelayPods

from relay_operator.cluster.prometheus.client import Fetched
from relay_operator.decisions.analysis.evidence import Question
from relay_operator.decisions.analysis.scrapes import Series
from relay_operator.decisions.analysis.shadow_evidence import ShadowQuestion
from relay_operator.errors import MetricsUnavailable


@dataclass(slots=True)
class Samples:
    """Stands in for Prometheus: the pages of the relay pods, scraped at each fetch.

    Like a relay, each pod exports the sides of the routes with a canary in its document. problem fails every fetch;
    unscraped are names of pods that Prometheus does not reach; meanwhile is called during each fetch, for what happens while
    the operator waits for the answer.
    """

    clock: FakeClock
    server: InMemoryApiServer
    relays: RelayPods
    problem: str = ""
    counters: dict[tuple[str, str], RelayCounters] = field(default_factory=dict)
    crowded: set[str] = field(default_factory=set)
    unscraped: set[str] = field(default_factory=set)
    questions: list[Question | ShadowQuestion] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def of(self, namespace: str, pod: str) -> RelayCounters:
        """Returns the counters of a pod."""
        return self.counters.setdefault((namespace, pod), RelayCounters(pod, namespace))

    async def fetch(self, question: Question | ShadowQuestion) -> Fetched:
        await asyncio.sleep(0)
        self.questions.append(question)
        self.meanwhile()
        if self.problem:
            raise MetricsUnavailable(self.problem)
        series = [one for pod in question.pods for one in self._scraped(*pod)]
        spaces = {namespace for namespace, _ in question.pods}
        return Fetched(
            series=tuple(one for one in series if one.identity.pod[0] not in self.crowded),
            crowded=frozenset(self.crowded & spaces),
        )

    def _scraped(self, namespace: str, pod: str) -> list[Series]:
        found = self.server.get("Pod", pod, namespace=namespace)
        document = self.relays.documents.get(found["metadata"]["uid"]) if found else None
        if document is None or pod in self.unscraped:
            return []
        counters = self.of(namespace, pod)
        for route in document.tenant.routes:
            if route.canary is not None:
                counters.count((route.name, "stable", route.stable.fingerprint))
                counters.count((route.name, "canary", route.canary.fingerprint))
                if route.shadow_percent:
                    counters.copy((route.name, route.canary.fingerprint))
        return counters.scraped(self.clock.now)
