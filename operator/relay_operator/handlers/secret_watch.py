"""The Secrets of tenants whose names are ours, watched by name: API keys, and what their relays show the providers.

RBAC can grant the watch of Secrets of one name in every namespace and of no other (resourceNames, which a watch with the field
selector metadata.name is checked against), and the API server sends their metadata alone: no key travels. While a watch is
silent, handlers/secret_checks.py looks at its Secrets one by one. A watch that begins anew shows all there is: what was known and
is not among that was deleted in the gap.
"""

import asyncio
import logging
import random
from typing import Final

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.watch_stream import WatchEvent
from relay_operator.errors import ApiServerRefused, OperatorError
from relay_operator.handlers.context import Context
from relay_operator.reconcile.keys.secret_versions import SecretVersions
from relay_operator.reconcile.work_queue import Key, Urgency

logger = logging.getLogger(__name__)

WATCHED: Final = (names.API_KEYS_SECRET, names.KEY_DIGESTS_SECRET, names.UPSTREAM_SECRET)
_SILENT_SECONDS: Final = 150.0
"""Bookmarks come about once a minute."""
_SHOWN_SECONDS: Final = 10.0
"""From the first event of a watch that begins anew until it has shown all there is, which comes at once."""
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 30.0


class SecretWatch:
    """Queues a Tenant as soon as one of the Secrets of its keys has a version that nobody has looked at."""

    def __init__(self, *, api: ApiServer, context: Context, versions: SecretVersions) -> None:
        self._api = api
        self._context = context
        self._versions = versions
        self._heard_at: dict[str, float] = {}
        versions.is_followed = self.is_followed

    def is_followed(self, secret: str) -> bool:
        """Tells whether a watch shows the Secrets of this name, as far as is known."""
        heard_at = self._heard_at.get(secret)
        return (
            heard_at is not None and asyncio.get_running_loop().time() - heard_at < _SILENT_SECONDS
        )

    async def run(self) -> None:
        """Watches until cancelled."""
        await asyncio.gather(*(self._follow(secret) for secret in WATCHED))

    async def _follow(self, secret: str) -> None:
        version, pause = "", _FIRST_PAUSE_SECONDS
        while True:
            unshown = set() if version else self._versions.holders(secret)
            is_begun = bool(version)
            try:
                async for event in self._api.watch_metadata("Secret", secret, since=version):
                    version, pause = event.version or version, _FIRST_PAUSE_SECONDS
                    loop = asyncio.get_running_loop()
                    self._heard_at[secret] = loop.time()
                    if not is_begun:
                        is_begun = True
                        loop.call_later(_SHOWN_SECONDS, self._take_in_gone, secret, unshown)
                    unshown.discard(str(event.metadata.get("namespace", "")))
                    self._take_in(secret, event)
            except OperatorError as error:
                if isinstance(error, ApiServerRefused):
                    self._heard_at.pop(secret, None)
                    version = "" if error.status == 410 else version
                fields = {"secret": secret, "why": str(error)}
                logger.info("watch of Secrets interrupted, will go on", extra=fields)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _take_in_gone(self, secret: str, unshown: set[str]) -> None:
        """Takes in the deletions of what was there before the watch began, and which it has not shown."""
        for space in sorted(unshown):
            self._take_in(secret, WatchEvent("DELETED", {"namespace": space}))

    def _take_in(self, secret: str, event: WatchEvent) -> None:
        space = str(event.metadata.get("namespace", ""))
        if event.type == "BOOKMARK" or not space.startswith(names.NAMESPACE_PREFIX):
            return
        tenant = space.removeprefix(names.NAMESPACE_PREFIX)
        is_known = self._context.watched_state.tenants.get(tenant) is not None
        if not is_known or not self._versions.is_news(space, secret, event.version):
            return
        self._versions.show(space, secret, event.version, is_gone=event.type == "DELETED")
        if event.type == "ADDED" and not self._versions.was_read(space, secret):
            # at the operator's start this shows every Secret there is, of tenants that are all to be looked at anyway
            self._context.queue.add(Key("Tenant", "", tenant), Urgency.BACKGROUND)
            return
        if secret == names.UPSTREAM_SECRET:
            self._context.queue.add(Key("Tenant", "", tenant))
            return
        # a key may have been taken out, which must not wait for a reconcile of this tenant or of others
        self._context.queue.add(Key("KeySecrets", "", tenant), Urgency.IMMEDIATE)
        self._context.queue.add(Key("Tenant", "", tenant), Urgency.URGENT)
