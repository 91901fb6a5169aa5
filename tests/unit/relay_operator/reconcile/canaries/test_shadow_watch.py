"""The phase Shadowing in the whole operator: calls are copied and compared before any weight."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.decisions.analysis.shadow_evidence import ShadowQuestion
from relay_operator.names import ANNOTATION_RETRY

SPACE = "relay-finance"
SHADOW = {"percent": 10, "minDuration": "60s", "minRequests": 100}
CANARY = {
    "provider": "new",
    "percent": 100,
    "progression": {"stepPercent": 25, "every": "10s", "minRequests": 20},
    "shadow": SHADOW,
}
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}


async def shadowed(**canary: Any) -> tuple[Stage, Life, dict[str, Any]]:
    """Returns a canary whose preflight has passed."""
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy", "new")
    await stage.settle()
    made = stage.route(canary=CANARY | canary, analysis=ANALYSIS)
    await stage.settle()
    assert status(stage)["phase"] == "Shadowing"
    return stage, life, made


def status(stage: Stage) -> dict[str, Any]:
    return stage.status("RelayRoute", "chat", tenant="finance")


def served(stage: Stage) -> tuple[int, int]:
    """Returns the canary's weight and the share of calls that are copied, as the pod has them."""
    [document] = stage.relays.documents.values()
    [route] = document.tenant.routes
    return route.canary_percent, route.shadow_percent


def ready(stage: Stage) -> dict[str, Any]:
    return stage.condition("RelayRoute", "chat", "Ready", tenant="finance")


def asked(stage: Stage) -> int:
    return sum(isinstance(one, ShadowQuestion) for one in stage.samples.questions)


@in_virtual_time
async def test_calls_are_copied_before_any_weight_and_status_tells_how_they_compare() -> None:
    stage, life, made = await shadowed()
    assert served(stage) == (0, 10)
    assert (ready(stage)["status"], ready(stage)["reason"]) == ("True", "Shadowing")
    stage.copy(made, match=80, tokens=20)
    stage.copy(made, pair="stable", match=9, tokens=1)
    await stage.settle(40)
    told = status(stage)["shadow"]
    assert (told["compared"], told["matched"], told["failed"]) == (100, 80, 0)
    assert told["stable"] == {"compared": 10, "matched": 9, "failed": 0}
    assert told["differences"] == [{"kind": "tokens", "canary": 20, "stable": 1}]
    assert served(stage) == (0, 10)
    await stage.settle(40)
    assert (status(stage)["phase"], served(stage)) == ("Progressing", (25, 10))
    assert status(stage)["shadow"]["compared"] == 100
    assert sorted(stage.moves()) == ["Shadowing", "Started"]
    await life.end()


@in_virtual_time
async def test_copies_that_fail_end_the_run_with_their_figures_and_are_made_no_more() -> None:
    stage, life, made = await shadowed()
    for _ in range(8):
        stage.copy(made, match=8, failed=2)
        await stage.settle(2)
    assert (status(stage)["phase"], served(stage)) == ("RolledBack", (0, 0))
    assert "copies failed (20 %, limit 1 %)" in status(stage)["cause"]
    assert (ready(stage)["status"], ready(stage)["reason"]) == ("False", "RolledBack")
    assert sorted(stage.moves()) == ["Shadowing", "SloBreach"]
    await life.end()


@in_virtual_time
@pytest.mark.parametrize("percent", [0, 100])
async def test_percent_zero_does_not_hide_that_the_copies_ended_the_run(percent: int) -> None:
    stage, life, made = await shadowed(percent=percent)
    for _ in range(8):
        stage.copy(made, match=8, failed=2)
        await stage.settle(2)
    stage.route(canary=CANARY | {"percent": 0}, analysis=ANALYSIS)
    await stage.settle(120)
    assert (status(stage)["phase"], served(stage)) == ("RolledBack", (0, 0))
    assert (ready(stage)["status"], ready(stage)["reason"]) == ("False", "RolledBack")
    assert "copies failed (20 %, limit 1 %)" in ready(stage)["message"]
    await life.end()
    life = await stage.operator()
    await stage.settle(5)
    assert (status(stage)["phase"], served(stage)) == ("RolledBack", (0, 0))
    retry = {ANNOTATION_RETRY: f"{status(stage)['canaryFingerprint']}/1/force"}
    stage.route(canary=CANARY | {"percent": 0}, analysis=ANALYSIS, annotations=retry)
    await stage.settle(30)
    assert (status(stage)["phase"], served(stage)) == ("Shadowing", (0, 10))
    await life.end()


@in_virtual_time
async def test_no_call_is_copied_to_a_canary_that_begins_paused() -> None:
    stage, life, _ = await shadowed()
    stage.route(
        canary=CANARY | {"provider": "legacy", "model": "m"}, analysis=ANALYSIS, paused=True
    )
    await stage.settle(30)
    assert (status(stage)["phase"], served(stage)) == ("Paused", (0, 0))
    stage.route(canary=CANARY | {"provider": "legacy", "model": "m"}, analysis=ANALYSIS)
    await stage.settle(5)
    assert (status(stage)["phase"], served(stage)) == ("Shadowing", (0, 10))
    await life.end()


@in_virtual_time
async def test_no_call_is_copied_to_a_canary_with_weight_taken_back() -> None:
    stage, life, made = await shadowed()
    stage.copy(made, match=100)
    await stage.settle(80)
    assert served(stage) == (25, 10)
    stage.route(canary=CANARY | {"percent": 0}, analysis=ANALYSIS)
    await stage.settle(0.3)
    assert (status(stage)["phase"], served(stage)) == ("Stable", (0, 0))
    await life.end()


REFUSED: dict[str, Any] = {"analysis": ANALYSIS, "fallback": [{"provider": "nobody"}]}


@in_virtual_time
async def test_a_breach_ends_the_copies_also_under_a_spec_that_is_refused() -> None:
    stage, life, made = await shadowed()
    stage.route(canary=CANARY, **REFUSED)
    await stage.settle(2)
    assert (ready(stage)["reason"], served(stage)) == ("ProviderNotFound", (0, 10))
    for _ in range(8):
        stage.copy(made, match=8, failed=2)
        await stage.settle(2)
    assert (status(stage)["phase"], served(stage)) == ("RolledBack", (0, 0))
    await life.end()


@in_virtual_time
@pytest.mark.parametrize(
    "spec",
    [
        {"canary": CANARY | {"percent": 0}},
        {"canary": {"provider": "new", "percent": 100}},
        {"canary": CANARY | {"shadow": {"percent": 0}}},
        {},
        {"canary": {"provider": "new", "percent": 0}, "nonsense": True},
    ],
    ids=["percent", "no shadow", "no copies", "no canary", "invalid"],
)
async def test_a_refused_spec_takes_the_copies_away(spec: dict[str, Any]) -> None:
    stage, life, _ = await shadowed()
    stage.route(**REFUSED | spec)
    await stage.settle(2)
    assert served(stage) == (0, 0)
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle(2)
    assert served(stage) == (0, 10)
    await life.end()


@in_virtual_time
async def test_a_refused_spec_leaves_the_copies_that_percent_zero_had_before() -> None:
    stage, life, _ = await shadowed(percent=0)
    stage.route(canary=CANARY | {"percent": 0}, **REFUSED)
    await stage.settle(5)
    assert (ready(stage)["reason"], served(stage)) == ("ProviderNotFound", (0, 10))
    await life.end()
    life = await stage.operator()
    await stage.settle(5)
    assert served(stage) == (0, 10)
    assert life.changes == []
    await life.end()


@in_virtual_time
async def test_differences_hold_where_the_spec_says_so_and_are_told_once() -> None:
    stage, life, made = await shadowed(shadow=SHADOW | {"maxDifferencePercent": 5})
    stage.copy(made, match=80, tool_calls=20)
    await stage.settle(120)
    assert (status(stage)["phase"], served(stage)[0]) == ("Shadowing", 0)
    assert (ready(stage)["status"], ready(stage)["reason"]) == ("False", "ShadowDiffers")
    assert stage.moves().count("ShadowDiffers") == 1
    stage.copy(made, match=900)
    await stage.settle(40)
    assert served(stage)[0] == 25
    await life.end()


@in_virtual_time
async def test_without_prometheus_the_canary_waits_and_says_why() -> None:
    stage, life, made = await shadowed()
    stage.samples.problem = "Prometheus did not answer: Timeout"
    stage.copy(made, match=500)
    await stage.settle(120)
    assert served(stage)[0] == 0
    assert "Prometheus did not answer" in ready(stage)["message"]
    stage.samples.problem = ""
    stage.copy(made, match=500)
    await stage.settle(20)
    stage.copy(made, match=500)
    await stage.settle(20)
    assert served(stage)[0] == 25
    await life.end()


@in_virtual_time
async def test_a_restart_goes_on_with_what_was_counted() -> None:
    stage, life, made = await shadowed()
    await stage.settle(2)
    stage.copy(made, match=90)
    await stage.settle(40)
    before = status(stage)
    await life.end()
    life = await stage.operator()
    await stage.settle(2)
    assert status(stage) == before
    assert life.changes == []
    await stage.settle(60)
    assert (status(stage)["phase"], status(stage)["shadow"]["compared"]) == ("Shadowing", 90)
    stage.copy(made, match=10)
    await stage.settle(10)
    assert served(stage)[0] == 25
    await life.end()


@in_virtual_time
async def test_prometheus_is_asked_about_copies_only_while_a_route_is_in_the_phase() -> None:
    stage, life, made = await shadowed()
    assert asked(stage) > 0
    stage.copy(made, match=100)
    await stage.settle(80)
    assert served(stage)[0] == 25
    before = asked(stage)
    await stage.settle(60)
    assert asked(stage) == before
    await life.end()


@in_virtual_time
async def test_copies_without_least_time_and_number_hold_nothing() -> None:
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy", "new")
    stage.route(canary=CANARY | {"shadow": {"percent": 10}}, analysis=ANALYSIS)
    await stage.settle()
    assert (status(stage)["phase"], served(stage)) == ("Progressing", (25, 10))
    assert asked(stage) == 0
    assert "shadow" not in status(stage)
    await life.end()


@in_virtual_time
async def test_a_canary_of_no_percent_is_shadowed_until_a_person_raises_it() -> None:
    stage, life, made = await shadowed(percent=0)
    await stage.settle(2)
    stage.copy(made, match=100)
    await stage.settle(120)
    assert (status(stage)["phase"], served(stage)) == ("Shadowing", (0, 10))
    assert "raise spec.canary.percent" in ready(stage)["message"]
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    assert served(stage)[0] == 25
    stage.route(canary=CANARY | {"percent": 0}, analysis=ANALYSIS)
    await stage.settle(0.3)
    assert served(stage)[0] == 0
    await life.end()
