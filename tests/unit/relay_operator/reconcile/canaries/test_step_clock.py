"""The clock of canaries: the time of day, which passes as steadily as the machine runs."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.reconcile.canaries.step_clock import StepClock
from relay_operator.reconcile.work_queue import WorkQueue


@dataclass
class Host:
    """The two clocks of a machine; stops are seconds for which the process is stopped after a look at the steady one."""

    steady_seconds: float = 500.0
    ahead: float = 1_780_000_000.0
    stops: list[float] = field(default_factory=list)

    def steady(self) -> float:
        now = self.steady_seconds
        if self.stops:
            self.steady_seconds += self.stops.pop(0)
        return now

    def wall(self) -> float:
        return self.steady_seconds + self.ahead

    def clock(self) -> StepClock:
        canaries = CanaryRuns(evidence=Evidence(scrape_seconds=2))
        canaries.budget.most = 1
        # one in line tells by how much its time is moved
        canaries.budget.wait(("relay-a", "chat"), 0.0)
        self.line = canaries.budget._waiting
        return StepClock(wall=self.wall, steady=self.steady, canaries=canaries, queue=WorkQueue())

    def moved_by(self) -> float:
        return self.line["relay-a", "chat"]


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(-1e5, 1e5)), max_size=30))
def test_it_shows_the_time_of_day_and_what_it_is_set_by_is_moved(
    turns: list[tuple[float, float]],
) -> None:
    host = Host()
    clock, before = host.clock(), host.wall()
    for seconds, set_by in turns:
        host.steady_seconds += seconds
        host.ahead += set_by
        moved, now = host.moved_by(), clock()
        assert abs(now - host.wall()) < 1
        # how long something has lasted is the time that has passed, whatever the clock was set by
        assert now - before - (host.moved_by() - moved) == pytest.approx(seconds, abs=1e-3)
        before = now


@in_virtual_time
async def test_a_process_that_is_stopped_in_the_middle_takes_its_clock_for_set_no_more() -> None:
    host = Host()
    clock = host.clock()
    host.stops = [60.0]
    assert clock() == host.wall()
    assert host.moved_by() == 0
