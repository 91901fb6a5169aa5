"""The Secrets in a tenant's namespace: its API keys, and the keys of the providers that its relay calls."""

import asyncio
from collections.abc import Mapping

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster import key_secrets
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.errors import ApiServerRefused
from relay_operator.manifests import composition, credentials
from relay_operator.reconcile.publishing import mounts
from relay_operator.reconcile.watched_state import WatchedState

_BINDING_TRIES = 10
_BINDING_SECONDS = 0.1


class TenantKeys:
    def __init__(
        self, *, api: ApiServer, children: OwnedObjects, watched_state: WatchedState
    ) -> None:
        self._api = api
        self._children = children
        self._watched_state = watched_state

    async def read(self, spec: Tenant) -> key_secrets.ApiKeys:
        """Reads or creates the tenant's keys. The authorizer learns of a new RoleBinding a moment after its write."""
        secret = ("Secret", names.tenant_namespace(spec.metadata.name), names.API_KEYS_SECRET)
        for attempt in range(_BINDING_TRIES):
            try:
                return await key_secrets.tenant_keys(
                    self._api, spec, on_missing=lambda: self._children.note_made(secret)
                )
            except ApiServerRefused as error:
                if error.status != 403 or attempt == _BINDING_TRIES - 1:
                    raise
                await asyncio.sleep(_BINDING_SECONDS)
        raise AssertionError("unreachable")

    async def hand_over(self, spec: Tenant, keys: Mapping[str, str]) -> None:
        """Writes the providers' keys for the relay pods, and lets them be mounted now if they are new."""
        if await self._children.apply(credentials.upstream_keys(spec, keys)):
            pods = self._watched_state.relay_pods(names.tenant_namespace(spec.metadata.name))
            mark = composition.key_digest(repr(sorted(keys.items())))[:12]
            await mounts.refresh(self._api, pods, mark)
