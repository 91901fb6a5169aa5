"""The first list of everything, taken in before anything is decided.

kopf runs its indexing functions for every listed object before any other handler. A reconcile that began earlier would
see half of the pods or routes, and write a document for them only to correct it a moment later.
"""

from typing import Any

import kopf

from relay_operator import names
from relay_operator.handlers.context import Context
from relay_operator.reconcile.watched_state import pod_from


def register(registry: kopf.OperatorRegistry) -> None:
    """Adds the indexing functions; what they index is in the world, not in kopf's indexes."""
    for plural, listed in (
        ("tenants", tenant_listed),
        ("providers", provider_listed),
        ("relayroutes", route_listed),
    ):
        kopf.index(names.GROUP, names.VERSION, plural, registry=registry, id=f"{plural}-listed")(
            listed
        )
    labels = {names.LABEL_MANAGED_BY: names.MANAGED_BY}
    kopf.index("", "v1", "pods", labels=labels, registry=registry, id="pods-listed")(pod_listed)


async def tenant_listed(body: kopf.Body, memo: Any, **_: Any) -> None:
    context: Context = memo
    if not context.watching:
        context.world.tenants[body["metadata"]["name"]] = plain(body)


async def provider_listed(body: kopf.Body, memo: Any, **_: Any) -> None:
    context: Context = memo
    if not context.watching:
        context.world.providers[body["metadata"]["name"]] = plain(body)


async def route_listed(body: kopf.Body, memo: Any, **_: Any) -> None:
    context: Context = memo
    if not context.watching:
        metadata = body["metadata"]
        routes = context.world.routes.setdefault(metadata["namespace"], {})
        routes[metadata["name"]] = plain(body)


async def pod_listed(body: kopf.Body, memo: Any, **_: Any) -> None:
    context: Context = memo
    if not context.watching:
        metadata = body["metadata"]
        pods = context.world.pods.setdefault(metadata["namespace"], {})
        pods[metadata["uid"]] = pod_from(plain(body))


def plain(body: kopf.Body) -> dict[str, Any]:
    """The object as a dictionary of our own, without what only clutters memory."""
    kept = dict(body)
    kept["metadata"] = {
        key: value for key, value in body["metadata"].items() if key != "managedFields"
    }
    return kept
