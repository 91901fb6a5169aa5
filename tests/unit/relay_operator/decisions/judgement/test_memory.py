"""What status keeps of the tests: the same judge after a restart, and nothing that decides by itself."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.analysis.increments import Increments, SideIncrements
from relay_operator.decisions.analysis.verdict import LatencyObjective, Objective, Outcome
from relay_operator.decisions.judgement import memory
from relay_operator.decisions.judgement.route_judge import RouteJudge

OBJECTIVE = Objective(
    window_seconds=600,
    min_requests=50,
    max_error_percent=1,
    max_error_increase_points=0.1,
    max_token_drift_percent=5,
    latency=(LatencyObjective(signal="FirstToken", quantile=0.99, max_milliseconds=500),),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=30,
)


def a_tick(at: float, *, failed: float = 0.0, calls: float = 20.0) -> Increments:
    canary = SideIncrements(
        started=calls,
        finished=calls,
        failed=failed,
        reported=calls - failed,
        input_tokens=100 * (calls - failed),
        output_tokens=30 * (calls - failed),
        slow={"FirstToken": (0.0, calls)},
    )
    stable = SideIncrements(started=380, finished=380, slow={"FirstToken": (1.0, 380.0)})
    return Increments(
        now=at, seconds=1.0, canary=canary, stable=stable, fresh_pods=3, expected_pods=3
    )


def a_judge(*, failed: tuple[float, ...]) -> RouteJudge:
    judge = RouteJudge(OBJECTIVE)
    for index, count in enumerate(failed):
        judge.judge(a_tick(1e9 + index, failed=count))
    return judge


@given(st.lists(st.integers(0, 3), max_size=100))
def test_what_is_read_back_is_written_again_as_it_was(failed: list[int]) -> None:
    text = memory.to_text(a_judge(failed=tuple(map(float, failed))))
    assert 0 < len(text) <= memory.LONGEST_TEXT
    after = RouteJudge(OBJECTIVE)
    memory.restore(after, text)
    again = json.loads(memory.to_text(after))
    before = json.loads(text)
    assert again["step"] == before["step"]
    for name, rows in before["tests"].items():
        for old, new in zip(rows, again["tests"][name], strict=True):
            assert new[1:] == pytest.approx(old[1:], rel=1e-3, abs=1e-9)
            assert new[0] <= old[0] + 1e-9


def test_a_restart_delays_a_rollback_and_never_causes_one() -> None:
    before = a_judge(failed=(10.0,) * 4)
    assert before.judge(a_tick(1e9 + 5, failed=10)).outcome is Outcome.BREACHED
    after = RouteJudge(OBJECTIVE)
    memory.restore(after, memory.to_text(before))
    outcomes = [after.judge(a_tick(1e9 + 60 + index)).outcome for index in range(30)]
    assert Outcome.BREACHED not in outcomes
    again = RouteJudge(OBJECTIVE)
    memory.restore(again, memory.to_text(before))
    found = [again.judge(a_tick(1e9 + 60 + index, failed=10)).outcome for index in range(6)]
    assert found[-1] is Outcome.BREACHED


def test_evidence_against_one_limit_is_none_against_another() -> None:
    text = memory.to_text(a_judge(failed=(1.0,) * 20))
    other = Objective(window_seconds=600, min_requests=50, max_error_percent=5)
    judge = RouteJudge(other)
    memory.restore(judge, text)
    test = judge.judged[0].test
    assert test.absolute is not None
    assert test.absolute.wealth.log_wealth == 0
    assert judge.step.failed == 20


@given(JSON)
def test_no_text_whatever_breaks_or_decides(value: Any) -> None:
    template = json.loads(memory.to_text(a_judge(failed=(0.0, 1.0))))
    texts = [json.dumps(value), json.dumps({"version": 1, "tests": value, "step": value})]
    for name in template["tests"]:
        texts.append(json.dumps({**template, "tests": {**template["tests"], name: value}}))
        rows = [value, *template["tests"][name][1:]]
        texts.append(json.dumps({**template, "tests": {name: rows}, "tokens": {"input": value}}))
    for text in texts:
        judge = RouteJudge(OBJECTIVE)
        memory.restore(judge, text)
        assert judge.judge(a_tick(1e9)).outcome is not Outcome.BREACHED
        memory.to_text(judge)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"version":2}', "9" * 9000, '{"version":1,"tests":{"a":[NaN]}}']
)
def test_a_text_that_is_none_begins_anew(text: str) -> None:
    judge = RouteJudge(OBJECTIVE)
    memory.restore(judge, text)
    assert memory.to_text(judge) == memory.to_text(RouteJudge(OBJECTIVE))


def test_no_weights_or_wealth_from_outside_convict() -> None:
    template = json.loads(memory.to_text(a_judge(failed=(0.0, 1.0))))
    for rows in template["tests"].values():
        for row in rows[5:]:
            row[0] = 1e9
    judge = RouteJudge(OBJECTIVE)
    memory.restore(judge, json.dumps(template))
    for one in judge.judged:
        for bound in (one.test.absolute, one.test.excess):
            assert bound is None or not bound.exceeded
    for index in range(60):
        verdict = judge.judge(a_tick(1e9 + index, failed=float(index % 30 == 0)))
        assert verdict.outcome is not Outcome.BREACHED


def test_how_long_calls_take_is_known_to_the_next_life() -> None:
    before, after = RouteJudge(OBJECTIVE), RouteJudge(OBJECTIVE)
    before.stall.known_seconds = 45.0
    memory.restore(after, memory.to_text(before))
    assert after.stall.known_seconds == 45.0
    found = json.loads(memory.to_text(before)) | {"pace": [1e12]}
    memory.restore(after, json.dumps(found))
    # no patience is without an end
    assert after.stall.known_seconds == 3600.0
