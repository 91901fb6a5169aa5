"""The SLO loop: evidence for all active canaries at once, and weight away from those in breach before anything else."""

import asyncio
import logging
from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.decisions.analysis.increments import Increments
from relay_operator.decisions.analysis.verdict import Verdict
from relay_operator.decisions.judgement.route_judge import RouteJudge
from relay_operator.names import Reason

SPACE = "relay-finance"
CANARY = {
    "provider": "new",
    "percent": 100,
    "progression": {"stepPercent": 25, "every": "10s", "minRequests": 20},
}
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}


async def a_canary(*, prometheus: bool = True) -> tuple[Stage, Life, dict[str, Any]]:
    stage = Stage()
    for provider in ("legacy", "new"):
        stage.provider(provider)
    stage.tenant()
    life = stage.life(prometheus=prometheus)
    await life.start()
    await stage.settle()
    stage.pod()
    route = stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    if prometheus:
        stage.serve(route, 0)
        await stage.settle()
    return stage, life, route


def weight(stage: Stage) -> int | None:
    return stage.relays.weight("relay-1", "chat", namespace=SPACE)


def analysis(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = stage.status("RelayRoute", "chat", tenant="finance")["analysis"]
    return found


@in_virtual_time
async def test_a_healthy_canary_climbs_step_by_step_to_its_promotion() -> None:
    stage, life, route = await a_canary()
    seen = [weight(stage)]
    for _ in range(5):
        stage.serve(route, 50)
        await stage.settle(11)
        seen.append(weight(stage))
    assert seen == [25, 50, 75, 100, 100, 100]
    assert stage.status("RelayRoute", "chat", tenant="finance")["phase"] == "Promoted"
    assert sorted(stage.moves()) == [
        "Promoted",
        "Started",
        "StepPassed",
        "StepPassed",
        "StepPassed",
    ]
    await life.end()


@in_virtual_time
async def test_a_climb_goes_on_by_its_steps_while_pods_and_operators_are_replaced() -> None:
    stage, life, route = await a_canary()
    for number in range(2, 9):
        stage.pod(f"relay-{number}", ip=f"10.0.0.{number}")
        await stage.settle(2)
        stage.serve(route, 30)
        await stage.settle(2)
        stage.server.remove("Pod", f"relay-{number - 1}", namespace=SPACE)
        if number % 2:
            await life.end()
            life = await stage.operator()
        await stage.settle(2)
        stage.serve(route, 30)
        await stage.settle(7)
    status = stage.status("RelayRoute", "chat", tenant="finance")
    assert [(one["reason"], one["canaryPercent"]) for one in status["history"]] == [
        ("Started", 25),
        *(("StepPassed", percent) for percent in (50, 75, 100)),
        ("Promoted", 100),
    ]
    await life.end()


@in_virtual_time
async def test_a_breach_reaches_the_relays_within_a_tick_whatever_the_workers_do() -> None:
    stage, life, route = await a_canary()
    # no reconcile of this route can end: its status cannot be written
    life.api.failures.statuses["RelayRoute"] = 503
    await stage.fail(route)
    await stage.settle(0.6)
    assert weight(stage) == 0
    life.api.failures.statuses.clear()
    await stage.settle(60)
    status = stage.status("RelayRoute", "chat", tenant="finance")
    assert status["phase"] == "RolledBack"
    assert sorted(stage.moves()) == ["SloBreach", "Started"]
    event = next(one for one in stage.server.list("Event") if one["reason"] == "SloBreach")
    assert (event["type"], event["message"]) == ("Warning", status["history"][-1]["message"])
    await life.end()


@in_virtual_time
async def test_a_weight_that_could_not_be_stored_is_pushed_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage, life, route = await a_canary()
    life.api.failures.statuses["ConfigMap"] = 503
    with caplog.at_level(logging.WARNING):
        await stage.fail(route)
        await stage.settle(0.6)
    assert weight(stage) == 0
    assert "weights pushed to the relays but not stored yet, will retry" in caplog.messages
    await life.end()


@in_virtual_time
async def test_without_prometheus_configured_nothing_moves_and_status_names_the_setting() -> None:
    stage, life, _ = await a_canary(prometheus=False)
    await stage.settle(31)
    assert weight(stage) == 25
    assert analysis(stage)["reason"] == Reason.PROMETHEUS_UNAVAILABLE
    assert "prometheus.url" in analysis(stage)["message"]
    await life.end()


@in_virtual_time
async def test_a_prometheus_that_fails_moves_nothing_and_a_breach_counts_once_it_answers() -> None:
    stage, life, route = await a_canary()
    stage.samples.problem = "Prometheus did not answer: Timeout"
    await stage.fail(route)
    await stage.settle(31)
    assert weight(stage) == 25
    assert analysis(stage)["message"] == "Prometheus did not answer: Timeout"
    stage.samples.problem = ""
    await stage.settle()
    # nobody knows when in this half minute those failed
    assert weight(stage) == 25
    await stage.fail(route)
    await stage.settle()
    assert weight(stage) == 0
    await life.end()


@in_virtual_time
async def test_an_analysis_without_a_limit_raises_nothing_and_says_why() -> None:
    stage, life, route = await a_canary()
    # an object from before the API server refused that
    stage.route(canary=CANARY, analysis={"window": "5s", "minRequests": 1})
    await stage.settle()
    for _ in range(3):
        stage.serve(route, 100, failed=40)
        await stage.settle(11)
    # within the window again
    stage.serve(route, 100, failed=40)
    await stage.settle(1)
    assert weight(stage) == 25
    assert analysis(stage)["verdict"] == "Inconclusive"
    assert analysis(stage)["reason"] == Reason.NO_LIMIT
    assert "spec.analysis sets no limit" in analysis(stage)["message"]
    await life.end()


@in_virtual_time
async def test_a_canary_that_refuses_what_stable_accepts_is_rolled_back() -> None:
    stage, life, route = await a_canary()
    stable = life.canaries.runs[SPACE, "chat"].stable_fingerprint
    stage.serve(route, 0, refused=0, fingerprint=stable)
    await stage.settle(1)
    for _ in range(4):
        stage.serve(route, 300, refused=6, fingerprint=stable)
        stage.serve(route, 100, refused=100)
        await stage.settle(1)
    assert weight(stage) == 0
    assert analysis(stage)["reason"] == Reason.REFUSES_MORE
    await life.end()


@in_virtual_time
async def test_mistakes_that_both_sides_refuse_alike_stop_no_climb() -> None:
    stage, life, route = await a_canary()
    stable = life.canaries.runs[SPACE, "chat"].stable_fingerprint
    stage.serve(route, 0, refused=0, fingerprint=stable)
    await stage.settle(1)
    for _ in range(5):
        stage.serve(route, 300, refused=30, fingerprint=stable)
        stage.serve(route, 100, refused=10)
        await stage.settle(11)
    assert weight(stage) == 100
    await life.end()


@in_virtual_time
@pytest.mark.parametrize(("throttled", "refused"), [(100, 0), (0, 100), (50, 50)])
async def test_a_canary_that_answers_nothing_is_never_promoted(
    throttled: int, refused: int
) -> None:
    stage, life, route = await a_canary()
    for _ in range(5):
        stage.serve(route, 100, throttled=throttled, refused=refused)
        await stage.settle(11)
    assert weight(stage) == 25
    assert analysis(stage)["verdict"] == "Inconclusive"
    await life.end()


@in_virtual_time
async def test_an_incident_that_stable_shares_is_told_at_once() -> None:
    stage, life, route = await a_canary()
    fingerprint = life.canaries.runs[SPACE, "chat"].stable_fingerprint
    await stage.settle(1)
    assert analysis(stage)["reason"] == Reason.TOO_FEW_REQUESTS
    stage.serve(route, 0, failed=0, fingerprint=fingerprint)
    await stage.settle(1)
    stage.serve(route, 100, failed=50, fingerprint=fingerprint)
    stage.serve(route, 100, failed=50)
    await stage.settle(1)
    assert analysis(stage)["reason"] == Reason.SHARED_INCIDENT
    assert weight(stage) == 25
    await life.end()


@in_virtual_time
async def test_prometheus_is_asked_nothing_without_an_active_canary_and_once_a_tick_with_many() -> (
    None
):
    stage = Stage()
    for provider in ("legacy", "new"):
        stage.provider(provider)
    stage.tenant()
    life = await stage.operator()
    await stage.settle(10)
    assert not stage.samples.questions
    stage.pod()
    for name in ("a", "b", "c"):
        stage.route(name, match={"models": [name]}, canary=CANARY, analysis=ANALYSIS)
    await stage.settle(10)
    before = len(stage.samples.questions)
    await stage.settle(10)
    assert len(stage.samples.questions) - before == 20
    await life.end()


@in_virtual_time
async def test_a_route_deleted_during_a_fetch_is_judged_no_more() -> None:
    stage, life, route = await a_canary()
    stage.serve(route, 100, failed=50)
    stage.samples.meanwhile = lambda: life.canaries.forget((SPACE, "chat"))
    await life.slo_loop.tick(now=stage.clock.now)
    assert (SPACE, "chat") not in life.canaries.runs
    assert weight(stage) == 25
    await life.end()


class FaultyJudge(RouteJudge):
    """A judge with a fault of ours."""

    def judge(self, increments: Increments, *, asked_percent: int = 0) -> Verdict:
        raise ZeroDivisionError


@in_virtual_time
async def test_a_fault_of_ours_with_one_canary_keeps_no_other_from_its_rollback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage, life, _ = await a_canary()
    other = stage.route("other", match={"models": ["gpt-5"]}, canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    stage.serve(other, 0)
    await stage.settle()
    run = life.canaries.runs[SPACE, "chat"]
    assert run.objective is not None
    run.judge = FaultyJudge(run.objective)
    await stage.fail(other)
    await stage.settle(1)
    assert stage.relays.weight("relay-1", "other", namespace=SPACE) == 0
    assert weight(stage) == 25
    assert "canary not looked at" in caplog.messages
    await life.end()


@in_virtual_time
async def test_only_pods_that_serve_are_expected_to_report() -> None:
    stage, life, route = await a_canary()
    stage.pod("relay-2", ready=False)
    await stage.settle()
    stage.serve(route, 4)
    await stage.settle(31)
    assert analysis(stage)["reason"] == Reason.TOO_FEW_REQUESTS
    stage.samples.unscraped = {"relay-3"}
    stage.pod("relay-3")
    await stage.settle(31)
    assert analysis(stage)["reason"] == Reason.NO_DATA
    assert analysis(stage)["message"] == "Prometheus has fresh samples of 1 of 2 relay pods"
    await life.end()


@in_virtual_time
async def test_a_namespace_that_floods_leaves_only_its_own_canaries_unmeasured() -> None:
    stage, life, route = await a_canary()
    await stage.fail(route)
    stage.samples.crowded = {SPACE, "relay-other"}
    await stage.settle(31)
    assert weight(stage) == 25
    assert analysis(stage)["verdict"] == "Unmeasurable"
    assert "more series than can be read" in analysis(stage)["message"]
    stage.samples.crowded = {"relay-other"}
    await stage.settle(2)
    await stage.fail(route)
    await stage.settle(2)
    assert weight(stage) == 0
    await life.end()


@in_virtual_time
async def test_figures_that_cannot_be_move_nothing_and_status_names_their_pod() -> None:
    stage, life, route = await a_canary()
    stage.serve(route, 0, failed=347)
    await stage.settle(31)
    assert weight(stage) == 25
    assert analysis(stage)["verdict"] == "Unmeasurable"
    assert analysis(stage)["reason"] == Reason.IMPOSSIBLE_FIGURES
    assert analysis(stage)["message"] == (
        "relay pod relay-1 reports more failed, throttled and refused than finished attempts of canary; "
        "figures that cannot be are no evidence"
    )
    await life.end()


@in_virtual_time
async def test_what_other_pods_say_of_a_route_is_not_asked_for() -> None:
    stage, life, _ = await a_canary()
    stage.tenant("legal")
    await stage.settle()
    stage.pod("relay-9", tenant="legal")
    await stage.settle()
    asked = {pod for question in stage.samples.questions for pod in question.pods}
    assert asked == {(SPACE, "relay-1")}
    await life.end()


@in_virtual_time
async def test_what_a_breaker_decided_during_a_fetch_is_not_overwritten_by_its_answer() -> None:
    stage, life, _ = await a_canary()

    def trip() -> None:
        stage.samples.meanwhile = lambda: None
        life.canaries.trip((SPACE, "chat"), pods=1, expected_pods=1, now=stage.clock.now)
        assert life.canaries.decide((SPACE, "chat"), now=stage.clock.now)

    stage.samples.problem = "Prometheus did not answer: ConnectionError"
    stage.samples.meanwhile = trip
    await stage.settle(31)
    run = life.canaries.runs[SPACE, "chat"]
    assert run.state.phase == "RolledBack"
    assert run.verdict.reason is Reason.BREAKER_TRIPPED
    await life.end()


@in_virtual_time
async def test_status_keeps_the_figures_that_a_rollback_rests_on() -> None:
    stage, life, route = await a_canary()
    await stage.fail(route)
    await stage.settle(40)
    [errors] = [row for row in analysis(stage)["metrics"] if row["name"] == "Errors"]
    assert errors["canary"].startswith(("100 of 200", "150 of 300", "200 of 400"))
    assert errors["canary"].split(" (")[0] in errors["message"]
    await life.end()


@in_virtual_time
async def test_status_keeps_the_figures_of_a_promoted_canarys_last_step() -> None:
    stage, life, route = await a_canary()
    for _ in range(5):
        stage.serve(route, 50)
        await stage.settle(11)
    assert stage.status("RelayRoute", "chat", tenant="finance")["phase"] == "Promoted"
    [errors] = [row for row in analysis(stage)["metrics"] if row["name"] == "Errors"]
    assert errors["canary"].startswith("0 of 50")
    await life.end()


@in_virtual_time
async def test_canaries_of_a_tenant_that_turn_bad_together_share_one_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, life, first = await a_canary()
    others = [
        stage.route(name, match={"models": [name]}, canary=CANARY, analysis=ANALYSIS)
        for name in ("a", "b", "c")
    ]
    await stage.settle()
    for route in (first, *others):
        stage.serve(route, 10)
    await stage.settle()
    moments: list[float] = []
    distribute = life.publisher.distribute

    async def counted(namespace: str, *, at_once: bool = True) -> None:
        if at_once:
            moments.append(asyncio.get_running_loop().time())
        await distribute(namespace, at_once=at_once)

    monkeypatch.setattr(life.publisher, "distribute", counted)
    for _ in range(4):
        for route in (first, *others):
            stage.serve(route, 100, failed=50)
        await stage.settle(1)
    await stage.settle(2)
    names = [one["metadata"]["name"] for one in (first, *others)]
    assert [stage.relays.weight("relay-1", name, namespace=SPACE) for name in names] == [0] * 4
    assert moments
    assert len(moments) == len(set(moments))
    await life.end()
