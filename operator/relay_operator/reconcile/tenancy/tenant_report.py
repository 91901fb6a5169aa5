"""Reports on tenants: status, conditions and Events."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.decisions import pod_progress, tenant_conditions, tenant_status
from relay_operator.decisions.api_keys import in_force
from relay_operator.decisions.api_keys.in_force import ApiKeys
from relay_operator.decisions.conditions import Condition
from relay_operator.decisions.ledger import budget_conditions
from relay_operator.decisions.ledger.told_before import told_before
from relay_operator.decisions.outcome import Obstacle
from relay_operator.decisions.tenant_conditions import Interrupted, Provisioned, TenantOutcome
from relay_operator.decisions.tenant_status import TenantStatus
from relay_operator.decisions.tools.tenant_tools import GrantedTools
from relay_operator.manifests import workload
from relay_operator.names import Reason
from relay_operator.reconcile import restorations
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.failure_report import report_status
from relay_operator.reconcile.fleet.held_statuses import HeldStatuses
from relay_operator.reconcile.fleet.unheard_pods import UnheardPods
from relay_operator.reconcile.isolation.isolation_records import IsolationRecords
from relay_operator.reconcile.ledger.ledger_news import LedgerNews
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.publishing.tenant_certificate import TenantCertificate
from relay_operator.reconcile.tenancy.homes import Homes
from relay_operator.reconcile.tenancy.rollouts import Rollouts
from relay_operator.reconcile.upstream_access import Keys, UpstreamAccess
from relay_operator.reconcile.watched_objects import Invalid
from relay_operator.reconcile.watched_state import WatchedState

_ON_ITS_WAY = frozenset({Reason.WAITING_FOR_PODS})
"""While a pod lacks the newest document it serves by the last one."""
_YOUNGER_KINDS = frozenset({"ResourceQuota", "LimitRange"})
"""Operators that told no effective values made none."""


class TenantReport:
    def __init__(
        self,
        *,
        status: StatusWriter,
        announcer: EventRecorder,
        watched_state: WatchedState,
        children: OwnedObjects,
        publisher: DocumentPublisher,
        access: UpstreamAccess,
        certificate: TenantCertificate,
        isolation: IsolationRecords,
        homes: Homes,
        rollouts: Rollouts,
        clock: Callable[[], float],
        ledger_news: LedgerNews | None = None,
    ) -> None:
        self._ledger_news = ledger_news
        self._homes = homes
        self._status = status
        self._announcer = announcer
        self._watched_state = watched_state
        self._children = children
        self._publisher = publisher
        self._access = access
        self._certificate = certificate
        self._isolation = isolation
        self._rollouts = rollouts
        self._clock = clock
        self._unheard = UnheardPods()
        self._held = HeldStatuses()

    async def provisioned(self, body: dict[str, Any], spec: Tenant, keys: Keys, now: float) -> bool:
        """Writes the status of a tenant that has everything its spec asks for; tells whether all of it is in force."""
        space = names.tenant_namespace(spec.metadata.name)
        publication = self._publisher.publication(space)
        found = self.found(spec, keys)
        status = TenantStatus(
            namespace=space,
            endpoint=workload.endpoint(spec, entry=self._watched_state.entry(space)),
            replicas=found.wanted_pods,
            ready=found.ready_pods,
            acknowledged=found.acknowledged_pods,
            config_generation=publication.generation if publication is not None else 0,
        )
        if self._is_unheard(body, status, found):
            return False
        fields = tenant_status.to_status(status) | {
            "keys": in_force.to_status(found.api_keys),
            "effective": tenant_status.effective(spec),
        }
        if self._ledger_news is None:
            # what a ledger said that the platform has no more
            fields["billing"] = None
        is_progress = self._is_progress(body, fields, found)
        if self._held.is_to_be_held(spec.metadata.name, is_progress=is_progress):
            return False
        if publication is not None:
            publication.reported_generation = publication.generation
        await self.write(body, found, now, fields=fields)
        is_quiet = found.tls is None or found.tls.is_settled
        return found.available and found.acknowledged_pods == found.pods and is_quiet

    def _is_unheard(self, body: dict[str, Any], status: TenantStatus, found: Provisioned) -> bool:
        """Tells whether status has told already that all pods took this document, and that is only to be heard from them anew."""
        is_as_told = False
        if found.acknowledged_pods < found.pods:
            told = tenant_status.from_status(self._status.told("Tenant", body))
            is_as_told = told == replace(status, acknowledged=found.pods)
        key = ("Tenant", "", body["metadata"]["name"])
        are_asked = self._publisher.are_first_asked(status.namespace)
        return self._unheard.are_awaited(key, is_as_told=is_as_told, are_asked=are_asked)

    def _is_progress(
        self, body: dict[str, Any], fields: dict[str, Any], found: Provisioned
    ) -> bool:
        """Tells whether status would tell nothing new but how far the tenant's pods are, which are in no trouble."""
        if found.troubles or (found.available and found.programmed):
            return False
        others = {name: value for name, value in fields.items() if name != tenant_status.COUNTS}
        generation = int(body["metadata"].get("generation", 1))
        wanted = self._conditions(body, found)
        return pod_progress.is_all(
            self._status.told("Tenant", body), wanted, generation=generation
        ) and self._status.has_told("Tenant", body, others)

    def _conditions(self, body: dict[str, Any], found: TenantOutcome) -> list[Condition]:
        return [*tenant_conditions.conditions(found), *self._prices(body)]

    async def write(
        self,
        body: dict[str, Any],
        found: TenantOutcome,
        now: float,
        *,
        fields: dict[str, Any] | None = None,
    ) -> None:
        """Writes the conditions of an outcome, and beside them the given fields of status."""
        await report_status(
            self._status,
            self._announcer,
            "Tenant",
            body,
            (fields or {}) | self._homes.status_fields(body),
            self._conditions(body, found),
            on_its_way=_ON_ITS_WAY,
            now=now,
        )

    def _prices(self, body: dict[str, Any]) -> list[Condition]:
        """Returns what the ledger says of the Tenant's prices, nothing where it is not billed."""
        watched = self._watched_state.tenants.get(body["metadata"]["name"])
        if self._ledger_news is None or watched is None or isinstance(watched.resource, Invalid):
            return []
        if self._ledger_news.standing is None:
            return told_before(self._status.told("Tenant", body))
        return self._ledger_news.of_tenant(watched.resource)

    def note_own_change(self, changed: dict[str, Any]) -> None:
        """Takes in what a Tenant is after a change of the operator's own beside its status."""
        self._status.note_own_change("Tenant", changed)

    async def announce_restored(self, body: dict[str, Any], now: float) -> None:
        """Tells in Events what of the tenant's objects others had edited or removed."""
        restored = self._children.take_restored(names.tenant_namespace(body["metadata"]["name"]))
        status = body.get("status", {})
        moves = restorations.moves(
            restored,
            was_provisioned=bool(status.get("endpoint")),
            never_made=() if status.get("effective") else _YOUNGER_KINDS,
            now=now,
        )
        for move in moves:
            await self._announcer.announce(body, kind="Tenant", action="Restore", move=move)

    def interrupted(
        self, body: dict[str, Any], spec: Tenant, obstacle: Obstacle, owned: bool | None
    ) -> Interrupted:
        """Builds the outcome of a reconcile that ended half-way."""
        return Interrupted(
            obstacle=obstacle,
            was_ready=tenant_conditions.was_ready(
                body.get("status", {}), generation=spec.metadata.generation
            ),
            owned=owned,
            found=self.found(spec),
        )

    def found(self, spec: Tenant, keys: Keys = Keys()) -> Provisioned:  # noqa: B008 - frozen
        """Gathers what is there of the tenant."""
        space = names.tenant_namespace(spec.metadata.name)
        pods = [pod for pod in self._watched_state.relay_pods(space) if not pod.terminating]
        acknowledged, _ = self._publisher.count_acknowledged(space)
        publication = self._publisher.publication(space)
        return Provisioned(
            wanted_pods=self._watched_state.wanted_pods(space, spec.spec.relay),
            ready_pods=sum(pod.ready for pod in pods),
            pods=len(pods),
            acknowledged_pods=acknowledged,
            missing_keys=keys.words(publication),
            api_keys=publication.api_keys if publication is not None else ApiKeys(),
            orphans=self._access.orphans(publication),
            outgrown=tuple(sorted(publication.outgrown)) if publication is not None else (),
            suspended=spec.spec.suspend,
            is_adopted=self._homes.is_adopted(spec),
            tls=self._certificate.found(publication, self._clock()),
            troubles=self._watched_state.troubles(space),
            rollout=self._rollouts.finding(spec.metadata.name),
            awaits_entry=spec.spec.network.service.type == "LoadBalancer"
            and not self._watched_state.entry(space),
            isolation=self._isolation.of(space).finding,
            isolation_is_required=self._isolation.is_required,
            withheld=next(iter(keys.withheld.values()), ""),
            tools=_tools(spec, publication),
            unbounded=budget_conditions.unbounded(spec.spec.billing)
            if self._ledger_news is None
            else "",
        )

    def forget(self, name: str) -> None:
        """Forgets the status of a Tenant that is gone."""
        self._status.forget("Tenant", "", name)
        self._unheard.forget(("Tenant", "", name))
        self._held.forget(name)


def _tools(spec: Tenant, publication: Publication | None) -> GrantedTools | None:
    """Tells what the tenant's grants come to; None where its spec does not speak of tools."""
    if publication is None or spec.spec.tools is None:
        return None
    found = publication.tools
    grants = found.use.manifest.grants if found.use.manifest is not None else ()
    return GrantedTools(
        servers=found.servers,
        tools=sum(len(one.tool_definitions) for one in grants),
        prompts=sum(len(one.prompt_definitions) for one in grants),
        resources=sum(len(one.resources) for one in grants),
        missing=found.missing,
        # what is in force goes on: the server's own conditions tell of it
        unusable={one: why for one, why in found.problems.items() if one not in found.servers},
        unlisted=found.unlisted,
        unapproved=found.unapproved,
        excess=found.excess,
        idle=tuple(f"{pattern} of {one.server}" for one in grants for pattern in one.idle),
    )
