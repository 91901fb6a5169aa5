"""The tokens by which relays show the ledger whose they are, each in a Secret of its tenant's namespace."""

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.manifests import credentials
from relay_operator.reconcile.keys.retired_secrets import RetiredSecrets


class RelayTokens:
    """Keeps the Secrets where the platform runs a ledger, and takes them back where it runs none any more."""

    def __init__(self, *, api: ApiServer, children: OwnedObjects, keys: KeyFile | None) -> None:
        self._children = children
        self._file = keys
        self._retired = RetiredSecrets(api, names.LEDGER_SECRET)

    async def bring(self, tenant: Tenant) -> None:
        """Writes the tenant's token; while no key is known the last one stays."""
        keys = None if self._file is None else self._file.keys()
        if keys is not None:
            token = keys.tenant_token(tenant.metadata.uid)
            await self._children.apply(credentials.ledger_token(tenant, token))

    async def take_back(self, tenant: Tenant) -> None:
        """Deletes the token of a tenant whose pods have all been made without it, where there is no ledger to show it to."""
        if self._file is None:
            await self._retired.delete(names.tenant_namespace(tenant.metadata.name))

    def forget(self, namespace: str) -> None:
        """Forgets a namespace whose tenant is gone."""
        self._retired.forget(namespace)
