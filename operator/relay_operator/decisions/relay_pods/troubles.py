"""Why a relay pod is missing or not ready, in the words of the API server and the kubelet, as far as they last."""

from collections.abc import Mapping
from typing import Any

_MOST_CHARACTERS = 400
_WAITS_AS_USUAL = frozenset({"ContainerCreating", "PodInitializing", ""})
_COUNTS_DOWN = frozenset({"CrashLoopBackOff", "ImagePullBackOff"})
"""Their messages name the length of the present pause, and change with it."""


def of_deployment(body: Mapping[str, Any]) -> str:
    """Reads why the Deployment's pods cannot be created: quota, admission; empty while they can."""
    for condition in (body.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return _sentence(condition.get("reason"), condition.get("message"))
    return ""


def of_pod(body: Mapping[str, Any]) -> str:
    """Reads why a pod does not come up: no node, no image, a crash; empty while nothing is wrong with it."""
    status = body.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _sentence(condition.get("reason"), condition.get("message"))
    if status.get("phase") == "Failed" or status.get("reason"):
        # such as NodeLost of one that runs, as far as anybody knows
        return _sentence(status.get("reason"), status.get("message"))
    for container in status.get("initContainerStatuses") or ():
        # admission adds them: a mesh, a scanner
        found = "" if _has_done_its_work(container) else _of_container(container)
        if found:
            return f"init container {container.get('name')}: {found}"
    for container in status.get("containerStatuses") or ():
        found = _of_container(container)
        if found:
            return found
    return _of_readiness(status)


def _of_readiness(status: Mapping[str, Any]) -> str:
    """Reads what keeps a pod from being ready although its containers are."""
    for condition in status.get("conditions") or ():
        if (condition.get("type"), condition.get("status")) == ("Ready", "Unknown"):
            return _sentence(condition.get("reason") or "NodeUnknown", condition.get("message"))
        if condition.get("type") == "Ready" and condition.get("reason") == "ReadinessGatesNotReady":
            return _sentence(condition.get("reason"), condition.get("message"))
    return ""


def _has_done_its_work(container: Mapping[str, Any]) -> bool:
    terminated = (container.get("state") or {}).get("terminated") or {}
    return terminated.get("exitCode") == 0


def _of_container(container: Mapping[str, Any]) -> str:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason = str(waiting.get("reason") or "")
    if reason in _WAITS_AS_USUAL:
        terminated = state.get("terminated")
        return "" if terminated is None else _ended(terminated)
    if reason not in _COUNTS_DOWN:
        return _sentence(reason, waiting.get("message"))
    if reason == "ImagePullBackOff":
        return _sentence(reason, f"image {container.get('image') or 'unknown'}")
    ended = (container.get("lastState") or {}).get("terminated")
    return _sentence(reason, "" if ended is None else _ended(ended))


def _ended(terminated: Mapping[str, Any]) -> str:
    """Says how a container ended: OOMKilled, or its exit code."""
    text = f"ended with exit code {terminated.get('exitCode')}"
    return _sentence(terminated.get("reason"), f"{text}: {terminated.get('message') or ''}")


def _sentence(reason: object, message: object) -> str:
    """Joins the two, within bounds, on one line and printable: both are others' words."""
    text = ": ".join(str(part).strip(" :") for part in (reason, message) if part)
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 1] + "…"
