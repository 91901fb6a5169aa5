"""Real objects: what the whole operator wrote of a tenant and its route, in virtual time, as the API server stores it."""

from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.canaries.test_by_hand import PROGRESSION, Scene, a_scene

from kubectl_relay.texts.screen import Screen

Body = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The objects at one moment of a story. now is seconds since the epoch."""

    tenant: Body
    route: Body
    providers: list[Body]
    now: float

    def screen(self, width: int = 100, *, has_colour: bool = False) -> Screen:
        return Screen(width=width, has_colour=has_colour, now=self.now)


def told(stage: Stage) -> Told:
    return Told(
        tenant=stage.server.stored("Tenant", "finance"),
        route=stage.server.stored("RelayRoute", "chat", namespace="relay-finance"),
        providers=stage.server.list("Provider"),
        now=stage.clock(),
    )


async def _climbing() -> Scene:
    scene = await a_scene()
    await scene.calls(50)
    await scene.calls(5, seconds=3)
    return scene


async def _rolled_back() -> Scene:
    scene = await a_scene(coolDown="10m")
    await scene.fail()
    return scene


async def _awaiting_approval() -> Scene:
    scene = await a_scene(canary={"progression": PROGRESSION | {"approval": "Manual"}})
    await scene.calls(50)
    return scene


async def _frozen() -> Scene:
    scene = await a_scene(onBreach="Freeze")
    await scene.fail()
    return scene


async def _paused() -> Scene:
    scene = await a_scene()
    scene.apply(paused=True)
    await scene.stage.settle(2)
    return scene


async def _promoted() -> Scene:
    scene = await a_scene()
    for _ in range(6):
        await scene.calls(200)
    return scene


async def _without_canary() -> Scene:
    scene = await a_scene()
    scene.spec.pop("canary")
    scene.apply()
    await scene.stage.settle(2)
    return scene


async def _refused() -> Scene:
    scene = await a_scene()
    scene.apply(stable={"provider": "absent"})
    await scene.stage.settle(2)
    return scene


async def _one_jump() -> Scene:
    scene = await a_scene()
    await scene.calls(50)
    scene.spec["canary"] = {"provider": "third", "percent": 10}
    scene.apply()
    await scene.stage.settle(2)
    return scene


STORIES: dict[str, Callable[[], Awaitable[Scene]]] = {
    "climbing": _climbing,
    "rolled back": _rolled_back,
    "awaiting approval": _awaiting_approval,
    "frozen": _frozen,
    "paused": _paused,
    "promoted": _promoted,
    "without a canary": _without_canary,
    "refused": _refused,
    "one jump": _one_jump,
}


_PLAYED: dict[str, Told] = {}


async def played(story: str) -> Told:
    """Plays a story to its end, once for all tests, and returns what was told then."""
    if story not in _PLAYED:
        scene = await STORIES[story]()
        _PLAYED[story] = told(scene.stage)
        await scene.life.end()
    return deepcopy(_PLAYED[story])
