"""Reconciles a Tenant in this order: namespace, network policies, credentials, document, workload, status."""

import asyncio
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.decisions import outcome
from relay_operator.decisions.api_keys.steady_clock import SteadyClock
from relay_operator.decisions.outcome import Obstacle
from relay_operator.decisions.tenant_conditions import TenantOutcome
from relay_operator.errors import ApiServerRefused, Unavailable
from relay_operator.manifests.environment import Platform
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.failure_report import report_and_raise
from relay_operator.reconcile.isolation.isolation_records import IsolationRecords
from relay_operator.reconcile.keys.held_keys import HeldKeys
from relay_operator.reconcile.keys.secret_versions import SecretVersions
from relay_operator.reconcile.keys.tenant_api_keys import TenantApiKeys
from relay_operator.reconcile.keys.withdrawal import KeyWithdrawal
from relay_operator.reconcile.ledger.ledger_news import LedgerNews
from relay_operator.reconcile.ledger.relay_tokens import RelayTokens
from relay_operator.reconcile.publishing.tenant_certificate import TenantCertificate
from relay_operator.reconcile.publishing.tenant_keys import TenantKeys
from relay_operator.reconcile.tenancy import finalizers
from relay_operator.reconcile.tenancy.departures import Departures
from relay_operator.reconcile.tenancy.homes import Homes, is_shut_out
from relay_operator.reconcile.tenancy.image_pull import ImagePull
from relay_operator.reconcile.tenancy.pauses import (
    LOOK_AGAIN_SECONDS,
    NAMESPACE_SECONDS,
    GrowingPauses,
)
from relay_operator.reconcile.tenancy.provisioning import Provisioning
from relay_operator.reconcile.tenancy.refused_specs import RefusedSpecs
from relay_operator.reconcile.tenancy.revocation import Revocation
from relay_operator.reconcile.tenancy.rollouts import Rollouts
from relay_operator.reconcile.tenancy.tenant_publications import TenantPublications
from relay_operator.reconcile.tenancy.tenant_report import TenantReport
from relay_operator.reconcile.upstream_access import UpstreamAccess
from relay_operator.reconcile.watched_objects import Invalid, Watched
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue


class TenantReconciler:
    def __init__(
        self,
        *,
        api: ApiServer,
        watched_state: WatchedState,
        children: OwnedObjects,
        publisher: DocumentPublisher,
        status: StatusWriter,
        announcer: EventRecorder,
        queue: WorkQueue,
        access: UpstreamAccess,
        isolation: IsolationRecords,
        key_versions: SecretVersions,
        platform: Platform,
        signing_key: Ed25519PrivateKey,
        clock: Callable[[], float],
        ledger_keys: KeyFile | None = None,
        ledger_news: LedgerNews | None = None,
    ) -> None:
        self._api = api
        self._watched_state = watched_state
        self._children = children
        self._publisher = publisher
        self._queue = queue
        self._clock = clock
        self._pauses = GrowingPauses()
        children.found = watched_state.take_in_found
        certificate = TenantCertificate(api=api, watched_state=watched_state)
        publications = TenantPublications(
            api=api,
            publisher=publisher,
            watched_state=watched_state,
            queue=queue,
            ledger_news=ledger_news,
        )
        key_clock = SteadyClock(wall=clock, monotonic=asyncio.get_running_loop().time)
        self._withdrawal = KeyWithdrawal(
            api=api,
            publications=publications,
            publisher=publisher,
            watched_state=watched_state,
            queue=queue,
            held_keys=HeldKeys(),
            clock=key_clock,
        )
        self._api_keys = TenantApiKeys(
            api=api,
            children=children,
            announcer=announcer,
            watched_state=watched_state,
            queue=queue,
            versions=key_versions,
            clock=key_clock,
        )
        self._rollouts = Rollouts(
            api=api,
            watched_state=watched_state,
            queue=queue,
            notes=publisher.template_notes,
            platform=platform,
            clock=asyncio.get_running_loop().time,
        )
        self._homes = Homes(
            api=api,
            children=children,
            watched_state=watched_state,
            queue=queue,
            versions=key_versions,
            platform=platform,
            signing_key=signing_key,
        )
        self._image_pull = ImagePull(api=api, children=children, platform=platform)
        self._relay_tokens = RelayTokens(api=api, children=children, keys=ledger_keys)
        self._provisioning = Provisioning(
            children=children,
            publications=publications,
            publisher=publisher,
            watched_state=watched_state,
            queue=queue,
            access=access,
            api_keys=self._api_keys,
            withdrawal=self._withdrawal,
            keys=TenantKeys(
                api=api, children=children, watched_state=watched_state, versions=key_versions
            ),
            certificate=certificate,
            isolation=isolation,
            image_pull=self._image_pull,
            relay_tokens=self._relay_tokens,
            rollouts=self._rollouts,
            platform=platform,
        )
        self._report = TenantReport(
            status=status,
            announcer=announcer,
            watched_state=watched_state,
            children=children,
            publisher=publisher,
            access=access,
            certificate=certificate,
            isolation=isolation,
            homes=self._homes,
            rollouts=self._rollouts,
            clock=clock,
            ledger_news=ledger_news,
        )
        self._revocation = Revocation(
            publications=publications, publisher=publisher, watched_state=watched_state
        )
        self._departures = Departures(
            api=api, homes=self._homes, revocation=self._revocation, report=self._report
        )
        self._refused_specs = RefusedSpecs(
            publications=publications,
            publisher=publisher,
            homes=self._homes,
            provisioning=self._provisioning,
            watched_state=watched_state,
            report=self._report,
        )

    async def withdraw(self, name: str) -> None:
        """Pushes what the newest Tenant takes away, past a reconcile of it that is under way."""
        self._withdrawal.take_away(name)

    async def look_at_key_secrets(self, name: str) -> None:
        """Pushes what the Secrets of its keys do not hold any more, past a reconcile of it that is under way."""
        await self._withdrawal.look_at_secrets(name)

    async def reconcile(self, name: str) -> None:
        """Brings everything the tenant owns to what its spec asks for, and writes its status."""
        now = self._clock()
        watched = self._watched_state.tenants.get(name)
        if watched is None:
            # the namespace is owned by the Tenant: the garbage collector takes it and all in it
            await self._revocation.revoke_what_is_gone(names.tenant_namespace(name))
            self._forget(name)
            self._queue_routes(names.tenant_namespace(name))
            return
        if watched.is_being_deleted:
            again = await self._departures.proceed(watched, now)
        else:
            again = await self._keep(watched, now)
        if again:
            self._queue.add_after(Key("Tenant", "", name), again)

    def leave(self, name: str) -> None:
        """Forgets a Tenant that is another operator's: its relays keep what they have, and its routes' canaries are no more moved."""
        space = names.tenant_namespace(name)
        if self._publisher.publication(space) is not None:
            self._queue_routes(space)
        self._watched_state.leave(space)
        self._drop(name)

    async def _keep(self, watched: Watched[Tenant], now: float) -> float:
        """Returns after how many seconds the tenant is to be looked at again; 0 for the usual time."""
        await self._revocation.suspend_if_asked(watched)
        await self._withdrawal.withdraw(watched)
        try:
            if isinstance(watched.resource, Invalid):
                return await self._refused_specs.keep_last(watched, watched.resource, now)
            return await self._own_and_provision(watched.body, watched.resource, now)
        finally:
            await self._report.announce_restored(watched.body, now)

    async def report(self, name: str, obstacle: Obstacle) -> None:
        """Writes what ended a reconcile before it could tell."""
        watched = self._watched_state.tenants.get(name)
        if watched is None:
            return
        found: TenantOutcome = obstacle
        if not isinstance(watched.resource, Invalid):
            owned = self._watched_state.looked_owned(names.tenant_namespace(name))
            found = self._report.interrupted(watched.body, watched.resource, obstacle, owned)
        await self._report.write(watched.body, found, self._clock())

    async def _own_and_provision(self, body: dict[str, Any], spec: Tenant, now: float) -> float:
        owned = None
        try:
            obstacle = await self._homes.own(body, spec)
            if obstacle is None:
                owned = True
                changed = await finalizers.ensure(self._api, body)
                if changed is not None:
                    self._report.note_own_change(changed)
                keys = await self._provisioning.provision(spec, now)
        except (ApiServerRefused, Unavailable) as error:
            if is_shut_out(error):
                self._children.distrust(names.tenant_namespace(spec.metadata.name))
            interrupted = self._report.interrupted(body, spec, outcome.obstacle_of(error), owned)
            await report_and_raise(error, self._report.write(body, interrupted, now))
        if obstacle is not None:
            await self._report.write(body, obstacle, now)
            return NAMESPACE_SECONDS
        if keys is None:
            return LOOK_AGAIN_SECONDS
        if not await self._report.provisioned(body, spec, keys, now):
            return self._pauses.next(spec.metadata.name, self._standing(spec))
        self._pauses.forget(spec.metadata.name)
        return 0.0

    def _standing(self, spec: Tenant) -> tuple[object, ...]:
        """Returns what tells that something of a tenant has changed since it was looked at last."""
        space = names.tenant_namespace(spec.metadata.name)
        publication = self._publisher.publication(space)
        return (
            spec.metadata.generation,
            self._watched_state.relay_pods(space),
            self._watched_state.rollouts.get(space),
            self._publisher.count_acknowledged(space),
            publication.digest if publication is not None else "",
            publication.certificate if publication is not None else None,
        )

    def _queue_routes(self, space: str) -> None:
        """Has the routes of a tenant that is gone looked at: their canaries keep no others waiting."""
        for route in self._watched_state.routes.names(namespace=space):
            self._queue.add(Key("RelayRoute", space, route))

    def _forget(self, name: str) -> None:
        self._watched_state.forget(names.tenant_namespace(name))
        self._drop(name)

    def _drop(self, name: str) -> None:
        space = names.tenant_namespace(name)
        self._rollouts.forget(name)
        self._image_pull.forget(space)
        self._provisioning.forget(space)
        self._relay_tokens.forget(space)
        self._publisher.forget(space)
        self._pauses.forget(name)
        self._children.forget(space)
        self._report.forget(name)
        self._api_keys.forget(name)
        self._withdrawal.forget(name)
        self._homes.forget(name)
        self._departures.forget(name)
