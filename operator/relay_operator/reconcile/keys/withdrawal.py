"""Takes keys out of the relays before anything else is done for a tenant, with what is known without the API server."""

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress

from relay_operator.api.tenant import Tenant
from relay_operator.decisions.api_keys import requests, withdrawal
from relay_operator.errors import ApiServerRefused, Conflict, Unavailable
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.tenancy.tenant_publications import TenantPublications
from relay_operator.reconcile.watched_objects import Invalid, Watched


class KeyWithdrawal:
    def __init__(
        self,
        *,
        publications: TenantPublications,
        publisher: DocumentPublisher,
        clock: Callable[[], float],
    ) -> None:
        self._publications = publications
        self._publisher = publisher
        self._clock = clock

    async def withdraw(self, watched: Watched[Tenant]) -> None:
        """Refuses the keys that the spec no longer names, that a person revoked, and whose overlap is over.

        What fails here is left to the rest of the reconcile, which reports it.
        """
        with suppress(ApiServerRefused, Conflict, Unavailable):
            publication = await self._publications.of(watched)
            if publication is not None:
                await self._cut(publication, watched.resource)

    async def withdraw_missing(self, publication: Publication) -> None:
        """Pushes at once what was read from the Secrets if a key of the document is not in them any more."""
        document = publication.document
        if document is None:
            return
        accepted = withdrawal.digests_in(document.tenant.keys)
        if accepted - withdrawal.digests_in(publication.base.keys):
            await self._publisher.distribute(publication.base.namespace)

    async def _cut(self, publication: Publication, tenant: Tenant | Invalid) -> None:
        keys = withdrawal.withdrawn(
            publication.base.keys,
            publication.api_keys,
            named=named_keys(tenant),
            requests=requests.read(annotations_of(tenant)),
            now=self._clock(),
            nobodys=lambda: secrets.token_hex(32),
        )
        if keys != publication.base.keys:
            publication.base = publication.base.model_copy(update={"keys": keys})
            await self._publisher.distribute(publication.base.namespace)


def annotations_of(tenant: Tenant | Invalid) -> Mapping[str, str]:
    """Returns what somebody asks for by annotations, also of a Tenant whose newest spec is refused."""
    return tenant.annotations if isinstance(tenant, Invalid) else tenant.metadata.annotations


def named_keys(tenant: Tenant | Invalid) -> frozenset[str] | None:
    """Returns the names of the keys in the newest spec, also in one that is refused; None where that does not tell."""
    if isinstance(tenant, Invalid):
        return withdrawal.named_keys(tenant.spec)
    return frozenset(key.name for key in tenant.spec.api_keys)
