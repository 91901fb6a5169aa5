"""Handlers only update the world and enqueue: what, and when not."""

from typing import Any

import kopf

from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.handlers import initial_list, owned_objects, resources
from relay_operator.handlers.context import Context
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

ROUTE = {"stable": {"provider": "p"}, "canary": {"provider": "q", "percent": 10}}


class RecordingQueue(WorkQueue):
    """Remembers what was enqueued instead of ordering it."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[Key] = []

    def add(self, key: Key, *_: Any, **__: Any) -> None:
        self.keys.append(key)

    def drained(self) -> list[str]:
        """Kind and name of what was enqueued since the last time, in order and once each."""
        names = list(dict.fromkeys(f"{key.kind}/{key.name}" for key in self.keys))
        self.keys.clear()
        return names


def a_context() -> tuple[Context, RecordingQueue]:
    queue = RecordingQueue()
    return Context(world=WatchedState(), queue=queue, children=OwnedObjects(None)), queue  # type: ignore[arg-type]


def a_body(name: str, *, namespace: str = "", generation: int = 1, **fields: Any) -> kopf.Body:
    metadata = {
        "name": name,
        "uid": f"uid-{name}",
        "generation": generation,
        "managedFields": ["long"],
    }
    raw: Any = {
        "kind": "X",
        "metadata": metadata | ({"namespace": namespace} if namespace else {}),
        **fields,
    }
    return kopf.Body(raw)


async def test_our_own_status_writes_are_not_enqueued() -> None:
    context, queue = a_context()
    await resources.tenant_seen(body=a_body("finance", spec={}), type=None, memo=context)
    assert queue.drained() == ["Tenant/finance"]
    await resources.tenant_seen(
        body=a_body("finance", spec={}, status={"namespace": "x"}), type="MODIFIED", memo=context
    )
    assert queue.drained() == []
    await resources.tenant_seen(
        body=a_body("finance", spec={}, generation=2), type="MODIFIED", memo=context
    )
    assert queue.drained() == ["Tenant/finance"]


async def test_managed_fields_are_not_kept_in_memory() -> None:
    context, _ = a_context()
    await resources.tenant_seen(body=a_body("finance", spec={}), type="ADDED", memo=context)
    assert "managedFields" not in context.world.tenants["finance"]["metadata"]


async def test_a_route_wakes_its_siblings_and_its_providers() -> None:
    context, queue = a_context()
    for name in ("chat", "other"):
        await resources.route_seen(
            body=a_body(name, namespace="relay-finance", spec=ROUTE), type="ADDED", memo=context
        )
    assert set(queue.drained()) == {
        "RelayRoute/chat",
        "RelayRoute/other",
        "Provider/p",
        "Provider/q",
    }


async def test_a_deleted_object_is_forgotten_and_reconciled_once_more() -> None:
    context, queue = a_context()
    await resources.provider_seen(body=a_body("p", spec={}), type="ADDED", memo=context)
    queue.drained()
    await resources.provider_seen(body=a_body("p", spec={}), type="DELETED", memo=context)
    assert queue.drained() == ["Provider/p"]
    assert context.world.providers == {}
    await resources.provider_seen(body=a_body("p", spec={}), type="DELETED", memo=context)
    assert queue.drained() == []


async def test_a_tenant_wakes_the_providers_whose_shares_it_may_change() -> None:
    context, queue = a_context()
    context.world.routes["relay-finance"] = {"chat": {"spec": ROUTE}}
    await resources.tenant_seen(body=a_body("finance", spec={}), type="ADDED", memo=context)
    assert set(queue.drained()) == {"Tenant/finance", "RelayRoute/chat", "Provider/p", "Provider/q"}


def a_relay_pod(ready: str, **metadata: Any) -> kopf.Body:
    labels = {"relay-operator.dev/tenant": "finance"}
    status = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": ready}]}
    body = {"name": "relay-1", "namespace": "relay-finance", "uid": "u", "labels": labels}
    raw: Any = {"kind": "Pod", "metadata": body | metadata, "status": status}
    return kopf.Body(raw)


async def test_a_pod_wakes_its_tenant_only_when_something_that_matters_changed() -> None:
    context, queue = a_context()
    await owned_objects.pod_seen(body=a_relay_pod("False"), type="ADDED", memo=context)
    assert queue.drained() == ["Tenant/finance"]
    await owned_objects.pod_seen(
        body=a_relay_pod("False", resourceVersion="2"), type="MODIFIED", memo=context
    )
    assert queue.drained() == []
    await owned_objects.pod_seen(body=a_relay_pod("True"), type="MODIFIED", memo=context)
    assert queue.drained() == ["Tenant/finance"]
    await owned_objects.pod_seen(body=a_relay_pod("True"), type="DELETED", memo=context)
    assert queue.drained() == ["Tenant/finance"]
    assert context.world.relay_pods("relay-finance") == ()


async def test_the_first_list_is_known_before_any_of_it_is_enqueued() -> None:
    context, queue = a_context()
    await initial_list.tenant_listed(body=a_body("finance", spec={}), memo=context)
    await initial_list.provider_listed(body=a_body("p", spec={}), memo=context)
    await initial_list.route_listed(
        body=a_body("chat", namespace="relay-finance", spec=ROUTE), memo=context
    )
    await initial_list.pod_listed(body=a_relay_pod("True"), memo=context)
    assert queue.drained() == []
    assert len(context.world.relay_pods("relay-finance")) == 1
    assert context.world.tenants_using("p") == {"finance"}
    await resources.tenant_seen(body=a_body("finance", spec={}), type=None, memo=context)
    await owned_objects.pod_seen(body=a_relay_pod("True"), type=None, memo=context)
    assert "Tenant/finance" in queue.drained()


async def test_a_late_index_call_never_overwrites_what_an_event_told() -> None:
    context, _ = a_context()
    await resources.tenant_seen(
        body=a_body("finance", spec={}, generation=2), type="MODIFIED", memo=context
    )
    await initial_list.tenant_listed(body=a_body("finance", spec={}, generation=1), memo=context)
    assert context.world.tenants["finance"]["metadata"]["generation"] == 2
