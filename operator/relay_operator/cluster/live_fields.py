"""Compares an object as it is with the manifest it should follow, by the fields that server-side apply says are ours.

What the API server fills in by itself belongs to nobody and is left alone. Everything else that is not in the manifest
was added by somebody; metadata.managedFields names them. Source: Kubernetes documentation "Server-Side Apply".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from relay_operator import names

Manifest = dict[str, Any]
Fields = dict[str, Any]
"""FieldsV1: "f:NAME" is a field of a map, "k:{...}" an item of a list by its key, "." the item itself."""

_APPLY = "Apply"
_IDENTITY = frozenset({"f:apiVersion", "f:kind", "f:metadata", "f:status"})
_WRITERS = frozenset({"", "scale"})
"""The subresources whose writes change what is intended."""

_LEFT_TO_OTHERS: dict[str, tuple[tuple[str, ...], ...]] = {
    # kubectl rollout restart
    "Deployment": (
        ("f:spec", "f:template", "f:metadata", "f:annotations", "f:kubectl.kubernetes.io/restartedAt"),
    ),
    # OpenShift adds its image pull secrets to every ServiceAccount
    "ServiceAccount": (("f:secrets",), ("f:imagePullSecrets",)),
    "Namespace": (("f:spec",),),
}  # fmt: skip
_QUANTITIES = frozenset({"limits", "requests", "sizeLimit", "hard"})

_REPLICAS: tuple[str, ...] = ("f:spec", "f:replicas")
_AUTOSCALED = "relay-operator-autoscaling"
"""Keeps the number of pods from going back to 1 from when the operator says it no more until an autoscaler says it. Source:
Kubernetes documentation "Server-Side Apply", transferring ownership between managers.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """agrees: nothing is to be written. managers are the others whose fields stand where the manifest's should."""

    agrees: bool
    managers: tuple[str, ...] = ()


def compare(live: Manifest, manifest: Manifest) -> Comparison:
    """Compares every field of the manifest, and looks for fields that others added."""
    entries = live["metadata"].get("managedFields") or []
    ours = _our_fields(entries)
    strangers = {
        str(entry.get("manager") or "unknown"): None
        for entry in entries
        if not _is_ours(entry) and _holds_ours(entry, manifest, ours)
    }
    agrees = not strangers and _follows(manifest, live, ours)
    return Comparison(agrees=agrees, managers=tuple(strangers))


def taken_over(live: Manifest, manifest: Manifest) -> list[Manifest] | None:
    """Returns the managedFields with the fields of others as ours, so that our next apply removes or resets them.

    An apply alone merges: it keeps what others added, such as a second container or the old port of a Service whose
    port number was changed. What is to be left to others is given away in turn, so that it stays as it is. None when
    nothing changes hands.
    """
    entries = live["metadata"].get("managedFields") or []
    fields: Fields = {}
    rest, ours = [], None
    for entry in entries:
        if _is_ours(entry):
            ours = entry
            continue
        claimed = _claimed(entry, manifest)
        fields = _united(fields, claimed)
        left = _without(entry.get("fieldsV1") or {}, claimed) if claimed else entry.get("fieldsV1")
        if left:
            rest.append({**entry, "fieldsV1": left})
    template = ours or _entry(live, names.FIELD_MANAGER, _APPLY)
    kept = _united(template.get("fieldsV1") or {}, fields)
    gives = is_to_be_given_away(live, manifest)
    if gives:
        kept = _dropped(kept, _REPLICAS)
        rest.append({**_entry(live, _AUTOSCALED, "Update"), "fieldsV1": _path(_REPLICAS)})
    if not fields and not gives:
        return None
    return [{**template, "fieldsV1": kept}, *rest]


def takes_back(before: Manifest, manifest: Manifest) -> bool:
    """Tells whether the number of pods was left to others before, and is not any more: nobody has changed it then."""
    return _leaves_replicas(before) and not _leaves_replicas(manifest)


def is_to_be_given_away(live: Manifest, manifest: Manifest) -> bool:
    """Tells whether the number of pods is still ours although the manifest leaves it to others."""
    ours = _our_fields(live["metadata"].get("managedFields") or [])
    return _leaves_replicas(manifest) and _has(ours, _REPLICAS)


def _entry(live: Manifest, manager: str, operation: str) -> Manifest:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": live["apiVersion"],
        "fieldsType": "FieldsV1",
    }


def _leaves_replicas(manifest: Manifest) -> bool:
    """Tells whether somebody else, an autoscaler, is to say how many pods there are."""
    return manifest.get("kind") == "Deployment" and "replicas" not in manifest.get("spec", {})


def _dropped(fields: Fields, path: tuple[str, ...]) -> Fields:
    """Returns the fields without one of them, and without the maps that it leaves empty."""
    name, *rest = path
    below = _dropped(fields[name], tuple(rest)) if rest else {}
    others = {key: value for key, value in fields.items() if key != name}
    return {**others, name: below} if below else others


def _has(fields: Fields, path: tuple[str, ...]) -> bool:
    for name in path:
        if name not in fields:
            return False
        fields = fields[name]
    return True


def cannot_follow(live: Manifest, manifest: Manifest) -> bool:
    """Tells whether a field that the API server never lets change keeps the object from following the manifest.

    Such an object was made by somebody else under our name, or made immutable; only deleting it helps.
    """
    spec, wanted = live.get("spec", {}), manifest.get("spec", {})
    match live["kind"]:
        case "ConfigMap" | "Secret":
            is_other = live.get("type") != manifest.get("type")
            return live.get("immutable") is True or is_other
        case "RoleBinding":
            return bool(live.get("roleRef") != manifest["roleRef"])
        case "Deployment":
            return bool(spec.get("selector") != wanted.get("selector"))
        case "Service":
            # a class never changes while there is a load balancer
            are_balancers = spec.get("type") == wanted.get("type") == "LoadBalancer"
            classes = [one.get("loadBalancerClass") for one in (spec, wanted)]
            is_of_another = are_balancers and classes[0] != classes[1]
            return bool(spec.get("clusterIP") == "None") or is_of_another
        case _:
            return False


def _holds_ours(entry: Manifest, manifest: Manifest, ours: Fields) -> bool:
    """Tells whether another's entry has a field that only we should set, or one of our labels and annotations."""
    if _without(_claimed(entry, manifest), ours):
        return True
    theirs, owned = (
        (fields or {}).get("f:metadata", {}) for fields in (entry.get("fieldsV1"), ours)
    )
    return any(
        f"f:{name}" in theirs.get(f"f:{kind}", {}) and f"f:{name}" not in owned.get(f"f:{kind}", {})
        for kind in ("labels", "annotations")
        for name in manifest["metadata"].get(kind, {})
    )


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return (
        entry.get("manager") == names.FIELD_MANAGER
        and entry.get("operation") == _APPLY
        and not entry.get("subresource")
    )


def _our_fields(entries: list[Manifest]) -> Fields:
    return next((entry.get("fieldsV1") or {} for entry in entries if _is_ours(entry)), {})


def _claimed(entry: Mapping[str, Any], manifest: Manifest) -> Fields:
    """Returns the fields of another's entry that only the operator should set: all but metadata and status."""
    if entry.get("subresource", "") not in _WRITERS:
        return {}
    fields = {
        name: value
        for name, value in (entry.get("fieldsV1") or {}).items()
        if name not in _IDENTITY
    }
    left = _LEFT_TO_OTHERS.get(manifest["kind"], ())
    for path in (*left, _REPLICAS) if _leaves_replicas(manifest) else left:
        fields = _without(fields, _path(path))
    return fields


def _path(path: tuple[str, ...]) -> Fields:
    fields: Fields = {}
    for name in reversed(path):
        fields = {name: fields}
    return fields


def _united(first: Fields, second: Fields) -> Fields:
    result = dict(first)
    for name, value in second.items():
        result[name] = _united(first.get(name, {}), value)
    return result


def _without(fields: Fields, taken: Fields) -> Fields:
    """Returns the fields that are not among those taken; a field that is taken whole takes all below it."""
    result = {}
    for name, below in fields.items():
        if name == ".":
            continue
        if name not in taken:
            result[name] = below
        elif taken[name] and (left := _without(below, taken[name])):
            result[name] = left
    return result


def _follows(manifest: Manifest, live: Manifest, ours: Fields) -> bool:
    metadata = manifest["metadata"]
    wanted = {name: value for name, value in manifest.items() if name not in ("apiVersion", "kind")}
    kept = {name: value for name, value in metadata.items() if name not in ("name", "namespace")}
    wanted.pop("metadata")
    wanted |= {"metadata": kept} if kept else {}
    return _map_agrees(wanted, live, ours)


def _agrees(wanted: Any, live: Any, owned: Fields, name: str) -> bool:
    below = {key: value for key, value in owned.items() if key != "."}
    if not below:
        return _equal(wanted, live, name)
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and _map_agrees(wanted, live, below, name)
    return isinstance(wanted, list) and isinstance(live, list) and _list_agrees(wanted, live, below)


def _map_agrees(
    wanted: Mapping[str, Any], live: Mapping[str, Any], owned: Fields, name: str = ""
) -> bool:
    if {f"f:{key}" for key in wanted} != owned.keys() - {"."}:
        return False
    return all(
        _agrees(value, live.get(key), owned[f"f:{key}"], key if name not in _QUANTITIES else name)
        for key, value in wanted.items()
    )


def _list_agrees(wanted: list[Any], live: list[Any], owned: Fields) -> bool:
    if len(wanted) != len(owned):
        return False
    for key, fields in owned.items():
        if not key.startswith("k:"):
            return False
        identity = json.loads(key[2:]).items()
        pair = [
            next((item for item in items if identity <= item.items()), None)
            for items in (wanted, live)
        ]
        if None in pair or not _agrees(pair[0], pair[1], fields, ""):
            return False
    return True


def _equal(wanted: Any, live: Any, name: str) -> bool:
    if wanted == live or (not wanted and live is None and wanted in ({}, [])):
        return True
    if name not in _QUANTITIES or isinstance(wanted, Mapping | list):
        return False
    return _quantity(wanted) == _quantity(live)


def _quantity(value: Any) -> Decimal | None:
    try:
        return Decimal(parse_quantity(value))
    except (ValueError, TypeError):
        return None
