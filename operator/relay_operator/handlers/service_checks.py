"""The Services that Providers name, looked at in turn: what they lead to stands in tenants' network policies.

They belong to others and carry no label of ours. Watching every Service of the cluster for the sake of a few would cost the
memory of all of them.
"""

import asyncio
import logging
from collections.abc import Mapping

from relay_operator.api.provider import ServiceRef
from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import OperatorError
from relay_operator.handlers.context import Context
from relay_operator.reconcile.watched_objects import Invalid
from relay_operator.reconcile.work_queue import Key

logger = logging.getLogger(__name__)

_SECONDS_EACH = 0.05
"""Twenty Services a second at most, however many there are."""

Name = tuple[str, str]
"""Namespace and name of a Service."""


class ServiceChecks:
    """Queues the Providers whose Service has another version than when it was last looked at."""

    def __init__(self, *, api: ApiServer, context: Context, period_seconds: float) -> None:
        self._api = api
        self._context = context
        self._period_seconds = period_seconds
        self._versions: dict[Name, str] = {}

    async def run(self) -> None:
        """Looks at each Service once a period, spread evenly over it, until cancelled."""
        while True:
            named = self._named()
            for gone in self._versions.keys() - named:
                del self._versions[gone]
            pause = max(self._period_seconds / max(len(named), 1), _SECONDS_EACH)
            for service, providers in named.items():
                await asyncio.sleep(pause + self._context.queue.spare_seconds())
                await self._look(service, providers)
            if not named:
                await asyncio.sleep(pause)

    def _named(self) -> Mapping[Name, list[str]]:
        """Returns the Providers of each Service that one of them names."""
        named: dict[Name, list[str]] = {}
        for watched in self._context.watched_state.providers.in_namespace(""):
            if not isinstance(watched.resource, Invalid):
                ref = watched.resource.spec.endpoint.service_ref
                if ref is not None:
                    named.setdefault(_name(ref), []).append(watched.name)
        return named

    async def _look(self, service: Name, providers: list[str]) -> None:
        namespace, name = service
        try:
            found = await self._api.get("Service", name, namespace=namespace)
        except OperatorError as error:
            fields = {"service": f"{namespace}/{name}", "why": str(error)}
            logger.info("Service not looked at, will retry", extra=fields)
            return
        version = found["metadata"]["resourceVersion"] if found else ""
        # at the first look too: it may have changed since the reconcile that read it
        if version != self._versions.get(service):
            for provider in providers:
                self._context.queue.add(Key("Provider", "", provider))
        self._versions[service] = version


def _name(ref: ServiceRef) -> Name:
    return ref.namespace, ref.name
