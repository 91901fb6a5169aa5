"""Tenants, Providers, ToolServers and RelayRoutes: each event updates the watched state and enqueues; nothing else happens here."""

from collections.abc import Iterable
from typing import Any, Final

from relay_operator import names
from relay_operator.api.tool_server import ToolServer
from relay_operator.decisions import brake
from relay_operator.decisions.api_keys import withdrawal
from relay_operator.decisions.tools import definitions
from relay_operator.handlers.context import Context
from relay_operator.manifests import capacity
from relay_operator.reconcile.watched_objects import Body, Watched
from relay_operator.reconcile.work_queue import Key, Urgency

_GATHERING_SECONDS: Final = 1.0
"""Until a Provider is looked at because of who uses it: of hundreds of tenants that come at the same time, once for all."""


async def tenant_seen(body: Body, type: str | None, memo: Any, **_: Any) -> None:  # noqa: A002 - the watches' name
    context: Context = memo
    context.note_event(type, is_known=context.watched_state.tenants.has_shown(body))
    if not context.watched_state.tenants.take_in(body, deleted=type == "DELETED"):
        return
    name = body["metadata"]["name"]
    if type == "DELETED":
        # its children go after it, and are nobody's then; a standby reconciles nothing that would forget them
        context.forget(names.tenant_namespace(name))
    urgent = (
        brake.suspends(body.get("spec"))
        or "deletionTimestamp" in body["metadata"]
        or _takes_keys_away(body)
    )
    # past a reconcile that is under way, and whatever that waits for
    context.queue.add(Key("Withdrawal", "", name), Urgency.IMMEDIATE)
    urgency = Urgency.URGENT if urgent else _urgency(body, type)
    context.queue.add(Key("Tenant", "", name), urgency)
    space = names.tenant_namespace(name)
    for route in context.watched_state.routes.in_namespace(space):
        context.queue.add(Key("RelayRoute", space, route.name), max(urgency, Urgency.NORMAL))
        # a changed weight changes every tenant's share of these providers
        _add_providers(context, route.mentions)


async def provider_seen(body: Body, type: str | None, memo: Any, **_: Any) -> None:  # noqa: A002 - the watches' name
    context: Context = memo
    context.note_event(type, is_known=context.watched_state.providers.has_shown(body))
    if not context.watched_state.providers.take_in(body, deleted=type == "DELETED"):
        return
    name = body["metadata"]["name"]
    context.queue.add(Key("Provider", "", name))
    for tenant in context.watched_state.tenants_shut_out(name):
        # that of the Provider itself may wait for Secrets and Services, and for other Providers
        context.queue.add(Key("Tenant", "", tenant), Urgency.URGENT)


async def tool_server_seen(body: Body, type: str | None, memo: Any, **_: Any) -> None:  # noqa: A002 - the watches' name
    context: Context = memo
    servers, name = context.watched_state.tool_servers, body["metadata"]["name"]
    context.note_event(type, is_known=servers.has_shown(body))
    told = servers.get(name)
    is_news = servers.take_in(body, deleted=type == "DELETED")
    # what an operator that asks the server has found is told to the others by its status
    if is_news or _tells_otherwise(told, servers.get(name), context):
        context.queue.add(Key("ToolServer", "", name))


def _tells_otherwise(
    before: Watched[ToolServer] | None, now: Watched[ToolServer] | None, context: Context
) -> bool:
    if context.watched_state.shards.is_main or before is None or now is None:
        return False
    return definitions.from_status(before.status) != definitions.from_status(now.status)


async def route_seen(body: Body, type: str | None, memo: Any, **_: Any) -> None:  # noqa: A002 - the watches' name
    context: Context = memo
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    context.note_event(type, is_known=context.watched_state.routes.has_shown(body))
    news = context.watched_state.take_in_route(body, deleted=type == "DELETED")
    if news is None:
        return
    goes = type == "DELETED" or "deletionTimestamp" in body["metadata"]
    urgent = goes or brake.lowers(body)
    urgency = Urgency.URGENT if urgent else _urgency(body, type)
    context.queue.add(Key("RelayRoute", namespace, name), urgency)
    for sibling in news.routes - {name}:
        context.queue.add(Key("RelayRoute", namespace, sibling))
    _add_providers(context, news.providers)
    if type != "DELETED":
        _bound_routes(context, namespace)


def _bound_routes(context: Context, namespace: str) -> None:
    """Queues a tenant that has just got more routes than are left to it without a bound."""
    count = context.watched_state.routes.count_in(namespace)
    tenant = context.watched_state.tenant_of_namespace(namespace)
    is_first = capacity.are_routes_bounded(count) and not capacity.are_routes_bounded(count - 1)
    if is_first and tenant is not None:
        context.queue.add(Key("Tenant", "", tenant), Urgency.URGENT)


def _urgency(body: Body, type_: str | None) -> Urgency:
    """Returns how soon an object is to be looked at: one of a list of all goes after what somebody changes, if its status
    tells that it was looked at as it is.
    """
    told = (body.get("status") or {}).get("observedGeneration")
    is_settled = type_ is None and told == body["metadata"].get("generation", 1)
    return Urgency.BACKGROUND if is_settled else Urgency.NORMAL


def _takes_keys_away(body: Body) -> bool:
    """Tells whether a Tenant names fewer API keys than its status tells of, or asks for some to be revoked."""
    if names.ANNOTATION_REVOKE_KEYS in (body["metadata"].get("annotations") or {}):
        return True
    named = withdrawal.named_keys(body.get("spec"))
    told = (body.get("status") or {}).get("keys") or ()
    return named is not None and not {entry.get("name") for entry in told} <= named


def _add_providers(context: Context, names_: Iterable[str]) -> None:
    for provider in names_:
        # what a route mentions need not exist: only a Provider's own event makes work for an unknown one
        if context.watched_state.providers.get(provider) is not None:
            context.queue.add_after(Key("Provider", "", provider), _GATHERING_SECONDS)


SEEN: Final = {
    "tenants": tenant_seen,
    "providers": provider_seen,
    "toolservers": tool_server_seen,
    "relayroutes": route_seen,
}
"""The handler of each kind, by plural."""
