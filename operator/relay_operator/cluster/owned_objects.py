"""Applies the objects a tenant owns: an unchanged one costs no write, and what somebody else did to one is undone."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from relay_operator import names
from relay_operator.cluster import live_fields
from relay_operator.cluster.api_server import ApiServer, Manifest
from relay_operator.cluster.packed import Packed, Packer, digest
from relay_operator.errors import Conflict

ChildKey = tuple[str, str, str]
"""kind, namespace, name"""

_READ_EACH_TIME = frozenset({"Secret"})
"""Not watched: that would need the right to read every Secret of the cluster."""

_COUNTED_METADATA = frozenset({"resourceVersion", "generation", "managedFields"})

_NONE = Packed()
"""The intent that a child is not there."""

_FIGHT_SECONDS = 2.0
_PAUSE_SECONDS = 1.0
_ROUNDS = 4
"""Somebody else may write between our read and our write; the next reconcile goes on after that many."""
_MADE_AT_ONCE = {"Service": 3}
"""The API server gives new Services their addresses at some five a second, whoever asks: of fifty that are asked for at once each one's
call is given up before its turn, and what it was given goes back, so that none is ever made.
"""
_MOST_REPORTS = 10
"""Writes to the status of an object alone, which only make our own write to its managers be asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """A child that was not as it should be, and is again.

    managers are the field managers of others whose fields it held. is_new tells that this life of the operator had
    not seen a missing child before. was_replaced tells that it could only be deleted and made anew.
    """

    key: ChildKey
    managers: tuple[str, ...] = ()
    was_missing: bool = False
    is_new: bool = False
    was_replaced: bool = False


@dataclass(slots=True)
class _Child:
    """Holds what is known of one child. There are a dozen a tenant, on a standby too.

    intent is the manifest that its fields follow, of which wanted is the digest, and content stands for those fields; None where
    they are still to be compared. live is then its newest form, if a watch showed it. uid is the one of the newest form that was
    seen. restored_at is when it was last restored, in seconds of the event loop.
    """

    uid: str = ""
    version: int = 0
    intent: Packed | None = None
    wanted: bytes = b""
    content: bytes = b""
    live: Packed | None = None
    is_disturbed: bool = False
    restored_at: float = float("-inf")


class OwnedObjects:
    """Compares what should be with what is. What it remembers of a child saves reading it, and proves nothing."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._homes: dict[str, dict[ChildKey, _Child]] = {}
        self._packer = Packer()
        self._restored: dict[str, list[Restoration]] = {}
        self._making = {kind: asyncio.Semaphore(most) for kind, most in _MADE_AT_ONCE.items()}
        self.observed = 0
        """How often a watch has shown a child so far."""
        self.found: Callable[[Manifest], None] = lambda _: None
        """Called with a child that is as it should be without a write, after which no watch needs to show anything."""

    async def apply(self, manifest: Manifest, *, first: Manifest | None = None) -> bool:
        """Brings the child to what the manifest says; True when that took a write. A missing one is made from `first`,
        which may say more than the operator decides later.

        Raises ApiServerRefused, Unavailable or Conflict; the next call then reads the child first.
        """
        key = _key(manifest)
        child = self._child(key)
        if child.intent and child.wanted == digest(manifest):
            return False
        known, is_ours = child.intent, bool(child.intent)
        # what a watch shows from now on is kept to be compared
        child.intent = None
        # one that is as we left it need not be read, unless it may say more than we: the answer shows what came meanwhile
        is_known = is_ours and first in (None, manifest)
        former = known.manifest() if known else None
        if former is not None and live_fields.cannot_follow(former, manifest):
            is_known = False
        live = None if is_known else await self._newest(key, child)
        was_missing = known is None and live is None
        return await self._bring_about(
            manifest,
            live,
            first=first,
            was_missing=was_missing,
            takes_back=former is not None and live_fields.takes_back(former, manifest),
        )

    async def remove(self, kind: str, namespace: str, name: str) -> bool:
        """Deletes a child that is not to be there, as far as a watch has shown it; one that comes later is told by
        `observe`. True when that took a write. Raises as `apply`.
        """
        child = self._child((kind, namespace, name))
        is_there = bool(child.intent or child.live)
        if is_there:
            await self._api.delete(kind, name, namespace=namespace, uid=child.uid)
        if is_there or child.intent is None:
            gone = _Child(version=child.version, intent=_NONE)
            self._put((kind, namespace, name), gone)
        return is_there

    def observe(self, body: Manifest, *, deleted: bool) -> bool:
        """Takes in what a watch shows; True when the child is not as we left it and its owner must be reconciled."""
        self.observed += 1
        key, version = _key(body), _version(body)
        child = self._child(key)
        if version < child.version:
            return False
        if deleted:
            gone = _Child(
                uid=child.uid, version=version, is_disturbed=True, restored_at=child.restored_at
            )
            self._put(key, gone)
            return True
        child.version, child.uid = version, body["metadata"].get("uid", "")
        if child.intent is None:
            child.live = self._packer.pack(body, kind=key[0])
            return False
        content = _content(body)
        if content == child.content:
            return False
        if child.intent is _NONE:
            child.intent, child.live = None, self._packer.pack(body, kind=key[0])
            return True
        goes = "deletionTimestamp" in body["metadata"]
        if not goes and live_fields.compare(body, child.intent.manifest()).agrees:
            child.content = content
            return False
        child.intent, child.live, child.is_disturbed = (
            None,
            self._packer.pack(body, kind=key[0]),
            True,
        )
        return True

    def has_seen(self, body: Manifest) -> bool:
        """Tells whether this very child was read, written or shown before, as far as it is remembered."""
        key = _key(body)
        child = self._homes.get(_home(key), {}).get(key)
        return child is not None and bool(child.uid) and child.uid == body["metadata"].get("uid")

    def is_as_left(self, key: ChildKey) -> bool:
        """Tells whether the child was read or written, and no watch has shown since that somebody changed it."""
        child = self._homes.get(_home(key), {}).get(key)
        return child is not None and bool(child.intent) and child.intent is not _NONE

    def pause_seconds(self, body: Manifest) -> float:
        """Returns how long to leave a child as it is: who undoes what was just restored is answered once a second."""
        since = asyncio.get_running_loop().time() - self._child(_key(body)).restored_at
        return _PAUSE_SECONDS if since < _FIGHT_SECONDS else 0.0

    def version(self, key: ChildKey) -> str:
        """Returns the newest version of a child that was read, written or shown; empty for none."""
        version = self._child(key).version
        return str(version) if version else ""

    def namespaces(self) -> tuple[str, ...]:
        """Returns the namespaces of which anything is remembered."""
        return tuple(self._homes)

    def known_in(self, namespace: str) -> list[tuple[ChildKey, str]]:
        """Returns the children in a namespace that exist as far as was seen, and itself, each with its UID."""
        return [
            (key, child.uid)
            for key, child in self._homes.get(namespace, {}).items()
            if child.uid and (child.intent is not None or child.live)
        ]

    def lost(self, key: ChildKey, uid: str) -> None:
        """Takes in that the child with this UID is gone, which no watch showed."""
        child = self._child(key)
        if child.uid == uid:
            self._put(key, _Child(uid=uid, version=child.version, is_disturbed=True))

    def note_created(self, key: ChildKey) -> None:
        """Notes that an object that was missing was created, and is still to be compared."""
        child = self._child(key)
        self._note_restored(Restoration(key=key, was_missing=True, is_new=not child.uid))
        self._put(key, _Child(version=child.version, restored_at=child.restored_at))

    def take_in(self, body: Manifest) -> None:
        """Takes in the newest form of an object that is still to be compared, as a write of its own has answered it."""
        key, child = _key(body), self._child(_key(body))
        if child.intent is None and _version(body) >= child.version:
            child.version, child.uid = _version(body), body["metadata"].get("uid", "")
            child.live = self._packer.pack(body, kind=key[0])

    def note_made(self, key: ChildKey) -> None:
        """Notes that an object was missing and was made, by a writer of its own."""
        self._note_restored(Restoration(key=key, was_missing=True, is_new=True))

    def take_restored(self, namespace: str) -> list[Restoration]:
        """Takes out what was restored in a namespace since the last call, the namespace itself included."""
        return self._restored.pop(namespace, [])

    def distrust(self, namespace: str) -> None:
        """Lets the next apply read every child of a namespace before it trusts that one is as we left it."""
        for child in self._homes.get(namespace, {}).values():
            child.intent = child.live = None

    def forget(self, namespace: str) -> None:
        """Drops the memory of a namespace and its children."""
        self._restored.pop(namespace, None)
        self._homes.pop(namespace, None)

    def _child(self, key: ChildKey) -> _Child:
        return self._homes.setdefault(_home(key), {}).setdefault(key, _Child())

    def _put(self, key: ChildKey, child: _Child) -> None:
        self._homes.setdefault(_home(key), {})[key] = child

    def _note_restored(self, restoration: Restoration) -> None:
        self._restored.setdefault(_home(restoration.key), []).append(restoration)

    async def _newest(self, key: ChildKey, child: _Child) -> Manifest | None:
        """Returns the newest form that a watch has shown since the last comparison; otherwise reads it."""
        return child.live.manifest() if child.live else await self._read(key)

    async def _read(self, key: ChildKey) -> Manifest | None:
        kind, namespace, name = key
        return await self._api.get(kind, name, namespace=namespace)

    async def _bring_about(
        self,
        manifest: Manifest,
        live: Manifest | None,
        *,
        first: Manifest | None,
        was_missing: bool,
        takes_back: bool,
    ) -> bool:
        key = _key(manifest)
        before = replace(self._child(key))
        managers: dict[str, None] = {}
        wrote = is_replaced = False
        for _ in range(_ROUNDS):
            if live is not None:
                found = live_fields.compare(live, manifest)
                managers |= {} if takes_back else dict.fromkeys(found.managers)
                # a value that the API server keeps in another form, or that an admission webhook sets, stays
                is_final = found.agrees or (
                    wrote
                    and {*found.managers} <= {names.FIELD_MANAGER}
                    and not live_fields.is_to_be_given_away(live, manifest)
                )
                child = self._child(key)
                if is_final and child.version <= _version(live):
                    noted = self._note(
                        before,
                        live,
                        managers,
                        was_missing=was_missing,
                        wrote=wrote,
                        is_replaced=is_replaced,
                    )
                    if noted:
                        before.restored_at = asyncio.get_running_loop().time()
                    self._keep(manifest, live, restored_at=before.restored_at)
                    if not wrote:
                        self.found(live)
                    return wrote
                if is_final:
                    live = child.live.manifest() if child.live else None
                    continue
                is_replaced |= live_fields.cannot_follow(live, manifest)
            live, wrote = await self._write(manifest, live, first or manifest), True
        raise Conflict(f"{_name(key)} was changed by others during each of {_ROUNDS} writes")

    async def _write(
        self, manifest: Manifest, live: Manifest | None, first: Manifest
    ) -> Manifest | None:
        """Writes the manifest over the object as it is; returns what the object is then, None when it went meanwhile.

        Without an object it is `first` that is written.
        """
        kind, namespace, name = key = _key(manifest)
        if live is None:
            return await self._make(first)
        if live_fields.cannot_follow(live, manifest):
            await self._api.delete(kind, name, namespace=namespace, uid=live["metadata"]["uid"])
        elif not await self._take_over(manifest, live):
            return await self._read(key)
        return await self._api.apply(manifest)

    async def _make(self, first: Manifest) -> Manifest:
        """Makes an object that is not there; of some kinds not before its turn."""
        turn = self._making.get(first["kind"])
        if turn is None:
            return await self._api.apply(first)
        async with turn:
            return await self._api.apply(first)

    async def _take_over(self, manifest: Manifest, live: Manifest) -> bool:
        """Gives our name to fields that would stay somebody's beside us; tells whether the manifest can be applied now.

        Who reports what a new object does writes to it several times a second, which is no edit of what we intend.
        """
        kind, namespace, name = key = _key(manifest)
        for _ in range(_MOST_REPORTS):
            if (fields := live_fields.taken_over(live, manifest)) is None:
                return True
            version = live["metadata"]["resourceVersion"]
            patch = {"metadata": {"resourceVersion": version, "managedFields": fields}}
            try:
                await self._api.patch(kind, name, patch, namespace=namespace)
            except Conflict:
                before, again = _content(live), await self._read(key)
                if again is None or _content(again) != before:
                    return False
                live = again
            else:
                return True
        return False

    def _note(
        self,
        before: _Child,
        live: Manifest,
        managers: dict[str, None],
        *,
        was_missing: bool,
        wrote: bool,
        is_replaced: bool,
    ) -> bool:
        """Notes what was done as a restoration, if it was one; tells whether it was one of a child seen before."""
        is_another = before.uid not in ("", live["metadata"].get("uid", ""))
        was_missing = was_missing or (is_another and not is_replaced)
        others = managers.keys() - {names.FIELD_MANAGER}
        is_restoration = was_missing or (wrote and bool(others or before.is_disturbed))
        if is_restoration:
            restoration = Restoration(
                key=_key(live),
                managers=tuple(managers),
                was_missing=was_missing,
                is_new=not before.uid,
                was_replaced=is_replaced,
            )
            self._note_restored(restoration)
        return is_restoration and bool(before.uid)

    def _keep(self, manifest: Manifest, live: Manifest, *, restored_at: float) -> None:
        key = _key(manifest)
        is_watched = key[0] not in _READ_EACH_TIME
        child = _Child(
            uid=live["metadata"].get("uid", ""),
            version=_version(live),
            intent=self._packer.pack(manifest, kind=key[0]) if is_watched else None,
            wanted=digest(manifest) if is_watched else b"",
            content=_content(live) if is_watched else b"",
            restored_at=restored_at,
        )
        self._put(key, child)


def _key(body: Manifest) -> ChildKey:
    kind, metadata = body["kind"], body["metadata"]
    # one text for all that was parsed apart
    return sys.intern(kind), sys.intern(metadata.get("namespace", "")), sys.intern(metadata["name"])


def _home(key: ChildKey) -> str:
    """Returns the namespace that a child is in, or is."""
    _, namespace, name = key
    return namespace or name


def _name(key: ChildKey) -> str:
    kind, namespace, name = key
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _version(body: Manifest) -> int:
    # versions of one kind grow (KEP-5504)
    text = body["metadata"].get("resourceVersion", "")
    return int(text) if text.isdigit() else 0


def _content(body: Manifest) -> bytes:
    """Identifies everything of an object that somebody can intend: all but its status and what the server counts."""
    metadata = {
        name: value for name, value in body["metadata"].items() if name not in _COUNTED_METADATA
    }
    intended = {name: value for name, value in body.items() if name != "status"}
    return digest({**intended, "metadata": metadata})
