"""Attacks on a running platform: by who stole the operator's token, by a namespace's admin, and from pods of others.

tests/contract tries every write that the admission policies refuse; here is what only a cluster with pods can show.
"""

import base64
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.demo import stage
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.e2e.test_tenancy import apply

TENANT, SPACE = "besieged", "relay-besieged"
SYSTEM = stage.OPERATOR_NAMESPACE
PORTS_SECONDS = 30.0

_CONNECT = """
import socket, sys
for place in sys.argv[1:]:
    host, port = place.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        print(place, "open")
    except OSError:
        print(place, "closed")
"""


@pytest.fixture(scope="module")
def besieged(staged: Cluster) -> Iterator[Cluster]:
    """Creates a tenant that serves, a head of its namespace with edit, and pods beside Prometheus and the operator."""
    reference = {"namespace": "providers", "name": "legacy", "port": 80}
    spec: dict[str, Any] = {
        "endpoint": {"serviceRef": reference},
        "auth": {"secretName": "siege-key"},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "siege-key",
            "namespace": SYSTEM,
            "labels": {"relay-operator.dev/provider": "siege"},
        },
        "stringData": {"api-key": "provider-key-of-legacy"},
    }
    staged.kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    apply(staged, "Provider", "siege", spec)
    apply(staged, "Tenant", TENANT, {"apiKeys": [{"name": "production"}]})
    for place in ("monitoring", SYSTEM):
        staged.kubectl("apply", "-f", "-", stdin=json.dumps(_bystander(place)))
    staged.kubectl("wait", f"tenant/{TENANT}", "--for=condition=Ready", "--timeout=90s")
    apply(staged, "RelayRoute", "chat", {"stable": {"provider": "siege"}}, SPACE)
    ready = ("relayroute/chat", "-n", SPACE, "--for=condition=Ready", "--timeout=60s")
    staged.kubectl("wait", *ready)
    staged.break_glass(
        "create", "rolebinding", "wrong", "-n", SPACE, "--clusterrole=edit", "--user=head"
    )
    for place in ("monitoring", SYSTEM):
        staged.kubectl("wait", "pod/bystander", "-n", place, "--for=condition=Ready", "--timeout=60s")  # fmt: skip
    yield staged
    for place in ("monitoring", SYSTEM):
        staged.kubectl("delete", "pod", "bystander", "-n", place, "--wait=false")
    staged.kubectl("delete", "tenant", TENANT, "--wait=false")
    staged.kubectl("delete", "provider.relay-operator.dev", "siege")
    staged.kubectl("delete", "secret", "siege-key", "-n", SYSTEM)


def _bystander(namespace: str) -> dict[str, Any]:
    """Returns a pod that stands in a namespace without the labels that network policies ask for."""
    container = {
        "name": "main",
        "image": "provider-simulator:dev",
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", "import time; time.sleep(3600)"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bystander", "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    }


def refused(cluster: Cluster, *arguments: str, stdin: str | None = None) -> str:
    """Returns the refusal of a command."""
    try:
        printed = cluster.kubectl(*arguments, stdin=stdin)
    except DemoFailed as error:
        return str(error)
    raise AssertionError(f"{' '.join(arguments)} was done: {printed}")


@pytest.fixture
def robbed(besieged: Cluster) -> Iterator[Cluster]:
    """Returns the cluster as who has the operator's token sees it: the file from the operator's own pod."""
    path = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    script = f"print(open('{path}').read())"
    operator = ("exec", "-n", SYSTEM, "deployment/relay-operator", "--", "python3", "-c", script)
    config = yaml.safe_load(besieged.kubeconfig.read_text())
    for user in config["users"]:
        user["user"] = {"token": besieged.kubectl(*operator).strip()}
    with tempfile.TemporaryDirectory() as directory:
        kubeconfig = Path(directory) / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        kubeconfig.chmod(0o600)
        yield Cluster(besieged.name, kubeconfig, besieged.kubectl_path, besieged.helm_path)


@pytest.mark.timeout(120)
def test_the_operators_own_token_does_not_lead_out_of_tenants_namespaces(robbed: Cluster) -> None:
    # it is the token that does the operator's work
    assert SPACE in robbed.kubectl("get", "tenant", TENANT, "-o", "yaml")
    bound = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "relay-operator", "namespace": "kube-system"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "relay-operator-tenant",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "relay-operator", "namespace": SYSTEM}],
    }
    assert "tenants' namespaces and its own only" in refused(
        robbed, "create", "-f", "-", stdin=json.dumps(bound)
    )
    assert "orbidden" in refused(robbed, "get", "secrets", "-n", "kube-system")
    pod = _bystander("kube-system")
    pod["spec"]["hostPID"] = True
    assert "orbidden" in refused(robbed, "create", "-f", "-", stdin=json.dumps(pod))
    owner = {"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "gone"}
    owned = json.dumps({"metadata": {"ownerReferences": [owner]}})
    lowered = json.dumps(
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}
    )
    for space in ("kube-system", "providers", SYSTEM, SPACE):
        for patch in (owned, lowered):
            told = refused(robbed, "patch", "namespace", space, "--type=merge", "-p", patch)
            assert "relay-operator-bounds" in told


@pytest.mark.timeout(120)
def test_who_has_edit_in_a_tenants_namespace_gets_into_no_relay(besieged: Cluster) -> None:
    pod = besieged.get("pods", "-n", SPACE)["items"][0]["metadata"]["name"]
    head = ("--as=head", "-n", SPACE)
    # the right is there, and does not count
    assert besieged.kubectl(*head, "auth", "can-i", "create", "pods/exec").strip() == "yes"
    for command in (
        ("exec", pod, "--", "cat", "/etc/relay/upstream/siege"),
        ("attach", pod),
        ("debug", pod, "--image=provider-simulator:dev", "--target=relay"),
        ("get", "--raw", f"/api/v1/namespaces/{SPACE}/pods/{pod}:8081/proxy/metrics"),
        ("delete", "pod", pod),
        ("label", "pod", pod, "app.kubernetes.io/name-"),
        ("scale", "deployment/relay", "--replicas=9"),
        ("delete", "networkpolicy", "default-deny"),
        ("run", "evil", "--image=provider-simulator:dev"),
        ("create", "token", "relay"),
        ("delete", "secret", "relay-upstream"),
    ):
        told = refused(besieged, *head, *command)
        assert "relay-operator-tenant-objects" in told or "orbidden" in told, told
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": SPACE},
    }
    url = f"/api/v1/namespaces/{SPACE}/pods/{pod}/eviction"
    told = refused(besieged, *head, "create", "--raw", url, "-f", "-", stdin=json.dumps(eviction))
    assert "relay-operator-tenant-objects" in told
    assert besieged.get("pod", pod, "-n", SPACE)["status"]["phase"] == "Running"


@pytest.mark.timeout(120)
def test_only_prometheus_and_the_operator_reach_metrics_and_admin_ports(besieged: Cluster) -> None:
    relay = besieged.get("pods", "-n", SPACE)["items"][0]["status"]["podIP"]
    labelled = ("-l", "app.kubernetes.io/name=relay-operator")
    operator = besieged.get("pods", "-n", SYSTEM, *labelled)["items"][0]["status"]["podIP"]
    admin, metrics = f"{relay}:8081", f"{operator}:8090"

    def reached(namespace: str, target: str) -> str:
        run = ("exec", "-n", namespace, target, "--", "python3", "-c", _CONNECT)
        return besieged.kubectl(*run, admin, metrics).strip()

    closed = f"{admin} closed\n{metrics} closed"
    for namespace, target in (
        ("monitoring", "bystander"),
        (SYSTEM, "bystander"),
        ("providers", "deployment/legacy"),
    ):
        assert reached(namespace, target) == closed
    assert reached(SYSTEM, "deployment/relay-operator").startswith(f"{admin} open")
    besieged.kubectl("label", "pod", "bystander", "-n", "monitoring", "app.kubernetes.io/name=prometheus")  # fmt: skip
    wait_until(
        "open ports for Prometheus' pods",
        lambda: reached("monitoring", "bystander"),
        lambda seen: seen == f"{admin} open\n{metrics} open",
        seconds=PORTS_SECONDS,
    )


@pytest.mark.timeout(120)
def test_no_key_is_told_anywhere(besieged: Cluster) -> None:
    """Searches what people read, and the operator's and the relay's words, for the keys that Secrets hold."""
    planted: dict[str, str] = {}
    for secret in besieged.get("secrets", "-n", SPACE)["items"]:
        planted |= {
            f"{secret['metadata']['name']}/{entry}": base64.b64decode(value).decode()
            for entry, value in secret.get("data", {}).items()
            if value
        }
    assert {"relay-api-keys/production", "relay-upstream/siege"} <= planted.keys()
    inside = "relayroutes,configmaps,pods,deployments,replicasets,services,events,serviceaccounts"
    whole = ("-o", "json", "--show-managed-fields")
    written = {
        space: besieged.kubectl("get", inside, "-n", space, *whole)
        for space in (SPACE, SYSTEM, "default")
    } | {
        "objects": besieged.kubectl(
            "get", "tenants,providers.relay-operator.dev,namespaces", *whole
        ),
        "description": besieged.kubectl("describe", "tenant", TENANT),
        "operator's log": besieged.kubectl("logs", "-n", SYSTEM, "deployment/relay-operator"),
        "relay's log": besieged.kubectl("logs", "-n", SPACE, "deployment/relay"),
        "release": besieged.helm("get", "all", "relay-operator", "-n", SYSTEM),
    }
    script = "import urllib.request as u, sys; print(u.urlopen(sys.argv[1]).read().decode())"
    for place, target, url in (
        (SYSTEM, "deployment/relay-operator", "http://127.0.0.1:8090/metrics"),
        (SYSTEM, "deployment/relay-operator", "http://127.0.0.1:8090/sd/relays"),
        (SPACE, "deployment/relay", "http://127.0.0.1:8081/metrics"),
    ):
        run = ("exec", "-n", place, target, "--", "python3", "-c", script, url)
        written[url] = besieged.kubectl(*run)
    encoded = {name: base64.b64encode(key.encode()).decode() for name, key in planted.items()}
    found = [
        (name, where)
        for name, key in [*planted.items(), *encoded.items()]
        for where, text in written.items()
        if key in text
    ]
    assert found == []
