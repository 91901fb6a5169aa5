"""Takes keys out of the relays before anything else is done for a tenant, and past a reconcile that is under way.

What is in force is changed without a turn of the event loop in between, so the newest word counts whoever comes last.
"""

import asyncio
import math
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster import api_key_secrets
from relay_operator.cluster.api_server import ApiServer
from relay_operator.decisions import brake
from relay_operator.decisions.api_keys import brought, requests, withdrawal
from relay_operator.decisions.api_keys.in_force import ApiKeys
from relay_operator.errors import ApiServerRefused, Conflict, Unavailable
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.keys.held_keys import Held, HeldKeys
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.tenancy.tenant_publications import TenantPublications
from relay_operator.reconcile.watched_objects import Invalid, Watched
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

_FARTHEST_SECONDS: Final = 600.0
_SETTLING_SECONDS: Final = 0.05
"""After the end of an overlap, so that the clock has reached it."""
_AGAIN_SECONDS: Final = 0.3
_PATIENCE_SECONDS: Final = 10.0
"""After this, pods that have not acknowledged are left to the reconcile, which looks again as long as there are any."""


class KeyWithdrawal:
    def __init__(
        self,
        *,
        api: ApiServer,
        publications: TenantPublications,
        publisher: DocumentPublisher,
        watched_state: WatchedState,
        queue: WorkQueue,
        held_keys: HeldKeys,
        clock: Callable[[], float],
    ) -> None:
        self._api = api
        self._publications = publications
        self._publisher = publisher
        self._watched_state = watched_state
        self._queue = queue
        self._held_keys = held_keys
        self._clock = clock
        self._taken_at: dict[str, float] = {}

    async def withdraw(self, watched: Watched[Tenant]) -> None:
        """Refuses the keys that the spec no longer names, that a person revoked, and whose overlap is over.

        What fails here is left to the rest of the reconcile, which reports it.
        """
        with suppress(ApiServerRefused, Conflict, Unavailable):
            publication = await self._publications.of(watched)
            if publication is not None:
                before = publication.base
                self._take_what_is_unwanted(publication, publication.api_keys, self._clock())
                if publication.base != before:
                    await self._publisher.distribute(publication.base.namespace)

    async def withdraw_missing(self, publication: Publication) -> None:
        """Pushes at once what was read from the Secrets if a key of the document is not in them any more."""
        document = publication.document
        if document is None:
            return
        accepted = withdrawal.digests_in(document.tenant.keys)
        if accepted - withdrawal.digests_in(publication.base.keys):
            await self._publisher.distribute(publication.base.namespace)

    def take_away(self, name: str) -> None:
        """Starts to push what the newest Tenant takes away: keys, its calls, Providers that its labels opened, or all of it."""
        space = names.tenant_namespace(name)
        publication = self._publisher.publication(space)
        if publication is None:
            return
        before, now = publication.base, self._clock()
        self._take_what_is_unwanted(publication, publication.api_keys, now)
        is_shut_out = self._publisher.close_providers(publication)
        if is_shut_out or publication.base != before:
            self._taken_at[name] = asyncio.get_running_loop().time()
            # stores it
            self._queue.add(Key("Tenant", "", name), Urgency.URGENT)
        self._publish(publication)
        self._plan(publication, now)

    async def look_at_secrets(self, name: str) -> None:
        """Starts to push what the Secrets of a tenant's keys do not hold any more; what is new in them is the reconcile's."""
        space = names.tenant_namespace(name)
        publication = self._publisher.publication(space)
        watched = self._watched_state.tenants.get(name)
        if publication is None or watched is None or watched.uid != publication.tenant.metadata.uid:
            return
        is_usable = not isinstance(watched.resource, Invalid)
        spec = watched.resource if is_usable else publication.tenant
        assert isinstance(spec, Tenant)
        with suppress(ApiServerRefused, Conflict, Unavailable):
            held = await self._held(spec, publication)
            self._held_keys.end(space, held)
            before = publication.base
            self._limit(publication, held)
            if publication.base != before:
                self._taken_at[name] = asyncio.get_running_loop().time()
                # a reconcile that began later may know better, and stores it
                self._queue.add(Key("Tenant", "", name), Urgency.URGENT)
            self._publish(publication)

    def begin_to_read(self) -> int:
        """Returns the moment since which a reconcile reads the Secrets."""
        return self._held_keys.begin()

    def hold_to_newest(self, publication: Publication, began: int) -> None:
        """Takes out of what a reconcile has read, since that moment, what was taken away meanwhile."""
        name, before = publication.tenant.metadata.name, publication.base
        now = self._clock()
        self._limit(publication, self._held_keys.newer_than(publication.base.namespace, began))
        self._take_what_is_unwanted(publication, publication.api_keys, now)
        if publication.base != before:
            self._queue.add(Key("Tenant", "", name), Urgency.URGENT)
        self._plan(publication, now)

    def forget(self, name: str) -> None:
        """Forgets a Tenant that is gone."""
        self._taken_at.pop(name, None)
        self._held_keys.forget(names.tenant_namespace(name))

    async def _held(self, spec: Tenant, publication: Publication) -> Held:
        by_source: dict[str, list[str]] = {"Generated": [], "Digest": []}
        for key in spec.spec.api_keys:
            by_source[key.source].append(key.name)
        secret, (digests, _) = await asyncio.gather(
            api_key_secrets.read(self._api, spec, now=self._clock()),
            api_key_secrets.read_digests(self._api, spec),
        )
        theirs = brought.read(
            digests,
            by_source["Digest"],
            secret=names.KEY_DIGESTS_SECRET,
            in_force={key.name: key for key in publication.base.keys},
        )
        return withdrawal.held(
            generated=by_source["Generated"],
            entries=secret.found.entries,
            brought={name: theirs.digests.get(name) for name in by_source["Digest"]},
        )

    def _limit(self, publication: Publication, held: Held) -> None:
        keys = withdrawal.limited(publication.base.keys, held, nobodys=_nobodys)
        if keys != publication.base.keys:
            publication.base = publication.base.model_copy(update={"keys": keys})

    def _take_what_is_unwanted(self, publication: Publication, known: ApiKeys, now: float) -> None:
        """Takes out of what is in force whatever the newest form of the Tenant does not want, also one that is refused."""
        tenant, base = publication.tenant.metadata, publication.base
        watched = self._watched_state.tenants.get(tenant.name)
        if watched is None or watched.uid != tenant.uid or watched.is_being_deleted:
            publication.base = base.model_copy(update={"suspended": True, "keys": ()})
            return
        keys = withdrawal.withdrawn(
            base.keys,
            known,
            named=named_keys(watched.resource),
            requests=requests.read(annotations_of(watched.resource)),
            now=now,
            nobodys=_nobodys,
            overlap_seconds=_overlap_seconds(watched.resource),
        )
        suspended = base.suspended or asks_to_suspend(watched)
        if (keys, suspended) != (base.keys, base.suspended):
            publication.base = base.model_copy(update={"keys": keys, "suspended": suspended})

    def _publish(self, publication: Publication) -> None:
        """Pushes, and again in a moment while a pod that takes calls does not run it."""
        space, name = publication.base.namespace, publication.tenant.metadata.name
        taken_at = self._taken_at.get(name)
        if taken_at is None:
            return
        self._publisher.push(space)
        waited = asyncio.get_running_loop().time() - taken_at
        pods = self._watched_state.relay_pods(space)
        if waited > _PATIENCE_SECONDS or all(
            publication.runs_newest(pod) for pod in pods if pod.ready or pod.terminating
        ):
            del self._taken_at[name]
            return
        self._queue.add_after(Key("Withdrawal", "", name), _AGAIN_SECONDS, Urgency.IMMEDIATE)

    def _plan(self, publication: Publication, now: float) -> None:
        """Looks again when an overlap ends that had not ended when the keys were looked at, whatever a reconcile waits for then."""
        ends = withdrawal.overlap_ends(publication.api_keys.states, now=now)
        if ends < math.inf:
            wait = min(ends - now + _SETTLING_SECONDS, _FARTHEST_SECONDS)
            key = Key("Withdrawal", "", publication.tenant.metadata.name)
            self._queue.add_after(key, wait, Urgency.IMMEDIATE)


def annotations_of(tenant: Tenant | Invalid) -> Mapping[str, str]:
    """Returns what somebody asks for by annotations, also of a Tenant whose newest spec is refused."""
    return tenant.annotations if isinstance(tenant, Invalid) else tenant.metadata.annotations


def named_keys(tenant: Tenant | Invalid) -> frozenset[str] | None:
    """Returns the names of the keys in the newest spec, also in one that is refused; None where that does not tell."""
    if isinstance(tenant, Invalid):
        return withdrawal.named_keys(tenant.spec)
    return frozenset(key.name for key in tenant.spec.api_keys)


def asks_to_suspend(watched: Watched[Tenant]) -> bool:
    """Tells whether the newest spec asks for it, also one that is refused."""
    tenant = watched.resource
    written = tenant.spec if isinstance(tenant, Invalid) else {"suspend": tenant.spec.suspend}
    return brake.suspends(written)


def _overlap_seconds(tenant: Tenant | Invalid) -> float | None:
    if isinstance(tenant, Invalid) or tenant.spec.key_rotation is None:
        return None
    return tenant.spec.key_rotation.overlap


def _nobodys() -> str:
    """Makes the digest of a key that nobody has."""
    rest = 64 - len(withdrawal.NOBODYS)
    return withdrawal.NOBODYS + secrets.token_hex(rest // 2)
