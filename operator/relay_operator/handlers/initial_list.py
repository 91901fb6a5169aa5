"""The initial list of every kind, stored before anything is decided.

kopf runs its indexing functions for every listed object before any other handler. A reconcile that began earlier would
see half of the pods or routes, and write a document for them only to correct it a moment later. kopf runs them for later
events too, each before the handler of that event; so they store and leave it to the handler to enqueue.
"""

from typing import Any

import kopf

from relay_operator import names
from relay_operator.handlers.context import Context


def register(registry: kopf.OperatorRegistry) -> None:
    """Adds the indexing functions; what they store is in the watched state, not in kopf's indexes."""
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
    kopf.index(
        "apps", "v1", "deployments", labels=labels, registry=registry, id="deployments-listed"
    )(deployment_listed)


async def tenant_listed(body: kopf.Body, memo: Any, **_: Any) -> None:
    context: Context = memo
    context.watched_state.tenants.store(body)


async def provider_listed(body: kopf.Body, memo: Any, **_: Any) -> None:
    context: Context = memo
    context.watched_state.providers.store(body)


async def route_listed(body: kopf.Body, memo: Any, **_: Any) -> None:
    context: Context = memo
    context.watched_state.routes.store(body)


async def pod_listed(body: kopf.Body, memo: Any, **_: Any) -> None:
    context: Context = memo
    context.watched_state.store_pod(body)


async def deployment_listed(body: kopf.Body, memo: Any, **_: Any) -> None:
    context: Context = memo
    metadata = body["metadata"]
    if names.owner_of("Deployment", metadata["namespace"], metadata["name"]) is not None:
        context.watched_state.store_deployment(body)
