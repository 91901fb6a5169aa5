"""Tokens of conversations: alike within each, and all of one side."""

import heapq
from dataclasses import dataclass
from math import exp
from random import Random

import pytest

from relay_operator.decisions.judgement.means.token_drift import TokenDrift

LIMIT_PERCENT = 5.0
TICK_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """So many conversations at a time, of which the canary has a share; each has about so many calls, one in 20 s."""

    conversations: int = 20
    canary_share: float = 0.1
    calls: float = 30.0
    drift: float = 1.0
    hours: float = 2.0


def found_at(traffic: Traffic, seed: int) -> float | None:
    """Returns after how many seconds the sides are found to differ by more than the limit."""
    random, drift = Random(seed), TokenDrift()
    calls: list[tuple[float, int, bool, float, int]] = []

    def begin(at: float, number: int) -> None:
        is_canary = random.random() < traffic.canary_share
        tokens = exp(random.gauss(7, 1)) * (traffic.drift if is_canary else 1.0)
        left = 1 + int(random.expovariate(1 / traffic.calls))
        heapq.heappush(calls, (at + random.expovariate(0.05), number, is_canary, tokens, left))

    for number in range(traffic.conversations):
        begin(0.0, number)
    for tick in range(1, int(traffic.hours * 3600 / TICK_SECONDS)):
        sums = {True: [0.0, 0.0], False: [0.0, 0.0]}
        while calls[0][0] <= tick * TICK_SECONDS:
            at, number, is_canary, tokens, left = heapq.heappop(calls)
            sums[is_canary][0] += 1
            sums[is_canary][1] += tokens * exp(random.gauss(0, 0.5))
            if left > 1:
                due = at + random.expovariate(0.05)
                heapq.heappush(calls, (due, number, is_canary, tokens, left - 1))
            else:
                begin(at, number)
        (answers, tokens), (beside, others) = sums[True], sums[False]
        drift.add(answers, tokens, stable_calls=beside, stable_total=others)
        if drift.least_percent > LIMIT_PERCENT:
            return tick * TICK_SECONDS
    return None


@pytest.mark.parametrize("canary_share", [0.1, 0.5])
@pytest.mark.parametrize("conversations", [5, 20, 100])
def test_few_long_conversations_are_no_drift(conversations: int, canary_share: float) -> None:
    traffic = Traffic(conversations=conversations, canary_share=canary_share)
    assert [seed for seed in range(3) if found_at(traffic, seed) is not None] == []


@pytest.mark.parametrize("calls", [1e-9, 30.0])
def test_a_drift_is_found_among_single_calls_and_among_conversations(calls: float) -> None:
    traffic = Traffic(conversations=100, canary_share=0.5, drift=3.0, calls=calls, hours=4.0)
    assert None not in [found_at(traffic, seed) for seed in range(3)]


def test_hours_in_which_calls_take_more_are_no_drift_of_a_canary_that_had_few_before() -> None:
    drift, random = TokenDrift(), Random(1)
    for level, canary, stable in ((1.0, 1, 19), (2.0, 18, 2)):
        for _ in range(1500):
            sums = [
                sum(level * random.uniform(50, 150) for _ in range(n)) for n in (canary, stable)
            ]
            drift.add(canary, sums[0], stable_calls=stable, stable_total=sums[1])
            assert drift.least_percent <= LIMIT_PERCENT
    assert abs(drift.percent) < LIMIT_PERCENT


@pytest.mark.parametrize("healthy_ticks", [10, 300, 1800])
def test_a_canary_that_changes_after_a_while_is_found_soon(healthy_ticks: int) -> None:
    random, drift = Random(healthy_ticks), TokenDrift()
    for tick in range(healthy_ticks + 900):
        level = 8.0 if tick >= healthy_ticks else 1.0
        canary, stable = ([random.uniform(6, 10) for _ in range(8)] for _ in range(2))
        drift.add(8, level * sum(canary), stable_calls=8, stable_total=sum(stable))
        if drift.least_percent > LIMIT_PERCENT:
            break
    assert healthy_ticks < tick < healthy_ticks + 600
