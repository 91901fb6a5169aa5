"""What follows once the watches have shown all there is, whatever the order in which their lists came.

Handlers take in each object as it is shown and hold none back: kopf's indexes, which do until every list has come, wake all that is
held back for every object, and keep each whole until then. At a thousand tenants a start took minutes and a gigabyte.
"""

from relay_operator import names
from relay_operator.decisions import route_status
from relay_operator.handlers.context import Context
from relay_operator.reconcile.work_queue import Key, Urgency


def tenants_are_listed(context: Context) -> None:
    """Drops what was kept of tenants that could still be listed: there are none."""
    state = context.watched_state
    state.are_tenants_listed = True
    state.pods.tenants_are_listed(state.tenants)
    for namespace in context.children.namespaces():
        if namespace.removeprefix(names.NAMESPACE_PREFIX) not in state.tenants:
            context.forget(namespace)


def look_at_first(context: Context) -> None:
    """Queues before all that is at rest every canary that an earlier leader began, and every tenant that a Provider is closed to."""
    _look_at_shut_out(context)
    _look_at_canaries(context)


def _look_at_shut_out(context: Context) -> None:
    """Queues the Tenants that may have nothing of a Provider that a route of theirs names.

    Their labels may have changed while no operator ran, of which their status tells nothing.
    """
    state = context.watched_state
    for provider in state.providers.names():
        for tenant in filter(state.is_ours, state.tenants_shut_out(provider)):
            context.queue.add(Key("Tenant", "", tenant), Urgency.URGENT)


def _look_at_canaries(context: Context) -> None:
    """Queues every canary on trial with what its run begins from: until then nobody watches it but the breakers of its relays."""
    state = context.watched_state
    for namespace in filter(state.is_our_namespace, state.routes.namespaces()):
        tenant = state.tenant_of_namespace(namespace)
        for route in state.routes.in_namespace(namespace):
            if tenant is None or not route_status.is_on_trial(route.status):
                continue
            context.queue.add(Key("Tenant", "", tenant), Urgency.URGENT)
            for provider in route.mentions:
                if provider in state.providers:
                    context.queue.add(Key("Provider", "", provider), Urgency.URGENT)
            context.queue.add(Key("RelayRoute", namespace, route.name), Urgency.URGENT)
