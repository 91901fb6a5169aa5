"""An API server in memory, with the semantics the operator relies on.

`InMemoryApiServer` is the cluster: objects, versions, watches, garbage collection, and what others do (`put`, `remove`).
`connect()` gives the operator's end of it, a `Connection`, with failures of its own; a new life of the operator is a
new connection. tests/contract runs the same scenarios against this one and a real API server.

Left out: times in managedFields; defaults of built-in kinds, and all but a few rules that validate them.
"""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.unit.relay_operator import field_ownership
from tests.unit.relay_operator.field_ownership import Manager, Manifest, Owners, copied
from tests.unit.relay_operator.injected_failures import InjectedFailures

from relay_operator import names
from relay_operator.cluster.api_server import PATHS
from relay_operator.cluster.leadership.fence import Fence, Unfenced, bound
from relay_operator.cluster.watch_stream import WatchEvent
from relay_operator.errors import ApiServerRefused, Conflict

ObjectKey = tuple[str, str, str]
"""kind, namespace, name"""

_OURS = frozenset({"Tenant", "Provider", "ToolServer", "RelayRoute", "PriceList"})
_WITH_GENERATION = _OURS | {"Deployment", "NetworkPolicy", "PodDisruptionBudget"}
_SERVERS_METADATA = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "managedFields")


@dataclass(slots=True)
class FakeClock:
    """Seconds since the epoch, moved by the test alone."""

    now: float = 1_780_000_000.0

    def __call__(self) -> float:
        return self.now

    def timestamp(self) -> str:
        """Returns the time as metadata spells it: RFC 3339, whole seconds."""
        return datetime.fromtimestamp(self.now, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Event:
    """One watch event; type is ADDED, MODIFIED or DELETED."""

    type: str
    object: Manifest


@dataclass(slots=True)
class Watch:
    """What happened to a kind since the watch began, in order, for one reader, who is called at each event."""

    kind: str
    on_event: Callable[[], None] = lambda: None
    events: deque[Event] = field(default_factory=deque)

    def taken(self) -> Iterator[Event]:
        """Takes events out until none is left, those that come meanwhile included."""
        while self.events:
            yield self.events.popleft()


class InMemoryApiServer:
    """Objects by kind, namespace and name. Every answer is a copy. Namespaces default and kube-system exist."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self._objects: dict[ObjectKey, Manifest] = {}
        self._owners: dict[ObjectKey, Owners] = {}
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)
        self._watches: list[Watch] = []
        for name in ("default", "kube-system"):
            self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def connect(self, failures: InjectedFailures | None = None) -> "Connection":
        """Returns the operator's end; failures can also be arranged later, on the connection."""
        return Connection(self, failures or InjectedFailures())

    def watch(self, kind: str, on_event: Callable[[], None] = lambda: None) -> Watch:
        """Begins a watch of a kind in all namespaces; what exists already is for `list`."""
        watch = Watch(kind, on_event)
        self._watches.append(watch)
        return watch

    # --- what everybody else does -----------------------------------------------------------------------------------

    def put(self, manifest: Manifest, *, manager: str = "kubectl") -> Manifest:
        """Creates the object or replaces it as a client with PUT would; a status given is written as well."""
        key = _key(manifest)
        stored = self._objects.get(key)
        if stored is None:
            answer = self.create(manifest, (manager, "Update"))
        else:
            wanted = _with_identity(field_ownership.without_nulls(manifest), stored)
            owners = self._owners[key]
            updated = field_ownership.updated(stored, wanted, owners, (manager, "Update"))
            if manifest["metadata"].get("managedFields") == [{}]:
                owners.clear()
            answer = self._store(key, updated)
        if "status" not in manifest:
            return answer
        return self._store(key, {**self._objects[key], "status": manifest["status"]})

    def keep(self, manifest: Manifest, owners: Owners) -> None:
        """Keeps an object as it is, UID and all, as if it had been there from the beginning; no watch tells of it."""
        key = _key(manifest)
        manifest["metadata"]["resourceVersion"] = str(next(self._versions))
        self._objects[key], self._owners[key] = manifest, owners

    def owners(self, key: ObjectKey) -> Owners:
        """Returns who has set which fields of an object."""
        return self._owners[key]

    def keys(self, tenant: str) -> list[ObjectKey]:
        """Returns the keys of a Tenant and of everything in its namespace, but for Events."""
        space = names.tenant_namespace(tenant)
        return [
            key
            for key in self._objects
            if key[0] != "Event" and (key[1] == space or key[2] in (tenant, space))
        ]

    def remove(self, kind: str, name: str, *, namespace: str = "") -> bool:
        """Deletes the object, as `kubectl delete` does; False when there is none.

        A namespace and an object with finalizers get a deletionTimestamp first and go later.
        """
        key = (kind, namespace, name)
        stored = self._objects.get(key)
        if stored is None:
            return False
        if kind != "Namespace" and not stored["metadata"].get("finalizers"):
            self._drop(key)
            return True
        if "deletionTimestamp" not in stored["metadata"]:
            metadata = {**stored["metadata"], "deletionTimestamp": self.clock.timestamp()}
            phase = {"status": {"phase": "Terminating"}} if kind == "Namespace" else {}
            self._store(key, {**stored, **phase, "metadata": metadata})
        return True

    def collect_garbage(self) -> None:
        """Empties and removes namespaces that are being deleted, and objects whose owners are all gone."""
        while True:
            known = {stored["metadata"]["uid"] for stored in self._objects.values()}
            doomed = [key for key in self._objects if self._is_garbage(key, known)]
            if not doomed:
                return
            for key in doomed:
                if key[0] == "Namespace" and "deletionTimestamp" in self._metadata(key):
                    self._drop(key)
                else:
                    self.remove(key[0], key[2], namespace=key[1])

    def _is_garbage(self, key: ObjectKey, known: set[str]) -> bool:
        kind, namespace, name = key
        metadata = self._metadata(key)
        if kind == "Namespace" and "deletionTimestamp" in metadata:
            return not any(space == name for _, space, _ in self._objects)
        owners = metadata.get("ownerReferences", [])
        orphaned = bool(owners) and not any(owner["uid"] in known for owner in owners)
        home = self._objects.get(("Namespace", "", namespace)) if namespace else None
        homeless = home is not None and "deletionTimestamp" in home["metadata"]
        return (orphaned or homeless) and "deletionTimestamp" not in metadata

    # --- reading ----------------------------------------------------------------------------------------------------

    def get(self, kind: str, name: str, *, namespace: str = "") -> Manifest | None:
        """Returns the object, None when there is none."""
        return copied(self._objects.get((kind, namespace, name)))

    def stored(self, kind: str, name: str, *, namespace: str = "") -> Manifest:
        """Returns the object; raises KeyError when there is none."""
        return copied(self._objects[kind, namespace, name])

    def list(self, kind: str, *, namespace: str = "", **labels: str) -> list[Manifest]:
        """Returns the objects of a kind, of one namespace if named, that carry these labels."""
        return [
            copied(stored)
            for key, stored in sorted(self._objects.items())
            if key[0] == kind
            and namespace in ("", key[1])
            and labels.items() <= stored["metadata"].get("labels", {}).items()
        ]

    # --- the verbs --------------------------------------------------------------------------------------------------

    def create(self, manifest: Manifest, manager: Manager) -> Manifest:
        """Creates the object; Conflict when it exists, 404 or 403 when its namespace is missing or being deleted."""
        key = _key(manifest)
        if key in self._objects:
            raise Conflict(f'POST {key[0]}: 409 "{key[2]}" already exists')
        self._check_namespace(key)
        created = field_ownership.without_nulls(manifest)
        created.pop("status", None)
        self._owners[key] = {manager: set(field_ownership.fields(created))}
        metadata = created["metadata"]
        metadata.pop("resourceVersion", None)
        metadata["uid"] = f"00000000-0000-4000-8000-{next(self._uids):012x}"
        metadata["creationTimestamp"] = self.clock.timestamp()
        if key[0] in _WITH_GENERATION:
            metadata["generation"] = 1
        if key[0] in _OURS:
            created["status"] = {
                "observedGeneration": -1
            }  # the custom resource definitions' default
        if key[0] == "Namespace":
            metadata.setdefault("labels", {})[names.LABEL_NAMESPACE_NAME] = key[2]
            created["status"] = {"phase": "Active"}
        return self._store(key, created)

    def apply(self, manifest: Manifest, manager: Manager) -> Manifest:
        """Applies with force; creates the object when there is none."""
        key = _key(manifest)
        stored = self._objects.get(key)
        _check_precondition(key, manifest["metadata"], stored)
        if stored is None:
            return self.create(manifest, manager)
        intent = field_ownership.without_nulls(manifest)
        if not self._owners[key]:
            everything = set(field_ownership.fields(stored))
            self._owners[key]["before-first-apply", "Update"] = everything
        merged = field_ownership.applied(stored, intent, self._owners[key], manager)
        return self._store(key, merged)

    def patch(
        self, key: ObjectKey, patch: Manifest, manager: Manager, *, subresource: str = ""
    ) -> Manifest:
        """Applies a JSON merge patch to the object, or to its status alone; 404 when there is no object."""
        stored = self._objects.get(key)
        if stored is None:
            raise ApiServerRefused(f'PATCH {key[0]}: 404 "{key[2]}" not found', status=404)
        _check_precondition(key, patch.get("metadata", {}), stored)
        merged = field_ownership.merge_patched(stored, patch)
        if subresource == "status":
            return self._store(key, {**stored, "status": merged.get("status", {})})
        managed = patch.get("metadata", {}).get("managedFields")
        if managed is not None:
            self._owners[key] = field_ownership.owners_of(managed)
        merged = _with_identity(merged, stored)
        answer = self._store(
            key, field_ownership.updated(stored, merged, self._owners[key], manager)
        )
        if "deletionTimestamp" in answer["metadata"] and not answer["metadata"].get("finalizers"):
            self._drop(key)
        return answer

    # --- inside -----------------------------------------------------------------------------------------------------

    def _metadata(self, key: ObjectKey) -> Manifest:
        metadata: Manifest = self._objects[key]["metadata"]
        return metadata

    def _check_namespace(self, key: ObjectKey) -> None:
        kind, namespace, name = key
        if not PATHS[kind][2]:
            return
        home = self._objects.get(("Namespace", "", namespace))
        if home is None:
            raise ApiServerRefused(
                f'POST {kind}: 404 namespaces "{namespace}" not found', status=404
            )
        if "deletionTimestamp" in home["metadata"]:
            message = (
                f'POST {kind}: 403 "{name}" is forbidden: namespace {namespace} is being terminated'
            )
            raise ApiServerRefused(message, status=403)

    def _store(self, key: ObjectKey, manifest: Manifest) -> Manifest:
        """Puts the object in force; a version, a generation and an event come with a real change only."""
        before = self._objects.get(key)
        try:
            _check_valid(before, manifest)
        except ApiServerRefused:
            # as if the write had never been: nobody owns what it would have set
            shown = before["metadata"]["managedFields"] if before else []
            self._owners[key] = field_ownership.owners_of(shown)
            raise
        stored = copied(manifest)
        stored["metadata"]["managedFields"] = field_ownership.managed_fields(self._owners[key])
        if before == stored:
            return stored
        if before is not None and key[0] in _WITH_GENERATION and _intent(before) != _intent(stored):
            stored["metadata"]["generation"] = before["metadata"]["generation"] + 1
        stored["metadata"]["resourceVersion"] = str(next(self._versions))
        self._objects[key] = stored
        self._tell("ADDED" if before is None else "MODIFIED", stored)
        return copied(stored)

    def _drop(self, key: ObjectKey) -> None:
        gone = self._objects.pop(key)
        del self._owners[key]
        gone["metadata"]["resourceVersion"] = str(next(self._versions))
        self._tell("DELETED", gone)

    def _tell(self, type_: str, stored: Manifest) -> None:
        for watch in self._watches:
            if watch.kind == stored["kind"]:
                watch.events.append(Event(type_, copied(stored)))
                watch.on_event()


@dataclass(frozen=True, slots=True)
class Write:
    """One write of the operator; changed is False when the server had it like that already."""

    verb: str
    key: ObjectKey
    changed: bool


class Connection:
    """The operator's end of the in-memory API server: an `ApiServer` with failures, which keeps a list of its writes and
    counts its reads.

    Each call gives the event loop one turn before it takes effect, so that tasks interleave as they would.
    """

    def __init__(self, server: InMemoryApiServer, failures: InjectedFailures) -> None:
        self.failures = failures
        self.writes: list[Write] = []
        self.reads_of: Counter[str] = Counter()
        self.lists_of: Counter[str] = Counter()
        self.fence: Fence = Unfenced()
        self.only_versions = False
        """Whether a merge patch has to be for one version of its object, as the operator's are."""
        self._server = server

    async def get(self, kind: str, name: str, *, namespace: str = "") -> Manifest | None:
        self.reads_of[kind] += 1
        await asyncio.sleep(0)
        self.failures.before_call("GET", kind)
        found = self._server.get(kind, name, namespace=namespace)
        if self.failures.seconds:
            # what is on its way may be old news when it arrives
            await asyncio.sleep(self.failures.seconds)
        return found

    @property
    def reads(self) -> int:
        """Counts the reads of single objects."""
        return self.reads_of.total()

    async def list_metadata(
        self, kind: str, *, selector: str = "", namespace: str = ""
    ) -> list[Manifest]:
        self.lists_of[kind] += 1
        await asyncio.sleep(self.failures.seconds)
        self.failures.before_call("LIST", kind)
        labels = dict(pair.split("=", 1) for pair in selector.split(",") if pair)
        listed = self._server.list(kind, namespace=namespace, **labels)
        return [one["metadata"] for one in listed]

    async def watch_metadata(
        self, kind: str, name: str = "", *, since: str = "", namespace: str = "", selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """Watches by name, or for a label that is there whatever its value."""

        def is_watched(metadata: Manifest) -> bool:
            if name:
                return bool(metadata["name"] == name)
            is_there = metadata.get("namespace", "") == namespace
            return is_there and selector in (metadata.get("labels") or {})

        await asyncio.sleep(0)
        self.failures.before_call("WATCH", kind)
        news = asyncio.Event()
        watch = self._server.watch(kind, news.set)
        for one in self._server.list(kind):
            if is_watched(one["metadata"]) and not since:
                yield WatchEvent("ADDED", one["metadata"])
        while True:
            await news.wait()
            await asyncio.sleep(0)
            news.clear()
            for event in watch.taken():
                self.failures.before_call("WATCH", kind)
                if is_watched(event.object["metadata"]):
                    yield WatchEvent(event.type, event.object["metadata"])

    async def create(self, manifest: Manifest) -> Manifest:
        await asyncio.sleep(self.failures.seconds)
        bound(self.fence, 1.0, what="write")
        self.failures.before_write("POST", manifest["kind"])
        answer = self._server.create(manifest, (names.FIELD_MANAGER, "Update"))
        return self._written("create", answer, None)

    async def apply(self, manifest: Manifest) -> Manifest:
        await asyncio.sleep(self.failures.seconds)
        bound(self.fence, 1.0, what="write")
        self.failures.before_write("PATCH", manifest["kind"])
        kind, namespace, name = _key(manifest)
        before = self._server.get(kind, name, namespace=namespace)
        answer = self._server.apply(manifest, (names.FIELD_MANAGER, "Apply"))
        return self._written("apply", answer, before)

    async def patch(
        self, kind: str, name: str, patch: Manifest, *, namespace: str = "", subresource: str = ""
    ) -> Manifest:
        await asyncio.sleep(self.failures.seconds)
        bound(self.fence, 1.0, what="write")
        self.failures.before_write("PATCH", kind, name)
        before = self._server.get(kind, name, namespace=namespace)
        if self.only_versions:
            assert _is_bound(kind, patch), f"a merge patch of any version of a {kind}"
        manager = ("client-library", "Update")
        answer = self._server.patch(
            (kind, namespace, name), patch, manager, subresource=subresource
        )
        return self._written(f"patch {subresource}".strip(), answer, before)

    async def delete(self, kind: str, name: str, *, namespace: str = "", uid: str) -> None:
        await asyncio.sleep(self.failures.seconds)
        bound(self.fence, 1.0, what="write")
        self.failures.before_write("DELETE", kind)
        before = self._server.get(kind, name, namespace=namespace)
        if before is None:
            return
        if before["metadata"]["uid"] != uid:
            raise Conflict(f'DELETE {kind}: 409 "{name}" has another uid')
        self._server.remove(kind, name, namespace=namespace)
        self.writes.append(Write("delete", (kind, namespace, name), True))
        self.failures.after_write()

    def _written(self, verb: str, answer: Manifest, before: Manifest | None) -> Manifest:
        self.writes.append(Write(verb, _key(answer), answer != before))
        self.failures.after_write()
        return answer


def _is_bound(kind: str, patch: Manifest) -> bool:
    """Tells whether a patch is for one version of its object; of a pod, whose kubelet is to look, for the pod alone."""
    metadata = patch.get("metadata", {})
    return "resourceVersion" in metadata or (kind == "Pod" and "uid" in metadata)


def _key(manifest: Manifest) -> ObjectKey:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _check_valid(before: Manifest | None, after: Manifest) -> None:
    """Refuses with 422 what the rules of built-in kinds refuse: two ports of one name, a change of what is immutable."""
    kind, _, name = _key(after)
    _check_sizes(kind, name, after)
    if kind == "Service":
        ports = [port.get("name") for port in after.get("spec", {}).get("ports", [])]
        if len(ports) != len(set(ports)):
            raise _invalid(kind, name, "spec.ports: Duplicate value")
    if before is None:
        return
    if before.get("immutable") and before.get("data") != after.get("data"):
        raise _invalid(kind, name, "data: Forbidden: field is immutable when `immutable` is set")
    if before.get("immutable") and not after.get("immutable"):
        raise _invalid(kind, name, "immutable: Forbidden: field is immutable when it is set")
    if before.get("roleRef") != after.get("roleRef"):
        raise _invalid(kind, name, "roleRef: Invalid value: cannot change roleRef")


def _check_sizes(kind: str, name: str, after: Manifest) -> None:
    """Refuses what is larger than the API server takes (MaxSecretSize, TotalAnnotationSizeLimitB, NoteLengthLimit)."""
    if kind in ("ConfigMap", "Secret"):
        data = after.get("data") or {}
        encoded = sum(map(len, data.values()))
        if (encoded if kind == "ConfigMap" else encoded * 3 // 4) > 1024 * 1024:
            raise _invalid(kind, name, "data: Too long: may not be more than 1048576 bytes")
    annotations = after["metadata"].get("annotations") or {}
    if sum(len(key) + len(value) for key, value in annotations.items()) > 256 * 1024:
        raise _invalid(kind, name, "metadata.annotations: Too long: may not be more than 262144")
    if kind == "Event" and len(after.get("message", "").encode()) > 1024:
        raise _invalid(kind, name, "message: Invalid value: can have at most 1024 characters")
    for one in (after.get("status") or {}).get("conditions", []) if kind in _OURS else ():
        if len(one["message"]) > 4096:
            raise _invalid(
                kind, name, "status.conditions.message: Too long: may not be more than 4096"
            )


def _invalid(kind: str, name: str, why: str) -> ApiServerRefused:
    return ApiServerRefused(f'PATCH {kind}: 422 "{name}" is invalid: {why}', status=422)


def _check_precondition(key: ObjectKey, metadata: Manifest, stored: Manifest | None) -> None:
    current = stored["metadata"] if stored else {}
    for name in ("resourceVersion", "uid"):
        if metadata.get(name, current.get(name)) != current.get(name):
            raise Conflict(
                f'PATCH {key[0]}: 409 "{key[2]}": {name} {metadata[name]} is not current'
            )


def _with_identity(manifest: Manifest, stored: Manifest) -> Manifest:
    """Returns the manifest with what only the server writes as the stored object has it."""
    kept = {
        name: value for name, value in stored["metadata"].items() if name in _SERVERS_METADATA
    } | {"resourceVersion": stored["metadata"]["resourceVersion"]}
    status = {"status": stored["status"]} if "status" in stored else {}
    without = {name: value for name, value in manifest.items() if name != "status"}
    metadata = {
        name: value for name, value in manifest["metadata"].items() if name not in _SERVERS_METADATA
    }
    return {**without, **status, "metadata": metadata | kept}


def _intent(manifest: Manifest) -> tuple[Any, ...]:
    """Returns what a generation counts: all but metadata and status, and that the object is to go."""
    rest = {name: value for name, value in manifest.items() if name not in ("metadata", "status")}
    return rest, "deletionTimestamp" in manifest["metadata"]
