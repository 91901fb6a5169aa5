"""The Secrets of tenants and Providers, looked at in turn.

Watching them would need the right to read every Secret of the cluster. A kubelet takes a deleted Secret's files from
running pods within about a minute, and a renewed certificate is wanted soon, so they are looked at more often than the rest is
reconciled.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Literal

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import ApiServerRefused, OperatorError
from relay_operator.handlers.context import Context
from relay_operator.reconcile.keys.secret_versions import SecretVersions
from relay_operator.reconcile.watched_objects import Invalid
from relay_operator.reconcile.work_queue import Key, Urgency

logger = logging.getLogger(__name__)

Kind = Literal["Tenant", "Provider"]

_SECRETS = (names.API_KEYS_SECRET, names.UPSTREAM_SECRET)


class SecretChecks:
    """Queues a Tenant or Provider one of whose Secrets is missing or has another version than when it was last looked at."""

    def __init__(
        self,
        *,
        api: ApiServer,
        context: Context,
        key_versions: SecretVersions,
        period_seconds: float,
        operator_namespace: str,
    ) -> None:
        self._api = api
        self._context = context
        self._key_versions = key_versions
        self._period_seconds = period_seconds
        self._operator_namespace = operator_namespace
        self._versions: dict[str, tuple[str, ...]] = {}
        self._versions_of_providers: dict[str, tuple[str, ...]] = {}

    async def run(self) -> None:
        """Looks at every Tenant and Provider once a period, spread evenly over it, until cancelled."""
        while True:
            state = self._context.watched_state
            tenants, providers = state.our_tenants(), state.providers.names()
            for gone in self._versions.keys() - tenants:
                del self._versions[gone]
            for gone in self._versions_of_providers.keys() - providers:
                del self._versions_of_providers[gone]
            pause = self._period_seconds / max(len(tenants) + len(providers), 1)
            for name in tenants:
                await self._look("Tenant", name, pause)
            for name in providers:
                await self._look("Provider", name, pause)
            if not tenants and not providers:
                await asyncio.sleep(pause)

    async def _look(self, kind: Kind, name: str, pause_seconds: float) -> None:
        await asyncio.sleep(pause_seconds + self._context.queue.spare_seconds())
        try:
            await (self.check(name) if kind == "Tenant" else self.check_provider(name))
        except ApiServerRefused:
            # its reconcile puts back what gives the operator its rights, or tells that they are missing
            self._context.queue.add(Key(kind, "", name), reset_backoff=False)
        except OperatorError as error:
            fields = {"object": name, "why": str(error)}
            logger.info("Secrets not looked at, will retry", extra=fields)

    async def check_provider(self, name: str) -> None:
        """Compares the versions of the Secrets that a Provider names. Raises ApiServerRefused or Unavailable."""
        watched = self._context.watched_state.providers.get(name)
        if watched is None or isinstance(watched.resource, Invalid):
            return
        named = watched.resource.secret_names
        space = self._operator_namespace
        found = [await self._api.get("Secret", secret, namespace=space) for secret in named]
        versions = tuple(one["metadata"]["resourceVersion"] if one else "" for one in found)
        # at the first look too: one may have changed since the reconcile that read it
        if versions != self._versions_of_providers.get(name, ()):
            self._context.queue.add(Key("Provider", "", name))
        self._versions_of_providers[name] = versions

    async def check(self, tenant: str) -> None:
        """Compares the versions of one tenant's Secrets. Raises ApiServerRefused or Unavailable."""
        space = names.tenant_namespace(tenant)
        watched = self._context.watched_state.tenants.get(tenant)
        if watched is None:
            return
        named = (*_SECRETS, *_certificate_of(watched.resource))
        found = [await self._api.get("Secret", name, namespace=space) for name in named]
        versions = tuple(one["metadata"]["resourceVersion"] if one else "" for one in found)
        is_news = _may_be_brought_keys(watched.resource) and await self._is_news_of_digests(space)
        before = self._versions.get(tenant)
        # at the first look too, as above, which is no news that would end a backoff
        if is_news or "" in versions or versions != before:
            if before is not None:
                self._context.queue.add(Key("KeySecrets", "", tenant), Urgency.IMMEDIATE)
            key = Key("Tenant", "", tenant)
            self._context.queue.add(key, reset_backoff=before is not None)
        self._versions[tenant] = versions

    async def _is_news_of_digests(self, space: str) -> bool:
        """Tells whether the digests that the platform brings are others than were read last; none at all may be as it was."""
        secret = await self._api.get("Secret", names.KEY_DIGESTS_SECRET, namespace=space)
        version = secret["metadata"]["resourceVersion"] if secret is not None else ""
        return self._key_versions.is_news(space, names.KEY_DIGESTS_SECRET, version)


def _may_be_brought_keys(tenant: Tenant | Invalid) -> bool:
    """Tells whether the platform brings keys of the tenant; of one that is refused, the spec in force may say so."""
    return isinstance(tenant, Invalid) or any(
        key.source == "Digest" for key in tenant.spec.api_keys
    )


def _certificate_of(tenant: Tenant | Invalid) -> tuple[str, ...]:
    """Returns the Secret that the tenant names for TLS with its callers, if it does, also in a spec that is refused."""
    if isinstance(tenant, Invalid):
        named = _field(tenant.spec, "network", "tls", "secretName")
        return (named,) if isinstance(named, str) and named else ()
    return () if tenant.spec.network.tls is None else (tenant.spec.network.tls.secret_name,)


def _field(written: Any, *path: str) -> Any:
    for name in path:
        written = written.get(name) if isinstance(written, Mapping) else None
    return written
