"""Server-side apply and merge patches over manifests: which manager owns which field, and what a write leaves.

Sources: Kubernetes documentation "Server-Side Apply" and RFC 7386. Maps are merged key by key; a list is one value.
The real server tells the items of some lists apart by a key (containers, ports, ownerReferences); nobody but the
operator writes those lists of its objects, so the difference cannot be seen from here.
"""

import copy
from collections.abc import Mapping
from typing import Any

Manifest = dict[str, Any]
Path = tuple[str, ...]
Manager = tuple[str, str]
"""Field manager and operation (Apply or Update): the two are told apart for one and the same name."""
Owners = dict[Manager, set[Path]]

_SERVERS_OWN = frozenset(
    {("apiVersion",), ("kind",), ("status",)}
    | {
        ("metadata", name)
        for name in (
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "managedFields",
        )
    }
)


def leaves(value: Any, prefix: Path = ()) -> dict[Path, Any]:
    """Returns the fields of a manifest by path; a list and an empty map count as one field."""
    if not isinstance(value, Mapping) or not value:
        return {prefix: value} if prefix else {}
    found: dict[Path, Any] = {}
    for name, child in value.items():
        found |= leaves(child, (*prefix, name))
    return found


def fields(manifest: Manifest) -> dict[Path, Any]:
    """Returns those fields that a client can own: neither identity nor status nor what the server counts."""
    return {
        path: value
        for path, value in leaves(manifest).items()
        if path[:1] not in _SERVERS_OWN and path[:2] not in _SERVERS_OWN
    }


def applied(stored: Manifest, intent: Manifest, owners: Owners, manager: Manager) -> Manifest:
    """Returns the object after a forced apply, and records in owners who owns what since."""
    wanted = fields(intent)
    result = copy.deepcopy(stored)
    for path in owners.get(manager, set()) - wanted.keys():
        if not any(path in paths for other, paths in owners.items() if other != manager):
            _remove(result, path)
    before = leaves(result)
    for path, value in wanted.items():
        if value == {} and isinstance(_get(result, path), dict):
            continue
        if before.get(path) != value:
            _disown(owners, path)
        _put(result, path, copy.deepcopy(value))
    owners[manager] = set(wanted)
    return result


def updated(before: Manifest, after: Manifest, owners: Owners, manager: Manager) -> Manifest:
    """Returns `after`; records in owners that the manager owns what differs, and nobody what is gone."""
    old, new = fields(before), fields(after)
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    for path in changed | (old.keys() - new.keys()):
        _disown(owners, path)
    owners.setdefault(manager, set()).update(changed)
    return after


def merge_patched(target: Any, patch: Any) -> Any:
    """Returns the target after a JSON merge patch (RFC 7386, section 2)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patched(result.get(name), value)
    return result


def without_nulls(value: Any) -> Any:
    """Returns a copy in which no map has an entry that is None, as the server stores it."""
    if isinstance(value, Mapping):
        return {name: without_nulls(child) for name, child in value.items() if child is not None}
    return copy.deepcopy(value)


def _disown(owners: Owners, path: Path) -> None:
    for paths in owners.values():
        paths.discard(path)


def _get(target: Manifest, path: Path) -> Any:
    value: Any = target
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


def _put(target: Manifest, path: Path, value: Any) -> None:
    *parents, last = path
    for name in parents:
        child = target.get(name)
        if not isinstance(child, dict):
            child = target[name] = {}
        target = child
    target[last] = value


def _remove(target: Manifest, path: Path) -> None:
    """Removes one field, and the maps that it leaves empty."""
    chain = [target]
    for name in path[:-1]:
        child = chain[-1].get(name)
        if not isinstance(child, dict):
            return
        chain.append(child)
    chain[-1].pop(path[-1], None)
    for name, parent, child in zip(path[-2::-1], chain[-2::-1], chain[:0:-1], strict=True):
        if child:
            return
        del parent[name]
