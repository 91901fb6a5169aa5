"""Workers: a failed reconcile is retried, holds up no other, and never ends its worker."""

import asyncio
import contextlib
import logging
from typing import Any

import pytest
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.names import Reason
from relay_operator.reconcile.work_queue import Key


@in_virtual_time
async def test_a_failure_is_logged_with_its_object_and_retried_with_growing_pauses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    stage.tenant()
    life = stage.life()
    life.api.failures.statuses["Deployment"] = 422
    with caplog.at_level(logging.WARNING):
        await life.start()
        await stage.settle(40)
    retries = [
        record for record in caplog.records if record.message == "reconcile failed, will retry"
    ]
    assert {vars(record)["object"] for record in retries} == {"finance"}
    assert "422 injected" in vars(retries[0])["why"]
    # 0.2 s, 0.4 s, ... until 30 s: eight tries in forty seconds
    assert 6 <= len(retries) <= 9
    await life.end()


@in_virtual_time
async def test_a_tenant_that_fails_holds_up_no_other() -> None:
    stage = Stage()
    stage.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "relay-bad"}})
    stage.tenant("bad")
    stage.tenant("good")
    life = stage.life()
    await life.start(workers=1)
    await stage.settle()
    assert stage.condition("Tenant", "bad", "Ready")["reason"] == "NamespaceConflict"
    assert stage.condition("Tenant", "good", "Ready")["reason"] == "Provisioning"
    assert stage.server.get("Deployment", "relay", namespace="relay-good") is not None
    await life.end()


@in_virtual_time
async def test_a_bug_in_one_reconcile_is_logged_and_ends_no_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    life = stage.life()
    with caplog.at_level(logging.ERROR):
        await life.start(workers=1)
        life.queue.add(Key("Unknown", "space", "name"))
        stage.tenant()
        await stage.settle()
    failed = [
        one for one in caplog.records if one.message.startswith("reconcile failed unexpectedly")
    ]
    assert vars(failed[0])["object"] == "space/name"
    assert "nobody reconciles Unknown" in str(failed[0].exc_info)
    assert stage.server.get("Namespace", "relay-finance") is not None
    await life.end()


@in_virtual_time
async def test_a_bug_is_told_by_the_object_it_concerns_and_only_by_that() -> None:
    stage = Stage()
    # a Service as no API server would store it
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"name": "planted"}]}}
    stage.server.put({**service, "metadata": {"name": "llm", "namespace": "relay-system"}})
    ref = {"namespace": "relay-system", "name": "llm", "port": 80}
    stage.provider("inside", endpoint={"serviceRef": ref})
    stage.provider("legacy")
    life = await stage.operator()
    await stage.settle(60)
    ready = stage.condition("Provider", "inside", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", Reason.INTERNAL_ERROR)
    assert "(KeyError)" in ready["message"]
    assert "planted" not in ready["message"]
    assert stage.status("Provider", "inside")["observedGeneration"] == 1
    assert [one for one in stage.events() if one != "Ready"] == ["InternalError"]
    assert stage.condition("Provider", "legacy", "Ready")["status"] == "True"
    service["spec"] = {"ports": [{"port": 80}], "selector": {"app": "llm"}}
    stage.server.put({**service, "metadata": {"name": "llm", "namespace": "relay-system"}})
    await stage.settle(60)
    assert stage.condition("Provider", "inside", "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_every_object_is_looked_at_again_once_in_the_resync_time() -> None:
    stage = Stage()
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    # the first looks of a start, and the one in the rest of the first period
    await stage.settle(700)
    # the first thing that a Tenant's reconcile looks at
    looked_at = life.api.reads_of["Namespace"]
    await stage.settle(600)
    assert life.api.reads_of["Namespace"] == looked_at + 1
    await life.end()


@in_virtual_time
async def test_what_was_looked_at_all_at_once_is_spread_over_the_resync_time() -> None:
    stage = Stage()
    tenants = [f"t{number}" for number in range(24)]
    for tenant in tenants:
        stage.tenant(tenant)
    life = await stage.operator()
    await stage.settle(2)
    for number, tenant in enumerate(tenants):
        stage.pod(f"{tenant}-pod", tenant=tenant, ip=f"10.0.1.{number}")
    await stage.settle(700)
    looks = []
    for _ in range(10):
        before = life.api.reads_of["Namespace"]
        await stage.settle(60)
        looks.append(life.api.reads_of["Namespace"] - before)
    assert sum(looks) == len(tenants)
    # two or three in a tenth of it, on average
    assert max(looks) <= 8
    await life.end()


@in_virtual_time
async def test_tenants_with_slow_pods_hold_up_neither_others_nor_the_brake() -> None:
    stage = Stage()
    stage.provider("legacy")
    stage.provider("new")
    bad = [f"bad-{number}" for number in range(6)]
    for tenant in (*bad, "finance"):
        stage.tenant(tenant)
    life = await stage.operator()
    await stage.settle()
    for tenant in (*bad, "finance"):
        stage.pod(f"pod-of-{tenant}", tenant=tenant)
    stage.route(canary={"provider": "new", "percent": 10})
    await stage.settle()
    assert stage.relays.weight("pod-of-finance", "chat", namespace="relay-finance") == 10
    for tenant in bad:
        stage.relays.seconds[f"pod-of-{tenant}"] = 3600.0
        for number in range(30):
            match = {"tasks": [f"t{number}"]}
            stage.route(f"r{number}", tenant=tenant, match=match)
    await stage.settle(0.2)
    stage.route(canary={"provider": "new", "percent": 0})
    await stage.settle(0.5)
    assert stage.relays.weight("pod-of-finance", "chat", namespace="relay-finance") == 0
    stage.tenant("finance", suspend=True)
    await stage.settle(0.5)
    [uid] = [pod["metadata"]["uid"] for pod in stage.server.list("Pod", namespace="relay-finance")]
    assert stage.relays.documents[uid].tenant.suspended
    await life.end()


@in_virtual_time
async def test_a_reconcile_that_does_not_end_is_given_up_and_retried(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    stage.tenant()
    life = stage.life()
    answer, silent = life.api.get, True

    async def get(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(10_000 if silent else 0)
        return await answer(*args, **kwargs)

    life.api.get = get  # type: ignore[method-assign]
    await life.start()
    with caplog.at_level(logging.WARNING):
        await stage.settle(100)
        assert life.workers.stuck() == ""
        silent = False
        await stage.settle(40)
    assert "reconcile given up, will retry" in caplog.messages
    assert stage.server.get("Deployment", "relay", namespace="relay-finance") is not None
    await life.end()


@in_virtual_time
async def test_an_end_waits_for_what_is_under_way_and_begins_nothing_that_is_queued() -> None:
    stage = Stage()
    life = stage.life()
    answer, begun, ended = life.api.get, list[str](), list[str]()

    async def get(kind: str, name: str, **kwargs: Any) -> Any:
        if kind == "Namespace":
            begun.append(name)
            await asyncio.sleep(1)
            ended.append(name)
        return await answer(kind, name, **kwargs)

    life.api.get = get  # type: ignore[method-assign]
    stage.tenant("slow")
    await life.stand_by()
    workers = [asyncio.create_task(life.workers.run()) for _ in range(3)]
    await stage.settle(0.5)
    for number in range(6):
        stage.tenant(f"queued-{number}")
        life.queue.add(Key("Tenant", "", f"queued-{number}"))
    await life.workers.finish(5)
    assert set(begun) == {"relay-slow"}
    assert ended == begun
    assert stage.server.get("Namespace", "relay-slow") is not None
    # a worker that ends takes its lead with it
    assert not any(worker.done() for worker in workers)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    await life.end()


@in_virtual_time
async def test_the_oldest_reconcile_that_cannot_even_be_given_up_is_named() -> None:
    stage = Stage()
    stage.tenant()
    life = stage.life()
    ended = asyncio.Event()

    async def get(*_: Any, **__: Any) -> Any:
        while not ended.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await ended.wait()

    life.api.get = get  # type: ignore[method-assign]
    await life.start()
    await stage.settle(170)
    assert life.workers.stuck() == ""
    await stage.settle(20)
    assert life.workers.stuck() == "the reconcile of Tenant finance has not ended for 190 s"
    ended.set()
    await stage.settle(0.1)
    await life.end()


@in_virtual_time
async def test_a_reconcile_that_was_given_up_is_told_by_its_object() -> None:
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy")
    await stage.settle()
    answer, silent = life.api.get, True

    async def get(kind: str, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(10_000 if silent else 0)
        return await answer(kind, *args, **kwargs)

    life.api.get = get  # type: ignore[method-assign]
    stage.tenant(queue={"concurrency": 5})
    await stage.settle(125)
    told = stage.condition("Tenant", "finance", "Reconciling")
    assert (told["reason"], told["observedGeneration"]) == (Reason.TOOK_TOO_LONG, 2)
    assert "not done with this object within 120 s" in told["message"]
    silent = False
    # the next try still waits for its first answer
    await stage.settle(130)
    assert stage.condition("Tenant", "finance", "Reconciling") == {}
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    await life.end()


@pytest.mark.parametrize(
    ("kind", "contested"),
    [("Tenant", "Service"), ("Tenant", "ConfigMap"), ("RelayRoute", "ConfigMap")],
)
@in_virtual_time
async def test_a_conflict_that_lasts_is_told_by_the_object_it_concerns(
    kind: str, contested: str
) -> None:
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy")
    stage.route()
    await stage.settle()
    life.api.failures.statuses[contested] = 409
    stage.tenant(network={"allowFrom": [{"namespace": "web"}]}, queue={"concurrency": 5})
    stage.server.remove("Service", "relay", namespace="relay-finance")
    stage.route(match={"models": ["m"]})
    name, tenant = ("finance", "") if kind == "Tenant" else ("chat", "finance")
    # a moment of it is nothing to tell of: somebody else came first
    await stage.settle(0.5)
    assert stage.condition(kind, name, "Reconciling", tenant=tenant) == {}
    await stage.settle(5)
    told = stage.condition(kind, name, "Reconciling", tenant=tenant)
    assert told["reason"] == Reason.WRITE_CONFLICT
    assert "409" in told["message"]
    assert stage.status(kind, name, tenant=tenant)["observedGeneration"] == 2
    if kind == "RelayRoute":
        accepted = stage.condition(kind, name, "Accepted", tenant=tenant)
        assert accepted["status"] == "True"
    life.api.failures.statuses.clear()
    await stage.settle(60)
    assert stage.condition(kind, name, "Reconciling", tenant=tenant) == {}
    assert stage.condition(kind, name, "Ready", tenant=tenant)["status"] == "True"
    await life.end()


@in_virtual_time
async def test_a_route_that_is_gone_and_cannot_be_written_off_is_told_by_its_tenant() -> None:
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy")
    stage.route()
    await stage.settle()
    life.api.failures.statuses["ConfigMap"] = 403
    stage.server.remove("RelayRoute", "chat", namespace="relay-finance")
    await stage.settle()
    told = stage.condition("Tenant", "finance", "Ready")
    assert (told["status"], told["reason"]) == ("False", Reason.API_SERVER_REFUSED)
    life.api.failures.statuses.clear()
    await stage.settle(60)
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_namespaces_in_which_every_call_takes_long_hold_up_no_others() -> None:
    stage = Stage()
    slow = [f"slow-{number}" for number in range(30)]
    for tenant in ("finance", *slow):
        stage.tenant(tenant)
    life = await stage.operator()
    await stage.settle(3)
    answer = life.api.get

    async def get(kind: str, name: str, *, namespace: str = "") -> Any:
        if (namespace or name).startswith("relay-slow"):
            await asyncio.sleep(5)
        return await answer(kind, name, namespace=namespace)

    life.api.get = get  # type: ignore[method-assign]
    for tenant in slow:
        stage.tenant(tenant, queue={"concurrency": 3})
    # each has had a place for half a second by then
    await stage.settle(4)
    stage.tenant("finance", queue={"concurrency": 3})
    await stage.settle(0.5)
    assert stage.status("Tenant", "finance")["observedGeneration"] == 2
    assert stage.status("Tenant", "slow-0")["observedGeneration"] == 1
    stage.tenant("finance", suspend=True)
    await stage.settle(0.5)
    assert stage.status("Tenant", "finance")["observedGeneration"] == 3
    await life.end()
