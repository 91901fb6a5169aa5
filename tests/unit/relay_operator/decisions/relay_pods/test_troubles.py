"""Why a relay pod is missing is said in the API server's and the kubelet's words, within bounds, without what counts down."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.decisions.relay_pods import troubles
from relay_operator.names import Reason

SPACE = "relay-finance"
QUOTA = (
    'pods "relay-7c9-x" is forbidden: exceeded quota: pods, requested: pods=1, used: 0, limited: 0'
)
NO_NODE = "0/3 nodes are available: 3 Insufficient memory."


def container(waiting: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    state = {"waiting": waiting} if waiting else {"running": {}}
    return {"containerStatuses": [{"image": "relay:1", "state": state, **fields}]}


def ended(**how: Any) -> dict[str, Any]:
    return {"lastState": {"terminated": {"exitCode": 137, **how}}}


STATUSES: dict[str, tuple[dict[str, Any], str]] = {
    "no node": (
        {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": NO_NODE,
                }
            ]
        },
        f"Unschedulable: {NO_NODE}",
    ),
    "no image": (
        container({"reason": "ErrImagePull", "message": "relay:1 not found"}),
        "ErrImagePull: relay:1 not found",
    ),
    "no image, waiting": (
        container({"reason": "ImagePullBackOff", "message": "Back-off 20s pulling"}),
        "ImagePullBackOff: image relay:1",
    ),
    "killed for memory": (
        container(
            {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"},
            **ended(reason="OOMKilled"),
        ),
        "CrashLoopBackOff: OOMKilled: ended with exit code 137",
    ),
    "crashed": (
        container(
            {"reason": "CrashLoopBackOff", "message": "back-off 40s"},
            **ended(reason="Error", exitCode=2, message="relay: RELAY_TENANT_UID:\n missing"),
        ),
        "CrashLoopBackOff: Error: ended with exit code 2: relay: RELAY_TENANT_UID: missing",
    ),
    "a mount that is missing": (
        container({"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}),
        'CreateContainerConfigError: secret "x" not found',
    ),
    "words with control characters": (
        container({"reason": "CreateContainerError", "message": "\x1b[31mno\u202e\nroom"}),
        "CreateContainerError: [31mno room",
    ),
    "an init container that admission added": (
        {
            "initContainerStatuses": [
                {"name": "done", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
                {"name": "mesh", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}},
            ],
            **container({"reason": "PodInitializing"}),
        },
        "init container mesh: ErrImagePull: no",
    ),
    "an init container that ended": (
        {
            "initContainerStatuses": [
                {"name": "mesh", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
            ]
        },
        "init container mesh: Error: ended with exit code 1",
    ),
    "a gate that is closed": (
        {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "False",
                    "reason": "ReadinessGatesNotReady",
                    "message": 'the status of pod readiness gate "x" is not "True"',
                }
            ],
            **container(),
        },
        'ReadinessGatesNotReady: the status of pod readiness gate "x" is not "True"',
    ),
    "a node that is lost": (
        {"phase": "Running", "reason": "NodeLost", "message": "Node n is unresponsive"},
        "NodeLost: Node n is unresponsive",
    ),
    "a node that says nothing": (
        {"conditions": [{"type": "Ready", "status": "Unknown"}], **container()},
        "NodeUnknown",
    ),
    "evicted": (
        {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."},
        "Evicted: The node was low on memory.",
    ),
    "just ended": (
        {
            "containerStatuses": [
                {"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
            ]
        },
        "OOMKilled: ended with exit code 137",
    ),
    "starting": (container({"reason": "ContainerCreating"}), ""),
    "running": (container(), ""),
    "nothing yet": ({}, ""),
}


@pytest.mark.parametrize("case", STATUSES)
def test_a_pods_trouble_is_read_from_its_status(case: str) -> None:
    status, said = STATUSES[case]
    assert troubles.of_pod({"status": status}) == said


def test_a_long_reason_is_cut_and_stays_one_line() -> None:
    found = troubles.of_pod(
        {"status": container({"reason": "ErrImagePull", "message": "x\n" * 9000})}
    )
    assert len(found) == 400
    assert "\n" not in found
    assert found.endswith("…")


def put_pod(stage: Stage, status: dict[str, Any]) -> None:
    stage.server.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "relay-1",
                "namespace": SPACE,
                "labels": names.standard_labels("finance"),
            },
            "status": status,
        }
    )


def put_deployment_status(stage: Stage, conditions: list[dict[str, str]]) -> None:
    stored = stage.server.stored("Deployment", "relay", namespace=SPACE)
    stage.server.put({**stored, "status": {"conditions": conditions}})


def available(stage: Stage) -> tuple[str, str, str]:
    found = stage.condition("Tenant", "finance", "RelayAvailable")
    return found["status"], found["reason"], found["message"]


@in_virtual_time
async def test_a_pod_that_quota_forbids_is_told_within_a_second_and_until_it_is_made() -> None:
    stage = Stage()
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    failure = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": QUOTA,
    }
    put_deployment_status(stage, [failure])
    await stage.settle(1)
    said = f"0 of 1 relay pods are ready; FailedCreate: {QUOTA}"
    assert available(stage) == ("False", Reason.QUOTA_EXCEEDED, said)
    assert stage.condition("Tenant", "finance", "Ready")["message"] == said
    put_deployment_status(stage, [])
    await stage.settle(1)
    assert available(stage)[2] == "0 of 1 relay pods are ready"
    stage.pod()
    await stage.settle(1)
    assert available(stage)[:2] == ("True", Reason.MINIMUM_REPLICAS_AVAILABLE)
    await life.end()


@in_virtual_time
async def test_a_pod_without_an_address_is_told_by_name() -> None:
    stage = Stage()
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    status, said = STATUSES["no node"]
    put_pod(stage, status)
    await stage.settle(1)
    assert available(stage)[2] == f"0 of 1 relay pods are ready; pod relay-1: {said}"
    status, said = STATUSES["killed for memory"]
    put_pod(stage, {"podIP": "10.0.0.1", **status})
    await stage.settle(1)
    assert available(stage)[2] == f"0 of 1 relay pods are ready; pod relay-1: {said}"
    await life.end()


@in_virtual_time
async def test_a_back_off_that_only_counts_down_writes_nothing() -> None:
    stage = Stage()
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    for seconds in (10, 20, 40, 80):
        waiting = {"reason": "CrashLoopBackOff", "message": f"back-off {seconds}s restarting"}
        put_pod(stage, container(waiting, **ended(reason="OOMKilled")))
        await stage.settle(2)
        writes = len(life.changes)
        if seconds == 10:
            first = writes
    assert writes == first
    await life.end()
