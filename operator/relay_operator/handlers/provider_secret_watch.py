"""The watch of the Secrets that are labelled for Providers, in the operator's own namespace.

One watch for all of them, of their metadata alone: what a Secret holds is read when its Provider is reconciled. Secrets
without the label are not watched. handlers/secret_checks.py looks at them as well, in case a watch is silent.
"""

import asyncio
import logging

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.watch_stream import WatchEvent
from relay_operator.errors import OperatorError
from relay_operator.handlers.context import Context
from relay_operator.reconcile.work_queue import Key

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


class ProviderSecretWatch:
    """Queues a Provider as soon as a Secret that it names changes, comes or goes."""

    def __init__(self, *, api: ApiServer, context: Context, operator_namespace: str) -> None:
        self._api = api
        self._context = context
        self._operator_namespace = operator_namespace
        self._versions: dict[str, str] = {}
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    async def run(self) -> None:
        """Watches until cancelled; begins anew when the API server ends a watch."""
        while True:
            try:
                await self._watch()
            except OperatorError as error:
                logger.info("Secrets not watched, will retry", extra={"why": str(error)})
                await asyncio.sleep(self._pause_seconds)
                self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
            else:
                await asyncio.sleep(_FIRST_PAUSE_SECONDS)

    async def _watch(self) -> None:
        events = self._api.watch_metadata(
            "Secret", namespace=self._operator_namespace, selector=names.LABEL_PROVIDER
        )
        async for event in events:
            self._pause_seconds = _FIRST_PAUSE_SECONDS
            self._take_in(event)

    def _take_in(self, event: WatchEvent) -> None:
        """A new watch begins with all that is there: what has the version that was seen before is no news."""
        name, version = str(event.metadata.get("name", "")), event.version
        if event.type == "BOOKMARK":
            return
        if event.type == "DELETED":
            self._versions.pop(name, None)
        elif self._versions.get(name) == version:
            return
        else:
            self._versions[name] = version
        for provider, resource in self._context.watched_state.providers.valid().items():
            if name in resource.secret_names:
                # a Tenant that is looked at before it reads for itself
                self._context.watched_state.shown_secrets.forget(provider)
                self._context.queue.add(Key("Provider", "", provider))
