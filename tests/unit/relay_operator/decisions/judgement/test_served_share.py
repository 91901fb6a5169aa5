"""The share that the canary serves, beside the one asked for: told when it lasts, and no verdict."""

import random

import pytest

from relay_operator.decisions.judgement.served_share import CALLS_OF_A_SESSION, ServedShare


def served(asked: int, canary: float, stable: float, *, seconds: int = 300) -> ServedShare:
    found = ServedShare()
    for _ in range(seconds):
        found.tick(1.0, asked_percent=asked, canary=canary, stable=stable)
    return found


@pytest.mark.parametrize(("canary", "stable"), [(12, 88), (50, 50), (0, 100)])
def test_a_lasting_deviation_is_told_with_its_interval(canary: float, stable: float) -> None:
    found = served(25, canary, stable)
    assert found.deviates
    assert f"the canary serves {canary:g}" in found.finding
    assert "the route asks for 25 %" in found.finding
    row = found.row()
    assert row is not None
    assert (row.name, row.limit, row.message) == ("Share", "25 % asked", found.finding)
    assert row.evidence.endswith(" %")


def test_what_is_asked_is_no_deviation() -> None:
    found = served(25, 25, 75)
    assert not found.deviates
    assert found.finding == ""
    row = found.row()
    assert row is not None
    assert row.canary == "7500 of 30000 (25 %)"


@pytest.mark.parametrize(("canary", "stable", "seconds"), [(12, 88, 100), (0.05, 0.5, 300)])
def test_a_short_deviation_and_one_of_few_calls_are_not_told(
    canary: float, stable: float, seconds: int
) -> None:
    assert not served(25, canary, stable, seconds=seconds).deviates


def test_another_weight_begins_anew() -> None:
    found = served(25, 12, 88)
    found.tick(1.0, asked_percent=50, canary=1, stable=1)
    assert not found.deviates
    assert (found.canary, found.stable) == (1, 1)


def test_a_side_with_all_calls_or_none_has_no_row() -> None:
    assert served(100, 10, 0).row() is None
    assert served(0, 0, 10).row() is None
    assert ServedShare(25).row() is None


def test_sessions_that_are_drawn_as_asked_hardly_ever_deviate() -> None:
    told = 0
    for seed in range(200):
        draw = random.Random(seed)
        found = ServedShare(25)
        for _ in range(200):
            sides = [draw.random() < 0.25 for _ in range(3)]
            canary = CALLS_OF_A_SESSION * sum(sides)
            found.tick(1.0, asked_percent=25, canary=canary, stable=3 * CALLS_OF_A_SESSION - canary)
        told += found.deviates
    assert told <= 2
