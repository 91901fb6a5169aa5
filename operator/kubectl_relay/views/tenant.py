"""A tenant with its keys, routes and providers, and the last moves of all its routes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kubectl_relay.views import raw
from kubectl_relay.views.raw import ConditionView, Object
from kubectl_relay.views.route import MoveView, RouteView, moves, route_view

_MOST_MOVES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """An API key by time alone; times are RFC 3339, empty if there are none."""

    name: str
    source: str
    since: str
    rotates_at: str
    previous_until: str
    priority: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderView:
    name: str
    ready: ConditionView
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BillView:
    """Holds what the tenant owes for a month so far, in USD. percent is of its budget or credit, empty without one; limit is WithinBudget."""

    month: str
    spent: str
    percent: str
    limit: ConditionView


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantView:
    """The tenant itself, as its status tells."""

    name: str
    namespace: str
    ready: ConditionView
    is_observed: bool
    suspended: bool
    tier: str
    endpoint: str
    relay: str
    config_generation: int
    pods_acknowledged: int
    isolated: ConditionView
    tools: ConditionView
    bill: BillView
    troubles: tuple[ConditionView, ...]
    keys: tuple[KeyView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """One screen. tenant is None where the user may not read it; notes say what could not be read."""

    namespace: str
    tenant: TenantView | None
    routes: tuple[RouteView, ...]
    providers: tuple[ProviderView, ...]
    moves: tuple[MoveView, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLine:
    """One tenant of many: its routes, those that need a person and those with a canary under way."""

    name: str
    ready: ConditionView
    relay: str
    routes: int
    not_ready: tuple[str, ...]
    under_way: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    tenants: tuple[FleetLine, ...]
    notes: tuple[str, ...]


def tenant_view(body: Object) -> TenantView:
    """Reads a tenant."""
    spec, status = raw.part(body, "spec"), raw.part(body, "status")
    relay = raw.part(status, "relay")
    return TenantView(
        name=raw.name_of(body),
        namespace=raw.text(status, "namespace"),
        ready=raw.condition(body, "Ready"),
        is_observed=raw.is_observed(body),
        suspended=spec.get("suspend") is True,
        tier=raw.text(spec, "tier"),
        endpoint=raw.text(status, "endpoint"),
        relay=raw.text(relay, "summary"),
        config_generation=raw.number(relay, "configGeneration"),
        pods_acknowledged=raw.number(relay, "acknowledged"),
        isolated=raw.condition(body, "Isolated"),
        tools=raw.condition(body, "ToolsReady"),
        bill=_bill(body),
        troubles=raw.troubles(body),
        keys=keys(body),
    )


def keys(body: Object) -> tuple[KeyView, ...]:
    """Reads the tenant's API keys from its status."""
    asked = {raw.text(one, "name"): one for one in raw.entries(raw.part(body, "spec"), "apiKeys")}
    return tuple(
        KeyView(
            name=raw.text(one, "name"),
            source=raw.text(one, "source"),
            since=raw.text(one, "since"),
            rotates_at=raw.text(one, "rotatesAt"),
            previous_until=raw.text(one, "previousUntil"),
            priority=raw.text(asked.get(raw.text(one, "name"), {}), "priority") or "normal",
        )
        for one in raw.entries(raw.part(body, "status"), "keys")
    )


def status_view(
    namespace: str,
    tenant: Object | None,
    routes: Sequence[Object],
    providers: Iterable[Object],
    notes: Sequence[str],
) -> StatusView:
    """Makes the screen of one tenant. Of providers, those are shown that its routes name or that serve."""
    named = {name for route in routes for name in provider_names(route)}
    told = sorted((one for route in routes for one in moves(route)), key=lambda one: one.at)
    return StatusView(
        namespace=namespace,
        tenant=tenant_view(tenant) if tenant is not None else None,
        routes=tuple(route_view(one) for one in routes),
        providers=tuple(_provider(one) for one in providers if raw.name_of(one) in named),
        moves=tuple(told[-_MOST_MOVES:]),
        notes=tuple(notes),
    )


def fleet_view(
    tenants: Iterable[Object], routes: Iterable[Object], notes: Sequence[str]
) -> FleetView:
    """Makes the list of all tenants."""
    by_namespace: dict[str, list[RouteView]] = {}
    for one in map(route_view, routes):
        by_namespace.setdefault(one.namespace, []).append(one)
    return FleetView(
        tenants=tuple(
            _fleet_line(one, by_namespace.get(one.namespace, []))
            for one in map(tenant_view, tenants)
        ),
        notes=tuple(notes),
    )


def provider_names(route: Object) -> Iterable[str]:
    """Yields the names of all Providers that a route's spec names, and of those that serve, which a refused spec need not name."""
    spec = raw.part(route, "spec")
    sides = (raw.part(spec, "stable"), raw.part(spec, "canary"), *raw.entries(spec, "fallback"))
    yield from (raw.text(one, "provider") for one in sides if one)
    in_force = raw.part(raw.part(route, "status"), "inForce")
    # as provider or provider/model
    told = (raw.text(in_force, side).partition("/")[0] for side in ("stable", "canary"))
    yield from filter(None, told)


def _fleet_line(tenant: TenantView, routes: Sequence[RouteView]) -> FleetLine:
    return FleetLine(
        name=tenant.name,
        ready=tenant.ready,
        relay=tenant.relay,
        routes=len(routes),
        not_ready=tuple(one.name for one in routes if one.ready.status != "True"),
        under_way=tuple(
            f"{one.name} {one.canary_percent} %"
            for one in routes
            if one.phase not in ("", "Stable", "Promoted", "RolledBack")
        ),
    )


def _bill(body: Object) -> BillView:
    told = raw.part(body, "status", "billing")
    return BillView(
        month=raw.text(told, "month"),
        spent=raw.text(told, "spent"),
        percent=raw.text(told, "budgetPercent"),
        limit=raw.condition(body, "WithinBudget"),
    )


def _provider(body: Object) -> ProviderView:
    return ProviderView(
        name=raw.name_of(body),
        ready=raw.condition(body, "Ready"),
        url=raw.text(raw.part(body, "status"), "url"),
    )
