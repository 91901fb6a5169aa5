"""The API keys of a tenant: read from its Secrets, made where they are missing, rotated when they are due."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from relay_contract import document
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster import api_key_secrets
from relay_operator.cluster.api_key_secrets import KeySecret
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.decisions.api_keys import brought, in_force, requests
from relay_operator.decisions.api_keys.in_force import ApiKeys, digest_of
from relay_operator.decisions.api_keys.rotation import Act, Settled, Wanted, settle
from relay_operator.decisions.route_status import Move
from relay_operator.errors import ApiServerRefused
from relay_operator.reconcile.keys.secret_versions import SecretVersions
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

T = TypeVar("T")

_BINDING_PAUSES: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.16, 0.16, 0.16, 0.16)
"""Between tries in a new namespace; most authorizers need some hundredths of a second."""
_LOOK_AGAIN_SECONDS: Final = 1.0
_FARTHEST_SECONDS: Final = 600.0
"""Nothing is planned further ahead: what the queue holds for later is kept until then."""
_SETTLING_SECONDS: Final = 0.05
"""After the time of a change, so that the clock has reached it."""


@dataclass(frozen=True, slots=True)
class _Look:
    """Holds what a look has found. asked is what the Tenant asks for, version its Secret's, at a time of the event loop."""

    asked: tuple[object, ...]
    version: str
    found: ApiKeys
    at: float


class TenantApiKeys:
    """A rotation keeps no state but the Secret: a next key that was pushed and not written is one that nobody has."""

    def __init__(
        self,
        *,
        api: ApiServer,
        children: OwnedObjects,
        announcer: EventRecorder,
        watched_state: WatchedState,
        queue: WorkQueue,
        versions: SecretVersions,
        clock: Callable[[], float],
    ) -> None:
        self._api = api
        self._children = children
        self._announcer = announcer
        self._watched_state = watched_state
        self._queue = queue
        self._versions = versions
        self._clock = clock
        self._prepared: dict[str, dict[str, str]] = {}
        self._looks: dict[str, _Look] = {}

    async def read(self, spec: Tenant, publication: Publication | None) -> ApiKeys:
        """Reads the keys and brings their Secret to what is due now, but for rotations, which `rotate` finishes.

        publication is what is in force, of which digests that cannot be read stay. What was found is not read again
        where nothing can have changed.
        """
        found = self._found_lately(spec)
        if found is None:
            found = await self._read(spec, publication)
        self._look_again(spec, found.next_at - self._clock())
        return found

    def _found_lately(self, spec: Tenant) -> ApiKeys | None:
        look = self._looks.get(spec.metadata.name)
        if look is None or look.asked != _asked(spec) or self._clock() >= look.found.next_at:
            return None
        age = asyncio.get_running_loop().time() - look.at
        space = names.tenant_namespace(spec.metadata.name)
        stands = self._versions.stands(space, names.API_KEYS_SECRET, look.version, age=age)
        return look.found if stands else None

    async def _read(self, spec: Tenant, publication: Publication | None) -> ApiKeys:
        self._looks.pop(spec.metadata.name, None)
        now, wanted = self._clock(), _wanted(spec)
        secret = await _once_bound(lambda: api_key_secrets.read(self._api, spec, now=now))
        settled = self._settle(spec, secret, wanted, {}, now)
        entries, obstacle = await self._bring_about(spec, secret, settled)
        prepared = self._prepare(spec, () if obstacle else settled.due)
        mine = in_force.of_entries(entries, wanted.names, prepared)
        others = await self._brought(spec, publication)
        order = [key.name for key in spec.spec.api_keys]
        digests, doubles = in_force.without_doubles({**mine, **others.digests}, order)
        theirs = _named(spec, "Digest")
        found = ApiKeys(
            digests=digests,
            states=settled.states,
            brought=theirs,
            problems=(*others.problems, *doubles),
            notes=tuple(requests.complaints(wanted.requests, known=wanted.names, brought=theirs)),
            obstacle=obstacle,
            next_at=settled.next_at,
        )
        if not (theirs or prepared or obstacle):
            space = names.tenant_namespace(spec.metadata.name)
            version = self._versions.version(space, names.API_KEYS_SECRET)
            at = asyncio.get_running_loop().time()
            self._looks[spec.metadata.name] = _Look(_asked(spec), version, found, at)
        return found

    async def rotate(self, spec: Tenant, publication: Publication) -> None:
        """Replaces the keys that are due in the Secret, if every relay pod that is called knows the next ones.

        The tenant is looked at once more then, which takes the keys that were replaced into the document as previous ones.
        """
        prepared = self._prepared.get(spec.metadata.name)
        if not prepared:
            return
        behind = self._pods_without(publication, prepared)
        if behind:
            publication.api_keys = replace(publication.api_keys, waiting=f" ({behind})")
            self._look_again(spec, _LOOK_AGAIN_SECONDS)
            return
        now, wanted = self._clock(), _wanted(spec)
        secret = await api_key_secrets.read(self._api, spec, now=now)
        settled = self._settle(spec, secret, wanted, prepared, now)
        await self._bring_about(spec, secret, settled)
        del self._prepared[spec.metadata.name]
        self._queue.add(Key("Tenant", "", spec.metadata.name))

    def forget(self, name: str) -> None:
        """Forgets a Tenant that is gone."""
        self._prepared.pop(name, None)
        self._looks.pop(name, None)
        self._versions.forget(names.tenant_namespace(name))

    def _settle(
        self,
        spec: Tenant,
        secret: KeySecret,
        wanted: Wanted,
        prepared: Mapping[str, str],
        now: float,
    ) -> Settled:
        return settle(
            secret.found,
            wanted,
            prepared=prepared,
            now=now,
            make=lambda: api_key_secrets.new_key(spec.metadata.name),
        )

    async def _bring_about(
        self, spec: Tenant, secret: KeySecret, settled: Settled
    ) -> tuple[Mapping[str, str], str]:
        """Writes the Secret if it is not as it is to be; returns the entries in force, and what kept it from that.

        A Secret that somebody made immutable is left as it is, with the keys in it: between its deletion and the next one's
        creation they could be lost.
        """
        space, body = names.tenant_namespace(spec.metadata.name), secret.body
        if secret.found.is_immutable:
            self._note(space, names.API_KEYS_SECRET, api_key_secrets.version_of(body))
            return _left_as_it_is(space, secret.found.entries, settled)
        if not api_key_secrets.is_as_settled(secret, settled):
            for act in settled.acts:
                await self._announce(spec, act)
            body = await api_key_secrets.write(self._api, spec, secret, settled)
            if not secret.found.is_there:
                self._children.note_made(("Secret", space, names.API_KEYS_SECRET))
            self._note(space, names.API_KEYS_SECRET, api_key_secrets.version_of(body))
            api_key_secrets.check_written(body, settled)
        else:
            self._note(space, names.API_KEYS_SECRET, api_key_secrets.version_of(body))
        return settled.entries, ""

    def _prepare(self, spec: Tenant, due: tuple[str, ...]) -> dict[str, str]:
        """Returns the next keys of those that are due; the same until they are in the Secret, or not due any more."""
        known = self._prepared.pop(spec.metadata.name, {})
        prepared = {
            name: known.get(name) or api_key_secrets.new_key(spec.metadata.name) for name in due
        }
        if prepared:
            self._prepared[spec.metadata.name] = prepared
        return prepared

    async def _brought(self, spec: Tenant, publication: Publication | None) -> brought.Brought:
        wanted = _named(spec, "Digest")
        if not wanted:
            return brought.Brought()
        space = names.tenant_namespace(spec.metadata.name)
        entries, version = await api_key_secrets.read_digests(self._api, spec)
        self._note(space, names.KEY_DIGESTS_SECRET, version)
        return brought.read(
            entries,
            wanted,
            secret=f"{space}/{names.KEY_DIGESTS_SECRET}",
            in_force=_keys_of(spec, publication),
        )

    def _pods_without(self, publication: Publication, prepared: Mapping[str, str]) -> str:
        """Says how many relay pods that may be called do not know the next keys; empty for none."""
        space = publication.base.namespace
        called = [
            pod for pod in self._watched_state.relay_pods(space) if pod.ready or pod.terminating
        ]
        knowing = sum(publication.runs_newest(pod) for pod in called)
        composed = publication.document.tenant.keys if publication.document else ()
        coming = {key.name: key.next_sha256 for key in composed}
        if any(coming.get(name) != digest_of(key) for name, key in prepared.items()):
            knowing = 0
        if called and knowing < len(called):
            return f"{knowing} of {len(called)} do"
        return ""

    def _note(self, space: str, secret: str, version: str) -> None:
        self._versions.note(space, secret, version)

    async def _announce(self, spec: Tenant, act: Act) -> None:
        """Posts an Event before the write that it tells of: the next life posts it again, under the same name."""
        body = {"metadata": {"name": spec.metadata.name, "uid": spec.metadata.uid}}
        move = Move(
            at=self._clock(), reason=act.reason.value, message=act.message, canary_percent=0
        )
        await self._announcer.announce(
            body, kind="Tenant", action="Keys", move=move, identity=act.identity
        )

    def _look_again(self, spec: Tenant, seconds: float) -> None:
        if seconds < math.inf:
            wait = min(max(seconds, 0.0) + _SETTLING_SECONDS, _FARTHEST_SECONDS)
            self._queue.add_after(Key("Tenant", "", spec.metadata.name), wait)


def _asked(spec: Tenant) -> tuple[object, ...]:
    metadata = spec.metadata
    return metadata.uid, metadata.generation, tuple(sorted(metadata.annotations.items()))


def _wanted(spec: Tenant) -> Wanted:
    return Wanted(
        names=_named(spec, "Generated"),
        rotation=spec.spec.key_rotation,
        requests=requests.read(spec.metadata.annotations),
    )


def _named(spec: Tenant, source: str) -> tuple[str, ...]:
    return tuple(key.name for key in spec.spec.api_keys if key.source == source)


def _keys_of(spec: Tenant, publication: Publication | None) -> dict[str, document.ApiKey]:
    if publication is None or publication.tenant.metadata.uid != spec.metadata.uid:
        return {}
    return {key.name: key for key in publication.base.keys}


async def _once_bound(read: Callable[[], Awaitable[T]]) -> T:
    """Reads in a namespace that may be new: the authorizer learns of the RoleBinding in it a moment after its write."""
    for pause in _BINDING_PAUSES:
        try:
            return await read()
        except ApiServerRefused as error:
            if error.status != 403:
                raise
        await asyncio.sleep(pause)
    return await read()


def _left_as_it_is(
    space: str, existing: Mapping[str, str], settled: Settled
) -> tuple[dict[str, str], str]:
    """Returns the keys that an immutable Secret leaves in force, and how a person gets on."""
    wanted, due = settled.entries, ", ".join(sorted(settled.due))
    kept = {name: key for name, key in wanted.items() if existing.get(name) == key}
    added = ", ".join(sorted(wanted.keys() - kept.keys()))
    removed = ", ".join(sorted(existing.keys() - wanted.keys()))
    found = [f"API key {added} cannot be added to it"] if added else []
    found += [f"{removed} cannot be removed from it, but is refused already"] if removed else []
    found += [f"{due} cannot be rotated, which is due"] if due else []
    if not found:
        return kept, ""
    secret = names.API_KEYS_SECRET
    return kept, (
        f"Secret {space}/{secret} is immutable: {'; '.join(found)}; its other keys stay in force. Save a copy of it, "
        f"then put it back without `immutable: true` (kubectl -n {space} get secret {secret} -o yaml > keys.yaml; "
        "take the line out; kubectl replace --force -f keys.yaml)"
    )
