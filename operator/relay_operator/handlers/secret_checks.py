"""The Secrets of tenants and Providers that no watch shows, looked at in turn.

Watching all would need the right to read every Secret of the cluster. Those with names of ours are watched by name
(handlers/secret_watch.py), and looked at here only while that watch is silent; a certificate has a name of the tenant's choice. A
kubelet takes a deleted Secret's files from running pods within about a minute, and a renewed certificate is wanted soon, so
they are looked at more often than the rest is reconciled, but never more of them in a second than the API server hardly notices.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

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

_SECRETS: Final = (names.API_KEYS_SECRET, names.UPSTREAM_SECRET)
_FEWEST_SECONDS_EACH: Final = 0.1
"""Ten Tenants or Providers a second at most, however many there are: of more than 300 each one's turn comes later than usual."""


class SecretChecks:
    """Queues a Tenant or Provider one of whose Secrets is missing or has another version than when it was last looked at."""

    def __init__(
        self,
        *,
        api: ApiServer,
        context: Context,
        key_versions: SecretVersions,
        is_followed: Callable[[str], bool],
        period_seconds: float,
        operator_namespace: str,
    ) -> None:
        """is_followed tells of a name whether a watch shows the Secrets of this name."""
        self._api = api
        self._context = context
        self._key_versions = key_versions
        self._is_followed = is_followed
        self._period_seconds = period_seconds
        self._operator_namespace = operator_namespace
        self._certified: set[str] = set()
        self._revision = -1
        self._versions: dict[str, dict[str, str]] = {}
        self._versions_of_providers: dict[str, tuple[str, ...]] = {}

    async def run(self) -> None:
        """Looks at what no watch shows once a period, spread evenly over it, until cancelled."""
        while True:
            self._take_in_changes()
            providers = self._context.watched_state.providers.names()
            for gone in self._versions_of_providers.keys() - providers:
                del self._versions_of_providers[gone]
            unseen = self._unseen()
            count = len(unseen) + len(providers)
            pause = max(self._period_seconds / max(count, 1), _FEWEST_SECONDS_EACH)
            for name in unseen:
                # those of a leader that has just begun are shown by a watch a moment later, and keep nobody waiting
                if self._unseen_of(name):
                    await self._look("Tenant", name, pause)
            for name in providers:
                await self._look("Provider", name, pause)
            if not count:
                await asyncio.sleep(pause)

    def _take_in_changes(self) -> None:
        """Takes in which Tenants name a certificate, at the cost of those that changed: at rest nothing is gone through."""
        state = self._context.watched_state
        changed = state.tenants.changed_since("", self._revision)
        self._revision = state.tenants.revision("")
        if changed is None:
            changed = {*state.tenants.names(), *self._versions, *self._certified}
        for name in changed:
            watched = state.tenants.get(name)
            if watched is None or not state.is_ours(name):
                self._versions.pop(name, None)
            is_certified = watched is not None and bool(_certificate_of(watched.resource))
            (self._certified.add if is_certified else self._certified.discard)(name)

    def _unseen(self) -> list[str]:
        """Returns the Tenants with a Secret that is to be looked at: while no watch is silent, those that name a certificate."""
        state = self._context.watched_state
        if all(map(self._is_followed, (*_SECRETS, names.KEY_DIGESTS_SECRET))):
            return [*filter(state.is_ours, sorted(self._certified))]
        return [name for name in state.our_tenants() if self._unseen_of(name)]

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
            self._context.watched_state.shown_secrets.forget(name)
            self._context.queue.add(Key("Provider", "", name))
        self._versions_of_providers[name] = versions

    async def check(self, tenant: str) -> None:
        """Compares the versions of one tenant's Secrets that no watch shows. Raises ApiServerRefused or Unavailable."""
        space, before = names.tenant_namespace(tenant), self._versions.get(tenant)
        found, is_news = {}, False
        for name in self._unseen_of(tenant):
            secret = await self._api.get("Secret", name, namespace=space)
            version = secret["metadata"]["resourceVersion"] if secret else ""
            if name == names.KEY_DIGESTS_SECRET:
                # none at all may be as it was
                is_news |= self._key_versions.is_news(space, name, version)
                continue
            found[name] = version
            # at the first look too, as above, which is no news that would end a backoff
            is_news |= not version or version != (before or {}).get(name)
        if is_news:
            for name, version in found.items():
                self._key_versions.show(space, name, version, is_gone=not version)
            if before is not None:
                self._context.queue.add(Key("KeySecrets", "", tenant), Urgency.IMMEDIATE)
            key = Key("Tenant", "", tenant)
            self._context.queue.add(key, reset_backoff=before is not None)
        self._versions[tenant] = {**(before or {}), **found}

    def _unseen_of(self, tenant: str) -> list[str]:
        """Returns the names of a tenant's Secrets that are to be looked at."""
        watched = self._context.watched_state.tenants.get(tenant)
        if watched is None:
            return []
        named = [*_SECRETS]
        if _may_be_brought_keys(watched.resource):
            named.append(names.KEY_DIGESTS_SECRET)
        unseen = [name for name in named if not self._is_followed(name)]
        return [*unseen, *_certificate_of(watched.resource)]


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
