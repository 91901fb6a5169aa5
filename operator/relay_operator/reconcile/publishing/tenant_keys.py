"""The Secret in a tenant's namespace with the keys of the providers that its relay calls."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.packed import digest
from relay_operator.decisions.api_keys.in_force import digest_of
from relay_operator.manifests import credentials
from relay_operator.manifests.environment import Manifest
from relay_operator.reconcile.keys.secret_versions import SecretVersions
from relay_operator.reconcile.publishing import mounts
from relay_operator.reconcile.watched_state import WatchedState

_AGAIN_SECONDS = 3.0
"""A kubelet that looks before it has heard of the Secret's change sees the old one: it is asked again after this."""


@dataclass(frozen=True, slots=True)
class _Handed:
    """Keys as they were last seen in the Secret. wanted identifies them, at is a time of the event loop."""

    wanted: bytes
    version: str
    is_empty: bool
    at: float


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
        self._handed: dict[str, _Handed] = {}

    def forget(self, space: str) -> None:
        """Forgets a tenant that is gone."""
        self._brought.pop(space, None)
        self._handed.pop(space, None)

    async def are_handed_over(self, space: str) -> bool:
        """Tells whether any key is in the Secret."""
        handed = self._handed_lately(space)
        if handed is not None:
            return not handed.is_empty
        secret = await self._api.get("Secret", names.UPSTREAM_SECRET, namespace=space)
        return bool(secret and secret.get("data"))

    async def hand_over(self, spec: Tenant, keys: Mapping[str, str], now: float) -> float:
        """Writes the providers' keys for the relay pods, and lets them be mounted now if they are new.

        Returns after how many seconds they are to be handed over again, so that a kubelet that missed it looks once more; 0
        if no more is to be done.
        """
        space = names.tenant_namespace(spec.metadata.name)
        pods = self._watched_state.relay_pods(space)
        is_first = not self._children.version(("Secret", space, names.UPSTREAM_SECRET))
        wrote = await self._bring(space, credentials.upstream_keys(spec, keys), is_empty=not keys)
        # a Secret that this life has not seen may have been there with keys, which pods have until their kubelets look
        if wrote and (keys or pods or not is_first):
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

    async def _bring(self, space: str, manifest: Manifest, *, is_empty: bool) -> bool:
        """Brings the Secret to what it is to be; True when that took a write."""
        wanted, handed = digest(manifest), self._handed_lately(space)
        if handed is not None and handed.wanted == wanted:
            return False
        wrote = await self._children.apply(manifest)
        version = self._children.version(("Secret", space, names.UPSTREAM_SECRET))
        self._versions.note(space, names.UPSTREAM_SECRET, version)
        now = asyncio.get_running_loop().time()
        self._handed[space] = _Handed(wanted, version, is_empty, now)
        return wrote

    def _handed_lately(self, space: str) -> _Handed | None:
        handed = self._handed.get(space)
        if handed is None:
            return None
        age = asyncio.get_running_loop().time() - handed.at
        stands = self._versions.stands(space, names.UPSTREAM_SECRET, handed.version, age=age)
        return handed if stands else None
