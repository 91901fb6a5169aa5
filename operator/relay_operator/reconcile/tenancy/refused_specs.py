"""Tenants whose newest spec is refused: everything is kept as the last valid one asks for."""

from dataclasses import replace

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.decisions.outcome import Refused
from relay_operator.decisions.tools.withdrawal import left_of
from relay_operator.errors import ApiServerRefused, Unavailable
from relay_operator.manifests.environment import Manifest
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.failure_report import report_and_raise
from relay_operator.reconcile.keys.withdrawal import (
    annotations_of,
    asks_to_suspend,
    named_keys,
)
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.tenancy.homes import Homes, is_shut_out
from relay_operator.reconcile.tenancy.pauses import LOOK_AGAIN_SECONDS, NAMESPACE_SECONDS
from relay_operator.reconcile.tenancy.provisioning import Provisioning
from relay_operator.reconcile.tenancy.tenant_publications import TenantPublications, identity
from relay_operator.reconcile.tenancy.tenant_report import TenantReport
from relay_operator.reconcile.watched_objects import Invalid, Watched
from relay_operator.reconcile.watched_state import WatchedState


class RefusedSpecs:
    def __init__(
        self,
        *,
        publications: TenantPublications,
        publisher: DocumentPublisher,
        homes: Homes,
        provisioning: Provisioning,
        watched_state: WatchedState,
        report: TenantReport,
    ) -> None:
        self._publications = publications
        self._publisher = publisher
        self._homes = homes
        self._provisioning = provisioning
        self._watched_state = watched_state
        self._report = report

    async def keep_last(self, watched: Watched[Tenant], why: Invalid, now: float) -> float:
        """Keeps everything as the last valid spec asks for, and says why the newer one is not in force.

        Returns after how many seconds the tenant is to be looked at again; 0 for the usual time.
        """
        space = names.tenant_namespace(watched.name)
        refused, seconds = Refused(reason=why.reason, message=why.message), 0.0
        try:
            publication = await self._publications.of(watched)
            if publication is not None and publication.spec_note:
                last = _last_valid(publication, watched)
                refused, seconds = await self._repair(watched.body, last, refused, now)
            else:
                await self._repair_without_spec(watched)
                await self._publisher.distribute(space)
        except (ApiServerRefused, Unavailable) as error:
            if not is_shut_out(error) or await self._repair_without_spec(watched):
                message = f"{why.message}; what is in force is not kept as it should be: {error}"
                told = replace(refused, message=message)
                await report_and_raise(error, self._report.write(watched.body, told, now))
        await self._report.write(watched.body, self._with_what_is_in_force(refused, space), now)
        return seconds

    async def _repair_without_spec(self, watched: Watched[Tenant]) -> bool:
        """Restores the operator's rights in the tenant's namespace, and what keeps its pods apart from others.

        No spec is needed for them. False without a namespace.
        """
        tenant = identity(watched)
        if not await self._homes.repair(watched.body, tenant):
            return False
        await self._provisioning.seal_off(tenant)
        return True

    async def _repair(
        self, body: Manifest, spec: Tenant, refused: Refused, now: float
    ) -> tuple[Refused, float]:
        """Brings everything that the tenant owns to its last valid spec; adds what stands in the way."""
        obstacle = await self._homes.own(body, spec)
        if obstacle is not None:
            message = f"{refused.message}; {obstacle.message}"
            return replace(refused, message=message), NAMESPACE_SECONDS
        keys = await self._provisioning.provision(spec, now)
        found = self._report.found(spec)
        is_settled = keys is not None and found.acknowledged_pods >= found.pods
        return refused, 0.0 if is_settled else LOOK_AGAIN_SECONDS

    def _with_what_is_in_force(self, refused: Refused, space: str) -> Refused:
        publication = self._publisher.publication(space)
        if publication is None or not any(
            pod.ready for pod in self._watched_state.relay_pods(space)
        ):
            return refused
        calls = "calls are refused, suspended" if publication.base.suspended else "calls are served"
        message = f"{refused.message}; the last valid spec stays in force, {calls}"
        return replace(refused, message=message)


def _last_valid(publication: Publication, watched: Watched[Tenant]) -> Tenant:
    """Returns the Tenant as it last could be used; suspended, and without keys and grants, also if that was asked for since.

    Its annotations are the newest: they are no part of the spec.
    """
    last = publication.tenant
    suspended = publication.base.suspended or asks_to_suspend(watched)
    named = named_keys(watched.resource)
    keys = tuple(key for key in last.spec.api_keys if named is None or key.name in named)
    tools = last.spec.tools
    if isinstance(watched.resource, Invalid):
        tools = left_of(tools, watched.resource.spec)
    spec = last.spec.model_copy(
        update={"suspend": last.spec.suspend or suspended, "api_keys": keys, "tools": tools}
    )
    metadata = last.metadata.model_copy(
        update={"annotations": dict(annotations_of(watched.resource))}
    )
    return last.model_copy(update={"spec": spec, "metadata": metadata})
