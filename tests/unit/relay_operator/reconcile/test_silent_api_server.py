"""The API server does not answer for longer than a lease: who led goes on taking weight away, and does nothing else."""

import asyncio
from typing import Any

from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.scenes import ANALYSIS, CANARY, SPACE, with_a_tenant
from tests.unit.relay_operator.surroundings import SIGNING_KEY
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.document import Document
from relay_contract.seal import unseal
from relay_operator import names
from relay_operator.errors import NotLeading
from relay_operator.reconcile.publishing.lowering import only_lowers

Breaker = tuple[str, str]


async def a_stage(*, standby: bool = False) -> tuple[Stage, Life, Life, dict[str, Any]]:
    """Brings a canary to 50 % by an operator that leads by a Lease; another one stands by if asked for."""
    stage = Stage()
    leader, other = stage.life(elects="first"), stage.life(elects="second")
    await leader.elect()
    await stage.settle(8)
    if standby:
        await other.elect()
    await with_a_tenant(stage)
    made = stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    stage.serve(made, 0)
    await stage.settle()
    stage.serve(made, 50)
    await stage.settle(11)
    assert weight(stage) == 50
    assert leader.elector.rest_seconds() > 0
    return stage, leader, other, made


def weight(stage: Stage) -> int:
    found = stage.relays.weight("relay-1", "chat", namespace=SPACE)
    assert found is not None
    return found


def document(stage: Stage) -> Document:
    """Returns the document in the first relay pod."""
    return stage.relays.documents[first_pod(stage)]


def first_pod(stage: Stage) -> str:
    """Returns the UID of the first relay pod."""
    return str(stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["uid"])


def stored_weight(stage: Stage) -> int:
    """Returns the weight in the ConfigMap."""
    held = stage.server.stored("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=SPACE)
    found, _ = unseal(held["data"]["relay.json"], [SIGNING_KEY.public_key()])
    [route] = found.tenant.routes
    return route.canary_percent


def breaker(life: Life) -> Breaker:
    return "chat", life.canaries.runs[SPACE, "chat"].plan.fingerprint


def told(stage: Stage) -> dict[str, Any]:
    return stage.status("RelayRoute", "chat", tenant="finance")


async def highest_weight(stage: Stage, seconds: float) -> int:
    """Looks at the weight all the time."""
    highest = weight(stage)
    for _ in range(int(seconds / 0.05)):
        await asyncio.sleep(0.05)
        highest = max(highest, weight(stage))
    return highest


@in_virtual_time
async def test_a_breach_after_the_lease_ran_out_is_rolled_back_and_told_once() -> None:
    stage, leader, _, made = await a_stage()
    leader.api.failures.unreachable = True
    await stage.settle(20)
    assert leader.elector.rest_seconds() < 0
    before, moves, writes = document(stage), stage.moves(), len(leader.api.writes)
    await stage.fail(made)
    await stage.settle(1)
    assert weight(stage) == 0
    assert only_lowers(before, document(stage))
    await stage.settle(60)
    assert (len(leader.api.writes), stage.moves(), stored_weight(stage)) == (writes, moves, 50)
    leader.api.failures.unreachable = False
    assert await highest_weight(stage, 60) == 0
    assert stored_weight(stage) == 0
    assert told(stage)["phase"] == "RolledBack"
    assert sorted(stage.moves()) == sorted([*moves, "SloBreach"])
    assert leader.elector.epoch == 1
    await leader.end()


@in_virtual_time
async def test_nothing_else_is_pushed_until_the_api_server_answers() -> None:
    stage, leader, _, made = await a_stage()
    leader.api.failures.unreachable = True
    await stage.settle(6)
    before, pushes = document(stage), stage.relays.pushes
    stage.route("other", match={"models": ["m"]})
    stage.route(canary={**CANARY, "percent": 100}, analysis=ANALYSIS, fallback=[])
    for _ in range(6):
        stage.serve(made, 100)
        await stage.settle(10)
    assert document(stage) == before
    # by breakers, so that the calls that went well do not speak against it
    stage.relays.open_breakers("relay-1", {breaker(leader): 1})
    await stage.settle(2)
    assert only_lowers(before, document(stage))
    assert weight(stage) == 0
    assert stage.relays.pushes > pushes
    leader.api.failures.unreachable = False
    await stage.settle(40)
    assert [route.name for route in document(stage).tenant.routes] == ["chat", "other"]
    assert weight(stage) == 0
    await leader.end()


@in_virtual_time
async def test_without_a_breach_the_canary_stays_and_climbs_on_afterwards() -> None:
    stage, leader, _, made = await a_stage()
    leader.api.failures.unreachable = True
    await stage.settle(6)
    before = document(stage)
    for _ in range(6):
        stage.serve(made, 100)
        await stage.settle(10)
    assert document(stage) == before
    leader.api.failures.unreachable = False
    for _ in range(4):
        stage.serve(made, 100)
        await stage.settle(11)
    assert weight(stage) > 50
    await leader.end()


@in_virtual_time
async def test_who_takes_over_does_not_raise_what_the_former_leader_took_away() -> None:
    stage, leader, standby, _ = await a_stage(standby=True)
    moves = stage.moves()
    leader.api.failures.unreachable = True
    while leader.elector.rest_seconds() > 0:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.05)
    assert not standby.elector.won.is_set()
    stage.relays.open_breakers("relay-1", {breaker(leader): 1})
    await asyncio.sleep(0.3)
    assert not standby.elector.won.is_set()
    assert weight(stage) == 0
    # so that the standby hears of it from nothing but the document
    stage.relays.open_breakers("relay-1", {})
    assert await highest_weight(stage, 60) == 0
    assert standby.elector.rest_seconds() > 0
    assert stored_weight(stage) == 0
    assert told(stage)["phase"] == "RolledBack"
    leader.api.failures.unreachable = False
    assert await highest_weight(stage, 60) == 0
    assert sorted(stage.moves()) == sorted([*moves, "Unrecorded"])
    assert leader.elector.lost.is_set()
    await leader.end()
    await standby.end()


@in_virtual_time
async def test_a_relay_that_met_the_next_leader_ends_the_brake_of_the_former_one() -> None:
    stage, leader, standby, _ = await a_stage(standby=True)
    leader.api.failures.unreachable = True
    await stage.settle(10)
    assert standby.elector.rest_seconds() > 0
    assert leader.elector.may_brake()
    before = document(stage)
    leader.publisher.set_weight(SPACE, "chat", 0)
    try:
        await leader.publisher.distribute(SPACE)
    except NotLeading:
        pass
    else:
        raise AssertionError("the document was written")
    assert document(stage) == before
    assert not leader.elector.may_brake()
    await stage.settle(30)
    assert document(stage) == before
    await leader.end()
    await standby.end()


@in_virtual_time
async def test_a_leader_that_was_stopped_pushes_nothing() -> None:
    for answers_until_stopped in (True, False):
        stage, leader, _, _ = await a_stage()
        leader.api.failures.unreachable = True
        if not answers_until_stopped:
            await stage.settle(10)
            assert leader.elector.may_brake()
        before, pushes = document(stage), stage.relays.pushes
        stage.relays.open_breakers("relay-1", {breaker(leader): 1})
        stage.clock.now += 60
        await stage.settle(60)
        assert (document(stage), stage.relays.pushes) == (before, pushes)
        leader.api.failures.unreachable = False
        await stage.settle(10)
        assert weight(stage) == 0
        await leader.end()


@in_virtual_time
async def test_a_pod_that_lacks_another_change_is_left_alone() -> None:
    stage, leader, _, _ = await a_stage()
    stage.pod("relay-2", ip="10.0.0.2")
    await stage.settle()
    stage.relays.unpushed.add("relay-2")
    stage.route("other", match={"models": ["m"]})
    await stage.settle()
    leader.api.failures.unreachable = True
    await stage.settle(10)
    stage.relays.unpushed.clear()
    second = stage.server.stored("Pod", "relay-2", namespace=SPACE)["metadata"]["uid"]
    before = stage.relays.documents[second]
    condemned = {breaker(leader): 1}
    stage.relays.open_breakers("relay-1", condemned)
    stage.relays.open_breakers("relay-2", condemned)
    await stage.settle(60)
    assert weight(stage) == 0
    assert stage.relays.documents[second] == before
    leader.api.failures.unreachable = False
    await stage.settle(30)
    assert stage.relays.documents[second] == stage.relays.documents[first_pod(stage)]
    assert stage.relays.weight("relay-2", "chat", namespace=SPACE) == 0
    await leader.end()
