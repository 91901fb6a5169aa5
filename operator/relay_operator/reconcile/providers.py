"""Reconciles a Provider: resolves its address, checks its key, writes its status."""

import asyncio
import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from relay_operator import names
from relay_operator.api.provider import Provider, ServiceRef
from relay_operator.cluster import provider_secrets
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.decisions import outcome, provider_conditions, provider_status
from relay_operator.decisions.conditions import Condition
from relay_operator.decisions.ledger.told_before import told_before
from relay_operator.decisions.outcome import Obstacle, Refused
from relay_operator.decisions.provider_conditions import Configured, ProviderOutcome
from relay_operator.decisions.provider_status import ProviderStatus
from relay_operator.decisions.providers import health, oversubscription
from relay_operator.decisions.providers.health import Health
from relay_operator.decisions.providers.oversubscription import Oversubscription
from relay_operator.decisions.route_status import is_on_trial
from relay_operator.errors import ApiServerRefused, Unavailable
from relay_operator.manifests import upstreams
from relay_operator.manifests.addresses import forbidden_addresses
from relay_operator.manifests.environment import Upstream
from relay_operator.manifests.upstreams import Unusable
from relay_operator.names import Reason
from relay_operator.reconcile.failure_report import report_and_raise, report_status
from relay_operator.reconcile.ledger.ledger_news import LedgerNews
from relay_operator.reconcile.upstreams.provider_news import Form, ProviderNews
from relay_operator.reconcile.upstreams.provider_probes import ProviderProbes
from relay_operator.reconcile.watched_objects import Invalid, Watched
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

_UNTOLD_SECONDS = {
    Reason.SERVICE_NOT_FOUND: 3.0,
    Reason.SERVICE_UNUSABLE: 3.0,
    Reason.CERTIFICATE_INVALID: 60.0,
}
"""Until what was refused is looked at again: Services are not watched, and a certificate's time comes by itself. Secrets are
watched, and all else stands in the Provider.
"""
_SOON_SECONDS = 900.0
"""Longer than Providers are left alone."""
_NAMED = 5
_FEW = 20
"""Tenants whose work is done before anybody waits for it."""


class ProviderReconciler:
    """Keeps the watched state's upstreams: the address of every provider that has one."""

    def __init__(
        self,
        *,
        api: ApiServer,
        watched_state: WatchedState,
        status: StatusWriter,
        announcer: EventRecorder,
        queue: WorkQueue,
        clock: Callable[[], float],
        operator_namespace: str,
        probes: ProviderProbes,
        cluster_cidrs: tuple[str, ...] = (),
        ledger_news: LedgerNews | None = None,
    ) -> None:
        self._api = api
        self._watched_state = watched_state
        self._status = status
        self._announcer = announcer
        self._queue = queue
        self._clock = clock
        self._operator_namespace = operator_namespace
        self._cluster_cidrs = cluster_cidrs
        self._probes = probes
        self._ledger_news = ledger_news
        self._news = ProviderNews(clock=asyncio.get_running_loop().time)
        self._shown: dict[str, str] = {}

    async def reconcile(self, name: str) -> None:
        """Resolves the provider, writes its status, and requeues the tenants that use it.

        They are requeued also when its status or its Secrets fail: what is taken from them must not wait for that.
        """
        watched = self._watched_state.providers.get(name)
        was_unread = bool(self._watched_state.unresolved([name]))
        try:
            await self._look(name, watched, self._clock())
        finally:
            if was_unread and name in self._watched_state.resolved:
                self._queue_canaries(name)
            self._queue_users(name, watched)

    def _queue_canaries(self, provider: str) -> None:
        """Queues those first, with their Tenants, whose canary on trial has waited for the provider to be read."""
        for tenant in self._watched_state.tenants_concerned(provider):
            space = names.tenant_namespace(tenant)
            waiting = [
                route.name
                for route in self._watched_state.routes.in_namespace(space)
                if provider in route.mentions and is_on_trial(route.status)
            ]
            if waiting:
                self._queue.add(Key("Tenant", "", tenant), Urgency.URGENT)
            for route in waiting:
                self._queue.add(Key("RelayRoute", space, route), Urgency.URGENT)

    def _queue_users(self, name: str, watched: Watched[Provider] | None) -> None:
        """Queues the tenants concerned by what they were not told of, and the routes that it may decide otherwise.

        Another division of the quota is told at a pace of its own; whatever else changed is told at once.
        """
        form, division = self._form(name, watched), self._watched_state.claims.division(name)
        tenants: Collection[str] = ()
        is_another = self._news.is_another_form(name, form)
        if not is_another:
            pause = self._news.pause_seconds(name, division)
            if pause:
                self._queue.add_after(Key("Provider", "", name), pause)
            if pause is None or pause:
                return
        if is_another or _has_limits(watched):
            tenants = self._watched_state.tenants_concerned(name)
        routes = tenants if self._news.is_another_for_routes(name, form) else ()
        # one change of a Provider is work for all its tenants, and keeps none of them from a change of its own
        urgency = Urgency.BACKGROUND if len(tenants) > _FEW else None
        for tenant in tenants:
            self._queue.add(Key("Tenant", "", tenant), urgency)
        for tenant in routes:
            self._queue_routes(name, names.tenant_namespace(tenant), urgency)
        if watched is None:
            self._news.forget(name)
        else:
            self._news.note_told(name, form, division)

    def _form(self, name: str, watched: Watched[Provider] | None) -> Form:
        return Form(
            spec=(watched.uid, watched.metadata.get("generation")) if watched else ("", 0),
            is_resolved=name in self._watched_state.resolved,
            upstream=self._watched_state.upstreams.get(name),
            shown=self._shown.get(name, ""),
        )

    async def _look(self, name: str, watched: Watched[Provider] | None, now: float) -> None:
        if watched is None:
            self._watched_state.unresolve(name)
            self._watched_state.shown_secrets.forget(name)
            self._status.forget("Provider", "", name)
            self._probes.forget(name)
            self._shown.pop(name, None)
        elif isinstance(watched.resource, Invalid):
            # as after a restart: who uses it goes on with what it last had
            self._watched_state.resolve(name, None)
            refused = Refused(reason=Reason.INVALID_SPEC, message=watched.resource.message)
            await self._report(watched.body, refused, now)
        else:
            await self._resolve_and_report(watched.body, watched.resource, now)

    def _queue_routes(self, provider: str, space: str, urgency: Urgency | None) -> None:
        """Queues the routes of a namespace that name the provider: what it is decides whether they are accepted."""
        for route in self._watched_state.routes.in_namespace(space):
            if provider in route.mentions:
                self._queue.add(Key("RelayRoute", space, route.name), urgency)

    async def report(self, name: str, obstacle: Obstacle) -> None:
        """Writes what ended a reconcile before it could tell."""
        watched = self._watched_state.providers.get(name)
        if watched is not None:
            await self._report(watched.body, obstacle, self._clock())

    async def _resolve_and_report(
        self, body: dict[str, Any], provider: Provider, now: float
    ) -> None:
        name = provider.metadata.name
        try:
            found = await self._resolve(provider, now)
        except (ApiServerRefused, Unavailable) as error:
            if isinstance(error, ApiServerRefused):
                # for good: its tenants go on with what is known of it
                self._watched_state.resolved.add(name)
            obstacle = outcome.obstacle_of(error)
            await report_and_raise(error, self._report(body, obstacle, now, url=provider.url))
        again = _again_seconds(found, now)
        if again:
            self._queue.add_after(Key("Provider", "", name), again)
        await self._report(body, found, now, url=provider.url)

    async def _report(
        self, body: dict[str, Any], found: ProviderOutcome, now: float, *, url: str | None = None
    ) -> None:
        if not self._watched_state.shards.is_main:
            # all find the same, and one tells
            return
        name = body["metadata"]["name"]
        loans = self._watched_state.claims.loans(name)
        told = ProviderStatus(
            url=url,
            tenants=len(self._watched_state.claims.weights(name)),
            lending=len(loans.lenders),
            borrowing=len(loans.borrowers),
        )
        fields = provider_status.to_status(told)
        await report_status(
            self._status,
            self._announcer,
            "Provider",
            body,
            fields,
            [
                *provider_conditions.conditions(
                    found, load=self._load(name), health=self._health(body)
                ),
                *self._prices(body),
            ],
            on_its_way=(),
            now=now,
        )

    def _health(self, body: dict[str, Any]) -> Health:
        """Returns how the Provider fares; until that is known in this life of the operator, what status said before."""
        metadata = body["metadata"]
        found = self._probes.health(metadata["name"])
        told = health.told(body.get("status") or {}, generation=metadata.get("generation"))
        return found or told or health.NOT_PROBED

    def _prices(self, body: dict[str, Any]) -> list[Condition]:
        """Returns what the ledger says of the Provider's prices, nothing where the platform has none."""
        watched = self._watched_state.providers.get(body["metadata"]["name"])
        if self._ledger_news is None or watched is None or isinstance(watched.resource, Invalid):
            return []
        if self._ledger_news.standing is None:
            return told_before(self._status.told("Provider", body))
        return self._ledger_news.of_provider(watched.resource)

    def _load(self, name: str) -> Oversubscription | None:
        watched = self._watched_state.providers.get(name)
        if watched is None or isinstance(watched.resource, Invalid):
            return None
        promised = self._watched_state.claims.promised(name)
        return oversubscription.of_provider(watched.resource.spec.limits, promised)

    async def _resolve(self, provider: Provider, now: float) -> ProviderOutcome:
        name = provider.metadata.name
        forbidden = forbidden_addresses.obstacle_of(provider, self._cluster_cidrs)
        if forbidden:
            self._watched_state.resolve(name, None)
            return Refused(reason=Reason.ADDRESS_FORBIDDEN, message=forbidden)
        ref = provider.spec.endpoint.service_ref
        found = upstreams.of_url(provider) if ref is None else await self._of_service(ref, name)
        if isinstance(found, Unusable):
            self._watched_state.resolve(name, None)
            return Refused(reason=found.reason, message=found.message)
        self._watched_state.resolve(name, found)
        # until it is read: it may be what has changed
        self._watched_state.shown_secrets.forget(name)
        shown = await provider_secrets.read(
            self._api, provider, namespace=self._operator_namespace, now=now
        )
        self._watched_state.shown_secrets.note(provider, shown)
        self._shown[name] = _digest(sorted(shown.entries.items()), shown.problems)
        if shown.problems:
            message = "; ".join(problem.message for problem in shown.problems)
            whats = " and ".join(problem.what for problem in shown.problems)
            return Refused(
                reason=shown.problems[0].reason, message=message + self._still_used(name, whats)
            )
        self._probes.note(name, _fingerprint(provider, shown.entries))
        return Configured(certificate_until=shown.valid_until)

    async def _of_service(self, ref: ServiceRef, provider: str) -> Upstream | Unusable:
        service = await self._api.get("Service", ref.name, namespace=ref.namespace)
        return upstreams.of_service(ref, provider, service)

    def _still_used(self, name: str, whats: str) -> str:
        """Says who goes on with what it has of a provider, a few by name; nothing where no route names it."""
        tenants = sorted(self._watched_state.tenants_using(name))
        if not tenants:
            return ""
        more = f" and {len(tenants) - _NAMED} more" if len(tenants) > _NAMED else ""
        return (
            f"; relays go on with the last {whats} that they were given, if any; "
            f"Tenants with routes to it: {', '.join(tenants[:_NAMED])}{more}"
        )


def _fingerprint(provider: Provider, entries: Mapping[str, str]) -> str:
    """Names the form of a Provider and what it is shown; a digest, since that is secret."""
    return _digest(provider.metadata.uid, provider.metadata.generation, sorted(entries.items()))


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _has_limits(watched: Watched[Provider] | None) -> bool:
    """Tells whether a Provider has a quota to divide."""
    if watched is None or isinstance(watched.resource, Invalid):
        return False
    return watched.resource.spec.limits.is_limited


def _again_seconds(found: ProviderOutcome, now: float) -> float:
    """Returns when a Provider is to be looked at again because of something that nobody tells of; 0 for the usual time."""
    if isinstance(found, Configured):
        left = (found.certificate_until or float("inf")) - now
        # its end is told when it comes
        return left + 1 if left < _SOON_SECONDS else 0.0
    return _UNTOLD_SECONDS.get(found.reason, 0.0) if isinstance(found, Refused) else 0.0
