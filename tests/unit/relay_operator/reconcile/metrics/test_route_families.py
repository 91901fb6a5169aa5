"""Series about a canary on trial: what it is held to, what speaks against it, and nothing once it is decided well."""

import math
from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.reconcile.metrics.test_state_collector import (
    ROUTE,
    a_canary,
    scraped,
    value,
)
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.decisions import timestamps

ABSOLUTE = ROUTE | {"metric": "Errors", "test": "absolute"}
INCREASE = ROUTE | {"metric": "Errors", "test": "increase"}


def labels_of(life: Life, name: str) -> list[dict[str, str]]:
    return [dict(labels) for found, labels in scraped(life) if found == name]


def limits(**more: Any) -> dict[str, Any]:
    return {"errorRate": {"maxPercent": 1, "maxIncreasePoints": 0.5}, **more}


@in_virtual_time
async def test_a_healthy_canary_has_a_verdict_little_evidence_and_its_limits() -> None:
    stage, life, route = await a_canary(**limits())
    stage.serve(route, 50)
    await stage.settle(12)
    assert labels_of(life, "route_verdict") == [ROUTE | {"verdict": "Healthy", "reason": "Healthy"}]
    assert value(life, "route_canary_target_percent", ROUTE) == 100
    assert value(life, "route_step_requests", ROUTE) == 50
    assert value(life, "route_step_requests_needed", ROUTE) == 20
    assert value(life, "route_evidence_needed_nats", ABSOLUTE) == pytest.approx(math.log(500))
    assert value(life, "route_evidence_needed_nats", INCREASE) == pytest.approx(math.log(1000))
    evidence = value(life, "route_evidence_nats", ABSOLUTE)
    assert evidence is not None
    assert 0 <= evidence < 1
    assert value(life, "route_allowed_ratio", ABSOLUTE) == pytest.approx(0.01)
    assert value(life, "route_rolled_back_timestamp_seconds", ROUTE) is None
    await life.end()


@in_virtual_time
async def test_a_rolled_back_canary_shows_the_evidence_that_convicted_it_and_when() -> None:
    stage, life, route = await a_canary()
    await stage.fail(route)
    await stage.settle()
    evidence = value(life, "route_evidence_nats", ABSOLUTE)
    needed = value(life, "route_evidence_needed_nats", ABSOLUTE)
    assert evidence is not None
    assert needed is not None
    assert evidence >= needed
    [verdict] = labels_of(life, "route_verdict")
    assert verdict["verdict"] == "Breached"
    [told] = stage.status("RelayRoute", "chat", tenant="finance")["rolledBack"]
    at = value(life, "route_rolled_back_timestamp_seconds", ROUTE)
    assert at == pytest.approx(timestamps.from_text(told["at"]), abs=1)
    await life.end()


@in_virtual_time
async def test_limits_of_latency_and_tokens_are_told_where_the_spec_has_them() -> None:
    latency = [{"signal": "FirstToken", "quantile": 0.95, "maxMilliseconds": 1500}]
    stage, life, route = await a_canary(latency=latency, tokens={"maxDriftPercent": 5})
    stage.serve(route, 50)
    await stage.settle(12)
    first_token = ROUTE | {"signal": "FirstToken"}
    assert value(life, "route_latency_limit_seconds", first_token) == 1.5
    slow = ROUTE | {"metric": "FirstToken", "test": "absolute"}
    assert value(life, "route_allowed_ratio", slow) == pytest.approx(0.05)
    assert value(life, "route_token_drift_limit_percent", ROUTE) == 5
    for kind in ("input", "output"):
        assert value(life, "route_token_drift_percent", ROUTE | {"kind": kind}) == 0
    await life.end()


@in_virtual_time
async def test_a_promoted_canary_has_no_series_of_its_trial_any_more() -> None:
    canary = {"provider": "new", "percent": 100}
    stage, life, route = await a_canary(**limits())
    route = stage.route(canary=canary, analysis=limits(minRequests=10))
    for _ in range(8):
        stage.serve(route, 50)
        await stage.settle(12)
    names = {name for name, _ in scraped(life) if name.startswith("route_")}
    assert labels_of(life, "route_phase") == [ROUTE | {"phase": "Promoted"}]
    assert names & {"route_verdict", "route_evidence_nats", "route_step_requests"} == set()
    assert "route_canary_target_percent" in names
    await life.end()
