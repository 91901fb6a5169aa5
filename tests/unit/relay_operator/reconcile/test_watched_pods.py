"""Relay pods as the watch shows them: a bounded number of each tenant, of which those count that can be reached."""

from typing import Any

from relay_operator import names
from relay_operator.reconcile.watched_pods import WatchedPods

SPACE = "relay-a"


def a_pod(number: int, *, phase: str, ip: str = "") -> dict[str, Any]:
    labels = names.standard_labels("a") | {names.LABEL_NAME: names.RELAY}
    metadata = {"name": f"p{number}", "namespace": SPACE, "uid": str(number), "labels": labels}
    return {"metadata": metadata, "status": {"phase": phase, "podIP": ip}}


def names_of(pods: WatchedPods) -> list[str]:
    return [pod.name for pod in pods.addressable(SPACE)]


def test_evicted_pods_that_nobody_deletes_hide_no_new_one() -> None:
    pods = WatchedPods()
    for number in range(300):
        pods.take_in(a_pod(number, phase="Failed", ip="10.0.0.1"), deleted=False, claimed={"a"})
    assert pods.take_in(a_pod(999, phase="Running", ip="10.0.0.9"), deleted=False, claimed={"a"})
    assert names_of(pods) == ["p999"]


def test_pods_that_can_be_reached_make_room_for_none() -> None:
    pods = WatchedPods()
    for number in range(257):
        ip = f"10.0.{number // 250}.{number % 250 + 1}"
        pods.take_in(a_pod(number, phase="Running", ip=ip), deleted=False, claimed={"a"})
    assert len(names_of(pods)) == 256
    assert "p256" not in names_of(pods)
