"""What cannot be in a namespace that was just made is not looked for, and what others put there all the same does not stay."""

from typing import Any

import pytest
from tests.unit.relay_operator.in_memory_api_server import Connection, InMemoryApiServer
from tests.unit.relay_operator.manifests.test_tenant_objects import every_object

from relay_operator import names
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.errors import ApiServerRefused, Conflict, Unavailable
from relay_operator.reconcile.fleet.new_namespaces import NewNamespaces

SPACE = "relay-finance"
NAMESPACE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": SPACE},
}
DOCUMENT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": names.DOCUMENT_CONFIGMAP, "namespace": SPACE},
    "data": {"document": "d"},
}


class Scene:
    """An operator that has made a namespace, with a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.server = InMemoryApiServer()
        self.connection: Connection = self.server.connect()
        self.api = NewNamespaces(self.connection, clock=lambda: self.now)

    async def read(self, kind: str, name: str) -> tuple[bool, int]:
        """Tells whether the object is there, and how many calls that took."""
        before = self.connection.reads
        found = await self.api.get(kind, name, namespace=SPACE)
        return found is not None, self.connection.reads - before


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.api.create(NAMESPACE)
    return scene


async def test_what_only_the_operator_makes_is_not_looked_for(scene: Scene) -> None:
    for kind, name in (*names.watched_children(), ("Secret", names.UPSTREAM_SECRET)):
        assert await scene.read(kind, name) == (False, 0)


@pytest.mark.parametrize("name", [names.API_KEYS_SECRET, names.KEY_DIGESTS_SECRET, "relay-tls"])
async def test_what_others_may_have_put_there_is_looked_for(scene: Scene, name: str) -> None:
    scene.server.put(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SPACE}}
    )
    assert await scene.read("Secret", name) == (True, 1)


async def test_what_was_written_is_read(scene: Scene) -> None:
    await scene.api.apply(DOCUMENT)
    assert await scene.read("ConfigMap", names.DOCUMENT_CONFIGMAP) == (True, 1)
    scene.server.remove("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=SPACE)
    assert await scene.read("ConfigMap", names.DOCUMENT_CONFIGMAP) == (False, 1)


async def test_a_write_that_nobody_answered_may_have_been_done(scene: Scene) -> None:
    scene.connection.failures.failing_writes = {2: 504}
    with pytest.raises(Unavailable):
        await scene.api.apply(DOCUMENT)
    scene.server.put(DOCUMENT)
    assert await scene.read("ConfigMap", names.DOCUMENT_CONFIGMAP) == (True, 1)


async def test_a_namespace_is_new_for_a_minute(scene: Scene) -> None:
    scene.server.put(DOCUMENT)
    scene.now = 59.0
    assert await scene.read("ConfigMap", names.DOCUMENT_CONFIGMAP) == (False, 0)
    scene.now = 61.0
    assert await scene.read("ConfigMap", names.DOCUMENT_CONFIGMAP) == (True, 1)


async def test_a_namespace_that_was_there_is_not_new() -> None:
    scene = Scene()
    scene.server.put(NAMESPACE)
    with pytest.raises(Conflict):
        await scene.api.create(NAMESPACE)
    assert await scene.read("ConfigMap", names.DOCUMENT_CONFIGMAP) == (False, 1)


async def test_one_that_is_gone_again_is_not_new(scene: Scene) -> None:
    scene.server.remove("Namespace", SPACE)
    scene.server.collect_garbage()
    with pytest.raises(ApiServerRefused):
        await scene.api.apply(DOCUMENT)
    scene.server.put(NAMESPACE)
    scene.server.put(DOCUMENT)
    assert await scene.read("ConfigMap", names.DOCUMENT_CONFIGMAP) == (True, 1)


async def test_what_a_stranger_put_there_in_between_does_not_stay(scene: Scene) -> None:
    for wanted in every_object():
        if wanted["kind"] != "NetworkPolicy":
            continue
        key = {"namespace": SPACE}
        name = wanted["metadata"]["name"]
        opened = {**wanted["spec"], "ingress": [{}]}
        scene.server.put({**wanted, "metadata": {"name": name, **key}, "spec": opened})
        await OwnedObjects(scene.api).apply(wanted)
        live = scene.server.stored("NetworkPolicy", name, **key)
        assert live["spec"] == wanted["spec"]
