"""The Lease (coordination.k8s.io/v1) by which operators agree on one that acts, as they read and write it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from relay_operator import names
from relay_operator.decisions import timestamps

MOST_LEASE_SECONDS: Final = 60
"""The longest lease that can be set. A longer one in a Lease was written by hand, and would keep everybody waiting."""
MOST_EPOCH: Final = 2**31 - 1
"""leaseTransitions is an int32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A Lease as it was read. holder is empty while nobody has claimed it.

    is_released tells that its last holder gave it back and acts no more, which an empty holder alone does not: anybody can
    empty it. epoch counts leaders; version is the resourceVersion. renewed_at is when it was renewed, by the clock of who held it
    last, stored_at the same by the API server's; both in seconds since the epoch, 0 where nobody says.
    """

    version: str
    holder: str = ""
    epoch: int = 0
    duration_seconds: float = 0.0
    renewed_at: float = 0.0
    stored_at: float = 0.0
    is_released: bool = False


def read(manifest: Mapping[str, Any]) -> Lease:
    """Reads a Lease; what is not as an operator writes it counts as not there."""
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    epoch = _whole(spec.get("leaseTransitions"))
    holder = spec.get("holderIdentity") or ""
    mark = (metadata.get("annotations") or {}).get(names.ANNOTATION_RELEASED, "")
    return Lease(
        version=metadata["resourceVersion"],
        holder=holder,
        epoch=min(epoch, MOST_EPOCH),
        duration_seconds=min(_whole(spec.get("leaseDurationSeconds")), MOST_LEASE_SECONDS),
        renewed_at=timestamps.from_text(spec.get("renewTime")),
        stored_at=_stored_at(metadata.get("managedFields") or ()),
        is_released=not holder and mark == str(epoch),
    )


def clock_ahead_seconds(former: Lease | None, ours: Lease) -> float:
    """Returns by how much our clock is ahead of the former holder's, from what the API server's said of both; 0 where that is not known.

    Where it said nothing, at least a clock that is behind can be told.
    """
    if former is None or not former.renewed_at or not ours.renewed_at:
        return 0.0
    if former.stored_at and ours.stored_at:
        return (ours.renewed_at - ours.stored_at) - (former.renewed_at - former.stored_at)
    return min(ours.renewed_at - former.renewed_at, 0.0)


def _stored_at(managed: Sequence[Mapping[str, Any]]) -> float:
    """Reads when the time of the last renewal was written."""
    return max(
        (
            timestamps.from_text(one.get("time"))
            for one in managed
            if "f:renewTime" in ((one.get("fieldsV1") or {}).get("f:spec") or {})
        ),
        default=0.0,
    )


def unheld(*, name: str, namespace: str, epoch: int) -> dict[str, Any]:
    """Returns the manifest of a Lease that nobody holds: its resourceVersion is what a later claim is held against."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
        },
        "spec": {"leaseTransitions": epoch},
    }


def claim(
    *, version: str, holder: str, epoch: int, lease_seconds: int, now: float, acquired: float
) -> dict[str, Any]:
    """Returns the patch that claims the Lease of a version, or goes on holding it. now and acquired are seconds since the
    epoch, for people: who leads is decided without them. The next leader reads from now by which clock statuses were written.
    """
    return {
        "metadata": {
            "resourceVersion": version,
            "annotations": {names.ANNOTATION_RELEASED: None},
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": lease_seconds,
            "leaseTransitions": epoch,
            "acquireTime": timestamps.to_precise_text(acquired),
            "renewTime": timestamps.to_precise_text(now),
        },
    }


def release(*, version: str, epoch: int) -> dict[str, Any]:
    """Returns the patch by which a holder that acts no more gives the Lease back."""
    return {
        "metadata": {
            "resourceVersion": version,
            "annotations": {names.ANNOTATION_RELEASED: str(epoch)},
        },
        "spec": {"holderIdentity": "", "leaseTransitions": epoch},
    }


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
