"""A Tenant is queued as soon as a Secret of its keys has a version that nobody looked at, also after the watch broke."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from tests.unit.relay_operator.handlers.recording_queue import RecordingQueue, a_context
from tests.unit.relay_operator.handlers.test_watching import a_body, tenant_event
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.cluster.watch_stream import WatchEvent
from relay_operator.errors import ApiServerRefused, OperatorError, Unavailable
from relay_operator.handlers.secret_watch import WATCHED, SecretWatch
from relay_operator.reconcile.keys.secret_versions import SecretVersions

Act = WatchEvent | OperatorError
KEYS, DIGESTS, UPSTREAM = WATCHED


class Server:
    """An API server whose watches go as arranged: each begins with the next list, and ends with it or its error."""

    def __init__(self, *watches: list[Act], name: str = KEYS) -> None:
        self.name = name
        self.watches = list(watches)
        self.since: list[str] = []

    async def watch_metadata(
        self, kind: str, name: str, *, since: str
    ) -> AsyncIterator[WatchEvent]:
        assert kind == "Secret"
        if name != self.name or not self.watches:
            await asyncio.Event().wait()
        self.since.append(since)
        for act in self.watches.pop(0):
            if isinstance(act, OperatorError):
                raise act
            yield act


def event(type_: str, version: str, namespace: str = "relay-finance") -> WatchEvent:
    return WatchEvent(type_, {"namespace": namespace, "resourceVersion": version})


async def queued(*watches: list[Act], seen: str = "1") -> tuple[list[str], list[str]]:
    """Returns what was queued, and the versions from which each watch began."""
    queue, since = await recorded(*watches, seen=seen)
    return queue.drained(), since


async def recorded(*watches: list[Act], seen: str | None) -> tuple[RecordingQueue, list[str]]:
    """Watches the Secrets of a tenant, of which one has been seen in this version; None if none was ever read."""
    context, queue = a_context("p", "q", "r")
    await tenant_event(context, "ADDED", a_body("finance", spec={}))
    queue.drained()
    queue.immediate.clear()
    versions = SecretVersions()
    if seen is not None:
        versions.note("relay-finance", KEYS, seen)
    server: Any = Server(*watches)
    watching = asyncio.create_task(
        SecretWatch(api=server, context=context, versions=versions).run()
    )
    await asyncio.sleep(300.0)
    assert not watching.done()
    watching.cancel()
    return queue, server.since


@in_virtual_time
async def test_what_the_first_watch_shows_comes_before_nothing_else() -> None:
    queue, _ = await recorded([event("ADDED", "1")], seen=None)
    assert (queue.drained(), queue.urgent, queue.immediate) == (["Tenant/finance"], set(), [])


@in_virtual_time
async def test_what_changes_before_it_was_read_is_urgent_all_the_same() -> None:
    queue, _ = await recorded([event("ADDED", "1"), event("MODIFIED", "2")], seen=None)
    assert queue.urgent == {"Tenant/finance"}
    assert queue.immediate == ["KeySecrets/finance"]


@in_virtual_time
async def test_a_version_that_nobody_looked_at_queues_its_tenant() -> None:
    found, _ = await queued([event("ADDED", "1"), event("MODIFIED", "2")])
    assert found == ["Tenant/finance"]


@in_virtual_time
async def test_a_deletion_is_news() -> None:
    found, _ = await queued([event("DELETED", "7")])
    assert found == ["Tenant/finance"]


@in_virtual_time
async def test_what_was_read_or_written_meanwhile_is_no_news() -> None:
    found, _ = await queued([event("ADDED", "1"), event("BOOKMARK", "9")])
    assert found == []


@in_virtual_time
async def test_secrets_of_strangers_queue_nothing() -> None:
    others = [event("ADDED", "5", space) for space in ("web", "relay-nobody", "relay-", "finance")]
    assert (await queued([event("ADDED", "1"), *others]))[0] == []


@in_virtual_time
async def test_a_watch_goes_on_where_it_ended_and_begins_anew_where_that_is_too_old() -> None:
    found, since = await queued(
        [event("ADDED", "1"), event("BOOKMARK", "4")],
        [Unavailable("gone")],
        [ApiServerRefused("too old", status=410)],
        [event("ADDED", "6")],
    )
    assert since == ["", "4", "4", ""]
    assert found == ["Tenant/finance"]


@in_virtual_time
async def test_what_a_watch_that_begins_anew_does_not_show_was_deleted_in_the_gap() -> None:
    gone = ApiServerRefused("too old", status=410)
    queue, since = await recorded(
        [event("ADDED", "1"), gone], [event("BOOKMARK", "9", "")], seen="1"
    )
    assert since[:2] == ["", ""]
    assert (queue.immediate, queue.drained()) == (["KeySecrets/finance"], ["Tenant/finance"])
    for shown in ("ADDED", "DELETED"):
        # as it was, or told by itself
        found, _ = await queued([event("ADDED", "1"), gone], [event(shown, "1")])
        assert found == []
    # one that ended, and goes on where it did, shows only what is new
    found, since = await queued([event("ADDED", "1")], [event("BOOKMARK", "9", "")])
    assert (found, since[1]) == ([], "1")


@in_virtual_time
async def test_without_the_right_to_watch_the_operator_goes_on() -> None:
    refused: list[list[Act]] = [[ApiServerRefused("forbidden", status=403)] for _ in range(40)]
    found, since = await queued(*refused)
    assert found == []
    # with growing pauses
    assert 5 <= len(since) <= 20


@in_virtual_time
async def test_what_relays_show_the_providers_is_put_back_at_once() -> None:
    context, queue = a_context()
    await tenant_event(context, "ADDED", a_body("finance", spec={}))
    queue.drained()
    queue.immediate.clear()
    versions = SecretVersions()
    versions.note("relay-finance", UPSTREAM, "1")
    server: Any = Server([event("ADDED", "1"), event("DELETED", "2")], name=UPSTREAM)
    watch = SecretWatch(api=server, context=context, versions=versions)
    watching = asyncio.create_task(watch.run())
    await asyncio.sleep(1)
    # no API key went
    assert (queue.drained(), queue.immediate) == (["Tenant/finance"], [])
    watching.cancel()


@in_virtual_time
async def test_a_watch_is_followed_while_it_is_heard_and_not_when_it_is_refused() -> None:
    context, _ = a_context()
    forbidden = ApiServerRefused("forbidden", status=403)
    server: Any = Server([event("BOOKMARK", "1")], [event("BOOKMARK", "2"), forbidden])
    watch = SecretWatch(api=server, context=context, versions=SecretVersions())
    assert not watch.is_followed(KEYS)
    watching = asyncio.create_task(watch.run())
    await asyncio.sleep(0.1)
    assert watch.is_followed(KEYS)
    assert not watch.is_followed(DIGESTS)
    # refused at the second watch
    await asyncio.sleep(10)
    assert not watch.is_followed(KEYS)
    watching.cancel()


@in_virtual_time
async def test_a_watch_that_is_silent_for_long_is_followed_no_more() -> None:
    context, _ = a_context()
    server: Any = Server([event("BOOKMARK", "1")])
    watch = SecretWatch(api=server, context=context, versions=SecretVersions())
    watching = asyncio.create_task(watch.run())
    await asyncio.sleep(100)
    assert watch.is_followed(KEYS)
    await asyncio.sleep(100)
    assert not watch.is_followed(KEYS)
    watching.cancel()
