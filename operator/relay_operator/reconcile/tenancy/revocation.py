"""Refuses a tenant's calls before anything else is done for it."""

from contextlib import suppress

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.errors import ApiServerRefused, Conflict, Unavailable
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.keys.withdrawal import asks_to_suspend
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.tenancy.homes import is_shut_out
from relay_operator.reconcile.tenancy.tenant_publications import TenantPublications
from relay_operator.reconcile.watched_objects import Watched
from relay_operator.reconcile.watched_state import WatchedState


class Revocation:
    def __init__(
        self,
        *,
        publications: TenantPublications,
        publisher: DocumentPublisher,
        watched_state: WatchedState,
    ) -> None:
        self._publications = publications
        self._publisher = publisher
        self._watched_state = watched_state

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

    async def revoke(self, watched: Watched[Tenant]) -> bool:
        """Takes the tenant's keys away at once; tells whether every relay pod that takes calls refuses them.

        Its routes are looked at as before. A namespace that goes takes the rest along, and refuses what is new.
        """
        try:
            publication = await self._publications.of(watched)
            if publication is None:
                return True
            await self._cut(publication)
        except ApiServerRefused as error:
            # without a namespace nothing can be stored; its pods were told
            if not is_shut_out(error):
                raise
        return self._is_in_force(names.tenant_namespace(watched.name))

    async def revoke_what_is_gone(self, space: str) -> None:
        """Takes the keys away from the pods of a Tenant that went without waiting for it."""
        publication = self._publisher.publication(space)
        if publication is not None and publication.base.keys:
            with suppress(ApiServerRefused, Conflict, Unavailable):
                await self._cut(publication)

    async def _cut(self, publication: Publication) -> None:
        cut = {"suspended": True, "keys": ()}
        publication.base = publication.base.model_copy(update=cut)
        await self._publisher.distribute(publication.base.namespace)

    def _is_in_force(self, space: str) -> bool:
        publication = self._publisher.publication(space)
        return publication is None or all(
            publication.has_acknowledged(pod)
            for pod in self._watched_state.relay_pods(space)
            if pod.ready and not pod.terminating
        )
