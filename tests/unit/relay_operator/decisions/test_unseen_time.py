"""What nobody measured passes no step and promotes nothing: an outage of Prometheus, or the time in which no operator ran."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.relay_operator.decisions.canary_lives import (
    CANARY,
    KEY,
    PROGRESSION,
    START,
    Life,
    a_route,
)

from relay_operator.decisions.analysis.verdict import Outcome
from relay_operator.decisions.canary.state import Phase

EVERY = PROGRESSION | {"every": "20m"}
LONG = CANARY | {"progression": EVERY}
BAKED = CANARY | {"bake": "20m"}
Gap = Callable[[Life, float], Life]


def stepping(canary: dict[str, Any] = LONG) -> Life:
    life = Life(a_route(canary=canary))
    life.look()
    life.serve(50, seconds=11)
    life.look()
    assert (life.run.state.phase, life.run.state.weight_percent) == (Phase.PROGRESSING, 25)
    return life


def baking() -> Life:
    life = Life(a_route(canary=BAKED))
    while life.run.state.phase is not Phase.BAKING:
        life.look()
        life.serve(50, seconds=11)
        life.look()
    life.serve(50, seconds=11)
    return life


def prometheus_is_away(life: Life, seconds: float) -> Life:
    for _ in range(int(seconds / 10)):
        life.now += 10
        life.runs.mark_unmeasurable(KEY, message="Prometheus did not answer", now=life.now)
        life.look()
    return life


def no_operator_runs(life: Life, seconds: float) -> Life:
    before = life.counters
    life = life.restarted()
    life.counters = before
    life.now += seconds
    return life


def dies_meanwhile(life: Life) -> None:
    side = ("chat", "canary", life.run.plan.fingerprint)
    life.counters.count(side, finished=5000, failed=5000)


@pytest.mark.parametrize("gap", [prometheus_is_away, no_operator_runs])
@pytest.mark.parametrize("begin", [stepping, baking])
def test_a_canary_that_dies_while_nobody_looks_is_neither_raised_nor_promoted(
    begin: Callable[[], Life], gap: Gap
) -> None:
    life = begin()
    before = life.run.state
    life = gap(life, 1500)
    dies_meanwhile(life)
    for _ in range(8):
        life.serve(50, failed=50, seconds=5)
        life.look()
        assert life.run.state.weight_percent <= before.weight_percent
        assert life.run.state.phase is not Phase.PROMOTED
    assert life.run.state.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("gap", [prometheus_is_away, no_operator_runs])
@pytest.mark.parametrize("begin", [stepping, baking])
def test_a_step_lasts_longer_by_the_time_in_which_nothing_was_measured(
    begin: Callable[[], Life], gap: Gap
) -> None:
    life = begin()
    before, measured = life.run.state, life.now
    life = gap(life, 1500)
    gap_ends = life.now
    assert gap_ends - measured == 1500
    while life.run.state == before:
        life.serve(20, seconds=10)
        life.look()
        assert life.now < gap_ends + 1300
    assert life.now >= gap_ends + 1100
    assert life.run.state.phase in (Phase.PROGRESSING, Phase.PROMOTED)


def test_a_deadline_waits_for_what_could_not_be_measured() -> None:
    deadline = {"after": "25m", "action": "Rollback"}
    life = stepping(canary=LONG | {"progression": EVERY | {"stepDeadline": deadline}})
    prometheus_is_away(life, 1000)
    while life.run.state.weight_percent == 25:
        life.serve(20, seconds=10)
        life.look()
    assert life.run.state.weight_percent == 50


def test_status_says_that_a_step_lasts_longer() -> None:
    life = prometheus_is_away(stepping(), 300)
    for _ in range(3):
        life.serve(20, seconds=15)
        life.look()
    assert life.run.verdict.outcome is Outcome.HEALTHY
    assert life.status["analysis"]["verdict"] == "Healthy"
    told = life.run.told_decision.message
    assert told.endswith(", and later by the time in which nothing could be measured")
    life.serve(20, seconds=40)
    life.look()
    assert life.status["analysis"]["verdict"] == "Healthy"
    assert life.run.told_decision.message == told


@pytest.mark.parametrize("gap", [prometheus_is_away, no_operator_runs])
def test_after_a_gap_an_approved_step_waits_for_a_few_calls(gap: Gap) -> None:
    life = Life(a_route(canary=CANARY | {"progression": PROGRESSION | {"approval": "Manual"}}))
    life.look()
    life.serve(50, seconds=11)
    life.look()
    assert life.run.state.phase is Phase.HOLDING
    life = gap(life, 120)
    life.run.plan = replace(life.run.plan, approval=life.run.state.step_token)
    for calls, percent in ((4, 25), (1, 50)):
        life.serve(calls, seconds=5)
        life.look()
        assert life.run.state.weight_percent == percent


def test_a_step_without_calls_is_measured_all_the_same() -> None:
    life = stepping()
    while life.run.state.weight_percent == 25:
        life.serve(0, seconds=30)
        life.look()
    assert life.now - START <= 1200 + 45
