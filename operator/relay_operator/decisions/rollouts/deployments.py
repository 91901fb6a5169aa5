"""Rollouts of single Deployments: what is asked for, how far the Deployment controller is, and what brought it about."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from relay_operator import names

Body = Mapping[str, Any]

_DONE = "NewReplicaSetAvailable"
"""Stays the reason of a Deployment's condition Progressing after its pods were available once, whatever they do later.
Source: kubernetes/pkg/controller/deployment/progress.go.
"""
_LATE = "ProgressDeadlineExceeded"


class Cause(StrEnum):
    """By whose change the pods are as they are: the tenant's own spec, or a tier, an image, a version of the operator."""

    TENANT = "tenant"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """The operator's note about the pod template that a Deployment was given.

    template identifies it; own what of the Tenant's spec shaped it. Empty where they are not known.
    """

    own: str = ""
    template: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A Deployment as it was last seen.

    wanted are the pods that are asked for. is_done tells that all of them have been available with the newest template;
    is_late that they were not in time. progress changes with every pod that comes up. generation counts the changes of what is
    asked for.
    """

    uid: str
    generation: int = 0
    note: Note = Note()
    cause: Cause = Cause.TENANT
    wanted: int = 1
    is_done: bool = False
    is_late: bool = False
    progress: tuple[int, int, int] = (0, 0, 0)
    resources: tuple[tuple[str, str, str], ...] = ()

    @property
    def news(self) -> tuple[Any, ...]:
        """Returns what its tenant is told of; the rest is what somebody asked for, which is compared elsewhere."""
        return self.uid, self.is_done, self.is_late, self.progress


def identify(template: Mapping[str, Any]) -> str:
    """Returns what tells one pod template from another."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def note_text(own: str, template: Mapping[str, Any]) -> str:
    """Returns a note as it is signed: with the whole template, so that it can be brought back as it was."""
    return json.dumps({"own": own, "template": template}, sort_keys=True, separators=(",", ":"))


def read_note(text: str) -> tuple[Note, Mapping[str, Any]]:
    """Reads a note, and the template in it; empty ones where it is none."""
    try:
        found = json.loads(text)
        template = found["template"]
        return Note(own=str(found["own"]), template=identify(template)), template
    except (ValueError, TypeError, LookupError):
        return Note(), {}


def rollout_of(body: Body) -> Rollout:
    """Reads a Deployment. What is missing counts as not done."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    annotations = metadata.get("annotations") or {}
    signed = str(annotations.get(names.ANNOTATION_TEMPLATE, ""))
    note, _ = read_note(signed.partition(" ")[2])
    by_platform = annotations.get(names.ANNOTATION_ROLLED_BY) == Cause.PLATFORM
    pods, updated, available = (
        int(status.get(name) or 0) for name in ("replicas", "updatedReplicas", "availableReplicas")
    )
    reason = _progressing(status)
    generation = int(metadata.get("generation") or 0)
    is_seen = int(status.get("observedGeneration") or 0) >= generation
    return Rollout(
        uid=str(metadata.get("uid", "")),
        generation=generation,
        note=note,
        cause=Cause.PLATFORM if by_platform else Cause.TENANT,
        wanted=int(spec.get("replicas", 1)),
        is_done=is_seen and reason == _DONE and updated == pods,
        is_late=is_seen and reason == _LATE,
        progress=(pods, updated, available),
        resources=resources_of((spec.get("template") or {}).get("spec") or {}),
    )


def _progressing(status: Body) -> str:
    conditions = status.get("conditions") or ()
    return next(
        (str(one.get("reason")) for one in conditions if one.get("type") == "Progressing"), ""
    )


def resources_of(pod: Body) -> tuple[tuple[str, str, str], ...]:
    """Returns the compute resources of a pod's containers, as (requests or limits, cpu or memory, amount)."""
    return tuple(
        (kind, name, str(value))
        for container in pod.get("containers") or ()
        for kind in ("requests", "limits")
        for name, value in sorted(((container.get("resources") or {}).get(kind) or {}).items())
    )
