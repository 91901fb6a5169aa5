"""The watch of Providers' Secrets goes on whatever ends it, and tells nothing twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.provider_secrets import ProviderSecrets
from relay_operator.cluster.watch_stream import WatchEvent
from relay_operator.errors import ApiServerRefused, OperatorError, Unavailable
from relay_operator.handlers.context import Context
from relay_operator.handlers.provider_secret_watch import ProviderSecretWatch
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

Event = tuple[str, dict[str, Any]]


class Watches:
    """Answers one watch after the other: each is a list of events and what ends it; the last one stays open."""

    def __init__(self, *watches: tuple[list[Event], OperatorError | None]) -> None:
        self.watches = list(watches)
        self.begun = 0

    async def watch_metadata(
        self, kind: str, *, namespace: str, selector: str
    ) -> AsyncIterator[WatchEvent]:
        assert (kind, namespace, selector) == (
            "Secret",
            "relay-system",
            "relay-operator.dev/provider",
        )
        self.begun += 1
        if not self.watches:
            await asyncio.Event().wait()
        events, ending = self.watches.pop(0)
        for event in events:
            yield WatchEvent(*event)
        if ending is not None:
            raise ending


class Queue(WorkQueue):
    """Keeps what was added."""

    def __init__(self) -> None:
        super().__init__()
        self.added: list[str] = []

    def add(self, key: Key, *args: Any, **kwargs: Any) -> None:
        self.added.append(key.name)


def secret(name: str, version: str) -> dict[str, Any]:
    return {"name": name, "resourceVersion": version}


async def told(watches: Watches, seconds: float) -> list[str]:
    return (await told_and_forgotten(watches, seconds))[0]


async def told_and_forgotten(watches: Watches, seconds: float) -> tuple[list[str], set[str]]:
    """Returns what was queued, and the Providers of which is not known any more what they were shown."""
    state = WatchedState()
    for name in ("a", "b"):
        spec = {"endpoint": {"url": "https://a.example.com"}, "auth": {"secretName": f"{name}-key"}}
        state.providers.store({"metadata": {"name": name, "uid": name}, "spec": spec})
    for provider in state.providers.valid().values():
        state.shown_secrets.note(provider, ProviderSecrets())
    queue = Queue()
    api: Any = watches
    context = Context(watched_state=state, queue=queue, children=OwnedObjects(api))
    watch = asyncio.create_task(
        ProviderSecretWatch(api=api, context=context, operator_namespace="relay-system").run()
    )
    await asyncio.sleep(seconds)
    watch.cancel()
    known = state.providers.valid()
    return queue.added, {one for one in known if state.shown_secrets.of(known[one]) is None}


@in_virtual_time
async def test_what_a_provider_was_shown_is_not_used_again_once_its_secret_has_changed() -> None:
    watches = Watches(([("DELETED", secret("b-key", "1"))], None))
    assert await told_and_forgotten(watches, 0.1) == (["b"], {"b"})


@in_virtual_time
async def test_each_change_queues_the_providers_that_name_the_secret() -> None:
    events: list[Event] = [
        ("ADDED", secret("a-key", "1")),
        ("ADDED", secret("other", "2")),
        ("MODIFIED", secret("a-key", "3")),
        ("DELETED", secret("b-key", "4")),
    ]
    assert await told(Watches((events, None)), 0.1) == ["a", "a", "b"]


@pytest.mark.parametrize(
    "ending",
    [None, Unavailable("gone"), ApiServerRefused("410", status=410)],
    ids=["ended", "lost", "410"],
)
@in_virtual_time
async def test_a_watch_that_begins_anew_tells_only_what_changed_meanwhile(
    ending: OperatorError | None,
) -> None:
    first: list[Event] = [("ADDED", secret("a-key", "1")), ("ADDED", secret("b-key", "2"))]
    again: list[Event] = [("ADDED", secret("a-key", "1")), ("ADDED", secret("b-key", "5"))]
    watches = Watches((first, ending), (again, None))
    assert await told(watches, 1.0) == ["a", "b", "b"]


@in_virtual_time
async def test_a_watch_that_is_refused_is_tried_ever_more_seldom() -> None:
    watches = Watches(*[([], ApiServerRefused("403", status=403))] * 50)
    await told(watches, 120.0)
    assert 5 <= watches.begun <= 12
