"""Objects that went while no watch was connected are found, and nothing else is taken for gone."""

import asyncio
from dataclasses import replace
from typing import Any

import kopf
import pytest
from tests.unit.relay_operator.handlers.recording_queue import RecordingQueue, a_context
from tests.unit.relay_operator.in_memory_api_server import Connection, InMemoryApiServer
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.errors import Unavailable
from relay_operator.handlers import owned_objects, resources
from relay_operator.handlers.context import Context
from relay_operator.handlers.lost_deletions import LostDeletions

SPACE = "relay-finance"
HANDLERS: dict[str, Any] = {
    "Tenant": resources.tenant_seen,
    "Provider": resources.provider_seen,
    "RelayRoute": resources.route_seen,
    "Pod": owned_objects.pod_seen,
}


@pytest.fixture
def server() -> InMemoryApiServer:
    server = InMemoryApiServer()
    server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    for kind, name in (("Tenant", "finance"), ("Provider", "p")):
        server.put(an_object(kind, name))
    server.put(an_object("RelayRoute", "chat", stable={"provider": "p"}))
    server.put(an_object("Pod", "relay-1"))
    return server


def an_object(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if kind not in ("Tenant", "Provider"):
        metadata |= {"namespace": SPACE, "labels": names.standard_labels("finance")}
    body: dict[str, Any] = {"kind": kind, "metadata": metadata, "spec": spec}
    return body | ({"status": {"podIP": "10.0.0.1"}} if kind == "Pod" else {})


async def watched(server: InMemoryApiServer) -> tuple[Context, RecordingQueue]:
    """Returns the context after everything was listed and queued."""
    context, queue = a_context()
    for kind, seen in HANDLERS.items():
        for body in server.list(kind):
            raw: Any = body
            await seen(body=kopf.Body(raw), type=None, memo=context)
    queue.drained()
    return context, queue


def comparing(api: Connection, context: Context) -> LostDeletions:
    return LostDeletions(api=api, context=context, period_seconds=600)


@pytest.mark.parametrize(
    ("kind", "name", "queued"),
    [
        ("Tenant", "finance", {"Tenant/finance", "RelayRoute/chat", "Provider/p"}),
        ("Provider", "p", {"Provider/p"}),
        ("RelayRoute", "chat", {"RelayRoute/chat", "Provider/p"}),
        ("Pod", "relay-1", {"Tenant/finance", "RelayRoute/chat"}),
    ],
)
async def test_what_is_gone_is_forgotten_and_queued_once(
    server: InMemoryApiServer, kind: str, name: str, queued: set[str]
) -> None:
    context, queue = await watched(server)
    server.remove(kind, name, namespace=SPACE if kind in ("RelayRoute", "Pod") else "")
    lost = comparing(server.connect(), context)
    await lost.compare()
    assert set(queue.drained()) == queued
    await lost.compare()
    assert queue.drained() == []
    if kind == "Pod":
        assert context.watched_state.relay_pods(SPACE) == ()
    else:
        assert not context.watched_state.knows(kind, SPACE, name)


@pytest.mark.parametrize("kind", ["ServiceAccount", "NetworkPolicy"])
async def test_a_child_that_is_gone_is_made_again_once(
    server: InMemoryApiServer, kind: str
) -> None:
    context, queue = await watched(server)
    api = server.connect()
    children = OwnedObjects(api)
    context = replace(context, children=children)
    await children.apply(an_object(kind, "relay"))
    lost = comparing(api, context)
    await lost.compare()
    assert queue.drained() == []
    server.remove(kind, "relay", namespace=SPACE)
    await lost.compare()
    assert queue.drained() == ["Tenant/finance"]
    await lost.compare()
    assert queue.drained() == []
    assert await children.apply(an_object(kind, "relay"))
    first, restoration = children.take_restored(SPACE)
    assert (first.was_missing, first.is_new) == (True, True)
    assert (restoration.was_missing, restoration.is_new) == (True, False)


async def test_what_is_there_is_left_alone(server: InMemoryApiServer) -> None:
    context, queue = await watched(server)
    await comparing(server.connect(), context).compare()
    assert queue.drained() == []
    assert context.watched_state.knows("Tenant", "", "finance")
    assert len(context.watched_state.relay_pods(SPACE)) == 1


async def test_an_object_made_again_is_not_taken_for_the_one_that_went(
    server: InMemoryApiServer,
) -> None:
    context, queue = await watched(server)
    server.remove("Tenant", "finance")
    listed_without_it = server.connect()

    class ShownMeanwhile(Connection):
        """The object is created and shown by the watch while the list is on its way."""

        async def list_metadata(
            self, kind: str, *, selector: str = "", namespace: str = ""
        ) -> list[dict[str, Any]]:
            listed = await listed_without_it.list_metadata(kind, selector=selector)
            if kind == "Tenant":
                raw: Any = server.put(an_object("Tenant", "finance"))
                await resources.tenant_seen(body=kopf.Body(raw), type="ADDED", memo=context)
                queue.drained()
            return listed

    await comparing(ShownMeanwhile(server, listed_without_it.failures), context).compare()
    assert queue.drained() == []
    assert context.watched_state.knows("Tenant", "", "finance")


async def test_an_empty_cluster_is_not_asked(server: InMemoryApiServer) -> None:
    context, _ = a_context()
    api = server.connect()
    api.failures.unreachable = True
    await comparing(api, context).compare()


async def test_a_server_that_is_away_says_nothing_about_deletions(
    server: InMemoryApiServer,
) -> None:
    context, queue = await watched(server)
    api = server.connect()
    api.failures.unreachable = True
    with pytest.raises(Unavailable):
        await comparing(api, context).compare()
    assert queue.drained() == []


@in_virtual_time
async def test_a_failed_comparison_is_repeated_after_the_period() -> None:
    server = InMemoryApiServer()
    server.put(an_object("Provider", "p"))
    context, queue = await watched(server)
    server.remove("Provider", "p")
    api = server.connect()
    api.failures.unreachable = True
    task = asyncio.create_task(comparing(api, context).run())
    await asyncio.sleep(601)
    assert queue.drained() == []
    api.failures.unreachable = False
    await asyncio.sleep(600)
    assert queue.drained() == ["Provider/p"]
    task.cancel()


@pytest.mark.parametrize("kind", ["Tenant", "Provider", "RelayRoute", "Pod", "NetworkPolicy"])
def test_what_went_before_a_later_list_is_found_soon_after_it(
    server: InMemoryApiServer, kind: str
) -> None:
    @in_virtual_time
    async def story() -> None:
        space = "" if kind in ("Tenant", "Provider") else SPACE
        for name in (names.RELAY, names.DEFAULT_DENY):
            server.put(an_object(kind, name))
        context, queue = await watched(server)
        seen = HANDLERS.get(kind, owned_objects.child_seen)
        if kind == "NetworkPolicy":
            for name in (names.RELAY, names.DEFAULT_DENY):
                await seen(body=shown(server, kind, name, space), type=None, memo=context)
        checking = asyncio.create_task(comparing(server.connect(), context).run())
        await asyncio.sleep(60)
        server.remove(kind, names.DEFAULT_DENY, namespace=space)
        await asyncio.sleep(60)
        queue.drained()
        # the watch was lost meanwhile, and begins anew with a list
        await seen(body=shown(server, kind, names.RELAY, space), type=None, memo=context)
        queue.drained()
        await asyncio.sleep(16)
        missed = {"Pod": "Tenant/finance", "NetworkPolicy": "Tenant/finance"}
        assert missed.get(kind, f"{kind}/{names.DEFAULT_DENY}") in queue.drained()
        await asyncio.sleep(60)
        assert queue.drained() == []
        checking.cancel()

    story()


def shown(server: InMemoryApiServer, kind: str, name: str, namespace: str) -> kopf.Body:
    raw: Any = server.stored(kind, name, namespace=namespace)
    return kopf.Body(raw)
