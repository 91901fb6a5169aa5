"""Isolation on the real cluster: tenants do not reach each other, and the operator notices when nothing keeps them from it."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.demo.commands import Cluster, wait_until
from tests.e2e.embedded_probes import kind
from tests.e2e.test_tenancy import apply, condition, connect, relay_pod

pytestmark = [pytest.mark.embedded_only, pytest.mark.timeout(400)]

WITHIN_SECONDS = 60.0
TENANTS = ("attacker", "victim")
NODE_PORT = 30991
UDP_PORT = 9953
_HEAR = """
import socket, sys
heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
heard.bind(("0.0.0.0", int(sys.argv[1])))
heard.settimeout(6)
print("listening", flush=True)
try:
    heard.recv(16)
    print("heard")
except TimeoutError:
    print("nothing")
"""
_SEND = """
import socket, sys, time
sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(8):
    try:
        sending.sendto(b"hello", (sys.argv[1], int(sys.argv[2])))
    except OSError:
        pass  # a policy of the sender may say so
    time.sleep(0.25)
"""
KEYS = ("secret", "relay-upstream", "-n", "relay-attacker")


@pytest.fixture(scope="module")
def neighbours(staged: Cluster) -> Iterator[Cluster]:
    """Creates two tenants with a route each, and a node port that leads to a pod of the victim."""
    for name in TENANTS:
        apply(staged, "Tenant", name, {})
    spec = {"endpoint": {"serviceRef": {"namespace": "providers", "name": "legacy", "port": 80}}}
    keyed = spec | {"auth": {"secretName": "legacy-key"}, "models": [{"name": "gpt-4.1"}]}
    apply(staged, "Provider", "reached", keyed)
    for name in TENANTS:
        staged.kubectl("wait", f"tenant/{name}", "--for=condition=Ready", "--timeout=60s")
        route = {"stable": {"provider": "reached"}}
        apply(staged, "RelayRoute", "chat", route, f"relay-{name}")
    staged.kubectl("create", "namespace", "elsewhere")
    for one in node_port(relay_pod(staged, "victim")["status"]["podIP"]):
        staged.kubectl("apply", "-f", "-", stdin=json.dumps(one))
    yield staged
    staged.kubectl("delete", "tenant", *TENANTS, "--wait=false")
    staged.kubectl("delete", "namespace", "elsewhere", "--wait=false")
    staged.kubectl("delete", "provider", "reached")


def node_port(address: str) -> list[dict[str, Any]]:
    """Returns a Service outside of every tenant's namespace, and what it leads to."""
    metadata = {"name": "victim", "namespace": "elsewhere"}
    port = {"name": "traffic", "port": 8080, "protocol": "TCP"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"type": "NodePort", "ports": [{**port, "nodePort": NODE_PORT}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "victim"}},
            "addressType": "IPv4",
            "ports": [port],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
    ]


def isolation(cluster: Cluster, tenant: str) -> str:
    return condition(cluster, "tenant", tenant, "Isolated").get("status", "")


def becomes_isolated(cluster: Cluster, wanted: str, *tenants: str) -> None:
    for tenant in tenants:
        wait_until(
            f"Isolated={wanted} of {tenant}",
            lambda tenant=tenant: isolation(cluster, tenant),  # type: ignore[misc]
            lambda seen: seen == wanted,
            seconds=WITHIN_SECONDS,
        )


@contextlib.contextmanager
def policies_ignored(cluster: Cluster) -> Iterator[None]:
    """Lets new connections pass without being judged, as in a cluster whose network plugin knows no policies."""
    chains = ("POLICY-POSTROUTING", "POLICY-INPUT")
    for chain in chains:
        kind("exec", cluster.name, "iptables", "-t", "mangle", "-I", chain, "1", "-j", "RETURN")
    try:
        yield
    finally:
        for chain in chains:
            kind("exec", cluster.name, "iptables", "-t", "mangle", "-D", chain, "1")


def ways_to_the_victim(cluster: Cluster) -> dict[str, tuple[str, int]]:
    node = cluster.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    address = relay_pod(cluster, "victim")["status"]["podIP"]
    service = cluster.get("service", "relay", "-n", "relay-victim")["spec"]["clusterIP"]
    return {
        "by address": (address, 8080),
        "its admin port": (address, 8081),
        "by name": ("relay.relay-victim.svc.cluster.local", 8080),
        "by the Service's address": (service, 8080),
        "by node port": (node, NODE_PORT),
        "the API server": ("10.96.0.1", 443),
        "the node": (node, 10250),
    }


def opened(cluster: Cluster) -> set[str]:
    return {
        way
        for way, target in ways_to_the_victim(cluster).items()
        if connect(cluster, "attacker", *target) == "open"
    }


def is_heard_by_udp(cluster: Cluster) -> bool:
    """Tells whether one of a few datagrams of the attacker's relay pod arrives in the victim's."""
    address = relay_pod(cluster, "victim")["status"]["podIP"]
    inside = ("deployment/relay", "--", "python3", "-c")
    listen = [
        str(cluster.kubectl_path), "--kubeconfig", str(cluster.kubeconfig),
        "exec", "-n", "relay-victim", *inside, _HEAR, str(UDP_PORT),
    ]  # fmt: skip
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as hearing:
        assert hearing.stdout is not None
        assert hearing.stdout.readline().strip() == "listening"
        cluster.kubectl("exec", "-n", "relay-attacker", *inside, _SEND, address, str(UDP_PORT))
        told = hearing.stdout.readline().strip()
    assert told in ("heard", "nothing")
    return told == "heard"


def test_a_tenant_reaches_no_other_and_the_operator_notices_a_network_that_lets_it(
    neighbours: Cluster,
) -> None:
    becomes_isolated(neighbours, "True", *TENANTS)
    for refused in ("the operator's decoy", "the API server", "another tenant's relay"):
        wait_until(
            f"a refusal by {refused}",
            lambda: condition(neighbours, "tenant", "attacker", "Isolated")["message"],
            lambda seen, refused=refused: refused in seen,  # type: ignore[misc]
            seconds=WITHIN_SECONDS,
        )
    assert opened(neighbours) == set()
    assert connect(neighbours, "attacker", "169.254.169.254", 80) == "closed"
    assert not is_heard_by_udp(neighbours)
    with policies_ignored(neighbours):
        # each of them would be there to be reached
        assert opened(neighbours) == ways_to_the_victim(neighbours).keys()
        assert is_heard_by_udp(neighbours)
        becomes_isolated(neighbours, "False", *TENANTS)
        ready = condition(neighbours, "tenant", "attacker", "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "NotEnforced")
        wait_until(
            "no key", lambda: neighbours.get(*KEYS).get("data"), lambda seen: not seen, seconds=30
        )
        # a tenant that comes now gets none either
        apply(neighbours, "Tenant", "newcomer", {})
        becomes_isolated(neighbours, "False", "newcomer")
    becomes_isolated(neighbours, "True", *TENANTS, "newcomer")
    neighbours.kubectl("delete", "tenant", "newcomer", "--wait=false")
    wait_until(
        "the key", lambda: neighbours.get(*KEYS).get("data"), lambda seen: bool(seen), seconds=30
    )
    for name in TENANTS:
        neighbours.kubectl("wait", f"tenant/{name}", "--for=condition=Ready", "--timeout=30s")


def test_a_policy_that_somebody_adds_is_noticed(neighbours: Cluster) -> None:
    becomes_isolated(neighbours, "True", *TENANTS)
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "everything", "namespace": "relay-attacker"},
        "spec": {"podSelector": {}, "egress": [{}], "policyTypes": ["Egress"]},
    }
    neighbours.break_glass("apply", "-f", "-", stdin=json.dumps(policy))
    try:
        wait_until(
            "Isolated=False",
            lambda: isolation(neighbours, "attacker"),
            lambda seen: seen == "False",
            # in its turn among the tenants of the node
            seconds=120,
        )
        assert "reaches" in condition(neighbours, "tenant", "attacker", "Isolated")["message"]
        assert isolation(neighbours, "victim") == "True"
    finally:
        neighbours.break_glass("delete", "networkpolicy", "everything", "-n", "relay-attacker")
    becomes_isolated(neighbours, "True", "attacker")
