"""Clocks of hosts that are set, or differ: a step is neither skipped nor repeated, and nobody waits for hours."""

import asyncio
from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile import scenes
from tests.unit.relay_operator.reconcile.scenes import ANALYSIS, CANARY, SPACE, until, with_a_tenant
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.decisions.timestamps import from_text

HOUR = 3600.0
EVERY = 60.0
SLOW = CANARY | {"progression": {"stepPercent": 25, "every": "60s", "minRequests": 20}}
by_an_hour = pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["forward", "back"])


def weight(stage: Stage) -> int | None:
    return stage.relays.weight("relay-1", "chat", namespace=SPACE)


def route(stage: Stage) -> dict[str, Any]:
    return stage.status("RelayRoute", "chat", tenant="finance")


async def a_climb(stage: Stage, canary: dict[str, Any] = SLOW) -> dict[str, Any]:
    """Begins a canary; returns its route at the moment of its first step."""
    await with_a_tenant(stage)
    made = stage.route(canary=canary, analysis=ANALYSIS)
    await until(stage, lambda: weight(stage) == 25)
    return made


async def seconds_until(stage: Stage, made: dict[str, Any], percent: int) -> float:
    """Lets calls go well until the canary has that weight."""
    began = asyncio.get_running_loop().time()
    while weight(stage) != percent:
        assert asyncio.get_running_loop().time() - began < 2 * EVERY
        stage.serve(made, 10)
        await stage.settle(0.5)
    return asyncio.get_running_loop().time() - began


@by_an_hour
def test_a_step_lasts_as_long_when_the_clock_is_set_meanwhile(seconds: float) -> None:
    @in_virtual_time
    async def story() -> None:
        stage = Stage()
        life = await stage.operator()
        made = await a_climb(stage)
        await stage.settle(20)
        life.clock_ahead = seconds
        assert await seconds_until(stage, made, 50) == pytest.approx(EVERY - 20, abs=2)
        assert await seconds_until(stage, made, 75) == pytest.approx(EVERY, abs=2)
        assert sorted(stage.moves()) == ["Started", "StepPassed", "StepPassed"]
        await life.end()

    story()


@by_an_hour
def test_status_tells_the_time_of_day_and_is_kept_up(seconds: float) -> None:
    @in_virtual_time
    async def story() -> None:
        stage = Stage()
        life = await stage.operator()
        made = await a_climb(stage)
        before = route(stage)["step"]
        life.clock_ahead = seconds
        await stage.settle(1)
        shown = [from_text(one["startedAt"]) for one in (before, route(stage)["step"])]
        assert shown[1] - shown[0] == pytest.approx(seconds, abs=0.01)
        for _ in range(80):
            stage.serve(made, 10)
            await stage.settle(1)
        measured = from_text(route(stage)["analysis"]["measuredAt"])
        assert measured == pytest.approx(stage.clock.now + seconds, abs=62)
        await life.end()

    story()


@by_an_hour
def test_a_breach_is_rolled_back_as_soon_after_the_clock_was_set(seconds: float) -> None:
    @in_virtual_time
    async def story() -> None:
        stage = Stage()
        life = await stage.operator()
        made = await a_climb(stage)
        await stage.settle(5)
        life.clock_ahead = seconds
        await stage.fail(made)
        await stage.settle(2)
        assert weight(stage) == 0
        assert sorted(stage.moves()) == ["SloBreach", "Started"]
        await life.end()

    story()


@by_an_hour
def test_a_canary_bakes_as_long_when_the_clock_is_set_meanwhile(seconds: float) -> None:
    @in_virtual_time
    async def story() -> None:
        stage = Stage()
        life = await stage.operator()
        canary = CANARY | {
            "bake": "60s",
            "progression": {"stepPercent": 100, "every": "10s", "minRequests": 20},
        }
        await with_a_tenant(stage)
        made = stage.route(canary=canary, analysis=ANALYSIS)
        await until(stage, lambda: weight(stage) == 100)
        while scenes.phase(stage) != "Baking":
            stage.serve(made, 10)
            await stage.settle(0.5)
        began = asyncio.get_running_loop().time()
        life.clock_ahead = seconds
        while scenes.phase(stage) != "Promoted":
            stage.serve(made, 10)
            await stage.settle(0.5)
        assert asyncio.get_running_loop().time() - began == pytest.approx(60, abs=2)
        await life.end()

    story()


@by_an_hour
def test_copies_are_waited_for_as_long_when_the_clock_is_set_meanwhile(seconds: float) -> None:
    @in_virtual_time
    async def story() -> None:
        stage = Stage()
        life = await stage.operator()
        shadow = {"percent": 10, "minDuration": "60s", "minRequests": 20}
        await with_a_tenant(stage)
        made = stage.route(canary=CANARY | {"shadow": shadow}, analysis=ANALYSIS)
        await until(stage, lambda: scenes.phase(stage) == "Shadowing")
        began = asyncio.get_running_loop().time()
        life.clock_ahead = seconds
        while weight(stage) != 25:
            assert asyncio.get_running_loop().time() - began < 100
            stage.copy(made, match=20)
            await stage.settle(0.5)
        assert asyncio.get_running_loop().time() - began == pytest.approx(60, abs=5)
        await life.end()

    story()


@in_virtual_time
async def test_a_cool_down_does_not_grow_when_the_clock_is_set_back() -> None:
    stage = Stage()
    life = await stage.operator()
    await with_a_tenant(stage)
    analysis = ANALYSIS | {"coolDown": "2m"}
    made = stage.route(canary=CANARY, analysis=analysis)
    await until(stage, lambda: weight(stage) == 25)
    await stage.settle(5)
    await stage.fail(made)
    await until(stage, lambda: scenes.phase(stage) == "RolledBack")
    life.clock_ahead = -HOUR
    token = f"{route(stage)['canaryFingerprint']}/{route(stage)['run']}"
    stage.route(canary=CANARY, analysis=analysis, annotations={"relay-operator.dev/retry": token})
    await stage.settle(60)
    assert weight(stage) == 0
    await stage.settle(80)
    assert weight(stage) == 25
    await life.end()


async def two_operators(stage: Stage, ahead: float) -> tuple[Life, Life]:
    """Lets one operator lead by the Lease, and another one stand by, on a host whose clock is so far ahead."""
    leader = stage.life(elects="first")
    await leader.elect()
    await stage.settle(8)
    standby = stage.life(elects="second", clock_ahead=ahead)
    await standby.elect()
    return leader, standby


@by_an_hour
def test_the_next_leader_goes_on_with_a_step_by_a_clock_that_differs(seconds: float) -> None:
    @in_virtual_time
    async def story() -> None:
        stage = Stage()
        leader, standby = await two_operators(stage, seconds)
        made = await a_climb(stage)
        for _ in range(20):
            stage.serve(made, 10)
            await stage.settle(1)
        moves = stage.moves()
        await leader.end()
        await standby.elector.won.wait()
        # no more of the step than the gap is lost, and nothing of it is skipped
        assert 25 < await seconds_until(stage, made, 50) < EVERY - 20
        assert sorted(stage.moves()) == sorted([*moves, "StepPassed"])
        assert await seconds_until(stage, made, 75) == pytest.approx(EVERY, abs=2)
        await standby.end()

    story()


@by_an_hour
def test_the_next_leader_tells_no_move_again_by_a_clock_that_differs(seconds: float) -> None:
    @in_virtual_time
    async def story() -> None:
        stage = Stage()
        leader, standby = await two_operators(stage, seconds)
        made = await a_climb(stage)
        await seconds_until(stage, made, 50)
        events = stage.events()
        # Events of moves are kept for an hour
        await stage.settle(HOUR - 600)
        for event in stage.server.list("Event"):
            metadata = event["metadata"]
            stage.server.remove("Event", metadata["name"], namespace=metadata["namespace"])
        assert events
        await leader.end()
        await stage.settle(20)
        assert stage.moves() == []
        await standby.end()

    story()


@in_virtual_time
async def test_a_status_from_the_future_keeps_nobody_waiting() -> None:
    """Without a Lease that tells of the former leader's clock."""
    stage = Stage()
    life = stage.life(clock_ahead=HOUR)
    await life.start()
    made = await a_climb(stage)
    await stage.settle(20)
    await life.end()
    again = await stage.operator()
    assert await seconds_until(stage, made, 50) < EVERY + 2
    await again.end()
