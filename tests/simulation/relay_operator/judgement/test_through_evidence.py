"""The judge behind the real evidence: what Prometheus does wrong causes no rollback, and hides no dead canary."""

from collections.abc import Callable
from random import Random

import pytest
from tests.simulation.relay_operator.judgement.streams import poisson
from tests.unit.relay_operator.relay_counters import RelayCounters

from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.analysis.scrapes import Subject
from relay_operator.decisions.analysis.verdict import Objective, Outcome
from relay_operator.decisions.judgement import memory
from relay_operator.decisions.judgement.route_judge import RouteJudge

KEY = ("relay-finance", "chat")
CANARY, STABLE = ("chat", "canary", "c" * 12), ("chat", "stable", "5" * 12)
PODS = ("relay-1", "relay-2", "relay-3")
OBJECTIVE = Objective(
    window_seconds=600,
    min_requests=50,
    max_error_percent=1,
    max_error_increase_points=0.1,
)
SCRAPE_SECONDS = 2.0
START = 1_780_000_000.0
Disturbance = Callable[["Route", float], None]


class Route:
    """Three relay pods, scraped on their own phases by a Prometheus whose clock may be off, judged every half second."""

    def __init__(self, seed: int, *, clock_off: float = 0.0) -> None:
        self.random = Random(seed)
        self.clock_off = clock_off
        self.pods = [RelayCounters(pod=pod) for pod in PODS]
        self.due = [self.random.random() * SCRAPE_SECONDS for _ in PODS]
        self.silent = False
        self.now = 0.0
        self._begin()

    def _begin(self) -> None:
        self.evidence = Evidence(scrape_seconds=SCRAPE_SECONDS)
        subject = Subject(stable=STABLE[2], canary=CANARY[2], signals=frozenset(), tokens=False)
        self.evidence.follow({KEY: subject})
        self.judge = RouteJudge(OBJECTIVE)
        self.outcome = Outcome.UNMEASURABLE

    def restart_operator(self) -> None:
        """Ends this life of the operator; the next one has what status kept."""
        kept = memory.to_text(self.judge)
        self._begin()
        memory.restore(self.judge, kept)

    def run(
        self, seconds: float, *, failing: float, per_second: float, disturb: Disturbance
    ) -> float | None:
        """Serves for so long; returns when the canary was rolled back, None if it was not."""
        begin = self.now
        while self.now < begin + seconds:
            self.now += 0.5
            disturb(self, self.now)
            self._serve(0.5, failing, per_second)
            if self._look() is Outcome.BREACHED:
                return self.now - begin
        return None

    def _serve(self, seconds: float, failing: float, per_second: float) -> None:
        for pod in self.pods:
            share = per_second / len(self.pods) * seconds
            for side, calls, bad in ((CANARY, share, failing), (STABLE, 19 * share, 0.001)):
                failed = poisson(calls * bad, self.random)
                good = poisson(calls * (1 - bad), self.random)
                pod.count(side, finished=failed + good, failed=failed)

    def _look(self) -> Outcome:
        at = START + self.now
        for index, pod in enumerate(self.pods):
            if self.now >= self.due[index]:
                self.due[index] += SCRAPE_SECONDS
                jitter = self.random.gauss(0, 0.03)
                if not self.silent:
                    self.evidence.take(pod.scraped(at + self.clock_off + jitter), at=at)
        if self.evidence.is_due(KEY, expected=PODS, at=at):
            before = self.evidence.before_trouble(KEY, expected=PODS, at=at)
            if before is not None:
                self.judge.judge(before)
            increments = self.evidence.increments(KEY, expected=PODS, at=at)
            self.outcome = self.judge.judge(increments).outcome
        return self.outcome


def undisturbed(route: Route, now: float) -> None:
    """Leaves everything as it is."""


def restarts_of_pods(route: Route, now: float) -> None:
    if now % 20 == 0:
        for pod in route.pods:
            pod.restart(START + now)


def steps_back(route: Route, now: float) -> None:
    """Shows now and then counters that are five lower than they were."""
    for pod in route.pods:
        if route.random.random() < 0.02:
            for counts in pod.sides.values():
                lower = min(5.0, counts.get("finished", 0.0) - counts.get("failed", 0.0))
                for name in ("started", "finished"):
                    counts[name] = counts.get(name, 0.0) - lower


def missing_start_times(route: Route, now: float) -> None:
    for pod in route.pods:
        pod.start_time = None if now % 30 < 2 else 1000.0


def gaps_with_restarts(route: Route, now: float) -> None:
    """Is silent for nine of twenty seconds, in which processes restart now and then."""
    route.silent = now % 20 >= 11
    if now % 60 == 15:
        for pod in route.pods:
            pod.restart(START + now)


def restarts_of_the_operator(route: Route, now: float) -> None:
    if now % 15 == 0:
        route.restart_operator()


DISTURBANCES = (
    undisturbed,
    restarts_of_pods,
    steps_back,
    missing_start_times,
    gaps_with_restarts,
    restarts_of_the_operator,
)


@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("clock_off", [0.0, -5.0, 3600.0])
def test_a_healthy_canary_with_a_bad_past_is_left_alone(
    disturb: Disturbance, clock_off: float
) -> None:
    for seed in range(3):
        route = Route(seed, clock_off=clock_off)
        for pod in route.pods:
            # an earlier run of the same canary failed; its counts are in the counters for good
            pod.count(CANARY, finished=2000, failed=200)
            pod.count(STABLE, finished=2000)
        assert route.run(120, failing=0.005, per_second=20, disturb=disturb) is None


@pytest.mark.parametrize(
    ("disturb", "seconds"),
    [
        (undisturbed, 12),
        (restarts_of_pods, 20),
        (steps_back, 20),
        (missing_start_times, 16),
        (gaps_with_restarts, 40),
        (restarts_of_the_operator, 40),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
@pytest.mark.parametrize("clock_off", [0.0, -5.0])
def test_a_dead_canary_is_found_through_any_disturbance(
    disturb: Disturbance, seconds: float, clock_off: float
) -> None:
    for seed in range(3):
        route = Route(seed, clock_off=clock_off)
        assert route.run(60, failing=0.001, per_second=20, disturb=disturb) is None
        found = route.run(60, failing=1.0, per_second=20, disturb=disturb)
        assert found is not None
        assert found <= seconds
