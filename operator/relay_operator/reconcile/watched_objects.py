"""The objects of one kind as the watches last showed them, each parsed once, when it is shown."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from relay_operator import names
from relay_operator.api.equal_parts import equal_names, with_equal_parts
from relay_operator.cluster.packed import Packed, Packer
from relay_operator.errors import InvalidSpec
from relay_operator.names import Reason

Body = Mapping[str, Any]

_KEPT_METADATA = (
    "name",
    "namespace",
    "uid",
    "generation",
    "resourceVersion",
    "deletionTimestamp",
    "finalizers",
)

_OURS = f"{names.GROUP}/"
"""Beginning of the annotations that ask something of the operator."""
_MOST_DELETIONS = 64
"""Remembered of a namespace with few objects."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """A spec that cannot be used; message names the first field that does not fit, reason is what its conditions have.

    spec is what somebody wrote, for the fields that act all the same (decisions/brake.py, decisions/providers/terms.py,
    decisions/tools/withdrawal.py), and annotations are what somebody asks for, whatever the spec is. created_at is when the object
    was made, as the API server writes it.
    """

    message: str
    spec: Any = None
    reason: Reason = Reason.INVALID_SPEC
    annotations: Mapping[str, str] = field(default_factory=dict)
    created_at: str | None = None


R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched(Generic[R]):
    """One object.

    mentions are the objects of another kind that its spec names, whether or not the spec can be used. packed is its status, which
    takes ten times the memory of everything else unpacked, and is read when somebody looks at the object.
    """

    metadata: dict[str, Any]
    packed: Packed
    resource: R | Invalid
    intent: tuple[Any, ...]
    mentions: frozenset[str] = frozenset()

    @property
    def status(self) -> dict[str, Any]:
        """The status as it was shown, made anew at each call."""
        return self.packed.manifest()

    @property
    def body(self) -> dict[str, Any]:
        """What writing its status needs: identity and the status as it was shown."""
        return {"metadata": self.metadata, "status": self.status}

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def uid(self) -> str:
        return str(self.metadata["uid"])

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.get("labels") or {}

    @property
    def is_being_deleted(self) -> bool:
        return "deletionTimestamp" in self.metadata


class WatchedObjects(Generic[R]):
    """Keeps the newest form of each object, and which intent of it has been queued for reconciling.

    An object is queued because this intent of it was not queued before, whatever way it came to be known: the first
    list, a watch, or a later list after a connection was lost.
    """

    def __init__(
        self,
        parse: Callable[[Body], R],
        mentions: Callable[[Body], Iterable[str]] = lambda _: (),
        *,
        labels_count: bool = False,
    ) -> None:
        """labels_count tells whether a change of labels is a change of what somebody wants."""
        self._parse = parse
        self._mentions = mentions
        self._labels_count = labels_count
        self.changed: Callable[[str, str], None] = lambda _namespace, _name: None
        """Called after the intent of an object changed, or it came or went."""
        self.shown: Callable[[str, str], None] = lambda _namespace, _name: None
        """Called after anything of an object changed, its status included."""
        self._objects: dict[str, dict[str, Watched[R]]] = {}
        self._packer = Packer()
        self._queued: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._mentioning: dict[str, Counter[str]] = {}
        self._mentioned: dict[str, Counter[str]] = {}
        self._revisions: dict[str, int] = {}
        self._journal: dict[str, dict[str, int]] = {}
        self._complete_since: dict[str, int] = {}
        self._turned: dict[str, set[str]] = {}
        self._changes = 0
        self._count_of_all = 0

    def get(self, name: str, *, namespace: str = "") -> Watched[R] | None:
        return self._objects.get(namespace, {}).get(name)

    def has_shown(self, body: Body) -> bool:
        """Tells whether this very object is known, in whatever form."""
        metadata = body["metadata"]
        known = self.get(metadata["name"], namespace=metadata.get("namespace", ""))
        return known is not None and known.uid == metadata["uid"]

    def __contains__(self, name: object) -> bool:
        return name in self._objects.get("", {})

    @property
    def count(self) -> int:
        """How many objects there are in all namespaces."""
        return self._count_of_all

    @property
    def changes(self) -> int:
        """How many intents were shown so far, those of objects that went included."""
        return self._changes

    def names(self, *, namespace: str = "") -> tuple[str, ...]:
        return tuple(self._objects.get(namespace, ()))

    def count_in(self, namespace: str) -> int:
        """Returns how many objects of a namespace there are."""
        return len(self._objects.get(namespace, ()))

    def in_namespace(self, namespace: str) -> tuple[Watched[R], ...]:
        return tuple(self._objects.get(namespace, {}).values())

    def namespaces(self) -> tuple[str, ...]:
        """Returns the namespaces with such an object."""
        return tuple(self._objects)

    def metadata(self) -> Iterator[dict[str, Any]]:
        """Yields the metadata kept of every object of every namespace."""
        for kept in self._objects.values():
            for watched in kept.values():
                yield watched.metadata

    def valid(self, *, namespace: str = "") -> dict[str, R]:
        """Returns the parsed resources of a namespace by name, without those whose spec cannot be used."""
        return {
            name: watched.resource
            for name, watched in self._objects.get(namespace, {}).items()
            if not isinstance(watched.resource, Invalid)
        }

    def being_deleted(self, *, namespace: str = "") -> frozenset[str]:
        """Returns the objects of a namespace that somebody deleted, and that finalizers still keep."""
        kept = self._objects.get(namespace, {}).values()
        return frozenset(watched.name for watched in kept if watched.is_being_deleted)

    def store(self, body: Body) -> None:
        """Keeps what a list or a watch shows; an older state than the one at hand changes nothing."""
        metadata = body["metadata"]
        kept = self._objects.setdefault(metadata.get("namespace", ""), {})
        before = kept.get(metadata["name"])
        if before is not None and _is_same(metadata, before.metadata):
            # a list, an index and an event each show it
            return
        if before is None or not _is_older(metadata, before.metadata):
            asked = _asked(metadata)
            intent = _intent(metadata, asked, with_labels=self._labels_count)
            is_read = before is not None and _is_same_spec(intent, before.intent)
            known = before if is_read else None
            watched = kept[metadata["name"]] = Watched(
                metadata=_kept(metadata, with_labels=self._labels_count),
                packed=self._packer.pack(dict(body.get("status") or {}), kind="status"),
                resource=self._parsed(body, asked) if known is None else known.resource,
                intent=intent if known is None else known.intent,
                mentions=equal_names(self._mentions(body)) if known is None else known.mentions,
            )
            self._count((metadata.get("namespace", ""), watched.name), before, watched)
            self.shown(metadata.get("namespace", ""), watched.name)

    def take_in(self, body: Body, *, deleted: bool) -> bool:
        """Stores what an event shows; True when that must be queued: a new intent, or an object that went."""
        metadata = body["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        if deleted:
            return self._remove(key, metadata["uid"])
        self.store(body)
        watched, queued = self._objects[key[0]][key[1]], self._queued.get(key)
        if queued == watched.intent:
            return False
        self._queued[key] = watched.intent
        return True

    def mentioned_in(self, namespace: str) -> frozenset[str]:
        """Returns everything that an object of the namespace mentions."""
        return frozenset(self._mentioned.get(namespace, ()))

    def namespaces_mentioning(self, name: str) -> tuple[str, ...]:
        """Returns the namespaces with an object that mentions this name."""
        return tuple(self._mentioning.get(name, ()))

    def revision(self, namespace: str) -> int:
        """Returns a number that changes with every intent in the namespace, and never comes back."""
        return self._revisions.get(namespace, 0)

    def changed_since(self, namespace: str, revision: int) -> set[str] | None:
        """Returns the names of the objects of a namespace whose intent changed after that revision, those that went included.

        None when that is not known: everything may have changed.
        """
        if revision < self._complete_since.get(namespace, revision + 1):
            return None
        found = set()
        for name, changed in reversed(self._journal[namespace].items()):
            if changed <= revision:
                break
            found.add(name)
        return found

    def take_turned(self, namespace: str) -> frozenset[str]:
        """Returns the mentions that came into the namespace, or went from it, since the last call."""
        return frozenset(self._turned.pop(namespace, ()))

    def _remove(self, key: tuple[str, str], uid: str) -> bool:
        namespace, name = key
        known = self.get(name, namespace=namespace)
        # an object of the same name may have been created since, and shown before the deletion of this one
        if known is None or known.uid != uid:
            return False
        del self._objects[namespace][name]
        self._count(key, known, None)
        if not self._objects[namespace]:
            del self._objects[namespace], self._revisions[namespace]
            del self._journal[namespace], self._complete_since[namespace]
        self._queued.pop(key, None)
        self.shown(namespace, name)
        return True

    def _count(
        self, key: tuple[str, str], before: Watched[R] | None, after: Watched[R] | None
    ) -> None:
        """Keeps the revision of the namespace, and who mentions what, at the cost of one object."""
        namespace, name = key
        self._count_of_all += (before is None) - (after is None)
        if before is None or after is None or before.intent != after.intent:
            self._changes += 1
            self._revisions[namespace] = self._changes
            self._write_down(namespace, name)
        old, new = (one.mentions if one is not None else frozenset() for one in (before, after))
        for mention in old - new:
            _decrement(self._mentioning, mention, namespace)
            _decrement(self._mentioned, namespace, mention)
        for mention in new - old:
            self._mentioning.setdefault(mention, Counter())[namespace] += 1
            self._mentioned.setdefault(namespace, Counter())[mention] += 1
        kept = self._mentioned.get(namespace, Counter())
        turned = {one for one in old - new if one not in kept}
        turned |= {one for one in new - old if kept[one] == 1}
        if turned:
            self._turned.setdefault(namespace, set()).update(turned)
        if before is None or after is None or before.intent != after.intent:
            self.changed(namespace, name)

    def _write_down(self, namespace: str, name: str) -> None:
        """Keeps the order of changes; forgets older deletions when they become more than there are objects."""
        journal = self._journal.setdefault(namespace, {})
        self._complete_since.setdefault(namespace, self._changes - 1)
        journal.pop(name, None)
        journal[name] = self._changes
        kept = self._objects.get(namespace, {})
        if len(journal) > 2 * len(kept) + _MOST_DELETIONS:
            self._journal[namespace] = {one: at for one, at in journal.items() if one in kept}
            self._complete_since[namespace] = self._changes

    def _parsed(self, body: Body, asked: dict[str, str]) -> R | Invalid:
        metadata = {**body["metadata"], "annotations": asked}
        try:
            # what its status says of a resource would be older at the next look
            parsed = self._parse({**body, "metadata": metadata, "status": {}})
        except InvalidSpec as error:
            created_at = body["metadata"].get("creationTimestamp")
            return Invalid(str(error), body.get("spec"), error.reason, asked, created_at)
        return with_equal_parts(parsed) if isinstance(parsed, BaseModel) else parsed


def _decrement(counters: dict[str, Counter[str]], name: str, counted: str) -> None:
    counters[name][counted] -= 1
    if not counters[name][counted]:
        del counters[name][counted]
    if not counters[name]:
        del counters[name]


def _asked(metadata: Body) -> dict[str, str]:
    """Returns the annotations that ask something of the operator; a tenant can write a quarter of a MiB of others."""
    annotations = metadata.get("annotations") or {}
    return {name: value for name, value in annotations.items() if name.startswith(_OURS)}


def _intent(metadata: Body, asked: Mapping[str, str], *, with_labels: bool) -> tuple[Any, ...]:
    """Returns what changes when somebody else wants something; our own status writes do not change it."""
    annotations = tuple(sorted(asked.items()))
    labels = tuple(sorted((metadata.get("labels") or {}).items())) if with_labels else ()
    return (
        metadata["uid"],
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        annotations,
        labels,
    )


def _kept(metadata: Body, *, with_labels: bool) -> dict[str, Any]:
    found = {name: metadata[name] for name in _KEPT_METADATA if name in metadata}
    if with_labels:
        found["labels"] = dict(metadata.get("labels") or {})
    kept: dict[str, Any] = _shared(found)
    return kept


def _shared(kept: Any) -> Any:
    """Returns it with one text for all that were parsed apart."""
    match kept:
        case str():
            return sys.intern(kept)
        case dict():
            return {sys.intern(name): _shared(value) for name, value in kept.items()}
        case list():
            return [_shared(value) for value in kept]
        case _:
            return kept


def _is_same(metadata: Body, known: Body) -> bool:
    version = metadata.get("resourceVersion")
    is_known = bool(version) and version == known.get("resourceVersion")
    return is_known and metadata["uid"] == known["uid"]


def _is_same_spec(intent: tuple[Any, ...], known: tuple[Any, ...]) -> bool:
    """Tells whether only the status can be another: without a generation nobody knows."""
    return intent == known and intent[1] is not None


def _is_older(metadata: Body, known: Body) -> bool:
    # versions of one kind grow, across deletions too (KEP-5504)
    seen, at_hand = metadata.get("resourceVersion", ""), known.get("resourceVersion", "")
    return seen.isdigit() and at_hand.isdigit() and int(seen) < int(at_hand)
