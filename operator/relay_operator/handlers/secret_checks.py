"""The tenants' Secrets, looked at in turn.

Watching them would need the right to read every Secret of the cluster. A kubelet takes a deleted Secret's files from
running pods within about a minute, so they are looked at more often than the rest is reconciled.
"""

import asyncio
import logging

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import OperatorError
from relay_operator.handlers.context import Context
from relay_operator.reconcile.watched_objects import Invalid
from relay_operator.reconcile.work_queue import Key

logger = logging.getLogger(__name__)

_SECRETS = (names.API_KEYS_SECRET, names.UPSTREAM_SECRET)


class SecretChecks:
    """Queues a tenant one of whose Secrets is missing or has another version than when it was last looked at."""

    def __init__(self, *, api: ApiServer, context: Context, period_seconds: float) -> None:
        self._api = api
        self._context = context
        self._period_seconds = period_seconds
        self._versions: dict[str, tuple[str, ...]] = {}

    async def run(self) -> None:
        """Looks at every tenant once a period, spread evenly over it, until cancelled."""
        while True:
            tenants = self._context.watched_state.tenants.names()
            for gone in self._versions.keys() - tenants:
                del self._versions[gone]
            for tenant in tenants:
                await asyncio.sleep(self._period_seconds / len(tenants))
                try:
                    await self.check(tenant)
                except OperatorError as error:
                    fields = {"tenant": tenant, "why": str(error)}
                    logger.info("Secrets not looked at, will retry", extra=fields)
            if not tenants:
                await asyncio.sleep(self._period_seconds)

    async def check(self, tenant: str) -> None:
        """Compares the versions of one tenant's Secrets. Raises ApiServerRefused or Unavailable."""
        space = names.tenant_namespace(tenant)
        watched = self._context.watched_state.tenants.get(tenant)
        named = _certificate_of(watched.resource) if watched is not None else ()
        found = [
            await self._api.get("Secret", name, namespace=space) for name in (*_SECRETS, *named)
        ]
        versions = tuple(one["metadata"]["resourceVersion"] if one else "" for one in found)
        # a certificate may have changed since the reconcile that read it: somebody else keeps it
        before = self._versions.get(tenant, () if named else versions)
        self._versions[tenant] = versions
        if "" in versions or versions != before:
            self._context.queue.add(Key("Tenant", "", tenant))


def _certificate_of(tenant: Tenant | Invalid) -> tuple[str, ...]:
    """Returns the Secret that the tenant names for TLS with its callers, if it does."""
    if isinstance(tenant, Invalid) or tenant.spec.network.tls is None:
        return ()
    return (tenant.spec.network.tls.secret_name,)
