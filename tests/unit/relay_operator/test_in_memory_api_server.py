"""The in-memory API server answers as a real one does, and fails where a test wants it to."""

from typing import Any

import pytest
from tests.unit.relay_operator import child_scenarios
from tests.unit.relay_operator.api_server_scenarios import (
    Manifest,
    Scenario,
    configmap,
    expected,
)
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer, Write
from tests.unit.relay_operator.injected_failures import InjectedFailures, OperatorDied

from relay_operator.errors import ApiServerRefused, Conflict, OperatorError, Unavailable

SPACE = "space"


class OthersInMemory:
    """Somebody else at the in-memory server."""

    def __init__(self, server: InMemoryApiServer) -> None:
        self._server = server

    async def apply(self, manifest: Manifest) -> None:
        self._server.apply(manifest, ("others", "Apply"))

    async def remove(self, kind: str, name: str, *, namespace: str = "") -> None:
        self._server.remove(kind, name, namespace=namespace)

    async def edit(self, kind: str, name: str, operations: list[Manifest], *, space: str) -> None:
        body = json_patched(self._server.stored(kind, name, namespace=space), operations)
        self._server.put(body, manager="others")


@pytest.fixture
def server() -> InMemoryApiServer:
    server = InMemoryApiServer()
    server.put(namespace_of(SPACE))
    return server


def namespace_of(name: str, **metadata: object) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **metadata}}


def json_patched(body: Manifest, operations: list[Manifest]) -> Manifest:
    """Applies the operations add, replace and remove of RFC 6902."""
    for operation in operations:
        *parents, last = (
            part.replace("~1", "/") for part in operation["path"].removeprefix("/").split("/")
        )
        target: Any = body
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        if isinstance(target, list):
            place = len(target) if last == "-" else int(last)
            if operation["op"] != "add":
                del target[place]
            if operation["op"] != "remove":
                target.insert(place, operation["value"])
        elif operation["op"] == "remove":
            del target[last]
        else:
            target[last] = operation["value"]
    return body


SCENARIOS = expected(SPACE)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_a_scenario_has_the_answers_of_a_real_server(
    server: InMemoryApiServer, scenario: Scenario
) -> None:
    answers = await scenario(server.connect(), OthersInMemory(server), SPACE)
    assert answers == SCENARIOS[scenario]


@pytest.mark.parametrize("name", child_scenarios.EDITS)
async def test_an_edit_of_a_child_is_undone(server: InMemoryApiServer, name: str) -> None:
    api = server.connect()
    await child_scenarios.an_edit_is_undone(api, OthersInMemory(server), SPACE, name)


async def test_every_child_agrees_with_its_manifest(server: InMemoryApiServer) -> None:
    await child_scenarios.every_child_agrees_with_its_manifest(server.connect(), SPACE)


async def test_the_number_of_pods_changes_hands_and_is_never_lost(
    server: InMemoryApiServer,
) -> None:
    others = OthersInMemory(server)
    await child_scenarios.a_scaled_deployment_keeps_its_pods(server.connect(), others, SPACE)


async def test_an_answer_is_a_copy(server: InMemoryApiServer) -> None:
    answer = await server.connect().apply(configmap(SPACE, data={"a": "1"}))
    answer["data"]["a"] = "2"
    assert server.stored("ConfigMap", "c", namespace=SPACE)["data"] == {"a": "1"}


async def test_a_watch_tells_every_change_once_and_nothing_else(server: InMemoryApiServer) -> None:
    api, watch = server.connect(), server.watch("ConfigMap")
    for value in ("1", "1", "2"):
        await api.apply(configmap(SPACE, data={"a": value}))
    server.put(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": SPACE}}
    )
    server.remove("ConfigMap", "c", namespace=SPACE)
    events = list(watch.taken())
    assert [(event.type, event.object["data"]["a"]) for event in events] == [
        ("ADDED", "1"),
        ("MODIFIED", "2"),
        ("DELETED", "2"),
    ]
    versions = [int(event.object["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
    assert list(watch.taken()) == []


async def test_deleting_an_owner_takes_its_namespace_and_all_in_it(
    server: InMemoryApiServer,
) -> None:
    server.put({"apiVersion": "v1", "kind": "Tenant", "metadata": {"name": "t"}, "spec": {}})
    owner = {"kind": "Tenant", "name": "t", "uid": server.stored("Tenant", "t")["metadata"]["uid"]}
    server.put(namespace_of("relay-t", ownerReferences=[owner]))
    server.put(configmap("relay-t", data={}))
    server.collect_garbage()
    assert server.get("ConfigMap", "c", namespace="relay-t") is not None
    server.remove("Tenant", "t")
    server.collect_garbage()
    assert server.get("Namespace", "relay-t") is None
    assert server.list("ConfigMap") == []


async def test_a_finalizer_in_a_namespace_holds_the_namespace(server: InMemoryApiServer) -> None:
    server.put(configmap(SPACE, data={}, finalizers=["x"]))
    server.remove("Namespace", SPACE)
    server.collect_garbage()
    assert server.stored("Namespace", SPACE)["status"] == {"phase": "Terminating"}
    patch: Manifest = {"metadata": {"finalizers": []}}
    await server.connect().patch("ConfigMap", "c", patch, namespace=SPACE)
    server.collect_garbage()
    assert server.get("Namespace", SPACE) is None


async def test_an_object_made_again_is_another_one(server: InMemoryApiServer) -> None:
    first = server.put(configmap(SPACE, data={}))["metadata"]
    server.remove("ConfigMap", "c", namespace=SPACE)
    server.clock.now += 60
    second = server.put(configmap(SPACE, data={}))["metadata"]
    assert first["uid"] != second["uid"]
    assert first["creationTimestamp"] < second["creationTimestamp"]


async def test_a_kubelet_writes_a_pods_status(server: InMemoryApiServer) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": SPACE, "labels": {"app": "x"}},
        "status": {"podIP": "10.0.0.1"},
    }
    server.put(pod)
    server.put({**pod, "status": {"podIP": "10.0.0.2"}})
    assert server.stored("Pod", "p", namespace=SPACE)["status"] == {"podIP": "10.0.0.2"}
    assert len(server.list("Pod", namespace=SPACE, app="x")) == 1
    assert server.list("Pod", app="y") == []


@pytest.mark.parametrize(
    ("status", "error"), [(409, Conflict), (500, Unavailable), (422, ApiServerRefused)]
)
async def test_one_write_can_fail_without_effect(
    server: InMemoryApiServer, status: int, error: type[OperatorError]
) -> None:
    api = server.connect(InjectedFailures(failing_writes={2: status}))
    await api.create(configmap(SPACE, data={}))
    with pytest.raises(error):
        await api.create(configmap(SPACE, name="d", data={}))
    assert server.get("ConfigMap", "d", namespace=SPACE) is None
    await api.create(configmap(SPACE, name="d", data={}))
    assert [write.key[2] for write in api.writes] == ["c", "d"]


async def test_every_call_to_a_kind_can_fail(server: InMemoryApiServer) -> None:
    api = server.connect(InjectedFailures(statuses={"Secret": 403}))
    await api.create(configmap(SPACE, data={}))
    with pytest.raises(ApiServerRefused) as refused:
        await api.get("Secret", "s", namespace=SPACE)
    assert refused.value.status == 403


async def test_a_server_that_cannot_be_reached_answers_nothing(server: InMemoryApiServer) -> None:
    api = server.connect()
    api.failures.unreachable = True
    with pytest.raises(Unavailable):
        await api.get("ConfigMap", "c", namespace=SPACE)
    api.failures.unreachable = False
    assert await api.get("ConfigMap", "c", namespace=SPACE) is None


async def test_the_operator_dies_after_a_write_took_effect_and_stays_dead(
    server: InMemoryApiServer,
) -> None:
    api = server.connect(InjectedFailures(dies_after=2))
    await api.apply(configmap(SPACE, data={"a": "1"}))
    with pytest.raises(OperatorDied):
        await api.apply(configmap(SPACE, data={"a": "2"}))
    with pytest.raises(OperatorDied):
        await api.get("ConfigMap", "c", namespace=SPACE)
    successor = server.connect()
    found = await successor.get("ConfigMap", "c", namespace=SPACE)
    assert found is not None
    assert found["data"] == {"a": "2"}


async def test_a_write_that_changes_nothing_is_told_apart(server: InMemoryApiServer) -> None:
    api = server.connect()
    for _ in range(2):
        await api.apply(configmap(SPACE, data={"a": "1"}))
    key = ("ConfigMap", SPACE, "c")
    assert api.writes == [Write("apply", key, changed=True), Write("apply", key, changed=False)]
