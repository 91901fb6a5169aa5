"""Applies the objects a tenant owns: an unchanged one costs no write, one that somebody else changed is written again."""

import hashlib
import json
from typing import Any

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer, Manifest

ChildKey = tuple[str, str, str]
"""kind, namespace, name"""

# The status of these changes all the time; a change of their generation is one of their spec.
_BY_GENERATION = frozenset({"Deployment", "PodDisruptionBudget", "NetworkPolicy"})

_FOREIGN = ("", "")
"""Marks a child that somebody else changed or deleted; equals no hash and no version."""


class OwnedObjects:
    """Remembers of each child what was written last: (hash of our intent, version the API server gave it)."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._written: dict[ChildKey, tuple[str, str]] = {}

    async def apply(self, manifest: Manifest) -> bool:
        """Brings the child to what the manifest says; True when that took a write."""
        key = _key(manifest)
        digest = _digest(manifest)
        if self._written.get(key, ("", ""))[0] == digest:
            return False
        annotations = {**manifest["metadata"].get("annotations", {}), names.ANNOTATION_HASH: digest}
        stamped = {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}
        answer = await self._api.apply(stamped)
        self._written[key] = (digest, _version(answer))
        return True

    def observe(self, body: Manifest, *, deleted: bool) -> bool:
        """Takes in what the watch shows; True when the child is not as we left it and its owner must be reconciled.

        A child we did not write in this process (after a restart) is trusted by the hash it carries.
        """
        key = _key(body)
        known = self._written.get(key)
        if deleted:
            self._written[key] = _FOREIGN
            return True
        if known is None:
            digest = body["metadata"].get("annotations", {}).get(names.ANNOTATION_HASH, "")
            self._written[key] = (digest, _version(body))
            return False
        if known[1] == _version(body) or _older(body, known[1]):
            return False
        # foreign until our next write: a later event must not make it trusted again
        self._written[key] = _FOREIGN
        return True

    def forget(self, namespace: str) -> None:
        """Drops the memory of a namespace and its children; the next apply writes them all."""
        for key in [key for key in self._written if namespace in (key[1], key[2])]:
            del self._written[key]


def _key(body: Manifest) -> ChildKey:
    metadata = body["metadata"]
    return body["kind"], metadata.get("namespace", ""), metadata["name"]


def _digest(manifest: Manifest) -> str:
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _version(body: Manifest) -> str:
    metadata: dict[str, Any] = body["metadata"]
    if body["kind"] in _BY_GENERATION:
        return str(metadata.get("generation", ""))
    return str(metadata.get("resourceVersion", ""))


def _older(body: Manifest, version: str) -> bool:
    # the watch may show a state from before our own write; both numbers grow (KEP-5504 for resourceVersion)
    seen = _version(body)
    return seen.isdigit() and version.isdigit() and int(seen) < int(version)
