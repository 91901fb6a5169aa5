"""A relay pod of the default size under large bodies: refused in part, never killed, and its other callers are served."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.e2e.test_tenancy import apply

SENDERS = Path(__file__).with_name("body_senders.py")
NAMESPACE = "relay-heavy"
SELECTOR = ("-n", NAMESPACE, "-l", "app.kubernetes.io/name=relay")
BODIES = 40
LIMIT = 512 * 1024 * 1024
_READ = """
import pathlib, sys
files = (pathlib.Path("/sys/fs/cgroup/memory/memory." + sys.argv[1]), pathlib.Path("/sys/fs/cgroup/memory." + sys.argv[2]))
print(next(file.read_text() for file in files if file.exists()))
"""
"""Reads a figure of a container's own control group, by its names in cgroup v1 and v2."""
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pod(name: str, namespace: str, command: list[str], **fields: Any) -> dict[str, Any]:
    """Returns a pod that has Python and nothing else to do with the relay."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "python",
                    "image": "provider-simulator:dev",
                    "imagePullPolicy": "Never",
                    "command": command,
                    "securityContext": RESTRICTED,
                    **fields,
                }
            ],
        },
    }


def service(name: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def create(cluster: Cluster, manifest: dict[str, Any]) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def keys(cluster: Cluster) -> dict[str, str]:
    """Returns the tenant's generated keys by their names."""
    data = cluster.get("secret", "relay-api-keys", "-n", NAMESPACE)["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def provider(service_name: str, model: str) -> dict[str, Any]:
    reference = {"namespace": "providers", "name": service_name, "port": 80}
    auth = {"secretName": "legacy-key"}
    return {"endpoint": {"serviceRef": reference}, "auth": auth, "models": [{"name": model}]}


@pytest.fixture
def heavy(staged: Cluster) -> Iterator[Cluster]:
    """Creates a tenant with one relay pod of the default size and two keys, and providers for small calls and for large ones."""
    script = SENDERS.read_text()
    create(staged, pod("sink", "providers", ["python3", "-c", script, "serve"]))
    create(staged, service("sink", "providers"))
    apply(staged, "Provider", "sink", provider("sink", "bulk"))
    apply(staged, "Provider", "usual", provider("legacy", "gpt-4.1"))
    spec = {
        "relay": {"replicas": 1},
        "queue": {"concurrency": 64, "maxDepth": 256, "maxWait": "60s"},
        "apiKeys": [{"name": "neighbour"}, {"name": "bulk"}],
        "network": {"allowFrom": [{"namespace": "senders"}]},
    }
    apply(staged, "Tenant", "heavy", spec)
    staged.kubectl("wait", "tenant/heavy", "--for=condition=Ready", "--timeout=90s")
    for name, to, model in (("bulk", "sink", "bulk"), ("small", "usual", "gpt-4.1")):
        route = {"match": {"models": [model]}, "stable": {"provider": to}}
        apply(staged, "RelayRoute", name, route, NAMESPACE)
        ready = (f"relayroute/{name}", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s")
        staged.kubectl("wait", *ready)
    create(staged, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "senders"}})
    found = keys(staged)
    names = {"NEIGHBOUR_KEY": found["neighbour"], "BULK_KEY": found["bulk"]}
    environment = [{"name": name, "value": value} for name, value in names.items()]
    create(
        staged,
        pod(
            "sender", "senders", ["python3", "-c", "import time; time.sleep(3600)"], env=environment
        ),
    )
    for name, namespace in (("sink", "providers"), ("sender", "senders")):
        staged.kubectl("wait", f"pod/{name}", "-n", namespace, "--for=condition=Ready", "--timeout=60s")  # fmt: skip
    yield staged
    staged.kubectl("delete", "tenant", "heavy", "--wait=false")
    staged.kubectl("delete", "namespace", "senders", "--wait=false")
    staged.kubectl("delete", "provider", "sink", "usual")
    staged.kubectl("delete", "pod/sink", "service/sink", "-n", "providers", "--wait=false")


def relay_container(cluster: Cluster) -> dict[str, Any]:
    """Returns the status of the only relay container."""
    (found,) = cluster.get("pods", *SELECTOR)["items"]
    (status,) = found["status"]["containerStatuses"]
    container: dict[str, Any] = status
    return container


def group_bytes(cluster: Cluster, v1: str, v2: str) -> int:
    """Reads a figure of the relay container's control group."""
    run = ("exec", "-n", NAMESPACE, "deployment/relay", "--", "python3", "-c", _READ, v1, v2)
    return int(cluster.kubectl(*run))


@pytest.mark.timeout(360)
def test_forty_large_bodies_at_once_neither_kill_the_pod_nor_stop_its_neighbour(
    heavy: Cluster,
) -> None:
    container = relay_container(heavy)
    # the limit is the kernel's, or nothing below would prove anything
    assert group_bytes(heavy, "limit_in_bytes", "max") == LIMIT
    host = f"relay.{NAMESPACE}.svc.cluster.local"
    # the network policy of a new namespace may be a moment behind
    wait_until("an answer of the relay", lambda: _sent(heavy, host, 0), bool, seconds=60)
    seen = _sent(heavy, host, BODIES)
    peak = group_bytes(heavy, "max_usage_in_bytes", "peak")
    figures = f"peak {peak >> 20} MiB of {LIMIT >> 20}; neighbour {seen['before']} before, {seen['during']} during"  # fmt: skip
    print(f"\n{figures}; bodies {seen['bodies']}")
    now = relay_container(heavy)
    assert (now["restartCount"], now["containerID"]) == (0, container["containerID"]), now
    assert now["lastState"] == {}, now
    assert set(seen["before"]["statuses"]) == {"200"}, seen
    assert set(seen["during"]["statuses"]) == {"200"}, seen
    # served, or refused for two models or for want of memory, which may reset who still sends: nothing hangs
    answered = {status for found in seen["bodies"].values() for status in found}
    assert "200" in answered
    assert answered <= {"200", "400", "503", "BrokenPipeError", "ConnectionResetError"}, seen


def _sent(cluster: Cluster, host: str, bodies: int) -> dict[str, Any]:
    """Runs the senders; returns what they saw, or nothing where the neighbour alone is not served yet."""
    run = ("exec", "-i", "-n", "senders", "sender", "--", "python3", "-", "send", host, str(bodies))
    try:
        seen: dict[str, Any] = json.loads(cluster.kubectl(*run, stdin=SENDERS.read_text()))
    except DemoFailed:
        return {}
    return seen if bodies or set(seen["before"]["statuses"]) == {"200"} else {}
