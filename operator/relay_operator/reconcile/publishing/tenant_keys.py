"""The Secret in a tenant's namespace with the keys of the providers that its relay calls."""

from collections.abc import Mapping

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.decisions.api_keys.in_force import digest_of
from relay_operator.manifests import credentials
from relay_operator.reconcile.publishing import mounts
from relay_operator.reconcile.watched_state import WatchedState


class TenantKeys:
    def __init__(
        self, *, api: ApiServer, children: OwnedObjects, watched_state: WatchedState
    ) -> None:
        self._api = api
        self._children = children
        self._watched_state = watched_state

    async def hand_over(self, spec: Tenant, keys: Mapping[str, str]) -> None:
        """Writes the providers' keys for the relay pods, and lets them be mounted now if they are new."""
        if await self._children.apply(credentials.upstream_keys(spec, keys)):
            pods = self._watched_state.relay_pods(names.tenant_namespace(spec.metadata.name))
            mark = digest_of(repr(sorted(keys.items())))[:12]
            await mounts.refresh(self._api, pods, mark)
