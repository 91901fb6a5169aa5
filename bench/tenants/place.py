"""A cluster with fake nodes, the operator as a user runs it, and one process in place of all relay pods and of Prometheus."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.rollback.objects import listed
from bench.serving import serving
from bench.tenants import costs, etcd_port, objects
from bench.tenants.stand_in import CONTROL_PORT, QUERY_PORT
from tests.cluster import addresses, cluster_records, paths
from tests.cluster.cluster_records import ClusterRecord
from tests.cluster.errors import ClusterError
from tests.demo import stage
from tests.demo.commands import Cluster
from tests.e2e import leaders

_ASKED_SECONDS: Final = 60.0
CONTROLLERS: Final = "kube-controller-manager"
API_SERVER: Final = "kube-apiserver"
STORING: Final = (API_SERVER, "etcd")


@dataclass(frozen=True, slots=True)
class Place:
    """The cluster, and the way to who stands in."""

    cluster: Cluster
    record: ClusterRecord
    nodes: int
    """That are fake."""

    @property
    def node_address(self) -> str:
        return addresses.link(self.record.index).node_address

    def tell(self, path: str, body: Any = None) -> Any:
        """Asks who stands in at its control port, or tells it something."""
        request = urllib.request.Request(
            f"http://{self.node_address}:{CONTROL_PORT}{path}",
            method="GET" if body is None else "PUT",
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=_ASKED_SECONDS) as answer:
            return json.load(answer)

    def operators(self) -> list[costs.Process]:
        """Returns the operators' processes, the leader first."""
        leading = leaders.pod_of(leaders.leader(self.cluster))
        named = sorted(self.operator_pods(), key=lambda n: n != leading)
        return [costs.process(leaders.process(self.cluster, name)) for name in named]

    def operator_pods(self) -> list[str]:
        """Returns the names of the operators' pods, which they keep when their processes are killed."""
        found = self.cluster.get(
            "pods", "-n", leaders.NAMESPACE, "-l", "app.kubernetes.io/name=relay-operator"
        )
        return [one["metadata"]["name"] for one in found["items"]]

    def programs(self, named: Sequence[str]) -> dict[str, costs.Process]:
        """Returns processes of the control plane by name."""
        mark = str(self.record.directory)
        return {name: costs.process(costs.program(name, argument=mark)) for name in named}

    def scale_operators(self, count: int) -> None:
        """Asks for so many operators."""
        self.cluster.kubectl("scale", *leaders.DEPLOYMENT, f"--replicas={count}")

    def runs(self, program: str) -> bool:
        """Tells whether a program of the control plane runs."""
        try:
            costs.program(program, argument=str(self.record.directory))
        except RuntimeError:
            return False
        return True

    def component(self, verb: str, name: str) -> None:
        """Asks a program of the control plane to stop or to start."""
        _kind("component", verb, self.cluster.name, name)

    @contextlib.contextmanager
    def etcd_reached(self) -> Iterator[str]:
        """Opens a way to the cluster's etcd; yields its URL."""
        with _in_the_node(self.record, "bench.tenants.etcd_port", "the way to etcd"):
            yield f"http://{self.node_address}:{etcd_port.PORT}"

    def operator_metrics(self, name: str) -> str:
        """Returns a metric of the leader: the whole page would take its time from what is measured."""
        pod = leaders.pod_of(leaders.leader(self.cluster))
        return self.cluster.kubectl("get", "--raw", f"{metrics_path(pod)}?name[]={name}")


def metrics_path(pod: str) -> str:
    """Returns where the API server passes on what an operator's pod tells of itself."""
    return f"/api/v1/namespaces/{leaders.NAMESPACE}/pods/{pod}:8090/proxy/metrics"


@contextlib.contextmanager
def prepared(cluster: Cluster, *, most_tenants: int) -> Iterator[Place]:
    """Makes fake nodes for so many tenants, starts who stands in, and installs the chart."""
    record = cluster_records.read(cluster.name)
    if record is None or record.inner is None:
        raise ClusterError(
            "this bench needs the embedded cluster, whose node takes calls to all fake pods: set RELAY_CLUSTER_PROVIDER=embedded"
        )
    nodes = objects.nodes_for(most_tenants)
    place = Place(cluster, record, len(nodes))
    _open_the_network(cluster.name)
    _kind("component", "start", cluster.name, "kwok")
    cluster.kubectl(
        "taint", "node", record.node_name, f"{objects.REAL}=true:NoSchedule", "--overwrite"
    )
    cluster.kubectl("apply", "-f", "-", stdin=listed(nodes))
    with _in_the_node(record, "bench.tenants.stand_in", "who stands in for the relay pods"):
        stage.install_chart(
            cluster,
            dns_cidrs=stage.dns_server_cidrs(cluster),
            prometheus_url=f"http://{place.node_address}:{QUERY_PORT}",
            more=_values(record.node_name),
        )
        cluster.kubectl("apply", "-f", "-", stdin=listed(objects.providers()))
        yield place


def _values(node: str) -> dict[str, object]:
    """Returns values of the chart: the operator runs on the real node, and has the memory that it takes."""
    toleration = {"key": objects.REAL, "operator": "Exists"}
    return {
        "operator.nodeSelector": {"kubernetes.io/hostname": node},
        "operator.tolerations": [toleration],
        "operator.resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "4Gi"}},
    }


def _open_the_network(name: str) -> None:
    """Lets the node take all calls to fake pods, and takes the enforcement of network policies away, which is not measured here."""
    node = ("exec", name)
    _kind(*node, "ip", "route", "replace", "local", addresses.FAKE_POD_CIDR, "dev", "lo")
    for chain in ("POLICY-POSTROUTING", "POLICY-INPUT"):
        _kind(*node, "iptables", "-t", "mangle", "-I", chain, "1", "-j", "RETURN")
    _kind("component", "stop", name, "kube-network-policies")


def _kind(*arguments: str) -> None:
    command = [str(paths.PACKAGE / "kind"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextlib.contextmanager
def _in_the_node(record: ClusterRecord, module: str, what: str) -> Iterator[None]:
    """Runs a module of the bench in the node's network."""
    assert record.inner is not None
    network = ("nsenter", f"--target={record.inner.pid}", "--net", "--")
    with serving((*network, sys.executable, "-m", module), what):
        yield
