"""The commands that only read: status, why, plan and keys."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from kubectl_relay.cluster.kubectl import Kubectl
from kubectl_relay.commands import targets
from kubectl_relay.commands.shown import Shown
from kubectl_relay.commands.targets import Place
from kubectl_relay.errors import Forbidden, NotFound, PluginError
from kubectl_relay.texts import access as access_text
from kubectl_relay.texts import plan as plan_text
from kubectl_relay.texts import route as route_text
from kubectl_relay.texts import tenant as tenant_text
from kubectl_relay.views import raw
from kubectl_relay.views.access import current_entries, keys_view
from kubectl_relay.views.plan import plan_view
from kubectl_relay.views.route import why_view
from kubectl_relay.views.tenant import fleet_view, status_view
from relay_operator.names import API_KEYS_SECRET, tenant_namespace

Body = Mapping[str, Any]


def status(kubectl: Kubectl, name: str, place: Place) -> Shown:
    """Shows one tenant, or all of them where none is named."""
    if name or place.named:
        return _one(kubectl, targets.tenant_name(kubectl, name, place))
    try:
        tenants = kubectl.tenants()
    except Forbidden:
        return _one(kubectl, targets.tenant_name(kubectl, name, place))
    if len(tenants) == 1:
        return _one(kubectl, raw.name_of(tenants[0]))
    if not tenants:
        raise NotFound("there is no Tenant yet; kubectl explain tenant.spec says what one may say")
    notes: list[str] = []
    routes = _allowed(lambda: kubectl.routes(""), notes)
    view = fleet_view(tenants, routes, notes)
    return Shown(data=asdict(view), text=partial(tenant_text.fleet, view))


def why(kubectl: Kubectl, name: str, place: Place) -> Shown:
    """Shows what moved a route, and on which evidence."""
    view = why_view(targets.route(kubectl, name, place))
    return Shown(data=asdict(view), text=partial(route_text.why, view))


def plan(kubectl: Kubectl, name: str, place: Place, now: float) -> Shown:
    """Shows the steps that lie ahead of a route."""
    view = plan_view(targets.route(kubectl, name, place), now)
    return Shown(data=asdict(view), text=partial(plan_text.plan, view))


def keys(kubectl: Kubectl, name: str, place: Place, show: str) -> Shown:
    """Shows how a tenant is called; with show, that key alone."""
    found = targets.tenant_name(kubectl, name, place)
    space = tenant_namespace(found)
    if show:
        return _one_key(show, api_key(kubectl, found, show))
    notes: list[str] = []
    tenant = _tenant(kubectl, found, notes)
    entries: tuple[str, ...] = ()
    if tenant is None:
        entries = current_entries(tuple(_secret_entries(kubectl, found)))
    view = keys_view(found, space, tenant, entries, tuple(notes))
    return Shown(data=asdict(view), text=partial(access_text.keys, view))


def api_key(kubectl: Kubectl, tenant: str, name: str) -> str:
    """Reads a key from the tenant's Secret; an empty name stands for the first one that is there."""
    entries = _secret_entries(kubectl, tenant)
    current = current_entries(tuple(entries))
    if name and name not in entries:
        there = ", ".join(entries) or "none"
        raise NotFound(f"Tenant {tenant} has no key {name} in its Secret; there are {there}")
    if not current:
        raise NotFound(f"the Secret {API_KEYS_SECRET} of Tenant {tenant} holds no key")
    return base64.b64decode(entries[name or sorted(current)[0]]).decode()


def _one_key(name: str, key: str) -> Shown:
    """Shows a key and nothing else, so that it can be read by a command."""
    return Shown(data={"name": name, "api_key": key}, text=lambda _: iter((key,)))


def _one(kubectl: Kubectl, name: str) -> Shown:
    notes: list[str] = []
    tenant = _tenant(kubectl, name, notes)
    space = tenant_namespace(name)
    routes = kubectl.routes(space)
    providers = _allowed(kubectl.providers, notes)
    view = status_view(space, tenant, routes, providers, notes)
    return Shown(data=asdict(view), text=partial(tenant_text.status, view))


def _tenant(kubectl: Kubectl, name: str, notes: list[str]) -> Body | None:
    """Reads a Tenant; None for people of a tenant, who may read their routes and their keys alone."""
    try:
        return targets.tenant(kubectl, name)
    except Forbidden as error:
        notes.append(str(error))
        return None


def _allowed(read: Callable[[], list[Body]], notes: list[str]) -> list[Body]:
    try:
        return read()
    except Forbidden as error:
        notes.append(str(error))
        return []


def _secret_entries(kubectl: Kubectl, tenant: str) -> Mapping[str, str]:
    try:
        secret = kubectl.secret(tenant_namespace(tenant), API_KEYS_SECRET)
    except NotFound as error:
        raise PluginError(
            f"Tenant {tenant} has no keys yet: {error}; kubectl relay status {tenant} says what it waits for"
        ) from error
    return {key: str(value) for key, value in raw.part(secret, "data").items()}
