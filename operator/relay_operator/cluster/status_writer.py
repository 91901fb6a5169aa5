"""Writes the status of custom resources, and only when something in it is new."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.packed import Packed, Packer
from relay_operator.decisions import conditions
from relay_operator.decisions.conditions import Condition
from relay_operator.errors import ApiServerRefused, Conflict, Overtaken, Unavailable

ObjectKey = tuple[str, str, str]
"""kind, namespace, name"""


_ROUNDS = 4
"""Somebody else may write between our read and our write; the next reconcile goes on after that many."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A status as it was written; version is the object's then."""

    uid: str
    status: Packed
    version: str


class StatusWriter:
    """The only writer of our kinds' status. It remembers what it wrote, which the watch shows a moment later."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._packer = Packer()
        self._written: dict[ObjectKey, _Written] = {}
        self._unanswered: dict[ObjectKey, Mapping[str, Any]] = {}

    async def write(
        self,
        kind: str,
        body: Mapping[str, Any],
        fields: Mapping[str, Any],
        wanted: Iterable[Condition],
        *,
        now: float,
    ) -> bool:
        """Brings the object's status to these fields and conditions; True when that took a write.

        body is the object as watched; a field set to None is removed, in an object inside as well. Raises Overtaken where
        another operator has written a status since: what was decided here was decided from an older one.
        """
        metadata = body["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        generation = int(metadata.get("generation", 1))
        current = self.told(kind, body)
        merged = conditions.merge(
            current.get("conditions", ()), wanted, generation=generation, now=now
        )
        status = {**fields, "observedGeneration": generation, "conditions": merged}
        if _has(current, status):
            return False
        try:
            version = await self._patch(key, self._newest_version(key, metadata), current, status)
        except ApiServerRefused as error:
            if error.status != 404:
                raise
            return False
        self._unanswered.pop(key, None)
        self._keep(key, metadata["uid"], status, version)
        return True

    async def write_beside(
        self, kind: str, body: Mapping[str, Any], fields: Mapping[str, Any]
    ) -> None:
        """Writes fields that no report has, for the version of the object that is known; the rest of its status stays.

        Raises Conflict when somebody has changed the object since, and ApiServerRefused.
        """
        metadata = body["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        version = self._newest_version(key, metadata)
        patch = {"metadata": {"resourceVersion": version}, "status": fields}
        changed = await self._api.patch(kind, key[2], patch, namespace=key[1], subresource="status")
        self.note_own_change(kind, changed)

    def _keep(self, key: ObjectKey, uid: str, status: Mapping[str, Any], version: str) -> None:
        packed = self._packer.pack(_present(status), kind=key[0])
        self._written[key] = _Written(uid, packed, version)

    async def _patch(
        self, key: ObjectKey, version: str, known: Mapping[str, Any], status: Mapping[str, Any]
    ) -> str:
        """Writes a status over the one that is known; returns the object's version then."""
        kind, namespace, name = key
        for _ in range(_ROUNDS):
            patch = {"metadata": {"resourceVersion": version}, "status": status}
            try:
                answer = await self._api.patch(
                    kind, name, patch, namespace=namespace, subresource="status"
                )
            except Conflict as error:
                # mostly somebody changed its spec or an annotation meanwhile, which no status tells of
                live = await self._api.get(kind, name, namespace=namespace)
                if live is None:
                    raise
                if not self._is_known(key, live.get("status") or {}, known):
                    raise Overtaken(str(error)) from error
                version = live["metadata"]["resourceVersion"]
            except Unavailable:
                # it may be there all the same
                self._unanswered[key] = status
                raise
            else:
                return str(answer["metadata"]["resourceVersion"])
        raise Conflict(f"{kind} {name} was changed by others during each of {_ROUNDS} writes")

    def _is_known(self, key: ObjectKey, live: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
        """Tells whether a status is the one that is known of, or one of ours whose answer was lost."""
        unanswered = self._unanswered.get(key)
        return _has(live, known) or (unanswered is not None and _has(live, unanswered))

    def _newest_version(self, key: ObjectKey, metadata: Mapping[str, Any]) -> str:
        watched: str = metadata["resourceVersion"]
        written = self._written.get(key)
        if written is None or written.uid != metadata["uid"]:
            return watched
        # versions of one kind grow (KEP-5504)
        is_behind = watched.isdigit() and written.version.isdigit()
        return written.version if is_behind and int(watched) < int(written.version) else watched

    def told(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the object's status as far as is known: what was written last, else what the watch showed."""
        metadata = body["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        written = self._written.get(key)
        if written is not None and written.uid == metadata["uid"]:
            return written.status.manifest()
        return body.get("status") or {}

    def has_told(self, kind: str, body: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
        """Tells whether the object's status, as far as is known, has these fields."""
        return _has(self.told(kind, body), fields)

    def note_own_change(self, kind: str, changed: Mapping[str, Any]) -> None:
        """Takes in an object as it is after a change of the operator's own beside its status, made to the version at hand.

        The next status is for that version: the watched one is no more the newest, and nobody else has changed it in between.
        """
        metadata = changed["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        self._keep(key, metadata["uid"], self.told(kind, changed), metadata["resourceVersion"])

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """Drops the memory of an object that is gone."""
        self._written.pop((kind, namespace, name), None)
        self._unanswered.pop((kind, namespace, name), None)


def _has(status: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    """Tells whether a status holds these fields, and none of those that are None."""
    return all(_present(status.get(name)) == _present(value) for name, value in fields.items())


def _present(value: Any) -> Any:
    """Leaves out of an object what a patch removes, as the API server stores it."""
    if not isinstance(value, Mapping):
        return value
    return {name: _present(inner) for name, inner in value.items() if inner is not None}
