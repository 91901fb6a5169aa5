"""Tenants, Providers and RelayRoutes: the watch updates the world and enqueues; nothing else happens here."""

from typing import Any

import kopf

from relay_operator import names
from relay_operator.handlers.context import Context
from relay_operator.handlers.initial_list import plain
from relay_operator.reconcile.work_queue import Key


def register(registry: kopf.OperatorRegistry) -> None:
    """Adds the handlers to the registry."""
    for plural, handler in (
        ("tenants", tenant_seen),
        ("providers", provider_seen),
        ("relayroutes", route_seen),
    ):
        kopf.on.event(names.GROUP, names.VERSION, plural, registry=registry, id=f"{plural}-seen")(
            handler
        )


async def tenant_seen(body: kopf.Body, type: str | None, memo: Any, **_: Any) -> None:  # noqa: A002 - kopf's name
    context: Context = memo
    context.watching = True
    name = body["metadata"]["name"]
    if _keep(context.world.tenants, name, body, type):
        context.queue.add(Key("Tenant", "", name))
        space = names.tenant_namespace(name)
        for route, spec in context.world.routes.get(space, {}).items():
            context.queue.add(Key("RelayRoute", space, route))
            # its weight may be another now, and with it every tenant's share of these providers
            for provider in context.world.named_providers(spec):
                context.queue.add(Key("Provider", "", provider))


async def provider_seen(body: kopf.Body, type: str | None, memo: Any, **_: Any) -> None:  # noqa: A002 - kopf's name
    context: Context = memo
    context.watching = True
    name = body["metadata"]["name"]
    if _keep(context.world.providers, name, body, type):
        context.queue.add(Key("Provider", "", name))


async def route_seen(body: kopf.Body, type: str | None, memo: Any, **_: Any) -> None:  # noqa: A002 - kopf's name
    context: Context = memo
    context.watching = True
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    routes = context.world.routes.setdefault(namespace, {})
    if _keep(routes, name, body, type):
        # a route that goes may free what another claims; one that comes may need the tenant's wall opened
        for sibling in {name, *routes}:
            context.queue.add(Key("RelayRoute", namespace, sibling))
        for provider in context.world.named_providers(body):
            context.queue.add(Key("Provider", "", provider))


def _keep(cache: dict[str, Any], name: str, body: kopf.Body, event: str | None) -> bool:
    """Updates the cache; whether there is something to reconcile. Our own status writes are not."""
    before = cache.get(name)
    if event == "DELETED":
        cache.pop(name, None)
        return before is not None
    now = cache[name] = plain(body)
    # no event: an object of the first list, which is in the cache already, or of a later one
    return event is None or before is None or _intent(before) != _intent(now)


def _intent(body: dict[str, Any]) -> tuple[Any, ...]:
    metadata = body["metadata"]
    return (
        metadata["uid"],
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        metadata.get("annotations"),
    )
