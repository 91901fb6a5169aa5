"""Calls that ended with their process or their pod are not taken for calls that hang."""

from collections.abc import Callable

import pytest
from tests.unit.relay_operator.relay_counters import RelayCounters

from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.analysis.scrapes import Subject
from relay_operator.decisions.analysis.verdict import Objective, Outcome
from relay_operator.decisions.judgement.route_judge import RouteJudge

KEY = ("relay-finance", "chat")
CANARY, STABLE = ("chat", "canary", "c" * 12), ("chat", "stable", "5" * 12)
OBJECTIVE = Objective(window_seconds=600, min_requests=50, max_error_percent=1)


class Route:
    """Relay pods that serve a canary seldom, scraped and judged every two seconds."""

    def __init__(self) -> None:
        self.evidence = Evidence(scrape_seconds=2.0)
        self.evidence.follow({KEY: Subject(stable=STABLE[2], canary=CANARY[2])})
        self.judge = RouteJudge(OBJECTIVE)
        self.pods = [RelayCounters(pod=pod) for pod in ("relay-1", "relay-2")]
        self.now = 1_780_000_000.0

    def serve(self, scrapes: int, *, begun: float = 0, finished: float = 0) -> Outcome:
        """Serves stable all the time, and at each scrape so many calls of the canary, on the last pod."""
        for _ in range(scrapes):
            self.now += 2
            for pod in self.pods:
                pod.count(STABLE, finished=2)
                pod.count(CANARY, started=0)
            self.pods[-1].count(CANARY, started=begun, finished=finished)
            for pod in self.pods:
                self.evidence.take(pod.scraped(self.now), at=self.now)
            names = {pod.pod for pod in self.pods}
            self.evidence.question({KEY[0]: names}, at=self.now)
            increments = self.evidence.increments(KEY, expected=names, at=self.now)
            outcome = self.judge.judge(increments, asked_percent=10).outcome
        return outcome


def killed(route: Route) -> None:
    route.pods[-1].restart(route.now)


def scaled_down(route: Route) -> None:
    route.pods.pop()


@pytest.mark.parametrize("lose", [killed, scaled_down])
def test_calls_that_ended_with_their_pod_are_no_stall(lose: Callable[[Route], None]) -> None:
    route = Route()
    route.serve(60, begun=1, finished=1)
    route.serve(4, begun=2)
    lose(route)
    assert route.serve(200) is not Outcome.BREACHED


def test_calls_that_are_under_way_all_the_time_are_one() -> None:
    route = Route()
    route.serve(60, begun=1, finished=1)
    route.serve(4, begun=2)
    assert route.serve(30) is Outcome.BREACHED
