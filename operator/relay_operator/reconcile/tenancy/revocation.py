"""Refuses a tenant's calls before anything else is done for it."""

from contextlib import suppress

from relay_operator.api.tenant import Tenant
from relay_operator.decisions import brake, outcome
from relay_operator.errors import ApiServerRefused, Conflict, Unavailable
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.tenancy.homes import is_shut_out
from relay_operator.reconcile.tenancy.tenant_publications import TenantPublications
from relay_operator.reconcile.tenancy.tenant_report import TenantReport
from relay_operator.reconcile.watched_objects import Invalid, Watched


class Revocation:
    def __init__(
        self,
        *,
        publications: TenantPublications,
        publisher: DocumentPublisher,
        report: TenantReport,
    ) -> None:
        self._publications = publications
        self._publisher = publisher
        self._report = report

    async def suspend_if_asked(self, watched: Watched[Tenant]) -> None:
        """Refuses the tenant's calls if its spec says so, whatever else is broken: its spec, its keys, a child.

        What fails here is left to the rest of the reconcile, which reports it.
        """
        with suppress(ApiServerRefused, Conflict, Unavailable):
            publication = await self._publications.of(watched)
            if publication is None or publication.base.suspended:
                return
            if asks_to_suspend(watched):
                publication.base = publication.base.model_copy(update={"suspended": True})
                await self._publisher.distribute(publication.base.namespace)

    async def revoke(self, watched: Watched[Tenant], now: float) -> None:
        """Takes the tenant's keys away at once, however long finalizers keep the object; nothing is repaired any more.

        Its routes are looked at as before. A namespace that goes takes the rest along, and refuses what is new.
        """
        try:
            publication = await self._publications.of(watched)
            if publication is not None:
                cut = {"suspended": True, "keys": ()}
                publication.base = publication.base.model_copy(update=cut)
                await self._publisher.distribute(publication.base.namespace)
        except ApiServerRefused as error:
            if not is_shut_out(error):
                raise
        metadata = watched.body["metadata"]
        found = outcome.of_deletion(metadata, "its API keys are refused and nothing is repaired")
        await self._report.write(watched.body, found, now)


def asks_to_suspend(watched: Watched[Tenant]) -> bool:
    """Tells whether the newest spec asks for it, also one that is refused."""
    tenant = watched.resource
    written = tenant.spec if isinstance(tenant, Invalid) else {"suspend": tenant.spec.suspend}
    return brake.suspends(written)
