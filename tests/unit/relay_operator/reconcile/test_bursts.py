"""What a burst of changes of one tenant's routes costs grows as their number does, and delays nobody who takes traffic away."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
from tests.unit.relay_operator.counted_lines import Lines
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

SPACE = "relay-finance"
FEW, MANY = 20, 40
_MOST_GROWTH = 2.3
"""Of the costs of twice as many routes."""
_SOME = 30
"""Calls that do not depend on the number of routes, such as those of the Tenant."""

Change = Callable[[Stage, int], Any]


def _with_canary(stage: Stage, number: int, percent: int) -> None:
    _put(stage, number, canary={"provider": "fresh", "percent": percent})


def _put(stage: Stage, number: int, **spec: Any) -> None:
    stage.route(f"route-{number}", **{"match": {"models": [f"model-{number}"]}, **spec})


def _delete(stage: Stage, number: int) -> None:
    stage.server.remove("RelayRoute", f"route-{number}", namespace=SPACE)


SCENES: dict[str, tuple[Change | None, Change]] = {
    "creations": (None, _put),
    "edits": (_put, lambda stage, n: _put(stage, n, fallback=[{"provider": "legacy"}])),
    "canaries": (_put, lambda stage, n: _with_canary(stage, n, 20)),
    "lower percents": (
        lambda stage, n: _with_canary(stage, n, 20),
        lambda stage, n: _with_canary(stage, n, 0),
    ),
    "deletions": (_put, _delete),
    "refusals": (None, lambda stage, n: _put(stage, n, stable={"provider": "nobody"})),
    "conflicts": (None, lambda stage, n: _put(stage, n, match={"models": ["one"]})),
}


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of a burst: documents composed, bytes pushed to the only pod, calls to the API server, lines of the operator
    that ran.
    """

    documents: int
    pushed_bytes: int
    calls: int
    lines: int


async def a_tenant(stage: Stage) -> Life:
    stage.tenant(apiKeys=[{"name": "default"}])
    for provider in ("legacy", "fresh", "third"):
        stage.provider(provider)
    life = await stage.operator()
    await stage.settle(2)
    stage.pod()
    await stage.settle(3)
    return life


def generation(life: Life) -> int:
    publication = life.publisher.publication(SPACE)
    assert publication is not None
    return publication.generation


async def costs_of(scene: str, routes: int, *, seconds_apart: float) -> Costs:
    stage = Stage()
    before, change = SCENES[scene]
    life = await a_tenant(stage)
    for number in range(routes if before is not None else 0):
        assert before is not None
        before(stage, number)
    await stage.settle(4)
    documents, pushed = generation(life), stage.relays.pushed_bytes
    calls = len(life.api.writes) + life.api.reads
    lines = Lines()
    with lines.being_counted() if not seconds_apart else nullcontext():
        for number in range(routes):
            change(stage, number)
            await stage.settle(seconds_apart)
        await stage.settle(4)
    costs = Costs(
        documents=generation(life) - documents,
        pushed_bytes=stage.relays.pushed_bytes - pushed,
        calls=len(life.api.writes) + life.api.reads - calls,
        lines=lines.count,
    )
    for route in stage.server.list("RelayRoute", namespace=SPACE):
        assert route["status"]["observedGeneration"] == route["metadata"]["generation"]
    await life.end()
    return costs


@pytest.mark.parametrize("scene", SCENES)
@in_virtual_time
async def test_twice_as_many_routes_at_once_cost_twice_as_much(scene: str) -> None:
    few = await costs_of(scene, FEW, seconds_apart=0)
    many = await costs_of(scene, MANY, seconds_apart=0)
    # what takes traffic away is published up to four times before it shares a document
    assert many.documents <= 8
    assert many.documents <= few.documents + 1
    assert many.pushed_bytes <= _MOST_GROWTH * few.pushed_bytes + 2000
    assert many.lines <= _MOST_GROWTH * few.lines
    assert many.calls <= _MOST_GROWTH * few.calls + _SOME


@pytest.mark.parametrize("scene", ["edits", "deletions"])
@in_virtual_time
async def test_routes_that_change_one_after_the_other_do_not_cost_a_document_each(
    scene: str,
) -> None:
    costs = await costs_of(scene, 150, seconds_apart=0.003)
    # two mebibytes a second for the 0.5 s that this takes, and four documents ahead of that
    assert costs.pushed_bytes < 2 * 1024 * 1024 * 0.6 + 4 * 80 * 1024
    assert costs.documents < 75


@in_virtual_time
async def test_a_lower_percent_is_in_force_at_once_in_the_middle_of_a_burst() -> None:
    stage = Stage()
    life = await a_tenant(stage)
    fat = [f"{number:03d}{'m' * 100}" for number in range(64)]
    for number in range(80):
        stage.route(f"fat-{number}", match={"models": [f"{number}-{one}" for one in fat]})
    stage.route("chat", canary={"provider": "fresh", "percent": 40})
    await stage.settle(5)
    assert stage.relays.weight("relay-1", "chat", namespace=SPACE) == 40
    publication = life.publisher.publication(SPACE)
    assert publication is not None
    for number in range(80):
        stage.route(f"fat-{number}", match={"models": [f"{number}-{one}" for one in fat[1:]]})
        if number == 40:
            # the watch delivers within 0.05 s
            await stage.settle(0.06)
    assert publication.pause_seconds() > 0.2
    stage.route("chat", canary={"provider": "fresh", "percent": 5})
    await stage.settle(0.06)
    assert stage.relays.weight("relay-1", "chat", namespace=SPACE) == 5
    await stage.settle(2)
    assert not publication.contents.is_changed
    await life.end()


@in_virtual_time
async def test_a_percent_of_0_and_a_deletion_hardly_wait_after_many_moves_of_canaries() -> None:
    stage = Stage()
    life = await a_tenant(stage)
    canary = {"provider": "fresh", "percent": 40}
    fat = [f"{number:03d}{'m' * 100}" for number in range(64)]
    for number in range(80):
        models = [f"{number}-{one}" for one in fat]
        stage.route(f"fat-{number}", match={"models": models}, canary=canary)
    stage.route("chat", canary=canary)
    stage.route("gone")
    await stage.settle(20)
    publication = life.publisher.publication(SPACE)
    assert publication is not None
    one_interval = len(publication.sealed) / (2 * 1024 * 1024)
    assert one_interval > 0.2
    for number in range(80):
        # as the SLO loop and the breakers do it
        life.publisher.set_weight(SPACE, f"fat-{number}", 39)
        await life.publisher.distribute(SPACE)
        await stage.settle(0.03)
    assert stage.relays.weight("relay-1", "chat", namespace=SPACE) == 40
    stage.route("chat", canary=canary | {"percent": 0})
    stage.server.remove("RelayRoute", "gone", namespace=SPACE)
    # the watch delivers within 0.05 s
    await stage.settle(0.1 + one_interval)
    assert stage.relays.weight("relay-1", "chat", namespace=SPACE) == 0
    assert stage.relays.weight("relay-1", "gone", namespace=SPACE) is None
    await life.end()


@in_virtual_time
async def test_a_route_gets_its_status_while_others_change_all_the_time() -> None:
    stage = Stage()
    life = await a_tenant(stage)
    for number in range(80):
        models = [f"{number}-{one}-{'m' * 100}" for one in range(64)]
        stage.route(f"fat-{number}", match={"models": models})
    await stage.settle(5)
    stage.route("chat")
    for number in range(300):
        stage.route(f"small-{number % 3}", match={"tasks": [f"task-{number}"]})
        await stage.settle(0.01)
        if number == 150:
            assert (
                stage.condition("RelayRoute", "chat", "Ready", tenant="finance")["status"] == "True"
            )
    await life.end()
