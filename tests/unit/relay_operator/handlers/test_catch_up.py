"""Who takes over waits until the watches have shown the cluster as it is."""

import asyncio
from typing import Any

import kopf
import pytest
from tests.unit.relay_operator.handlers.recording_queue import a_context
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer
from tests.unit.relay_operator.virtual_time import in_virtual_time, running_clock

from relay_operator.errors import Unavailable
from relay_operator.handlers import resources
from relay_operator.handlers.catch_up import caught_up
from relay_operator.handlers.context import Context

SPACE = "relay-finance"
SHOW = {
    "Tenant": resources.tenant_seen,
    "Provider": resources.provider_seen,
    "RelayRoute": resources.route_seen,
}


def a_server() -> InMemoryApiServer:
    server = InMemoryApiServer(running_clock())
    server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    for kind in SHOW:
        put(server, kind)
    return server


def put(server: InMemoryApiServer, kind: str, **status: Any) -> None:
    metadata = {"name": "one"} | ({"namespace": SPACE} if kind == "RelayRoute" else {})
    server.put({"kind": kind, "metadata": metadata, "spec": {}, "status": status})


async def show(server: InMemoryApiServer, context: Context, *kinds: str) -> None:
    """Shows all objects of these kinds, as a watch does."""
    for kind in kinds:
        for body in server.list(kind):
            raw: Any = body
            await SHOW[kind](body=kopf.Body(raw), type="MODIFIED", memo=context)


async def is_over(waiting: asyncio.Task[None]) -> bool:
    await asyncio.sleep(1)
    return waiting.done()


@pytest.mark.parametrize("late", SHOW)
def test_it_waits_for_what_no_watch_has_shown(late: str) -> None:
    @in_virtual_time
    async def story() -> None:
        server = a_server()
        context, _ = a_context()
        api: Any = server.connect()
        await show(server, context, *(kind for kind in SHOW if kind != late))
        waiting = asyncio.create_task(caught_up(api, context.watched_state))
        assert not await is_over(waiting)
        await show(server, context, late)
        assert await is_over(waiting)
        await waiting

    story()


@pytest.mark.parametrize("kind", SHOW)
def test_it_waits_for_the_last_status_that_the_former_leader_wrote(kind: str) -> None:
    @in_virtual_time
    async def story() -> None:
        server = a_server()
        context, _ = a_context()
        api: Any = server.connect()
        await show(server, context, *SHOW)
        put(server, kind, observedGeneration=1)
        waiting = asyncio.create_task(caught_up(api, context.watched_state))
        assert not await is_over(waiting)
        await show(server, context, kind)
        assert await is_over(waiting)
        await waiting

    story()


@in_virtual_time
async def test_a_watch_that_shows_nothing_for_long_is_told() -> None:
    server = a_server()
    context, _ = a_context()
    api: Any = server.connect()
    with pytest.raises(Unavailable, match="watch of Tenant"):
        await caught_up(api, context.watched_state)


@in_virtual_time
async def test_what_is_shown_that_no_list_had_is_waited_for_by_nobody() -> None:
    server = a_server()
    context, _ = a_context()
    api: Any = server.connect()
    await show(server, context, *SHOW)
    server.remove("RelayRoute", "one", namespace=SPACE)
    await caught_up(api, context.watched_state)
