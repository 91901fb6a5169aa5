"""Deadlines of days end neither early by a clock that is wrong nor much late by one that is set right."""

from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.api_keys.steady_clock import SteadyClock

HOUR = 3600.0
YEAR = 366 * 24 * HOUR


class Machine:
    """A wall clock that somebody steps, and one that only runs."""

    def __init__(self) -> None:
        self.wall = 1_780_000_000.0
        self.elapsed = 5.0
        self.clock = SteadyClock(wall=lambda: self.wall, monotonic=lambda: self.elapsed)
        self.start = self.clock()

    def run(self, seconds: float) -> float:
        """Lets time pass; returns how much passed by the steady clock since the start."""
        self.wall += seconds
        self.elapsed += seconds
        return self.clock() - self.start


def test_time_passes_as_it_does() -> None:
    machine = Machine()
    assert machine.run(100.0) == 100.0


def test_a_clock_that_is_ahead_for_less_than_an_hour_ends_nothing_early() -> None:
    machine = Machine()
    machine.run(10.0)
    machine.wall += YEAR
    for minutes in range(1, 59):
        assert machine.run(60.0) == 10.0 + 60.0 * minutes
    machine.wall -= YEAR
    assert machine.run(1.0) == 10.0 + 58 * 60.0 + 1.0
    machine.run(2 * HOUR)
    assert machine.run(1.0) == 10.0 + 58 * 60.0 + 2 * HOUR + 2.0


def test_a_step_forward_that_stays_is_followed_after_an_hour() -> None:
    machine = Machine()
    machine.wall += YEAR
    machine.run(1.0)
    machine.run(HOUR + 1.0)
    assert machine.clock() == machine.wall


def test_a_step_back_is_followed_at_once() -> None:
    machine = Machine()
    machine.wall -= YEAR
    assert machine.run(1.0) == 1.0 - YEAR


def test_a_clock_that_is_slewed_is_followed() -> None:
    machine = Machine()
    for _ in range(100):
        machine.wall += 0.4
        machine.run(60.0)
    assert machine.clock() == machine.wall


@given(
    st.lists(
        st.tuples(st.floats(0, HOUR / 2, allow_nan=False), st.floats(-YEAR, YEAR, allow_nan=False)),
        max_size=20,
    )
)
def test_it_never_runs_ahead_of_the_machines_clock(steps: list[tuple[float, float]]) -> None:
    machine = Machine()
    for seconds, step in steps:
        machine.wall += step
        machine.run(seconds)
        assert machine.clock() <= machine.wall + 1e-3
