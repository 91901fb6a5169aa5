"""Open breakers of relay pods, heard of without Prometheus."""

from typing import Any

from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

SPACE = "relay-finance"
CANARY = {"provider": "new", "percent": 50}
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}


async def a_canary(*, pods: int = 1) -> tuple[Stage, Life, tuple[str, str]]:
    """Returns a canary at 50 % while Prometheus is down, and what its breakers are called."""
    stage = Stage()
    for provider in ("legacy", "new"):
        stage.provider(provider)
    stage.tenant()
    life = stage.life()
    await life.start()
    await stage.settle()
    for number in range(1, pods + 1):
        stage.pod(f"relay-{number}")
    stage.route(canary=CANARY, analysis=ANALYSIS)
    stage.samples.problem = "Prometheus did not answer: Timeout"
    await stage.settle()
    assert weight(stage) == 50
    return stage, life, ("chat", life.canaries.runs[SPACE, "chat"].plan.fingerprint)


def weight(stage: Stage, pod: str = "relay-1") -> int | None:
    return stage.relays.weight(pod, "chat", namespace=SPACE)


def status(stage: Stage) -> dict[str, Any]:
    return stage.status("RelayRoute", "chat", tenant="finance")


@in_virtual_time
async def test_a_failed_probe_rolls_back_within_a_second_without_prometheus() -> None:
    stage, life, breaker = await a_canary()
    stage.relays.open_breakers("relay-1", {breaker: 1})
    await stage.settle(1)
    assert weight(stage) == 0
    await stage.settle(5)
    assert status(stage)["phase"] == "RolledBack"
    (move,) = [one for one in status(stage)["history"] if one["reason"] == "SloBreach"]
    assert "the breakers of 1 of 1 relay pods opened" in move["message"]
    await life.end()


@in_virtual_time
async def test_an_open_breaker_whose_probe_did_not_fail_moves_nothing() -> None:
    stage, life, breaker = await a_canary()
    stage.relays.open_breakers("relay-1", {breaker: 0})
    await stage.settle(40)
    assert weight(stage) == 50
    await life.end()


@in_virtual_time
async def test_a_minority_of_pods_moves_nothing_and_a_majority_does() -> None:
    stage, life, breaker = await a_canary(pods=3)
    stage.relays.open_breakers("relay-1", {breaker: 3})
    await stage.settle(40)
    assert weight(stage) == 50
    stage.relays.open_breakers("relay-3", {breaker: 1})
    await stage.settle(1)
    assert [weight(stage, f"relay-{n}") for n in (1, 2, 3)] == [0, 0, 0]
    await life.end()


@in_virtual_time
async def test_breakers_of_other_canaries_and_of_other_tenants_pods_move_nothing() -> None:
    stage, life, (route, fingerprint) = await a_canary()
    stage.tenant("marketing")
    await stage.settle()
    stage.pod("relay-9", tenant="marketing")
    stage.relays.open_breakers("relay-1", {(route, "another"): 5, ("other", fingerprint): 5})
    stage.relays.open_breakers("relay-9", {(route, fingerprint): 5})
    await stage.settle(40)
    assert weight(stage) == 50
    await life.end()


@in_virtual_time
async def test_a_pod_that_does_not_tell_is_asked_again_and_condemns_nothing_meanwhile() -> None:
    stage, life, breaker = await a_canary()
    stage.relays.silent.add("relay-1")
    stage.relays.open_breakers("relay-1", {breaker: 1})
    await stage.settle(60)
    assert weight(stage) == 50
    stage.relays.silent.clear()
    await stage.settle(31)
    assert weight(stage) == 0
    await life.end()
