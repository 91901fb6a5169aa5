"""Bootstrap intervals of the isolation benchmark, on samples whose true difference is known."""

from random import Random

import pytest
from bench.isolation.intervals import difference


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_an_interval_holds_the_difference_that_is_there(shift: float) -> None:
    random = Random(7)
    pairs = [
        (
            [random.gauss(10, 1) for _ in range(400)],
            [random.gauss(10 + shift, 1) for _ in range(400)],
        )
        for _ in range(20)
    ]
    found = difference(pairs, 0.99, seed=1)
    assert found.lower <= shift <= found.upper
    assert found.upper - found.lower < 1
    assert found.delta == pytest.approx(shift, abs=0.5)


def test_pauses_that_hit_both_arms_widen_the_interval_and_move_nothing() -> None:
    random = Random(11)

    def latencies() -> list[float]:
        """A round: now and then the machine pauses for 3 to 30 ms, and calls that are under way wait."""
        values = [random.gauss(10, 1) for _ in range(800)]
        for _ in range(random.randrange(4)):
            start, pause = random.randrange(780), random.uniform(3, 30)
            values[start : start + 20] = [value + pause for value in values[start : start + 20]]
        return values

    pairs = [(latencies(), latencies()) for _ in range(14)]
    found = difference(pairs, 0.99, seed=1)
    assert found.lower <= 0 <= found.upper
    quiet = difference(
        [([random.gauss(10, 1) for _ in range(800)],) * 2 for _ in range(14)], 0.99, seed=1
    )
    assert found.upper - found.lower > quiet.upper - quiet.lower
