"""Deadlines of days end neither early by a clock that is wrong nor much late by one that is set right."""

import pytest
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


@pytest.mark.parametrize("step", [YEAR, 90.0, -90.0, -YEAR])
def test_a_clock_that_is_wrong_for_less_than_an_hour_does_nothing(step: float) -> None:
    machine = Machine()
    machine.run(10.0)
    machine.wall += step
    for minutes in range(1, 59):
        assert machine.run(60.0) == 10.0 + 60.0 * minutes
    machine.wall -= step
    assert machine.run(1.0) == 10.0 + 58 * 60.0 + 1.0
    machine.run(2 * HOUR)
    assert machine.run(1.0) == 10.0 + 58 * 60.0 + 2 * HOUR + 2.0


@pytest.mark.parametrize("step", [YEAR, -YEAR])
def test_a_step_that_stays_is_followed_after_an_hour(step: float) -> None:
    machine = Machine()
    machine.wall += step
    machine.run(1.0)
    machine.run(HOUR + 1.0)
    assert machine.clock() == machine.wall


def test_a_clock_that_steps_on_and_on_is_followed_when_it_stands() -> None:
    machine = Machine()
    for _ in range(5):
        machine.wall += 600.0
        machine.run(HOUR / 2)
    assert machine.clock() == machine.wall - 5 * 600.0
    machine.run(HOUR)
    assert machine.clock() == machine.wall


def test_a_clock_that_is_slewed_is_followed() -> None:
    machine = Machine()
    for _ in range(100):
        machine.wall += 0.4
        machine.run(60.0)
    assert machine.clock() == machine.wall


@given(
    st.lists(
        st.tuples(st.floats(0, 59.0, allow_nan=False), st.floats(-YEAR, YEAR, allow_nan=False)),
        max_size=20,
    )
)
def test_within_an_hour_time_passes_as_it_does_whatever_the_clock_shows(
    steps: list[tuple[float, float]],
) -> None:
    machine = Machine()
    passed = 0.0
    for seconds, step in steps:
        machine.wall += step
        passed += seconds
        # what differs by less than a second is followed
        assert abs(machine.run(seconds) - passed) <= len(steps)
