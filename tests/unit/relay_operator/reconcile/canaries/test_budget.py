"""The platform's budget of canaries in the whole operator: who waits, who goes next, and what a restart changes."""

from typing import Any

from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

CANARY = {
    "provider": "new",
    "percent": 100,
    "progression": {"stepPercent": 50, "every": "10s", "minRequests": 20},
}
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}


async def a_stage(most: int, *tenants: str) -> tuple[Stage, Life]:
    """Returns a platform with tenants whose routes may have so many canaries at once."""
    stage = Stage()
    stage.canaries_at_once = most
    for provider in ("legacy", "new"):
        stage.provider(provider)
    for tenant in tenants:
        stage.tenant(tenant)
    life = await stage.operator()
    await stage.settle()
    for tenant in tenants:
        stage.pod(f"relay-{tenant}", tenant=tenant)
    await stage.settle()
    return stage, life


async def begin(stage: Stage, tenant: str, **canary: Any) -> dict[str, Any]:
    made = stage.route(tenant=tenant, canary=CANARY | canary, analysis=ANALYSIS)
    await stage.settle(3)
    return made


def weight(stage: Stage, tenant: str) -> int | None:
    return stage.relays.weight(f"relay-{tenant}", "chat", namespace=f"relay-{tenant}")


def weights(stage: Stage, *tenants: str) -> list[int | None]:
    return [weight(stage, tenant) for tenant in tenants]


def ready(stage: Stage, tenant: str) -> dict[str, Any]:
    return stage.condition("RelayRoute", "chat", "Ready", tenant=tenant)


async def fail(stage: Stage, made: dict[str, Any], tenant: str) -> None:
    """Lets half of a canary's calls fail until it is rolled back."""
    side = (
        "chat",
        "canary",
        stage.status("RelayRoute", "chat", tenant=tenant)["canaryFingerprint"],
    )
    for _ in range(6):
        counters = stage.samples.of(f"relay-{tenant}", f"relay-{tenant}")
        counters.count(side, finished=100, failed=50)
        await stage.settle(1)
    assert made["metadata"]["name"] == "chat"


@in_virtual_time
async def test_canaries_beyond_the_budget_wait_at_no_weight_and_are_told_their_place() -> None:
    stage, life = await a_stage(1, "a", "b", "c")
    first = await begin(stage, "a")
    await begin(stage, "b")
    await begin(stage, "c")
    assert weights(stage, "a", "b", "c") == [50, 0, 0]
    second, third = ready(stage, "b"), ready(stage, "c")
    assert (second["status"], second["reason"]) == ("True", "AwaitingBudget")
    assert second["message"].startswith("waits at 0 % for its turn")
    assert "0 canaries are before it in line" in second["message"]
    assert "1 canary is before it in line" in third["message"]
    assert stage.moves().count("AwaitingBudget") == 2
    # a rollback waits for nothing, and gives its place to the next
    await fail(stage, first, "a")
    await stage.settle(3)
    assert weights(stage, "a", "b", "c") == [0, 50, 0]
    assert "0 canaries are before it in line" in ready(stage, "c")["message"]
    await life.end()


@in_virtual_time
async def test_a_restart_keeps_places_and_the_line() -> None:
    stage, life = await a_stage(1, "c", "b", "a")
    await begin(stage, "c")
    await begin(stage, "b")
    await begin(stage, "a")
    assert weights(stage, "a", "b", "c") == [0, 0, 50]
    await life.end()
    life = await stage.operator()
    await stage.settle(20)
    assert weights(stage, "a", "b", "c") == [0, 0, 50]
    stage.server.remove("RelayRoute", "chat", namespace="relay-c")
    await stage.settle(5)
    assert weights(stage, "a", "b") == [0, 50]
    assert stage.moves().count("AwaitingBudget") == 2
    await life.end()


@in_virtual_time
async def test_what_waits_for_a_person_or_is_settled_gives_its_place_back() -> None:
    stage, life = await a_stage(1, "a", "b", "c")
    settled = await begin(stage, "a", percent=10)
    await begin(stage, "b")
    assert weights(stage, "a", "b") == [10, 0]
    side = ("chat", "canary", stage.status("RelayRoute", "chat", tenant="a")["canaryFingerprint"])
    for _ in range(4):
        stage.samples.of("relay-a", "relay-a").count(side, finished=50)
        await stage.settle(1)
    await stage.settle(3)
    assert weights(stage, "a", "b") == [10, 50]
    stage.route(tenant="b", canary=CANARY, analysis=ANALYSIS, paused=True)
    await begin(stage, "c")
    assert weights(stage, "a", "b", "c") == [10, 50, 50]
    # the paused one has given its place away and waits for it where it is
    stage.route(tenant="b", canary=CANARY, analysis=ANALYSIS)
    side = ("chat", "canary", stage.status("RelayRoute", "chat", tenant="b")["canaryFingerprint"])
    for _ in range(15):
        stage.samples.of("relay-b", "relay-b").count(side, finished=50)
        await stage.settle(1)
    assert weights(stage, "a", "b", "c") == [10, 50, 50]
    assert ready(stage, "b")["reason"] == "AwaitingBudget"
    assert ready(stage, "b")["message"].startswith("waits at 50 % for its turn")
    # lowering never waits
    stage.route(tenant="b", canary=CANARY | {"percent": 5}, analysis=ANALYSIS)
    await stage.settle(2)
    assert weight(stage, "b") == 5
    assert settled["metadata"]["name"] == "chat"
    await life.end()


@in_virtual_time
async def test_a_spec_that_is_refused_leaves_the_line() -> None:
    stage, life = await a_stage(1, "a", "b", "c")
    first = await begin(stage, "a")
    await begin(stage, "b")
    await begin(stage, "c")
    stage.route(tenant="b", canary=CANARY | {"provider": "nobody"}, analysis=ANALYSIS)
    await stage.settle(3)
    await fail(stage, first, "a")
    await stage.settle(3)
    assert weights(stage, "a", "b", "c") == [0, 0, 50]
    await life.end()


@in_virtual_time
async def test_a_weight_that_status_does_not_tell_of_has_its_place_after_a_restart() -> None:
    stage, life = await a_stage(1, "a", "b")
    await begin(stage, "a")
    assert weight(stage, "a") == 50
    await life.end()
    stored = stage.server.stored("RelayRoute", "chat", namespace="relay-a")
    stored["status"] |= {
        "phase": "Preflight",
        "weights": {"stablePercent": 100, "canaryPercent": 0},
    }
    stage.server.put(stored)
    life = await stage.operator()
    await stage.settle(10)
    await begin(stage, "b")
    assert weights(stage, "a", "b") == [50, 0]
    assert ready(stage, "b")["reason"] == "AwaitingBudget"
    await life.end()


@in_virtual_time
async def test_a_canary_whose_spec_is_refused_keeps_its_place_for_a_moment_only() -> None:
    stage, life = await a_stage(1, "a", "b")
    await begin(stage, "a")
    await begin(stage, "b")
    stage.route(tenant="a", canary=CANARY, analysis=ANALYSIS, fallback=[{"provider": "nobody"}])
    await stage.settle(20)
    assert weights(stage, "a", "b") == [50, 0]
    await stage.settle(60)
    assert weights(stage, "a", "b") == [50, 50]
    # mended, it waits at its weight
    stage.route(tenant="a", canary=CANARY, analysis=ANALYSIS)
    side = ("chat", "canary", stage.status("RelayRoute", "chat", tenant="a")["canaryFingerprint"])
    for _ in range(15):
        stage.samples.of("relay-a", "relay-a").count(side, finished=50)
        await stage.settle(1)
    assert ready(stage, "a")["reason"] == "AwaitingBudget"
    assert weights(stage, "a", "b") == [50, 50]
    await life.end()


@in_virtual_time
async def test_a_spec_that_is_mended_soon_has_kept_its_place() -> None:
    stage, life = await a_stage(1, "a", "b")
    await begin(stage, "a")
    await begin(stage, "b")
    stage.route(tenant="a", canary=CANARY, analysis=ANALYSIS, fallback=[{"provider": "nobody"}])
    await stage.settle(20)
    stage.route(tenant="a", canary=CANARY, analysis=ANALYSIS)
    await stage.settle(120)
    assert weights(stage, "a", "b") == [50, 0]
    assert ready(stage, "a")["reason"] != "AwaitingBudget"
    assert ready(stage, "b")["reason"] == "AwaitingBudget"
    await life.end()


@in_virtual_time
async def test_a_canary_in_line_is_not_decided_on_before_it_is_its_turn() -> None:
    stage, life = await a_stage(1, "a", "b")
    first = await begin(stage, "a")
    await begin(stage, "b")
    run = life.canaries.runs["relay-b", "chat"]
    standing = run.standing
    await stage.settle(5)
    assert run.standing is standing
    await fail(stage, first, "a")
    await stage.settle(3)
    assert weights(stage, "a", "b") == [0, 50]
    await life.end()


@in_virtual_time
async def test_a_place_that_nobody_speaks_for_after_a_restart_is_taken_back_soon() -> None:
    stage, life = await a_stage(1, "a", "b")
    await begin(stage, "a")
    await begin(stage, "b")
    assert weights(stage, "a", "b") == [50, 0]
    await life.end()
    stage.server.remove("Tenant", "a")
    life = await stage.operator()
    await stage.settle(40)
    assert weight(stage, "b") == 0
    await stage.settle(40)
    assert weight(stage, "b") == 50
    await life.end()
