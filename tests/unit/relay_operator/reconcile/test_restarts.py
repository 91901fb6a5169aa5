"""A restarted operator finds everything it needs in the cluster: it goes on where it stopped, and writes nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SYSTEM
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.names import Reason

PROGRESSION = {"stepPercent": 25, "every": "10s", "minRequests": 20}
CANARY = {"provider": "new", "percent": 100, "progression": PROGRESSION}
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}


async def a_stage(**route: Any) -> tuple[Stage, Life, dict[str, Any]]:
    """Sets up a tenant with one relay pod, and a route with a canary."""
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy", "new")
    made = stage.route(**{"canary": CANARY, "analysis": ANALYSIS} | route)
    await stage.settle()
    return stage, life, made


async def restarted(stage: Stage, life: Life) -> Life:
    await life.end()
    return await stage.operator()


Scene = Callable[[], Awaitable[tuple[Stage, Life]]]


async def without_canary() -> tuple[Stage, Life]:
    stage, life, _ = await a_stage(canary=None, analysis=None)
    return stage, life


async def progressing() -> tuple[Stage, Life]:
    stage, life, _ = await a_stage()
    return stage, life


async def holding() -> tuple[Stage, Life]:
    stage, life, _ = await a_stage(canary={"provider": "new", "percent": 10}, analysis=None)
    return stage, life


async def paused() -> tuple[Stage, Life]:
    stage, life, _ = await a_stage(paused=True)
    return stage, life


async def without_the_key_in_force() -> tuple[Stage, Life]:
    stage, life, _ = await a_stage(canary=None, analysis=None)
    stage.server.remove("Secret", "legacy-key", namespace=SYSTEM)
    await stage.settle(1)
    stage.server.remove("Secret", "relay-upstream", namespace="relay-finance")
    await stage.settle(40)
    # another document, with which the pod says that it lacks the key
    stage.tenant(queue={"concurrency": 7})
    await stage.settle(20)
    told = stage.condition("RelayRoute", "chat", "Accepted", tenant="finance")
    assert (told["status"], told["reason"]) == ("False", Reason.SECRET_MISSING)
    return stage, life


async def promoted() -> tuple[Stage, Life]:
    stage, life, route = await a_stage()
    for _ in range(6):
        stage.serve(route, 50)
        await stage.settle(11)
    return stage, life


async def rolled_back() -> tuple[Stage, Life]:
    stage, life, route = await a_stage()
    stage.serve(route, 0)
    await stage.settle()
    await stage.fail(route)
    await stage.settle()
    return stage, life


async def refused() -> tuple[Stage, Life]:
    stage, life, _ = await a_stage()
    stage.route(stable={"provider": "nobody"})
    await stage.settle()
    return stage, life


async def waiting_for_a_key() -> tuple[Stage, Life]:
    stage, life, _ = await a_stage(canary=None, analysis=None)
    stage.provider("keyless", key=False)
    stage.route(canary={"provider": "keyless", "percent": 10})
    await stage.settle()
    return stage, life


async def with_two_routes() -> tuple[Stage, Life]:
    stage, life, _ = await a_stage()
    stage.route("second", match={"models": ["gpt-5"]})
    await stage.settle()
    return stage, life


async def of_a_tenant_whose_newest_spec_is_refused() -> tuple[Stage, Life]:
    stage, life, _ = await a_stage(canary=None, analysis=None)
    stage.provider("legacy", limits={"requestsPerMinute": 100})
    spec: dict[str, Any] = {
        "queue": {"weight": 4},
        "network": {"allowFrom": [{"namespace": "web"}]},
    }
    stage.tenant(**spec)
    stage.tenant("other")
    await stage.settle()
    stage.pod("relay-9", tenant="other")
    stage.route(tenant="other")
    await stage.settle(20)
    refused: dict[str, Any] = {
        "queue": {"weight": 1, "maxWait": "soon"},
        "network": {"allowFrom": []},
    }
    stage.tenant(**(spec | refused))
    await stage.settle(20)
    assert stage.condition("Tenant", "finance", "Ready")["reason"] == Reason.INVALID_SPEC
    return stage, life


PHASES: dict[Scene, str] = {
    of_a_tenant_whose_newest_spec_is_refused: "Stable",
    without_canary: "Stable",
    progressing: "Progressing",
    holding: "Holding",
    paused: "Paused",
    promoted: "Promoted",
    rolled_back: "RolledBack",
    refused: "Progressing",
    waiting_for_a_key: "Stable",
    without_the_key_in_force: "Stable",
    with_two_routes: "Progressing",
}


async def _serving(stage: Stage, route: dict[str, Any], seconds: int) -> list[str]:
    """Serves eight calls a second; returns the phases that status went through."""
    seen = []
    for _ in range(4 * seconds):
        stage.serve(route, 2)
        await stage.settle(0.25)
        seen.append(stage.status("RelayRoute", "chat", tenant="finance")["phase"])
    return [one for one, before in zip(seen, ["", *seen], strict=False) if one != before]


@in_virtual_time
async def test_a_passed_step_that_awaits_approval_stays_passed_over_a_restart() -> None:
    """Whatever calls it was passed on are in status, however short before they were seen."""
    manual = {**CANARY, "progression": {**PROGRESSION, "approval": "Manual"}}
    stage, life, route = await a_stage(canary=manual)
    assert await _serving(stage, route, 12) == ["Progressing", "Holding"]
    history = stage.status("RelayRoute", "chat", tenant="finance")["history"]
    life = await restarted(stage, life)
    assert await _serving(stage, route, 12) == ["Holding"]
    assert stage.condition("RelayRoute", "chat", "Ready", tenant="finance")["reason"] == (
        Reason.AWAITING_APPROVAL
    )
    assert stage.status("RelayRoute", "chat", tenant="finance")["history"] == history
    await life.end()


@pytest.mark.parametrize("scene", PHASES, ids=lambda scene: scene.__name__)
@in_virtual_time
async def test_a_restarted_operator_writes_nothing(scene: Scene) -> None:
    stage, life = await scene()
    assert stage.status("RelayRoute", "chat", tenant="finance")["phase"] == PHASES[scene]
    await stage.settle()
    before = stage.everything()
    again = await restarted(stage, life)
    # while a canary is judged, the first tick brings new evidence, which is written
    await stage.settle(0.4 if PHASES[scene] == "Progressing" else 30.0)
    assert again.changes == []
    assert stage.everything() == before
    await again.end()


@in_virtual_time
async def test_a_restarted_operator_writes_nothing_while_pods_are_slow_to_answer() -> None:
    """A machine that is busy with the restart itself lets thousands of pods answer after seconds."""
    stage, life = await without_canary()
    await stage.settle()
    stage.relays.seconds["relay-1"] = 9.0
    again = await restarted(stage, life)
    await stage.settle(30)
    assert again.changes == []
    await again.end()


@in_virtual_time
async def test_a_restarted_operator_tells_of_a_pod_that_does_not_answer() -> None:
    stage, life = await without_canary()
    await stage.settle()
    stage.relays.silent.add("relay-1")
    again = await restarted(stage, life)
    await stage.settle(30)
    for kind, name, tenant in (("Tenant", "finance", ""), ("RelayRoute", "chat", "finance")):
        told = stage.condition(kind, name, "Programmed", tenant=tenant)
        assert (told["status"], told["reason"]) == ("False", Reason.WAITING_FOR_PODS)
    await again.end()


@in_virtual_time
async def test_a_restarted_operator_writes_nothing_where_probes_prove_other_things_for_once() -> (
    None
):
    stage, life = await without_canary()
    await stage.settle()
    told = stage.condition("Tenant", "finance", "Isolated")["message"]
    assert "cannot connect to a metadata address" in told
    # as a busy machine, which does not reach in time what it did before, and the other way round
    stage.network.gone = set()
    asked = len(stage.network.asked)
    again = await restarted(stage, life)
    await stage.settle(30)
    assert len(stage.network.asked) > asked
    assert again.changes == []
    # what lasts is told
    await stage.settle(60)
    now_told = stage.condition("Tenant", "finance", "Isolated")["message"]
    assert "a metadata address" in now_told != told
    await again.end()


@in_virtual_time
async def test_a_refused_spec_leaves_the_last_good_part_of_a_quota_also_over_a_restart() -> None:
    stage, life = await of_a_tenant_whose_newest_spec_is_refused()

    def parts() -> dict[str, int | None]:
        return {
            one.tenant.name: one.catalogue.providers[0].limits.requests_per_minute
            for one in stage.relays.documents.values()
        }

    assert parts() == {"finance": 80, "other": 20}
    life = await restarted(stage, life)
    await stage.settle(30)
    assert parts() == {"finance": 80, "other": 20}
    calls = stage.server.stored("NetworkPolicy", "relay", namespace="relay-finance")["spec"]
    assert "web" in str(calls["ingress"])
    # whoever changes next divides by the weight in force too
    stage.tenant("other", queue={"weight": 4})
    await stage.settle(30)
    assert parts() == {"finance": 50, "other": 50}
    await life.end()


@in_virtual_time
async def test_a_second_restart_still_knows_why_a_canary_was_rolled_back() -> None:
    stage, life = await rolled_back()
    told = stage.condition("RelayRoute", "chat", "RolledBack", tenant="finance")
    history = stage.status("RelayRoute", "chat", tenant="finance")["history"]
    assert "200 of 400 requests failed (50 %, limit 1 %)" in told["message"]
    for _ in range(2):
        life = await restarted(stage, life)
        await stage.settle()
        # somebody touches the object, so that status is written anew
        stage.route(canary=CANARY, analysis={**ANALYSIS, "window": "30s"})
        await stage.settle()
        stage.route(canary=CANARY, analysis=ANALYSIS)
        await stage.settle()
    now = stage.condition("RelayRoute", "chat", "RolledBack", tenant="finance")
    assert now["message"] == told["message"]
    assert stage.status("RelayRoute", "chat", tenant="finance")["history"] == history
    await life.end()


@in_virtual_time
async def test_no_event_is_repeated_by_a_restart() -> None:
    stage, life = await rolled_back()
    before = sorted(stage.events())
    assert sorted(stage.moves()) == ["SloBreach", "Started"]
    life = await restarted(stage, life)
    await stage.settle()
    assert sorted(stage.events()) == before
    await life.end()


@in_virtual_time
async def test_an_event_that_a_dying_operator_did_not_post_is_posted_by_the_next() -> None:
    stage, life, route = await a_stage()
    stage.serve(route, 0)
    await stage.settle()
    life.api.failures.statuses["Event"] = 503
    await stage.fail(route)
    await stage.settle()
    assert stage.status("RelayRoute", "chat", tenant="finance")["phase"] == "RolledBack"
    assert stage.moves() == ["Started"]
    life = await restarted(stage, life)
    await stage.settle()
    assert sorted(stage.moves()) == ["SloBreach", "Started"]
    await life.end()


@in_virtual_time
async def test_a_rollback_that_reached_the_relays_and_not_status_stays_one() -> None:
    stage, life, route = await a_stage()
    stage.serve(route, 0)
    await stage.settle()
    life.api.failures.statuses["RelayRoute"] = 503
    await stage.fail(route)
    await stage.settle()
    assert stage.relays.weight("relay-1", "chat", namespace="relay-finance") == 0
    assert stage.status("RelayRoute", "chat", tenant="finance")["phase"] == "Progressing"
    life = await restarted(stage, life)
    await stage.settle()
    status = stage.status("RelayRoute", "chat", tenant="finance")
    assert (status["phase"], status["weights"]["canaryPercent"]) == ("RolledBack", 0)
    assert "rolled back from 25 %" in status["history"][-1]["message"]
    assert stage.relays.weight("relay-1", "chat", namespace="relay-finance") == 0
    # nobody knows any more whether it was a breach, a deadline, or nothing to measure by
    assert sorted(stage.moves()) == ["Started", "Unrecorded"]
    assert status["causeReason"] == status["rolledBack"][-1]["reason"] == "Unrecorded"
    within = stage.condition("RelayRoute", "chat", "WithinSLO", tenant="finance")
    assert (within["status"], within["reason"]) == ("Unknown", "Unrecorded")
    await life.end()


@in_virtual_time
async def test_a_rollback_that_reached_status_and_not_the_document_stays_one() -> None:
    stage, life, route = await a_stage()
    stage.serve(route, 0)
    await stage.settle()
    life.api.failures.statuses["ConfigMap"] = 403
    await stage.fail(route)
    await stage.settle()
    before = stage.status("RelayRoute", "chat", tenant="finance")
    assert (before["phase"], before["weights"]["canaryPercent"]) == ("RolledBack", 0)
    await life.end()
    # the pod that was told of it goes, and its successor begins with the document that is stored
    stage.server.remove("Pod", "relay-1", namespace="relay-finance")
    stage.pod("relay-2")
    life = await stage.operator()
    await stage.settle()
    for _ in range(3):
        stage.serve(route, 50)
        await stage.settle(11)
    status = stage.status("RelayRoute", "chat", tenant="finance")
    assert (status["phase"], status["weights"]["canaryPercent"]) == ("RolledBack", 0)
    assert status["history"] == before["history"]
    assert stage.relays.weight("relay-2", "chat", namespace="relay-finance") == 0
    await life.end()


@in_virtual_time
async def test_a_route_deleted_while_the_operator_was_away_leaves_the_document() -> None:
    stage, life, _ = await a_stage()
    await life.end()
    stage.server.remove("RelayRoute", "chat", namespace="relay-finance")
    assert stage.relays.weight("relay-1", "chat", namespace="relay-finance") == 25
    life = await stage.operator()
    await stage.settle()
    assert stage.relays.weight("relay-1", "chat", namespace="relay-finance") is None
    await life.end()


@in_virtual_time
async def test_no_address_is_taken_from_a_network_policy_before_it_was_read_again() -> None:
    stage = Stage()
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "llm", "namespace": SYSTEM},
    }
    spec = {"selector": {"app": "llm"}, "ports": [{"port": 80, "targetPort": 8080}]}
    stage.server.put({**service, "spec": spec})
    stage.provider(
        "legacy", endpoint={"serviceRef": {"namespace": SYSTEM, "name": "llm", "port": 80}}
    )
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    stage.route()
    await stage.settle()
    policy = stage.server.stored("NetworkPolicy", "relay", namespace="relay-finance")
    assert "llm" in str(policy["spec"])
    await life.end()
    # the API server answers everything but the Service of the provider
    life = stage.life()
    life.api.failures.statuses["Service"] = 503
    await life.start()
    await stage.settle(2)
    assert stage.server.stored("NetworkPolicy", "relay", namespace="relay-finance") == policy
    ready = stage.condition("RelayRoute", "chat", "Ready", tenant="finance")
    assert (ready["status"], ready["reason"]) == ("True", Reason.NO_CANARY)
    life.api.failures.statuses.clear()
    await stage.settle(60)
    assert stage.server.stored("NetworkPolicy", "relay", namespace="relay-finance") == policy
    await life.end()


@in_virtual_time
async def test_nothing_is_written_while_pods_take_a_second_to_answer_a_new_life() -> None:
    stage, life, _ = await a_stage(canary=None, analysis=None)
    # until the Provider was probed
    await stage.settle(30)
    stage.relays.seconds["relay-1"] = 1.0
    life = await restarted(stage, life)
    await stage.settle(20)
    assert life.changes == []
    await life.end()


@in_virtual_time
async def test_a_pod_that_does_not_answer_a_new_life_is_told_of_in_a_few_seconds() -> None:
    stage, life, _ = await a_stage(canary=None, analysis=None)
    stage.relays.silent.add("relay-1")
    life = await restarted(stage, life)
    await stage.settle(6)
    for kind, name, tenant in (("RelayRoute", "chat", "finance"), ("Tenant", "finance", "")):
        told = stage.condition(kind, name, "Programmed", tenant=tenant)
        assert (told["status"], told["reason"]) == ("False", "WaitingForPods")
    await life.end()
