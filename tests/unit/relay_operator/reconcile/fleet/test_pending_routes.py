"""Routes that wait for what others bring: woken when it comes, and asking the more seldom the longer it does not."""

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SYSTEM
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.reconcile.fleet.pending_routes import PendingRoutes
from relay_operator.reconcile.work_queue import Key

CHAT = ("relay-finance", "chat")
ROUTES = 20


def test_a_pause_is_a_tenth_of_what_a_route_has_waited() -> None:
    pending, now, looks = PendingRoutes(), 0.0, 0
    while now < 3600:
        pause = pending.pause_seconds(CHAT, "unread", now=now)
        assert pause <= max(0.25, 0.1 * now + 1e-9)
        assert pause <= 30
        now, looks = now + pause, looks + 1
    # not the 14,400 of four a second: most of these are of 30 s
    assert looks < 180


def test_another_thing_to_wait_for_is_asked_for_at_once() -> None:
    pending = PendingRoutes()
    pending.pause_seconds(CHAT, "unread", now=0.0)
    assert pending.pause_seconds(CHAT, "unread", now=100.0) == pytest.approx(10)
    assert pending.pause_seconds(CHAT, "key", now=100.0) == 0.25
    pending.forget(CHAT)
    assert pending.pause_seconds(CHAT, "key", now=200.0) == 0.25


def _looks(life: Life) -> list[Key]:
    """Keeps every key that a worker takes."""
    taken: list[Key] = []
    reconcile = life.workers._reconcile

    async def noted(key: Key) -> None:
        taken.append(key)
        await reconcile(key)

    life.workers._reconcile = noted  # type: ignore[method-assign]
    return taken


@in_virtual_time
async def test_routes_whose_provider_cannot_be_read_ask_seldom_and_are_woken_when_it_is() -> None:
    stage = Stage()
    service = {"namespace": SYSTEM, "name": "llm", "port": 80}
    stage.server.put(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "llm", "namespace": SYSTEM},
            "spec": {"selector": {"app": "llm"}, "ports": [{"port": 80, "targetPort": 80}]},
        }
    )
    stage.provider("own", endpoint={"serviceRef": service})
    stage.tenant()
    first = await stage.operator()
    await stage.settle()
    stage.pod()
    for number in range(ROUTES):
        stage.route(f"r{number}", match={"models": [f"m{number}"]}, stable={"provider": "own"})
    await stage.settle(30)
    await first.end()
    # the operator starts anew, and Services cannot be read
    second = stage.life()
    second.api.failures.statuses["Service"] = 503
    looks = _looks(second)
    await second.start()
    await stage.settle(120)
    asked = [key for key in looks if key.kind == "RelayRoute"]
    # four a second of each would be 9,600
    assert len(asked) < ROUTES * 60
    stage.route("r0", match={"models": ["m0", "more"]}, stable={"provider": "own"})
    await stage.settle(5)
    second.api.failures.statuses.clear()
    looks.clear()
    await stage.settle(31)
    assert {key.name for key in looks if key.kind == "RelayRoute"} >= {
        f"r{number}" for number in range(ROUTES)
    }
    told = stage.status("RelayRoute", "r0", tenant="finance")
    assert told["observedGeneration"] == 2
    await second.end()
