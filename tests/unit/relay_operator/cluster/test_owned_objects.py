"""An unchanged child costs no write; one that somebody else changed is written again."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.unit.relay_operator.in_memory_api_server import Connection, InMemoryApiServer, Watch
from tests.unit.relay_operator.injected_failures import InjectedFailures
from tests.unit.relay_operator.virtual_time import in_virtual_time, running_clock

from relay_operator import names
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.errors import Conflict

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


class _SlowMaker:
    """A connection whose applies take a moment, and that counts how many of a kind are under way at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._under_way: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def get(self, kind: str, name: str, *, namespace: str = "") -> dict[str, Any] | None:
        return await self._connection.get(kind, name, namespace=namespace)

    async def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        kind = manifest["kind"]
        self._under_way[kind] += 1
        self.most[kind] = max(self.most[kind], self._under_way[kind])
        await asyncio.sleep(0.2)
        self._under_way[kind] -= 1
        return await self._connection.apply(manifest)


@in_virtual_time
async def test_services_are_made_a_few_at_a_time_and_others_all_at_once() -> None:
    server = InMemoryApiServer(running_clock())
    spaces = [f"relay-t{number}" for number in range(30)]
    for space in spaces:
        server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
    maker = _SlowMaker(server.connect())
    api: Any = maker
    children = OwnedObjects(api)
    made = [
        children.apply(
            {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "namespace": space}}
        )
        for space in spaces
        for kind in ("Service", "ConfigMap")
    ]
    assert all(await asyncio.gather(*made))
    assert maker.most == {"Service": 3, "ConfigMap": 30}


async def test_our_own_writes_are_no_change_however_late_the_watch_shows_them(
    server: InMemoryApiServer,
) -> None:
    children, watch = OwnedObjects(server.connect()), server.watch("ConfigMap")
    for value in ("x", "y"):
        await children.apply(a_configmap(value))
    assert told(children, watch) == [False, False]


async def test_a_restarted_operator_trusts_what_it_reads_and_nothing_else(
    server: InMemoryApiServer,
) -> None:
    await OwnedObjects(server.connect()).apply(a_configmap())
    seen = server.stored("ConfigMap", "c", namespace=SPACE)
    for successor in (OwnedObjects(server.connect()), OwnedObjects(server.connect())):
        assert not successor.observe(seen, deleted=False)
        assert not await successor.apply(a_configmap())
    server.put({**seen, "data": {"k": "theirs"}})
    # the watch has not shown the edit yet, or has
    assert await OwnedObjects(server.connect()).apply(a_configmap())
    server.put({**seen, "data": {"k": "theirs"}})
    successor = OwnedObjects(server.connect())
    successor.observe(server.stored("ConfigMap", "c", namespace=SPACE), deleted=False)
    assert await successor.apply(a_configmap())
    assert server.stored("ConfigMap", "c", namespace=SPACE)["data"] == {"k": "x"}


async def test_a_child_that_others_made_becomes_ours(server: InMemoryApiServer) -> None:
    server.put({**a_configmap(), "data": {"k": "x", "further": "theirs"}})
    children = OwnedObjects(server.connect())
    assert await children.apply(a_configmap())
    assert server.stored("ConfigMap", "c", namespace=SPACE)["data"] == {"k": "x"}
    assert not await OwnedObjects(server.connect()).apply(a_configmap())


async def test_a_foreign_edit_is_told_and_undone(server: InMemoryApiServer) -> None:
    children, watch = OwnedObjects(server.connect()), server.watch("ConfigMap")
    await children.apply(a_configmap())
    for value in ("theirs", "theirs too"):
        server.put(a_configmap(value))
    assert told(children, watch) == [False, True, False]
    assert await children.apply(a_configmap())
    assert server.stored("ConfigMap", "c", namespace=SPACE)["data"] == {"k": "x"}
    assert not any(told(children, watch))


async def test_a_foreign_deletion_is_told_and_undone(server: InMemoryApiServer) -> None:
    children, watch = OwnedObjects(server.connect()), server.watch("ConfigMap")
    await children.apply(a_configmap())
    server.remove("ConfigMap", "c", namespace=SPACE)
    assert told(children, watch) == [False, True]
    assert await children.apply(a_configmap())
    assert server.get("ConfigMap", "c", namespace=SPACE) is not None


async def test_an_older_state_than_our_own_write_changes_nothing(
    server: InMemoryApiServer,
) -> None:
    children, watch = OwnedObjects(server.connect()), server.watch("ConfigMap")
    server.put({**a_configmap("theirs")})
    await children.apply(a_configmap())
    server.remove("ConfigMap", "c", namespace=SPACE)
    server.put(a_configmap("theirs"))
    await children.apply(a_configmap("y"))
    assert not any(told(children, watch))


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


async def test_what_is_forgotten_or_distrusted_is_read_before_it_is_written(
    server: InMemoryApiServer,
) -> None:
    api = server.connect()
    children = OwnedObjects(api)
    for manifest in (a_configmap(), a_deployment()):
        await children.apply(manifest)
    for doubt in (children.forget, children.distrust):
        server.remove("ConfigMap", "c", namespace=SPACE)
        doubt("relay-legal")
        assert not await children.apply(a_configmap())
        doubt(SPACE)
        applied = [await children.apply(one) for one in (a_configmap(), a_deployment())]
        assert applied == [True, False]


async def test_a_value_that_the_api_server_keeps_in_another_form_is_written_once(
    server: InMemoryApiServer,
) -> None:
    class Rewriting(Connection):
        """An admission webhook, which acts under the name of whoever writes."""

        async def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
            answer = await super().apply(manifest)
            return server.put(
                {**answer, "data": {**answer["data"], "by": "webhook"}},
                manager=names.FIELD_MANAGER,
            )

    api = Rewriting(server, InjectedFailures())
    children, watch = OwnedObjects(api), server.watch("ConfigMap")
    assert [await children.apply(a_configmap()) for _ in range(3)] == [True, False, False]
    assert not any(told(children, watch))


async def test_an_edit_between_the_read_and_the_write_is_undone_as_well(
    server: InMemoryApiServer,
) -> None:
    class Interrupting(Connection):
        """Somebody edits the object again while we are about to write."""

        async def patch(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            if not self.writes:
                edited("theirs once more")
            return await super().patch(*args, **kwargs)

    def edited(value: str) -> None:
        stored = server.stored("ConfigMap", "c", namespace=SPACE)
        server.put({**stored, "data": {"k": value, value: "added"}})

    await OwnedObjects(server.connect()).apply(a_configmap())
    edited("theirs")
    children = OwnedObjects(Interrupting(server, InjectedFailures()))
    assert await children.apply(a_configmap())
    assert server.stored("ConfigMap", "c", namespace=SPACE)["data"] == {"k": "x"}


async def test_whoever_reports_on_a_deployment_all_the_time_keeps_no_field_from_the_operator(
    server: InMemoryApiServer,
) -> None:
    class Reported(Connection):
        """A controller reports on the object between each read and our write, six times."""

        reports = 0

        async def patch(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            if self.reports < 6:
                self.reports += 1
                stored = server.stored("Deployment", "d", namespace=SPACE)
                server.put({**stored, "status": {"observedGeneration": self.reports}})
            return await super().patch(*args, **kwargs)

    await OwnedObjects(server.connect()).apply(a_deployment())
    server.put({**server.stored("Deployment", "d", namespace=SPACE), "spec": {"replicas": 7}})
    api = Reported(server, InjectedFailures())
    assert await OwnedObjects(api).apply(a_deployment())
    assert api.reports == 6
    assert server.stored("Deployment", "d", namespace=SPACE)["spec"] == {"replicas": 1}


async def test_an_edit_that_the_watch_shows_while_we_write_is_undone_as_well(
    server: InMemoryApiServer,
) -> None:
    class Overtaken(Connection):
        """The watch shows an edit of our write's result before we have its answer."""

        async def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
            answer = await super().apply(manifest)
            if len(self.writes) == 1:
                server.put({**answer, "data": {"k": "theirs"}})
                told(children, watch)
            return answer

    children = OwnedObjects(Overtaken(server, InjectedFailures()))
    watch = server.watch("ConfigMap")
    assert await children.apply(a_configmap())
    assert server.stored("ConfigMap", "c", namespace=SPACE)["data"] == {"k": "x"}


async def test_others_that_never_stop_are_left_to_the_next_reconcile(
    server: InMemoryApiServer,
) -> None:
    class Fought(Connection):
        async def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
            answer = await super().apply(manifest)
            return server.put({**answer, "data": {"k": "theirs"}})

    children = OwnedObjects(Fought(server, InjectedFailures()))
    with pytest.raises(Conflict, match="changed by others"):
        await children.apply(a_configmap())
