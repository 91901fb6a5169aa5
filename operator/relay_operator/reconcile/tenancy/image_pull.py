"""The credentials for the registry of the relays' image: copied from the operator's namespace into a tenant's."""

import json
import logging
from typing import Any, Final

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster import key_secrets
from relay_operator.cluster.api_server import ApiServer, Manifest
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.manifests import credentials
from relay_operator.manifests.environment import Platform
from relay_operator.reconcile.keys.retired_secrets import RetiredSecrets

logger = logging.getLogger(__name__)

_OLDER_ENTRY: Final = ".dockercfg"
"""Of the type kubernetes.io/dockercfg, whose value is what the newer one has below `auths`."""


class ImagePull:
    """Keeps the Secret from which a tenant's kubelets have the credentials, where the platform names any."""

    def __init__(self, *, api: ApiServer, children: OwnedObjects, platform: Platform) -> None:
        self._api = api
        self._children = children
        self._named = platform.image_pull_secrets
        self._namespace = platform.operator_namespace
        self._told: set[str] = set()
        self._retired = RetiredSecrets(api, names.IMAGE_PULL_SECRET)

    async def bring(self, tenant: Tenant) -> None:
        """Writes the credentials of all named Secrets; without one that can be read, the last ones stay."""
        if not self._named:
            return
        auths: dict[str, Any] = {}
        for name in self._named:
            found = _auths(await self._api.get("Secret", name, namespace=self._namespace))
            if found is None:
                self._tell(name)
                return
            self._told.discard(name)
            auths |= found
        await self._children.apply(credentials.image_pull(tenant, auths))

    async def take_back(self, tenant: Tenant) -> None:
        """Deletes the Secret where the platform names none any more; for a tenant whose pods have all been made without it."""
        if not self._named:
            await self._retired.delete(names.tenant_namespace(tenant.metadata.name))

    def forget(self, namespace: str) -> None:
        """Forgets a namespace whose tenant is gone."""
        self._retired.forget(namespace)

    def _tell(self, name: str) -> None:
        """Logs once what is missing: image.pullSecrets of the chart is wrong for every tenant at once."""
        if name in self._told:
            return
        self._told.add(name)
        logger.warning(
            "a Secret of image.pullSecrets holds no registry's credentials; tenants keep those they have",
            extra={"secret": f"{self._namespace}/{name}"},
        )


def _auths(secret: Manifest | None) -> dict[str, Any] | None:
    """Returns what a Secret of either type has for each registry, None if it has nothing of the kind."""
    entries = key_secrets.decode(secret)
    try:
        if names.DOCKER_CONFIG in entries:
            found = json.loads(entries[names.DOCKER_CONFIG])["auths"]
        else:
            found = json.loads(entries[_OLDER_ENTRY])
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) else None
