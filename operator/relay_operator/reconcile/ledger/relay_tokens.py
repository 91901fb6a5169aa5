"""The tokens by which relays show the ledger whose they are, each in a Secret of its tenant's namespace."""

from relay_operator.api.tenant import Tenant
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.manifests import credentials


class RelayTokens:
    """Keeps the Secrets, where the platform runs a ledger."""

    def __init__(self, *, children: OwnedObjects, keys: KeyFile | None) -> None:
        self._children = children
        self._file = keys

    async def bring(self, tenant: Tenant) -> None:
        """Writes the tenant's token; while no key is known the last one stays."""
        keys = None if self._file is None else self._file.keys()
        if keys is not None:
            token = keys.tenant_token(tenant.metadata.uid)
            await self._children.apply(credentials.ledger_token(tenant, token))
