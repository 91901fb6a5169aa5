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
