"""Rollouts: changes of the platform reach a few tenants at a time and stop at the first that does not take them; a tenant's
own change is rolled at once.
"""

import json
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.unit.relay_operator.injected_failures import InjectedFailures
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.api.tiers import Tiers
from relay_operator.cluster.api_server import error_of
from relay_operator.names import Reason
from relay_operator.reconcile.fleet.shown_rollouts import PATIENCE_SECONDS
from relay_operator.reconcile.metrics.state_collector import StateCollector
from relay_operator.reconcile.work_queue import Key

Manifest = dict[str, Any]
TENANTS = tuple(f"t{number}" for number in range(6))
BROKEN = "relay:broken"


def deployment(stage: Stage, tenant: str) -> Manifest:
    return stage.server.stored("Deployment", "relay", namespace=names.tenant_namespace(tenant))


def image(stage: Stage, tenant: str) -> str:
    [container] = deployment(stage, tenant)["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


def memory(stage: Stage, tenant: str) -> str:
    [container] = deployment(stage, tenant)["spec"]["template"]["spec"]["containers"]
    return str(container["resources"]["limits"]["memory"])


def told(stage: Stage, tenant: str, type_: str = "RolledOut") -> tuple[str, str]:
    found = stage.condition("Tenant", tenant, type_)
    return found.get("status", ""), found.get("reason", "")


def roll(stage: Stage, tenant: str, *, done: bool = True, late: bool = False) -> None:
    """Plays the Deployment controller: all pods are of the newest template, or the new one does not come up."""
    body = deployment(stage, tenant)
    reason = "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
    if late:
        reason = "ProgressDeadlineExceeded"
    status = {
        "observedGeneration": body["metadata"]["generation"],
        "replicas": 1 if done else 2,
        "updatedReplicas": 1,
        "availableReplicas": 1,
        "conditions": [{"type": "Progressing", "status": "True", "reason": reason}],
    }
    stage.server.put(body | {"status": status})
    if done:
        stage.server.remove("Pod", "relay-new", namespace=names.tenant_namespace(tenant))


def break_pod(stage: Stage, tenant: str) -> None:
    """Plays the kubelet, which cannot pull the new pod's image."""
    roll(stage, tenant, done=False)
    stage.pod("relay-new", tenant=tenant, ready=False)
    body = stage.server.stored("Pod", "relay-new", namespace=names.tenant_namespace(tenant))
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    status = {
        "phase": "Pending",
        "containerStatuses": [{"image": BROKEN, "state": {"waiting": waiting}}],
    }
    stage.server.put(body | {"status": status})


def play(stage: Stage) -> None:
    """Plays the cluster once: what has the broken image does not come up, everything else does."""
    for tenant in TENANTS:
        if stage.server.get("Deployment", "relay", namespace=names.tenant_namespace(tenant)):
            (break_pod if image(stage, tenant) == BROKEN else roll)(stage, tenant)


async def a_fleet(most: int = 2, **spec: Any) -> tuple[Stage, Life]:
    stage = Stage()
    stage.platform = replace(stage.platform, rollouts_at_once=most, relay_image="relay:1")
    stage.tiers = Tiers.parse('{"basic": {}}')
    for tenant in TENANTS:
        stage.tenant(tenant, **spec)
    life = await stage.operator()
    await stage.settle()
    for tenant in TENANTS:
        stage.pod(tenant=tenant)
    play(stage)
    await stage.settle()
    assert [told(stage, tenant) for tenant in TENANTS] == [("True", Reason.ROLLED_OUT)] * 6
    return stage, life


async def released(stage: Stage, life: Life, image_: str) -> Life:
    """Upgrades the operator, which brings another image."""
    await life.end()
    stage.platform = replace(stage.platform, relay_image=image_)
    life = await stage.operator()
    await stage.settle()
    return life


def having(stage: Stage, image_: str) -> list[str]:
    return [tenant for tenant in TENANTS if image(stage, tenant) == image_]


@in_virtual_time
async def test_an_image_reaches_everyone_a_few_at_a_time_in_order() -> None:
    stage, life = await a_fleet(most=2)
    life = await released(stage, life, "relay:2")
    seen = []
    for _ in range(4):
        seen.append(having(stage, "relay:2"))
        play(stage)
        await stage.settle()
    assert seen == [list(TENANTS[:2]), list(TENANTS[:4]), list(TENANTS), list(TENANTS)]
    assert {told(stage, tenant) for tenant in TENANTS} == {("True", Reason.ROLLED_OUT)}
    await life.end()


@in_virtual_time
async def test_the_order_is_the_same_whoever_is_looked_at_first() -> None:
    stage, life = await a_fleet(most=2)
    await life.end()
    stage.platform = replace(stage.platform, relay_image="relay:2")
    life = stage.life()
    for tenant in reversed(TENANTS):
        life.queue.add(Key("Tenant", "", tenant))
    await life.start()
    await stage.settle()
    assert having(stage, "relay:2") == ["t0", "t1"]
    await life.end()


@in_virtual_time
async def test_a_tenant_that_cannot_be_judged_holds_up_the_others_for_a_moment_alone() -> None:
    stage, life = await a_fleet(most=1)
    await life.end()
    # its namespace is being deleted, and its Deployment still there
    stage.server.remove("Namespace", names.tenant_namespace("t0"))
    stage.platform = replace(stage.platform, relay_image="relay:2")
    life = await stage.operator()
    await stage.settle(30)
    assert image(stage, "t1") == "relay:2"
    await life.end()


@in_virtual_time
async def test_a_place_is_taken_by_the_next_as_soon_as_one_is_done() -> None:
    stage, life = await a_fleet(most=2)
    life = await released(stage, life, "relay:2")
    assert told(stage, "t0") == ("False", Reason.ROLLING_OUT)
    assert told(stage, "t5") == ("False", Reason.AWAITING_TURN)
    assert told(stage, "t5", "Ready")[0] == "True"
    roll(stage, "t1")
    await stage.settle()
    assert having(stage, "relay:2") == ["t0", "t1", "t2"]
    await life.end()


@in_virtual_time
async def test_a_broken_image_stops_after_a_few_and_everyone_serves_and_says_so() -> None:
    stage, life = await a_fleet(most=2)
    life = await released(stage, life, BROKEN)
    play(stage)
    await stage.settle(40)
    assert having(stage, BROKEN) == ["t0", "t1"]
    for tenant in ("t0", "t1"):
        assert told(stage, tenant) == ("False", Reason.ROLLOUT_STUCK)
        assert told(stage, tenant, "Ready") == ("False", Reason.ROLLOUT_STUCK)
        assert told(stage, tenant, "Stalled") == ("True", Reason.ROLLOUT_STUCK)
        message = stage.condition("Tenant", tenant, "RolledOut")["message"]
        assert f"ImagePullBackOff: image {BROKEN}" in message
        assert "1 of the former serve on" in message
        assert "goes to no further tenant" in message
    for tenant in TENANTS[2:]:
        assert told(stage, tenant) == ("False", Reason.WAVE_STOPPED)
        assert told(stage, tenant, "Ready")[0] == "True"
        assert "tenant t0" in stage.condition("Tenant", tenant, "RolledOut")["message"]
    assert stage.events().count(Reason.ROLLOUT_STUCK) == 2
    registry = CollectorRegistry()
    registry.register(
        StateCollector(
            watched_state=life.watched_state, canaries=life.canaries, isolation=life.isolation
        )
    )
    states = {"stuck": 2, "waiting": 4, "rolling": 0}
    for state, count in states.items():
        family = "relay_operator_rollout_tenants"
        assert registry.get_sample_value(family, {"state": state}) == count
    await stage.settle(3600)
    assert having(stage, BROKEN) == ["t0", "t1"]
    await life.end()


@in_virtual_time
async def test_pods_that_are_late_without_any_trouble_stop_it_too() -> None:
    stage, life = await a_fleet(most=1)
    life = await released(stage, life, "relay:2")
    roll(stage, "t0", done=False)
    await stage.settle(200)
    assert told(stage, "t0") == ("False", Reason.ROLLING_OUT)
    roll(stage, "t0", done=False, late=True)
    await stage.settle()
    assert told(stage, "t0") == ("False", Reason.ROLLOUT_STUCK)
    assert told(stage, "t1") == ("False", Reason.WAVE_STOPPED)
    await life.end()


@in_virtual_time
async def test_undoing_the_change_brings_everything_back_at_once() -> None:
    stage, life = await a_fleet(most=2)
    life = await released(stage, life, BROKEN)
    play(stage)
    await stage.settle(40)
    life = await released(stage, life, "relay:1")
    assert having(stage, "relay:1") == list(TENANTS)
    play(stage)
    await stage.settle()
    for tenant in TENANTS:
        assert told(stage, tenant) == ("True", Reason.ROLLED_OUT)
        assert told(stage, tenant, "Ready")[0] == "True"
    await life.end()


@in_virtual_time
async def test_the_next_image_is_tried_on_those_that_the_last_one_left_behind() -> None:
    stage, life = await a_fleet(most=2)
    life = await released(stage, life, BROKEN)
    play(stage)
    await stage.settle(40)
    life = await released(stage, life, "relay:2")
    assert having(stage, "relay:2") == ["t0", "t1"]
    assert having(stage, BROKEN) == []
    play(stage)
    await stage.settle()
    assert having(stage, "relay:2") == ["t0", "t1", "t2", "t3"]
    await life.end()


@in_virtual_time
async def test_it_goes_on_by_itself_when_the_cause_is_gone() -> None:
    stage, life = await a_fleet(most=1)
    life = await released(stage, life, BROKEN)
    break_pod(stage, "t0")
    await stage.settle(40)
    assert told(stage, "t5") == ("False", Reason.WAVE_STOPPED)
    roll(stage, "t0")
    await stage.settle()
    assert having(stage, BROKEN) == ["t0", "t1"]
    assert told(stage, "t0", "Ready")[0] == "True"
    assert told(stage, "t5") == ("False", Reason.AWAITING_TURN)
    await life.end()


@in_virtual_time
async def test_a_tier_is_rolled_like_an_image() -> None:
    stage, life = await a_fleet(most=2, tier="basic")
    await life.end()
    larger = {"relay": {"resources": {"limits": {"memory": "1Gi"}}}, "queue": {"concurrency": 9}}
    stage.tiers = Tiers.parse(json.dumps({"basic": larger}))
    life = await stage.operator()
    await stage.settle()
    assert [memory(stage, tenant) for tenant in TENANTS] == ["1Gi"] * 2 + ["512Mi"] * 4
    # what needs no other pods is in force at once
    for tenant in TENANTS:
        assert stage.status("Tenant", tenant)["effective"]["queue"]["concurrency"] == 9
    await life.end()


@in_virtual_time
async def test_a_tenants_own_change_is_held_up_by_nothing() -> None:
    stage, life = await a_fleet(most=2)
    life = await released(stage, life, BROKEN)
    play(stage)
    await stage.settle(40)
    stage.tenant("t5", relay={"resources": {"limits": {"memory": "2Gi"}}})
    stage.tenant("t4", limits={"requestsPerMinute": 7})
    stage.tenant("t3", relay={"replicas": 3})
    stage.tenant("new")
    await stage.settle()
    assert memory(stage, "t5") == "2Gi"
    # without a change of its pods they stay as they are
    assert image(stage, "t4") == image(stage, "t3") == "relay:1"
    assert deployment(stage, "t3")["spec"]["replicas"] == 3
    assert stage.status("Tenant", "t4")["effective"]["limits"]["requestsPerMinute"] == 7
    assert image(stage, "new") == BROKEN
    await life.end()


@in_virtual_time
async def test_a_tenant_that_its_own_spec_broke_holds_up_nobody_and_comes_last() -> None:
    stage, life = await a_fleet(most=1)
    stage.tenant("t0", relay={"resources": {"requests": {"cpu": 999}}})
    await stage.settle()
    roll(stage, "t0", done=False)
    await stage.settle(40)
    life = await released(stage, life, "relay:2")
    assert having(stage, "relay:2") == ["t1"]
    for tenant in TENANTS[1:]:
        roll(stage, tenant)
        await stage.settle()
    assert having(stage, "relay:2") == list(TENANTS)
    await life.end()


@in_virtual_time
async def test_a_tenant_that_goes_gives_its_place_to_the_next() -> None:
    stage, life = await a_fleet(most=1)
    life = await released(stage, life, "relay:2")
    assert having(stage, "relay:2") == ["t0"]
    stage.server.remove("Tenant", "t0")
    await stage.settle()
    assert image(stage, "t1") == "relay:2"
    await life.end()


@in_virtual_time
async def test_what_others_do_to_a_waiting_tenants_pods_is_undone() -> None:
    stage, life = await a_fleet(most=1)
    life = await released(stage, life, BROKEN)
    before = deployment(stage, "t5")["spec"]
    body = deployment(stage, "t5")
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "evil"
    stage.server.put(body, manager="others")
    await stage.settle()
    assert deployment(stage, "t5")["spec"] == before
    await life.end()


@pytest.mark.parametrize("note", ["", "forged"])
@in_virtual_time
async def test_a_note_that_is_not_the_operators_brings_no_template_back(note: str) -> None:
    stage, life = await a_fleet(most=1)
    await life.end()
    body = deployment(stage, "t5")
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "evil"
    template = {"own": "", "template": body["spec"]["template"]}
    forged = {names.ANNOTATION_TEMPLATE: "c2lnbmVk " + json.dumps(template)} if note else {}
    body["metadata"]["annotations"] = forged
    stage.server.put(body, manager="others")
    stage.platform = replace(stage.platform, relay_image="relay:2")
    life = await stage.operator()
    await stage.settle()
    assert image(stage, "t5") == "relay:2"
    assert having(stage, "relay:2") == ["t0", "t5"]
    await life.end()


@in_virtual_time
async def test_deployments_of_an_operator_that_wrote_no_notes_wait_for_their_turn() -> None:
    stage, life = await a_fleet(most=1)
    await life.end()
    for tenant in TENANTS:
        body = deployment(stage, tenant)
        manifest = {
            **{name: body[name] for name in ("apiVersion", "kind", "spec")},
            "metadata": {
                "name": "relay",
                "namespace": names.tenant_namespace(tenant),
                "labels": body["metadata"]["labels"],
            },
        }
        stage.server.apply(manifest, (names.FIELD_MANAGER, "Apply"))
    stage.platform = replace(stage.platform, relay_image="relay:2")
    life = await stage.operator()
    await stage.settle()
    assert having(stage, "relay:2") == ["t0"]
    roll(stage, "t0")
    await stage.settle()
    assert having(stage, "relay:2") == ["t0", "t1"]
    await life.end()


@pytest.mark.parametrize("most", [1, 2])
@in_virtual_time
async def test_a_restart_at_any_moment_lets_no_more_begin_and_loses_nobody(most: int) -> None:
    stage, life = await a_fleet(most=most)
    await life.end()
    stage.platform = replace(stage.platform, relay_image="relay:2")
    proven: set[str] = set()
    for number in range(80):
        life = stage.life(InjectedFailures(dies_after=1 + number * 5 % 17))
        await life.start()
        await stage.settle(3)
        await life.end()
        unproven = {*having(stage, "relay:2")} - proven
        assert len(unproven) <= most
        if number % 3 == 2:
            for tenant in sorted(unproven)[:1]:
                roll(stage, tenant)
                proven.add(tenant)
        if len(proven) == len(TENANTS):
            break
    assert having(stage, "relay:2") == list(TENANTS)
    life = await stage.operator()
    await stage.settle()
    life_writes = [kind for kind, _ in life.changes if kind == "Deployment"]
    assert life_writes == []
    await life.end()


@in_virtual_time
async def test_a_restart_in_the_middle_changes_no_deployment() -> None:
    stage, life = await a_fleet(most=2)
    life = await released(stage, life, BROKEN)
    play(stage)
    await stage.settle(40)
    before = [deployment(stage, tenant) for tenant in TENANTS]
    await life.end()
    life = await stage.operator()
    await stage.settle(60)
    assert [deployment(stage, tenant) for tenant in TENANTS] == before
    assert told(stage, "t0") == ("False", Reason.ROLLOUT_STUCK)
    assert told(stage, "t5") == ("False", Reason.WAVE_STOPPED)
    await life.end()


class Refusing:
    """Refuses the Deployment of a tenant while `is_on`, as an admission webhook of the platform does."""

    def __init__(self, stage: Stage, life: Life, tenant: str) -> None:
        self.is_on = True
        self._space = names.tenant_namespace(tenant)
        self._apply = life.api.apply
        life.api.apply = self.apply  # type: ignore[method-assign]

    async def apply(self, manifest: Manifest) -> Manifest:
        mine = (manifest["kind"], manifest["metadata"].get("namespace"))
        if self.is_on and mine == ("Deployment", self._space):
            raise error_of(422, "PATCH Deployment relay: 422 the image is not signed")
        return await self._apply(manifest)


@in_virtual_time
async def test_a_deployment_that_is_refused_stops_the_change_and_says_so() -> None:
    stage, life = await a_fleet(most=1)
    await life.end()
    stage.platform = replace(stage.platform, relay_image="relay:2")
    life = stage.life()
    refusing = Refusing(stage, life, "t0")
    await life.start()
    for _ in range(30):
        await stage.settle(10)
        play(stage)
    assert having(stage, "relay:2") == []
    assert told(stage, "t0") == ("False", Reason.ROLLOUT_STUCK)
    message = stage.condition("Tenant", "t0", "RolledOut")["message"]
    assert "is not written yet" in message
    assert "the image is not signed" in message
    assert {told(stage, one) for one in TENANTS[1:]} == {("False", Reason.WAVE_STOPPED)}
    assert "tenant t0" in stage.condition("Tenant", "t1", "RolledOut")["message"]
    refusing.is_on = False
    for _ in range(60):
        await stage.settle(10)
        play(stage)
    assert having(stage, "relay:2") == list(TENANTS)
    assert {told(stage, one) for one in TENANTS} == {("True", Reason.ROLLED_OUT)}
    await life.end()


@in_virtual_time
async def test_a_tenants_own_change_that_is_refused_is_not_told_as_rolled_out() -> None:
    stage, life = await a_fleet()
    refusing = Refusing(stage, life, "t0")
    stage.tenant("t0", relay={"resources": {"limits": {"memory": "2Gi"}}})
    await stage.settle(5)
    assert told(stage, "t0") == ("False", Reason.ROLLING_OUT)
    assert "not written yet" in stage.condition("Tenant", "t0", "RolledOut")["message"]
    await stage.settle(120)
    assert told(stage, "t0") == ("False", Reason.ROLLOUT_STUCK)
    # it holds up nobody
    assert {told(stage, one) for one in TENANTS[1:]} == {("True", Reason.ROLLED_OUT)}
    refusing.is_on = False
    for _ in range(12):
        await stage.settle(30)
        play(stage)
    assert told(stage, "t0") == ("True", Reason.ROLLED_OUT)
    await life.end()


async def a_lagging_successor(newest: str) -> tuple[Stage, Life]:
    """Returns an operator that has not been shown of which tenants its predecessor began to roll the relays last."""
    stage, life = await a_fleet(most=2)
    stage.platform = replace(stage.platform, relay_image=newest)
    successor = stage.life()
    await successor.stand_by()
    life = await released(stage, life, "relay:2")
    for tenant in ("t0", "t1"):
        roll(stage, tenant)
    await stage.settle(0.06)
    successor.lagging.add("Deployment")
    await stage.settle()
    await life.end()
    assert having(stage, "relay:2") == ["t0", "t1", "t2", "t3"]
    return stage, successor


@in_virtual_time
@pytest.mark.parametrize("newest", ["relay:1", "relay:3"])
async def test_what_a_former_leader_began_last_counts_before_a_watch_has_shown_it(
    newest: str,
) -> None:
    stage, life = await a_lagging_successor(newest)
    life.lead()
    await stage.settle(60)
    # none of those that work begins beside the two that are on their way
    assert set(having(stage, "relay:2")) >= {"t0", "t1"}
    life.lagging.clear()
    for _ in range(6):
        await stage.settle(10)
        play(stage)
    assert having(stage, newest) == list(TENANTS)
    await life.end()


@in_virtual_time
async def test_a_watch_that_shows_nothing_any_more_keeps_no_change_back_for_ever() -> None:
    stage, life = await a_lagging_successor("relay:3")
    life.lead()
    await stage.settle(PATIENCE_SECONDS + 30)
    assert set(having(stage, "relay:3")) >= {"t0", "t1"}
    await life.end()
