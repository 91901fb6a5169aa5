"""Tenants on the real cluster: ownership of namespaces, foreign edits, network access, rights."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.e2e import leaders

API_VERSION = "relay-operator.dev/v1alpha1"
SECONDS = 30.0

# prints what a connection to an address gives: open, or how it was refused
_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).close()
    print("open")
except OSError as error:
    print("closed", type(error).__name__)
"""


def apply(
    cluster: Cluster, kind: str, name: str, spec: dict[str, Any], namespace: str = ""
) -> None:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    manifest = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def condition(
    cluster: Cluster, kind: str, name: str, wanted: str, namespace: str = ""
) -> dict[str, str]:
    place = ["-n", namespace] if namespace else []
    status = cluster.get(kind, name, *place).get("status", {})
    found: dict[str, dict[str, str]] = {one["type"]: one for one in status.get("conditions", [])}
    return found.get(wanted, {})


def becomes(
    cluster: Cluster,
    kind: str,
    name: str,
    wanted: str,
    reason: str,
    namespace: str = "",
    *,
    seconds: float = SECONDS,
) -> dict[str, str]:
    def look() -> dict[str, str]:
        return condition(cluster, kind, name, wanted, namespace)

    return wait_until(
        f"{wanted}/{reason}", look, lambda seen: seen.get("reason") == reason, seconds=seconds
    )


@pytest.fixture(scope="module")
def tenants(staged: Cluster) -> Iterator[Cluster]:
    """Creates two tenants, alpha and beta, that nobody outside may call."""
    spec = {"endpoint": {"serviceRef": {"namespace": "providers", "name": "legacy", "port": 80}}}
    apply(
        staged,
        "Provider",
        "shared",
        spec | {"auth": {"secretName": "legacy-key"}, "models": [{"name": "gpt-4.1"}]},
    )
    for name in ("alpha", "beta"):
        apply(staged, "Tenant", name, {})
    for name in ("alpha", "beta"):
        staged.kubectl("wait", f"tenant/{name}", "--for=condition=Ready", "--timeout=60s")
        apply(staged, "RelayRoute", "chat", {"stable": {"provider": "shared"}}, f"relay-{name}")
        staged.kubectl(
            "wait",
            "relayroute/chat",
            "-n",
            f"relay-{name}",
            "--for=condition=Ready",
            "--timeout=30s",
        )
    yield staged
    staged.kubectl("delete", "tenant", "alpha", "beta", "--ignore-not-found", "--wait=false")
    staged.kubectl("delete", "provider", "shared")


def relay_pod(cluster: Cluster, tenant: str) -> dict[str, Any]:
    pods: list[dict[str, Any]] = cluster.get("pods", "-n", f"relay-{tenant}")["items"]
    return next(pod for pod in pods if "deletionTimestamp" not in pod["metadata"])


def connect(cluster: Cluster, tenant: str, address: str, port: int) -> str:
    """Connects from the tenant's relay pod to an address and returns the result."""
    return cluster.kubectl(
        "exec",
        "-n",
        f"relay-{tenant}",
        "deployment/relay",
        "--",
        "python3",
        "-c",
        _CONNECT,
        address,
        str(port),
    ).split()[0]


@pytest.mark.timeout(180)
def test_tenants_reach_their_provider_and_not_each_other(tenants: Cluster) -> None:
    neighbour = relay_pod(tenants, "beta")["status"]["podIP"]
    provider = tenants.get("pods", "-n", "providers", "-l", "app=legacy")["items"][0]["status"][
        "podIP"
    ]
    node = tenants.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    assert connect(tenants, "alpha", provider, 9000) == "open"
    assert connect(tenants, "alpha", provider, 9001) == "closed"
    assert connect(tenants, "alpha", neighbour, 8080) == "closed"
    assert connect(tenants, "alpha", neighbour, 8081) == "closed"
    assert connect(tenants, "alpha", "10.96.0.1", 443) == "closed"
    assert connect(tenants, "alpha", node, 6443) == "closed"
    assert connect(tenants, "alpha", "169.254.169.254", 80) == "closed"


@pytest.mark.timeout(120)
def test_a_namespace_that_is_not_the_tenants_is_never_changed(staged: Cluster) -> None:
    staged.kubectl("create", "namespace", "relay-gamma")
    try:
        apply(staged, "Tenant", "gamma", {})
        refused = becomes(staged, "tenant", "gamma", "Ready", "NamespaceConflict")
        assert "choose another name" in refused["message"]
        assert condition(staged, "tenant", "gamma", "Stalled")["status"] == "True"
        assert staged.get("namespace", "relay-gamma")["metadata"].get("annotations") is None
        assert staged.get("secrets,deployments", "-n", "relay-gamma")["items"] == []
    finally:
        staged.kubectl("delete", "namespace", "relay-gamma", "--wait=true")
    becomes(staged, "tenant", "gamma", "NamespaceReady", "Owned")
    staged.kubectl("delete", "tenant", "gamma")


def deleted_policy(cluster: Cluster) -> Callable[[], bool]:
    cluster.break_glass("delete", "networkpolicy", "default-deny", "-n", "relay-alpha")
    return lambda: "default-deny" in cluster.kubectl("get", "networkpolicy", "-n", "relay-alpha")


def scaled_deployment(cluster: Cluster) -> Callable[[], bool]:
    cluster.break_glass("scale", "deployment/relay", "-n", "relay-alpha", "--replicas=3")
    return lambda: cluster.get("deployment", "relay", "-n", "relay-alpha")["spec"]["replicas"] == 1


def opened_service(cluster: Cluster) -> Callable[[], bool]:
    patch = '{"spec":{"selector":{"app.kubernetes.io/name":"stolen"}}}'
    cluster.break_glass("patch", "service", "relay", "-n", "relay-alpha", "-p", patch)
    return lambda: (
        cluster.get("service", "relay", "-n", "relay-alpha")["spec"]["selector"][
            "app.kubernetes.io/name"
        ]
        == "relay"
    )


def forged_document(cluster: Cluster) -> Callable[[], bool]:
    patch = '{"data":{"relay.json":"{}"}}'
    cluster.break_glass("patch", "configmap", "relay-document", "-n", "relay-alpha", "-p", patch)
    return lambda: (
        cluster.get("configmap", "relay-document", "-n", "relay-alpha")["data"]["relay.json"]
        != "{}"
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "edit", [deleted_policy, scaled_deployment, opened_service, forged_document]
)
def test_a_foreign_edit_of_an_owned_object_is_reverted(
    tenants: Cluster, edit: Callable[[Cluster], Callable[[], bool]]
) -> None:
    reverted = edit(tenants)
    wait_until("the foreign edit to be reverted", reverted, lambda seen: seen, seconds=SECONDS)


@pytest.mark.timeout(120)
def test_an_invalid_route_keeps_its_last_valid_version_in_force(tenants: Cluster) -> None:
    def document() -> dict[str, Any]:
        sealed = tenants.get("configmap", "relay-document", "-n", "relay-alpha")["data"][
            "relay.json"
        ]
        payload: dict[str, Any] = json.loads(json.loads(sealed)["payload"])
        return payload

    before = document()["tenant"]["routes"]
    apply(tenants, "RelayRoute", "chat", {"stable": {"provider": "nobody"}}, "relay-alpha")
    refused = becomes(tenants, "relayroute", "chat", "Accepted", "ProviderNotFound", "relay-alpha")
    assert "this Tenant can use no Provider nobody" in refused["message"]
    assert document()["tenant"]["routes"] == before
    apply(tenants, "RelayRoute", "chat", {"stable": {"provider": "shared"}}, "relay-alpha")
    becomes(tenants, "relayroute", "chat", "Accepted", "Accepted", "relay-alpha")


@pytest.mark.timeout(180)
def test_a_restarted_operator_writes_nothing(tenants: Cluster) -> None:
    kinds = "configmaps,secrets,services,deployments,networkpolicies,serviceaccounts,rolebindings,poddisruptionbudgets"

    def versions() -> dict[str, str]:
        items = tenants.get(kinds, "-n", "relay-alpha")["items"]
        # a Deployment's status changes by itself; its spec only with its generation
        return {
            f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["generation"]
            if one["kind"] == "Deployment"
            else one["metadata"]["resourceVersion"]
            for one in items
        }

    # surplus pods of an earlier test share the limits until they are gone
    pods = ("pods", "-n", "relay-alpha")
    wait_until("one pod", lambda: len(tenants.get(*pods)["items"]), lambda n: n == 1, seconds=60)
    quiet: dict[str, Any] = {"seen": "", "since": time.monotonic()}

    def unchanged_seconds() -> float:
        seen = tenants.get("tenant", "alpha")["metadata"]["resourceVersion"]
        if seen != quiet["seen"]:
            quiet.update(seen=seen, since=time.monotonic())
        return time.monotonic() - float(quiet["since"])

    wait_until(
        "an unchanged tenant", unchanged_seconds, lambda seconds: seconds > 3, seconds=60, every=0.5
    )
    status = tenants.get("tenant", "alpha")["metadata"]["resourceVersion"]
    before = versions()
    assert len(before) >= 9
    tenants.kubectl("rollout", "restart", "deployment/relay-operator", "-n", "relay-system")
    tenants.kubectl(
        "rollout", "status", "deployment/relay-operator", "-n", "relay-system", "--timeout=60s"
    )
    done = 'relay_operator_reconcile_duration_seconds_count{kind="Tenant",outcome="done"}'
    wait_until(
        "another reconcile", lambda: _metrics(tenants), lambda seen: done in seen, seconds=SECONDS
    )
    assert versions() == before
    assert tenants.get("tenant", "alpha")["metadata"]["resourceVersion"] == status


def _metrics(cluster: Cluster) -> str:
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8090/metrics').read().decode())"
    pod = leaders.pod_of(leaders.leader(cluster))
    return cluster.kubectl("exec", "-n", "relay-system", pod, "--", "python3", "-c", script)


@pytest.mark.timeout(180)
def test_a_deleted_tenant_leaves_nothing_behind(tenants: Cluster) -> None:
    tenants.kubectl("delete", "tenant", "beta", "--timeout=60s")
    tenants.kubectl("wait", "--for=delete", "namespace/relay-beta", "--timeout=90s")
    assert "relay-beta" not in tenants.kubectl("get", "namespaces")


def test_the_operator_has_only_the_rights_it_needs(staged: Cluster) -> None:
    def can(*question: str) -> bool:
        account = "--as=system:serviceaccount:relay-system:relay-operator"
        try:
            return staged.kubectl("auth", "can-i", *question, account).strip() == "yes"
        except DemoFailed:  # kubectl answers "no" with exit code 1
            return False

    assert can("get", "secrets", "-n", "relay-system")
    assert not can("list", "secrets", "-A")
    assert not can("get", "secrets", "-n", "kube-system")
    assert not can("create", "clusterrolebindings")
    assert not can("delete", "namespaces")
    assert not can("create", "pods", "-n", "kube-system")
    assert not can("watch", "secrets", "-A")
    assert can("delete", "rolebinding/relay-operator", "-n", "relay-alpha")
    assert not can("delete", "rolebinding/other", "-n", "relay-alpha")
    assert not can("delete", "configmaps", "-n", "kube-system")
