"""The end of a Tenant: its keys are refused, its namespace is released if that is to stay, then the finalizer goes.

Nothing of it waits for ever: pods that do not answer are waited for a moment, and a namespace that is gone or is being
deleted needs nothing. The garbage collector removes what the Tenant owns.
"""

import asyncio
import logging

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.decisions import namespace_ownership, outcome
from relay_operator.errors import ApiServerRefused
from relay_operator.reconcile.tenancy import finalizers, releases
from relay_operator.reconcile.tenancy.homes import Homes
from relay_operator.reconcile.tenancy.revocation import Revocation
from relay_operator.reconcile.tenancy.tenant_publications import identity
from relay_operator.reconcile.tenancy.tenant_report import TenantReport
from relay_operator.reconcile.watched_objects import Watched

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 10.0
"""A relay pod that takes calls acknowledges within milliseconds, or is not there any more."""
_LOOK_AGAIN_SECONDS = 0.5


class Departures:
    def __init__(
        self, *, api: ApiServer, homes: Homes, revocation: Revocation, report: TenantReport
    ) -> None:
        self._api = api
        self._homes = homes
        self._revocation = revocation
        self._report = report
        self._since: dict[str, tuple[str, float]] = {}
        self._done: dict[str, str] = {}

    async def proceed(self, watched: Watched[Tenant], now: float) -> float:
        """Goes as far as it can; returns after how many seconds to go on, 0 when nothing is left to do."""
        if self._done.get(watched.name) == watched.uid:
            # no watch has shown yet that it is gone; its namespace is not the operator's any more
            return 0.0
        is_revoked = await self._revocation.revoke(watched)
        effect = "its API keys are refused and nothing is repaired"
        if not is_revoked:
            effect += "; relay pods that have not acknowledged it are waited for a moment"
        found = outcome.of_deletion(watched.metadata, effect)
        await self._report.write(watched.body, found, now)
        if not is_revoked and not self._has_waited(watched):
            return _LOOK_AGAIN_SECONDS
        if names.FINALIZER in watched.metadata.get("finalizers", ()):
            await self._release(watched)
            await finalizers.remove(self._api, watched.body)
            if watched.metadata["finalizers"] == [names.FINALIZER]:
                self._done[watched.name] = watched.uid
        return 0.0

    def forget(self, name: str) -> None:
        """Drops what is known of a Tenant that is gone."""
        self._since.pop(name, None)
        self._done.pop(name, None)

    async def _release(self, watched: Watched[Tenant]) -> None:
        tenant = identity(watched)
        existing = await self._homes.owned(watched.body, tenant)
        if existing is None:
            return
        if not (tenant.spec.keeps_namespace or namespace_ownership.is_adopted(existing, tenant)):
            return
        # without an owner, or the garbage collector would take what is to stay; and with the right to write in it
        await self._homes.repair(watched.body, tenant)
        try:
            await releases.release(self._api, tenant)
        except ApiServerRefused as error:
            if not self._has_waited(watched):
                raise
            # what is left is nobody's harm, and a Tenant that never goes is
            space = existing["metadata"]["name"]
            logger.warning("namespace not cleared", extra={"namespace": space, "why": str(error)})

    def _has_waited(self, watched: Watched[Tenant]) -> bool:
        # by the time that passes here: the API server's clock may show another
        now = asyncio.get_running_loop().time()
        uid, since = self._since.setdefault(watched.name, (watched.uid, now))
        if uid != watched.uid:
            self._since[watched.name] = watched.uid, now
            return False
        return now - since >= _PATIENCE_SECONDS
