"""Deletions that no watch showed.

After a connection was lost for long, kopf lists again: that shows what exists, not what went meanwhile. A Tenant that is
only remembered would be given a namespace again, and a pod be pushed to for ever. So everything remembered is compared
with the API server soon after such a list, and from time to time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.owned_objects import ChildKey
from relay_operator.errors import OperatorError
from relay_operator.handlers import owned_objects, resources
from relay_operator.handlers.context import Context
from relay_operator.reconcile.fleet import resync
from relay_operator.reconcile.work_queue import Key

logger = logging.getLogger(__name__)

_AFTER_A_LIST_SECONDS: Final = 15.0
"""Several kinds are mostly listed anew at the same time; and no more often than this is anything compared."""
_LOOKED_AT_ONCE: Final = 100
"""Namespaces, between two turns of everything else."""

Metadata = dict[str, Any]
Handler = Callable[..., Awaitable[None]]


class LostDeletions:
    """Hands the deletions that it finds to the handlers, as events that a watch would have shown."""

    def __init__(self, *, api: ApiServer, context: Context, period_seconds: float) -> None:
        self._api = api
        self._context = context
        self._period_seconds = period_seconds

    async def run(self) -> None:
        """Compares once a period, and after a list that shows what was known, until cancelled."""
        while True:
            period = resync.period_seconds(self._context.watched_state, self._period_seconds)
            await self._listed_anew(period)
            await asyncio.sleep(self._context.queue.spare_seconds())
            try:
                await self.compare()
            except OperatorError as error:
                logger.warning("deletions not looked for, will retry", extra={"why": str(error)})

    async def _listed_anew(self, longest_seconds: float) -> None:
        """Waits for a list that shows what was known, and until others have come too; no longer than so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_seconds):
                await self._context.relisted.wait()
                await asyncio.sleep(_AFTER_A_LIST_SECONDS)
        self._context.relisted.clear()

    async def compare(self) -> None:
        """Compares every remembered object with the API server. Raises ApiServerRefused or Unavailable."""
        await self.compare_what_is_decided_from()
        remembered = await self._remembered_children()
        for kind, before in remembered.items():
            await self._compare_children(kind, before)

    async def compare_what_is_decided_from(self) -> None:
        """Compares all but the children, which are read before they are written. Raises as compare does."""
        watched_state = self._context.watched_state
        await self._compare("Tenant", watched_state.tenants.metadata(), resources.tenant_seen)
        await self._compare("Provider", watched_state.providers.metadata(), resources.provider_seen)
        await self._compare(
            "ToolServer", watched_state.tool_servers.metadata(), resources.tool_server_seen
        )
        await self._compare("RelayRoute", watched_state.routes.metadata(), resources.route_seen)
        await self._compare(
            "Pod", _pods(self._context), owned_objects.pod_seen, selector=names.MANAGED_SELECTOR
        )

    async def _remembered_children(self) -> dict[str, dict[str, ChildKey]]:
        """Collects the children of all tenants by kind and UID, and lets others have their turn meanwhile."""
        found: dict[str, dict[str, ChildKey]] = {}
        for number, namespace in enumerate(self._context.children.namespaces()):
            for key, uid in self._context.children.known_in(namespace):
                if key[0] in owned_objects.KINDS:
                    found.setdefault(key[0], {})[uid] = key
            if not number % _LOOKED_AT_ONCE:
                await asyncio.sleep(0)
        return found

    async def _compare_children(self, kind: str, before: dict[str, ChildKey]) -> None:
        children, queue = self._context.children, self._context.queue
        listed = await self._api.list_metadata(kind, selector=names.MANAGED_SELECTOR)
        for uid in before.keys() - {one["uid"] for one in listed}:
            children.lost(before[uid], uid)
            tenant = names.owner_of(*before[uid])
            if tenant is not None:
                queue.add(Key("Tenant", "", tenant))

    async def _compare(
        self, kind: str, remembered: Iterator[Metadata], seen: Handler, *, selector: str = ""
    ) -> None:
        # before the list is asked for: an object that is shown meanwhile is none of those
        before = list(remembered)
        if not before:
            return
        existing = {one["uid"] for one in await self._api.list_metadata(kind, selector=selector)}
        for metadata in before:
            if metadata["uid"] not in existing:
                await seen(body=_body(metadata), type="DELETED", memo=self._context)


def _body(metadata: Metadata) -> dict[str, Any]:
    return {"metadata": metadata}


def _pods(context: Context) -> Iterator[Metadata]:
    for pod in context.watched_state.pods.all():
        tenant = pod.namespace.removeprefix(names.NAMESPACE_PREFIX)
        labels = names.standard_labels(tenant)
        yield {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid, "labels": labels}
