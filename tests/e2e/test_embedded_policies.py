"""The embedded cluster enforces network policies, also while the policy engine is down."""

from typing import Any

import pytest
from tests.cluster import addresses
from tests.cluster.node.components import POLICY_ENGINE
from tests.cluster.session.clients import Client
from tests.e2e.embedded_probes import WAIT, apply, await_ready, eventually, kind, pod, web_pod

pytestmark = [pytest.mark.embedded_only, pytest.mark.timeout(180)]


class Wall:
    """Checks who reaches a server: `peer`, `stranger` and `server` are in one namespace."""

    def __init__(self, kubectl: Client, namespace: str) -> None:
        self._kubectl, self._namespace = kubectl, namespace
        self.server = self._address("server")

    def _address(self, name: str) -> str:
        return str(self._kubectl.json("get", "pod", name, "-n", self._namespace)["status"]["podIP"])

    def opens(self, source: str, address: str, port: int) -> bool:
        """Returns whether a new connection from source gets through within a second."""
        code = f"import socket; socket.create_connection(({address!r}, {port}), 1)"
        command = ("exec", "-n", self._namespace, source, "--", "python3", "-c", code)
        return self._kubectl.attempt(*command).returncode == 0

    def resolves(self, source: str) -> bool:
        """Returns whether one DNS query from source is answered within a second (a resolver would try for 20)."""
        query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01"
        code = (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1);"
            f"s.sendto({query!r}, ({addresses.DNS_SERVICE!r}, 53)); s.recv(512)"
        )
        command = ("exec", "-n", self._namespace, source, "--", "python3", "-c", code)
        return self._kubectl.attempt(*command).returncode == 0


def policy(name: str, selector: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": selector}, **spec},
    }


DENY = policy("deny", {}, policyTypes=["Ingress", "Egress"])
PEERS = {"podSelector": {"matchLabels": {"role": "peer"}}}
LET_PEERS_IN = policy(
    "peers-in",
    {"app": "server"},
    policyTypes=["Ingress"],
    ingress=[{"from": [PEERS], "ports": [{"port": 8080}]}],
)
LET_PEERS_OUT = policy(
    "peers-out",
    {"role": "peer"},
    policyTypes=["Egress"],
    egress=[{"to": [{"podSelector": {"matchLabels": {"app": "server"}}}]}],
)
LET_DNS_OUT = policy(
    "dns",
    {"role": "peer"},
    policyTypes=["Egress"],
    egress=[
        {
            "to": [
                {
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
                    },
                    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
                }
            ],
            "ports": [{"port": 53, "protocol": "UDP"}],
        }
    ],
)


@pytest.fixture
def wall(kubectl: Client, namespace: str, probe_images: str) -> Wall:
    apply(
        kubectl,
        namespace,
        web_pod("server", {"app": "server"}),
        pod("peer", "python:dev", "python3", "-c", WAIT, labels={"role": "peer"}),
        pod("stranger", "python:dev", "python3", "-c", WAIT),
    )
    await_ready(kubectl, namespace, "server", "peer", "stranger")
    made = Wall(kubectl, namespace)
    eventually("the server to answer", lambda: made.opens("peer", made.server, 8080))
    return made


def test_network_policies_apply_by_label_by_direction_and_to_dns(
    kubectl: Client, namespace: str, wall: Wall
) -> None:
    targets = ((addresses.OUTSIDE_ADDRESS, 80), (addresses.API_SERVICE, 443), (wall.server, 8080))
    assert all(wall.opens("stranger", *target) for target in targets)
    assert wall.resolves("stranger")

    apply(kubectl, namespace, DENY)
    eventually("the denial", lambda: not wall.opens("stranger", wall.server, 8080))
    assert not any(wall.opens("stranger", *target) for target in targets)
    assert not wall.resolves("stranger")

    apply(kubectl, namespace, LET_PEERS_IN, LET_PEERS_OUT)
    eventually("the peer to be let in", lambda: wall.opens("peer", wall.server, 8080))
    assert not wall.opens("stranger", wall.server, 8080)
    assert not wall.resolves("peer")

    apply(kubectl, namespace, LET_DNS_OUT)
    eventually("names to resolve", lambda: wall.resolves("peer"))
    assert not wall.opens("peer", addresses.OUTSIDE_ADDRESS, 80)
    assert not wall.opens("peer", addresses.API_SERVICE, 443)

    kubectl("label", "pod", "peer", "-n", namespace, "role-")
    eventually("the label's loss to count", lambda: not wall.opens("peer", wall.server, 8080))
    # traffic of the node itself is not subject to policies, as on every Kubernetes
    assert kubectl("exec", "-n", namespace, "server", "--", "python3", "-c", "print(1)") == "1\n"


def test_no_new_connection_gets_through_while_the_policy_engine_is_down(
    wall: Wall, probe_images: str
) -> None:
    kind("component", "stop", probe_images, POLICY_ENGINE)
    try:
        eventually("the queue to be closed", lambda: not wall.opens("peer", wall.server, 8080))
        assert not wall.opens("stranger", addresses.OUTSIDE_ADDRESS, 80)
    finally:
        kind("component", "start", probe_images, POLICY_ENGINE)
    eventually("the engine to be back", lambda: wall.opens("peer", wall.server, 8080))
