"""One operator takes over from another: it goes on from what the former left, and whatever that one still sends changes nothing."""

import itertools
from typing import Any

import pytest
from tests.unit.relay_operator.discovered import discovered
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SIGNING_KEY
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.document import Document
from relay_contract.seal import unseal
from relay_operator import names

SPACE = "relay-finance"
CANARY = {
    "provider": "new",
    "percent": 100,
    "progression": {"stepPercent": 25, "every": "10s", "minRequests": 20},
}
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}


async def a_stage() -> tuple[Stage, Life, Life, dict[str, Any]]:
    """Sets up a leader, a standby, and a canary that climbs in one relay pod."""
    stage = Stage()
    for provider in ("legacy", "new"):
        stage.provider(provider)
    stage.tenant()
    leader, standby = await stage.operator(), stage.life()
    await standby.stand_by()
    await stage.settle()
    stage.pod()
    route = stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    return stage, leader, standby, route


def weight(stage: Stage) -> int | None:
    """Returns the canary's weight in the relay pod."""
    return stage.relays.weight("relay-1", "chat", namespace=SPACE)


def document(stage: Stage) -> Document:
    """Returns the document in the relay pod."""
    [found] = stage.relays.documents.values()
    return found


def stored(stage: Stage) -> Document:
    """Returns the document in the ConfigMap."""
    held = stage.server.stored("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=SPACE)
    found, _ = unseal(held["data"]["relay.json"], [SIGNING_KEY.public_key()])
    return found


def shown(stage: Stage) -> int:
    """Returns the number of the latest leader that the relay pod has met."""
    [found] = stage.relays.leaders.values()
    return found.epoch


async def takes_over(standby: Life, leader: Life) -> None:
    """Lets the standby lead, while the former leader does not know."""
    leader.term.is_over = True
    standby.lead()


@in_virtual_time
async def test_a_standby_writes_nothing_and_a_takeover_neither() -> None:
    stage, leader, standby, _ = await a_stage()
    assert standby.api.writes == []
    await leader.end()
    before, pushed = document(stage), stage.relays.pushes
    await takes_over(standby, leader)
    await stage.settle()
    assert standby.changes == []
    assert document(stage) == before
    assert stage.relays.pushes == pushed + 1
    assert (shown(stage), document(stage).epoch) == (2, 1)
    await standby.end()


@in_virtual_time
async def test_a_takeover_goes_on_with_the_climb() -> None:
    stage, leader, standby, route = await a_stage()
    stage.serve(route, 50)
    await stage.settle(11)
    assert weight(stage) == 50
    await leader.end()
    moves, events = stage.moves(), stage.events()
    await takes_over(standby, leader)
    await stage.settle(6)
    assert (weight(stage), stage.moves(), stage.events()) == (50, moves, events)
    stage.serve(route, 50)
    await stage.settle(20)
    assert weight(stage) == 75
    assert document(stage).epoch == 2
    await standby.end()


@pytest.mark.parametrize("refused", [{"tier": "nosuch"}, {"queue": {"concurrency": "many"}}])
def test_all_operators_tell_of_the_relays_of_a_tenant_whose_newest_spec_is_refused(
    refused: dict[str, Any],
) -> None:
    @in_virtual_time
    async def story() -> None:
        stage, leader, standby, _ = await a_stage()
        stage.tenant(**refused)
        await stage.settle(5)
        assert stage.condition("Tenant", "finance", "Ready")["status"] == "False"
        told = [discovered(one.watched_state) for one in (leader, standby)]
        assert told == [["relay-finance/relay-1"], ["relay-finance/relay-1"]]
        await leader.end()
        await takes_over(standby, leader)
        await stage.settle(5)
        assert discovered(standby.watched_state) == ["relay-finance/relay-1"]
        await standby.end()
        # one that begins while the spec is refused knows nothing else
        third = stage.life()
        await third.stand_by()
        assert discovered(third.watched_state) == ["relay-finance/relay-1"]
        await third.end()

    story()


@in_virtual_time
async def test_a_namespace_that_goes_while_the_spec_is_refused_is_no_home_any_more() -> None:
    stage, leader, standby, _ = await a_stage()
    await standby.end()
    await leader.end()
    # no document tells of the last valid spec
    stage.server.remove("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=SPACE)
    stage.tenant(tier="nosuch")
    await stage.settle(1)
    stage.server.remove("Namespace", SPACE)
    stage.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    stage.pod()
    third = await stage.operator()
    await stage.settle(5)
    assert not third.watched_state.owns(SPACE)
    assert discovered(third.watched_state) == []
    await third.end()


@in_virtual_time
async def test_what_a_former_leader_pushes_changes_nothing() -> None:
    stage, leader, standby, _ = await a_stage()
    assert weight(stage) == 25
    await takes_over(standby, leader)
    await stage.settle()
    leader.publisher.set_weight(SPACE, "chat", 99)
    await leader.publisher.distribute(SPACE)
    # the last thing that it could write: an older number, and a newer generation
    assert stored(stage).generation > document(stage).generation
    assert weight(stage) == 25
    await leader.end()
    await stage.settle()
    assert weight(stage) == 25
    [route] = stored(stage).tenant.routes
    assert route.canary_percent == 25
    await standby.end()


@in_virtual_time
async def test_a_leader_whose_number_is_too_low_goes_beyond_the_one_that_a_relay_has_met() -> None:
    stage, leader, standby, route = await a_stage()
    await leader.end()
    stage.numbers = itertools.count(7)
    standby.term.numbers = stage.numbers
    standby.lead()
    await stage.settle()
    assert (shown(stage), document(stage).epoch) == (7, 1)
    await standby.end()
    # the Lease was deleted while nobody led, and no document tells of 7
    stage.numbers = itertools.count(1)
    third = await stage.operator()
    await stage.settle()
    assert third.term.epoch == 8
    stage.serve(route, 50)
    await stage.settle(12)
    assert weight(stage) == 50
    assert document(stage).epoch == 8
    await third.end()


@in_virtual_time
async def test_a_leader_whose_number_is_too_low_goes_beyond_the_one_in_a_document() -> None:
    stage, leader, _, route = await a_stage()
    await leader.end()
    stage.numbers = itertools.count(9)
    second = await stage.operator()
    await stage.settle()
    stage.serve(route, 50)
    await stage.settle(20)
    assert document(stage).epoch == 9
    await second.end()
    # no relay pod tells of it
    stage.relays.silent.add("relay-1")
    stage.numbers = itertools.count(1)
    third = await stage.operator()
    await stage.settle()
    assert third.term.epoch == 10
    await third.end()


@in_virtual_time
async def test_a_relay_of_an_earlier_version_gets_documents_without_a_number() -> None:
    stage = Stage()
    for provider in ("legacy", "new"):
        stage.provider(provider)
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    stage.relays.older.add("relay-1")
    stage.pod()
    stage.route()
    await stage.settle()
    assert document(stage).epoch == 0
    assert [route.name for route in document(stage).tenant.routes] == ["chat"]
    await life.end()
