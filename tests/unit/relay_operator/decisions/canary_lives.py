"""Lives of the operator as far as the canary of one route goes, and those that tests begin with."""

from typing import Any

from tests.unit.relay_operator.relay_counters import RelayCounters

from relay_contract import document
from relay_contract.preflight import Preflight
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute
from relay_operator.decisions import route_status
from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.canary.plans import plan_of
from relay_operator.decisions.canary.state import Phase
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.decisions.route_status import RouteStatus

KEY = ("relay-finance", "chat")
START = 1_780_000_000.0
PODS = frozenset({"relay-1"})
PROVIDERS = {
    name: Provider.parse(
        {
            "metadata": {"name": name, "uid": f"uid-{name}"},
            "spec": {"endpoint": {"url": f"https://{name}.example.com/v1"}},
        }
    )
    for name in ("legacy", "new", "newer")
}
PROGRESSION = {"stepPercent": 25, "every": "10s", "minRequests": 20}
CANARY = {"provider": "new", "percent": 100, "progression": PROGRESSION}
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}


def a_route(status: dict[str, Any] | None = None, **spec: Any) -> RelayRoute:
    body = {"stable": {"provider": "legacy"}, "canary": CANARY, "analysis": ANALYSIS} | spec
    metadata = {"name": "chat", "namespace": "relay-finance", "uid": "uid-chat"}
    return RelayRoute.parse({"metadata": metadata, "spec": body, "status": status or {}})


class Life:
    """One life of the operator, as far as one route's canary goes."""

    def __init__(
        self, route: RelayRoute, *, weight_in_force: int | None = None, now: float = START
    ) -> None:
        self.runs = CanaryRuns(evidence=Evidence(scrape_seconds=20))
        self.route = route
        self.counters = RelayCounters()
        self.now = now
        in_force = None if weight_in_force is None else in_force_at(route, weight_in_force)
        self.run = self.runs.accept(route, PROVIDERS, in_force=in_force, now=self.now)

    def look(self, *, seconds: float = 0.0) -> bool:
        """Decides once, that much later; a preflight that begins is passed at once."""
        self.now += seconds
        moved = self.runs.decide(KEY, now=self.now)
        token = self.run.preflight_token
        if token is not None:
            passed = Preflight(route=KEY[1], token=token, state="Passed")
            self.runs.hear_probes(KEY, [passed], pods=1, now=self.now)
            moved |= self.runs.decide(KEY, now=self.now)
        return moved

    def serve(self, calls: float, *, failed: float = 0.0, seconds: float = 1.0) -> None:
        """Reports that many calls of the canary, and judges it."""
        self._scrape(0.0)
        self.now += seconds
        self._scrape(calls, failed=failed)

    def fail(self) -> None:
        """Lets half of the calls fail for as long as a verdict takes."""
        for _ in range(4):
            self.serve(100, failed=50)

    def _scrape(self, calls: float, *, failed: float = 0.0) -> None:
        plan, stable = self.run.plan, self.run.stable_fingerprint
        self.counters.count(("chat", "stable", stable))
        self.counters.count(("chat", "canary", plan.fingerprint), finished=calls, failed=failed)
        self.runs.follow([KEY])
        self.runs.evidence.take(self.counters.scraped(self.now), at=self.now)
        self.runs.measure(KEY, expected_pods=PODS, at=self.now, now=self.now)

    @property
    def status(self) -> dict[str, Any]:
        """Returns the status that the API server would hold now."""
        self.run.tell(self.now)
        fields = route_status.to_status(RouteStatus(progress=self.run.progress))
        return {name: value for name, value in fields.items() if value is not None}

    def restarted(self, *, weight_in_force: int | None = None) -> "Life":
        """Starts the next life from the spec, this life's status, and the document in force."""
        weight = self.run.state.weight_percent if weight_in_force is None else weight_in_force
        route = self.route.model_copy(update={"status": self.status})
        return Life(route, weight_in_force=weight, now=self.now)


def in_force_at(route: RelayRoute, weight: int) -> document.Route:
    fingerprint = plan_of(route, PROVIDERS).fingerprint
    canary = document.Side(provider="new", fingerprint=fingerprint) if fingerprint else None
    stable = document.Side(provider="legacy", fingerprint="0" * 12)
    return document.Route(name="chat", stable=stable, canary=canary, canary_percent=weight)


def started() -> Life:
    life = Life(a_route())
    assert life.look()
    return life


def rolled_back() -> Life:
    life = started()
    life.fail()
    assert life.look()
    assert life.run.state.phase is Phase.ROLLED_BACK
    return life


def promoted() -> Life:
    life = started()
    while life.run.state.phase is not Phase.PROMOTED:
        life.serve(50, seconds=11)
        assert life.look()
    return life


def holding() -> Life:
    life = Life(a_route(canary={"provider": "new", "percent": 10}))
    life.look()
    assert life.run.state.phase is Phase.HOLDING
    return life


def paused() -> Life:
    life = Life(a_route(paused=True))
    life.look()
    assert life.run.state.phase is Phase.PAUSED
    return life


def stable() -> Life:
    life = Life(a_route(canary=None))
    life.look()
    return life
