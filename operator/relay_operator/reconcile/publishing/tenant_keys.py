"""The Secret in a tenant's namespace with the keys of the providers that its relay calls."""

from collections.abc import Mapping

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.decisions.api_keys.in_force import digest_of
from relay_operator.manifests import credentials
from relay_operator.reconcile.keys.secret_versions import SecretVersions
from relay_operator.reconcile.publishing import mounts
from relay_operator.reconcile.watched_state import WatchedState

_AGAIN_SECONDS = 3.0
"""A kubelet that looks before it has heard of the Secret's change sees the old one: it is asked again after this."""


class TenantKeys:
    def __init__(
        self,
        *,
        api: ApiServer,
        children: OwnedObjects,
        watched_state: WatchedState,
        versions: SecretVersions,
    ) -> None:
        self._api = api
        self._versions = versions
        self._children = children
        self._watched_state = watched_state
        self._brought: dict[str, tuple[str, float]] = {}

    async def are_handed_over(self, space: str) -> bool:
        """Tells whether any key is in the Secret."""
        secret = await self._api.get("Secret", names.UPSTREAM_SECRET, namespace=space)
        return bool(secret and secret.get("data"))

    async def hand_over(self, spec: Tenant, keys: Mapping[str, str], now: float) -> float:
        """Writes the providers' keys for the relay pods, and lets them be mounted now if they are new.

        Returns after how many seconds they are to be handed over again, so that a kubelet that missed it looks once more; 0
        if no more is to be done.
        """
        space = names.tenant_namespace(spec.metadata.name)
        pods = self._watched_state.relay_pods(space)
        wrote = await self._children.apply(credentials.upstream_keys(spec, keys))
        version = self._children.version(("Secret", space, names.UPSTREAM_SECRET))
        self._versions.note(space, names.UPSTREAM_SECRET, version)
        if wrote:
            mark = digest_of(repr(sorted(keys.items())))[:12]
            self._brought[space] = mark, now
            await mounts.refresh(self._api, pods, mark)
            return _AGAIN_SECONDS
        mark, since = self._brought.get(space, ("", 0.0))
        if not mark:
            return 0.0
        # rounded: what is left of a sum of moments may be less than a clock can show
        left = round(since + _AGAIN_SECONDS - now, 3)
        if left > 0:
            return left
        del self._brought[space]
        await mounts.refresh(self._api, pods, f"{mark}.again")
        return 0.0
