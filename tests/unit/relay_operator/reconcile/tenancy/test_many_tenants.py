"""Many tenants at once: names that look alike, fifty in one moment, and one that never stops changing its mind."""

from typing import Any

from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names

LONGEST = "a" * 40
ALIKE = ("a", "a-b", "a-b-c", "relay-a", "b", LONGEST, LONGEST[:-1], "relay", "0", "xn--a")


def owned(stage: Stage, tenant: str) -> bool:
    return stage.condition("Tenant", tenant, "NamespaceReady").get("status") == "True"


def statuses_of(life: Life, kind: str) -> int:
    """Counts the writes of statuses of a kind."""
    return sum(write.verb == "patch status" and write.key[0] == kind for write in life.api.writes)


@in_virtual_time
async def test_names_that_look_alike_share_nothing() -> None:
    stage = Stage()
    uids = {name: stage.tenant(name)["metadata"]["uid"] for name in ALIKE}
    life = await stage.operator()
    await stage.settle()
    keys = set()
    for name, uid in uids.items():
        assert owned(stage, name)
        home = stage.server.stored("Namespace", f"relay-{name}")["metadata"]
        assert len(home["name"]) <= 63
        assert home["annotations"][names.ANNOTATION_TENANT_UID] == uid
        secret = stage.server.stored("Secret", "relay-api-keys", namespace=f"relay-{name}")
        keys |= set(secret["data"].values())
    assert len(keys) == len(ALIKE)
    # one that goes takes none of the others along
    stage.server.remove("Tenant", "a")
    await stage.settle()
    for _ in range(2):
        stage.server.collect_garbage()
        await stage.settle()
    left = {one["metadata"]["name"] for one in stage.server.list("Namespace")}
    assert {f"relay-{name}" for name in ALIKE} - left == {"relay-a"}
    assert all(owned(stage, name) for name in ALIKE if name != "a")
    await life.end()


@in_virtual_time
async def test_fifty_tenants_at_once_get_what_each_asks_for_and_no_more_writes_than_one_by_one() -> (
    None
):
    stage = Stage()
    stage.tenant("first")
    life = await stage.operator()
    await stage.settle()
    alone = len(life.api.writes)
    for number in range(50):
        stage.tenant(f"tenant-{number}")
    await stage.settle()
    assert all(owned(stage, f"tenant-{number}") for number in range(50))
    assert len(life.api.writes) - alone <= 50 * alone
    await life.end()


@in_virtual_time
async def test_a_new_tenant_with_a_route_costs_few_calls_until_it_is_ready() -> None:
    stage = Stage()
    stage.provider("legacy")
    life = await stage.operator()
    await stage.settle()
    reads, writes = life.api.reads, len(life.api.writes)
    stage.tenant()
    await stage.settle(0.3)
    stage.route()
    await stage.settle(0.5)
    stage.pod(ready=False)
    await stage.settle(0.8)
    stage.pod()
    await stage.settle(10)
    assert owned(stage, "finance")
    found = stage.condition("RelayRoute", "chat", "Ready", tenant="finance")
    assert found["status"] == "True"
    # the namespace, which is looked for before it is made, and little of what is in it
    assert life.api.reads - reads <= 8
    # no status was refused for the version that the operator's own finalizer has made old
    assert life.api.reads_of["Tenant"] == 0
    assert len(life.api.writes) - writes <= 34
    # that it is being provisioned, that keys wait for a probe, that it is ready and probed, and the configuration with its route
    assert statuses_of(life, "Tenant") <= 5


@in_virtual_time
async def test_what_follows_by_itself_while_pods_come_up_is_told_together_and_not_late() -> None:
    stage = Stage()
    life = await stage.operator()
    stage.tenant()
    await stage.settle(1)
    told = statuses_of(life, "Tenant")
    # the relay has taken its document, and is not ready yet
    stage.pod(ready=False)
    await stage.settle(0.8)
    assert statuses_of(life, "Tenant") == told
    await stage.settle(0.7)
    assert stage.condition("Tenant", "finance", "Programmed")["status"] == "True"
    assert statuses_of(life, "Tenant") == told + 1
    # what somebody can act on waits for nothing
    pod = stage.server.stored("Pod", "relay-1", namespace="relay-finance")
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    pod["status"]["containerStatuses"] = [{"name": "relay", "restartCount": 0, "state": waiting}]
    stage.server.put(pod)
    await stage.settle(0.3)
    assert "ImagePullBackOff" in stage.condition("Tenant", "finance", "Ready")["message"]
    await life.end()


@in_virtual_time
async def test_a_spec_that_is_changed_all_the_time_holds_up_no_other_tenant() -> None:
    stage = Stage()
    stage.tenant("restless")
    life = await stage.operator()
    await stage.settle()
    before = len(life.api.writes)
    writes: dict[str, Any] = {}
    for number in range(500):
        stage.tenant("restless", queue={"concurrency": 1 + number % 100}, suspend=bool(number % 2))
        if number == 100:
            stage.tenant("other")
        await stage.settle(0.01)
        if "other" not in writes and number > 100 and owned(stage, "other"):
            writes["other"] = number
    # within a second, as without the other's changes
    assert writes["other"] - 100 <= 100
    # changes that came together are followed together
    assert len(life.api.writes) - before < 500
    await stage.settle()
    status = stage.status("Tenant", "restless")
    stored = stage.server.stored("Tenant", "restless")["metadata"]
    assert status["observedGeneration"] == stored["generation"]
    await life.end()
