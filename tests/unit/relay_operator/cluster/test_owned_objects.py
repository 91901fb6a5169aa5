"""An unchanged child costs no write; one that somebody else changed is written again."""

from typing import Any

import pytest
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer, Watch

from relay_operator.cluster.owned_objects import OwnedObjects

SPACE = "relay-finance"


@pytest.fixture
def server() -> InMemoryApiServer:
    server = InMemoryApiServer()
    server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    return server


def a_configmap(value: str = "x") -> dict[str, Any]:
    metadata = {"name": "c", "namespace": SPACE, "annotations": {"note": "ours"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": value}}


def a_deployment(replicas: int = 1) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": SPACE},
        "spec": {"replicas": replicas},
    }


def told(children: OwnedObjects, watch: Watch) -> list[bool]:
    """Returns, for each event since the last call, whether the owner must look."""
    return [
        children.observe(event.object, deleted=event.type == "DELETED") for event in watch.taken()
    ]


async def test_an_unchanged_child_costs_no_write(server: InMemoryApiServer) -> None:
    api = server.connect()
    children = OwnedObjects(api)
    written = [await children.apply(a_configmap(value)) for value in ("x", "x", "y")]
    assert written == [True, False, True]
    assert len(api.writes) == 2


async def test_our_own_writes_are_no_change_however_late_the_watch_shows_them(
    server: InMemoryApiServer,
) -> None:
    children, watch = OwnedObjects(server.connect()), server.watch("ConfigMap")
    for value in ("x", "y"):
        await children.apply(a_configmap(value))
    assert told(children, watch) == [False, False]


async def test_a_restarted_operator_trusts_the_hash_on_the_child(server: InMemoryApiServer) -> None:
    await OwnedObjects(server.connect()).apply(a_configmap())
    api = server.connect()
    successor = OwnedObjects(api)
    assert not successor.observe(server.stored("ConfigMap", "c", namespace=SPACE), deleted=False)
    assert not await successor.apply(a_configmap())
    assert await successor.apply(a_configmap("y"))


async def test_a_child_without_a_hash_is_written_after_a_restart(server: InMemoryApiServer) -> None:
    server.put({**a_configmap(), "metadata": {"name": "c", "namespace": SPACE}})
    successor = OwnedObjects(server.connect())
    assert not successor.observe(server.stored("ConfigMap", "c", namespace=SPACE), deleted=False)
    assert await successor.apply(a_configmap())


async def test_a_foreign_edit_is_told_and_undone(server: InMemoryApiServer) -> None:
    children, watch = OwnedObjects(server.connect()), server.watch("ConfigMap")
    await children.apply(a_configmap())
    for value in ("theirs", "theirs too"):
        server.put(a_configmap(value))
    assert told(children, watch) == [False, True, True]
    assert await children.apply(a_configmap())
    assert server.stored("ConfigMap", "c", namespace=SPACE)["data"] == {"k": "x"}
    assert told(children, watch) == [False]


async def test_a_foreign_deletion_is_told_and_undone(server: InMemoryApiServer) -> None:
    children, watch = OwnedObjects(server.connect()), server.watch("ConfigMap")
    await children.apply(a_configmap())
    server.remove("ConfigMap", "c", namespace=SPACE)
    assert told(children, watch) == [False, True]
    assert await children.apply(a_configmap())
    assert server.get("ConfigMap", "c", namespace=SPACE) is not None


async def test_a_status_of_a_workload_is_no_change_and_its_spec_is(
    server: InMemoryApiServer,
) -> None:
    children, watch = OwnedObjects(server.connect()), server.watch("Deployment")
    await children.apply(a_deployment())
    stored = server.stored("Deployment", "d", namespace=SPACE)
    server.put({**stored, "status": {"readyReplicas": 1}})
    assert told(children, watch) == [False, False]
    server.put({**stored, "spec": {"replicas": 5}})
    assert told(children, watch) == [True]


async def test_a_write_that_fails_is_repeated(server: InMemoryApiServer) -> None:
    api = server.connect()
    api.failures.failing_writes[1] = 500
    children = OwnedObjects(api)
    with pytest.raises(Exception, match="injected"):
        await children.apply(a_configmap())
    assert await children.apply(a_configmap())


async def test_a_forgotten_namespace_is_written_anew(server: InMemoryApiServer) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    children = OwnedObjects(server.connect())
    for manifest in (namespace, a_configmap(), a_deployment()):
        await children.apply(manifest)
    children.forget("relay-legal")
    assert not await children.apply(a_configmap())
    children.forget(SPACE)
    assert [await children.apply(one) for one in (namespace, a_configmap())] == [True, True]
