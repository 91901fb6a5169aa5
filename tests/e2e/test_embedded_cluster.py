"""The embedded cluster is a Kubernetes that tests can trust, and leaves nothing behind."""

import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import addresses, cgroups, namespaces, places, records
from tests.cluster.binaries import KUBERNETES_VERSION
from tests.cluster.clients import Client, port_forward
from tests.cluster.components import POLICY_ENGINE
from tests.cluster.images import debian
from tests.cluster.node_setup import SHIELDED_SETTINGS
from tests.cluster.provider import EMBEDDED_KIND

pytestmark = [pytest.mark.embedded_only, pytest.mark.timeout(180)]

WEB = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (os.environ["HOSTNAME"] + " " + self.client_address[0]).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): print("asked for", self.path, flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Answer).serve_forever()
"""
WEB_ANSWERS = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
SLEEP = ("sleep", "100000")
WAIT = "import time; time.sleep(100000)"


def kind(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The command itself, started as a bare shell would."""
    done = subprocess.run(
        [str(EMBEDDED_KIND), *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def eventually(what: str, look: Callable[[], object], *, seconds: float = 30.0) -> None:
    """look has come true; fails with what it last saw."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s, last {seen!r}"
        time.sleep(0.1)


def pod(
    name: str, image: str, *command: str, labels: dict[str, str] | None = None
) -> dict[str, Any]:
    container = {"name": "main", "image": image, "command": list(command)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }


def web_pod(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    made = pod(name, "python:dev", "python3", "-c", WEB, labels=labels)
    made["spec"]["containers"][0]["readinessProbe"] = WEB_ANSWERS
    return made


def web_deployment(name: str, replicas: int) -> list[dict[str, Any]]:
    container = {
        "name": "web",
        "image": "python:dev",
        "command": ["python3", "-c", WEB],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": WEB_ANSWERS,
    }
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": template,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {
                "type": "NodePort",
                "selector": labels,
                "ports": [{"port": 80, "targetPort": 8080}],
            },
        },
    ]


def apply(kubectl: Client, namespace: str, *objects: dict[str, Any]) -> None:
    kubectl.apply(*({**o, "metadata": {**o["metadata"], "namespace": namespace}} for o in objects))


def await_ready(kubectl: Client, namespace: str, *names: str) -> None:
    targets = [f"pod/{name}" for name in names]
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "--timeout=60s", *targets)


@pytest.fixture(scope="module")
def probe_images(cluster: Any) -> str:
    """The name of the cluster, in which the small images for probing are loaded."""
    kind("load", "docker-image", f"--name={cluster.name}", "python:dev", "busybox:dev")
    return str(cluster.name)


@pytest.fixture(scope="module")
def node_address(kubectl: Client) -> str:
    (node,) = kubectl.json("get", "nodes")["items"]
    (address,) = (a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    return str(address)


def test_client_and_server_say_the_pinned_version(kubectl: Client) -> None:
    said = kubectl.json("version")
    assert said["clientVersion"]["gitVersion"] == KUBERNETES_VERSION
    assert said["serverVersion"]["gitVersion"] == KUBERNETES_VERSION


def test_deployment_is_served_by_service_name_and_by_node_port(
    kubectl: Client, namespace: str, probe_images: str, node_address: str
) -> None:
    apply(kubectl, namespace, *web_deployment("web", 2), pod("caller", "busybox:dev", *SLEEP))
    kubectl("rollout", "status", "-n", namespace, "deployment/web", "--timeout=60s")
    await_ready(kubectl, namespace, "caller")

    url = f"http://web.{namespace}.svc.cluster.local/"

    def answers_by_name() -> bool:
        fetch = ("exec", "-n", namespace, "caller", "--", "wget", "-q", "-O-", url)
        return kubectl.attempt(*fetch).stdout.startswith("web-")

    # a new endpoint gets traffic up to a second after it is ready (kube-proxy's sync period)
    eventually("an answer by the Service's name", answers_by_name)
    service = kubectl.json("get", "service", "web", "-n", namespace)
    port = service["spec"]["ports"][0]["nodePort"]
    with urllib.request.urlopen(f"http://{node_address}:{port}/", timeout=5) as answer:
        assert answer.read().startswith(b"web-")


def test_names_outside_the_cluster_are_the_stand_in_or_nothing(
    kubectl: Client, namespace: str, probe_images: str
) -> None:
    apply(kubectl, namespace, pod("caller", "busybox:dev", *SLEEP))
    await_ready(kubectl, namespace, "caller")
    on_pod = ("exec", "-n", namespace, "caller", "--")
    fetched = kubectl(*on_pod, "wget", "-q", "-O-", "http://outside.test/")
    assert fetched.startswith("outside, called by")
    unknown = kubectl.attempt(*on_pod, "nslookup", "example.com.")
    assert "NXDOMAIN" in unknown.stdout + unknown.stderr


def test_logs_exec_and_port_forward(kubectl: Client, namespace: str, probe_images: str) -> None:
    apply(kubectl, namespace, web_pod("web"))
    await_ready(kubectl, namespace, "web")
    with (
        port_forward(kubectl, "pod/web", 8080, namespace=namespace) as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/hello", timeout=5) as answer,
    ):
        assert answer.status == 200
    assert "asked for /hello" in kubectl("logs", "-n", namespace, "web")
    run = ("exec", "-i", "-n", namespace, "web", "--", "python3", "-c")
    assert kubectl(*run, "print(input()[::-1])", stdin="desrever\n") == "reversed\n"
    assert kubectl.attempt(*run, "raise SystemExit(7)").returncode == 7


def test_exceeding_the_memory_limit_is_oom_killed(
    kubectl: Client, namespace: str, probe_images: str
) -> None:
    greedy = pod("greedy", "python:dev", "python3", "-c", "x = bytearray(256 * 2**20)")
    greedy["spec"]["restartPolicy"] = "Never"
    greedy["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    apply(kubectl, namespace, greedy)
    kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Failed", "pod/greedy")
    ended = kubectl.json("get", "pod", "greedy", "-n", namespace)
    state = ended["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["reason"], state["exitCode"]) == ("OOMKilled", 137)


class Wall:
    """Probes who reaches a server: `peer` and `stranger` in one namespace, `server` in the same."""

    def __init__(self, kubectl: Client, namespace: str) -> None:
        self._kubectl, self._namespace = kubectl, namespace
        self.server = self._address("server")

    def _address(self, name: str) -> str:
        return str(self._kubectl.json("get", "pod", name, "-n", self._namespace)["status"]["podIP"])

    def opens(self, source: str, address: str, port: int) -> bool:
        """Whether a new connection from source gets through within a second."""
        code = f"import socket; socket.create_connection(({address!r}, {port}), 1)"
        command = ("exec", "-n", self._namespace, source, "--", "python3", "-c", code)
        return self._kubectl.attempt(*command).returncode == 0

    def resolves(self, source: str) -> bool:
        """Whether one DNS query from source is answered within a second (a resolver would try for 20)."""
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


def test_network_policies_hold_by_label_direction_and_for_dns(
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
    # what the node itself does is not subject to policies, as on every Kubernetes
    assert kubectl("exec", "-n", namespace, "server", "--", "python3", "-c", "print(1)") == "1\n"


def test_nothing_new_gets_through_while_the_policy_engine_is_down(
    wall: Wall, probe_images: str
) -> None:
    kind("component", "stop", probe_images, POLICY_ENGINE)
    try:
        eventually("the queue to be closed", lambda: not wall.opens("peer", wall.server, 8080))
        assert not wall.opens("stranger", addresses.OUTSIDE_ADDRESS, 80)
    finally:
        kind("component", "start", probe_images, POLICY_ENGINE)
    eventually("the engine to be back", lambda: wall.opens("peer", wall.server, 8080))


def test_killed_components_come_back_and_pods_run_on(
    kubectl: Client, namespace: str, probe_images: str
) -> None:
    apply(kubectl, namespace, pod("steady", "busybox:dev", *SLEEP))
    await_ready(kubectl, namespace, "steady")
    for component in ("kubelet", "containerd", "etcd", "kube-apiserver"):
        kind("component", "kill", probe_images, component)
    eventually(
        "the API server to answer",
        lambda: kubectl.attempt("get", "--raw", "/readyz").stdout == "ok",
        seconds=60,
    )

    def runs_on() -> bool:
        command = ("exec", "-n", namespace, "steady", "--", "true")
        return kubectl.attempt(*command).returncode == 0

    eventually("the pod to answer", runs_on, seconds=60)
    status = kubectl.json("get", "pod", "steady", "-n", namespace)["status"]
    assert status["containerStatuses"][0]["restartCount"] == 0


def test_archives_of_docker_save_are_loaded(
    kubectl: Client, namespace: str, probe_images: str, tmp_path: Path
) -> None:
    archive = tmp_path / "saved.tar"
    _write_docker_archive(archive, "example/saved:1.2")
    kind("load", "image-archive", str(archive), "--name", probe_images)
    apply(kubectl, namespace, pod("saved", "example/saved:1.2", "/usr/bin/python3", "-c", WAIT))
    await_ready(kubectl, namespace, "saved")


def _write_docker_archive(path: Path, tag: str) -> None:
    """The layout `docker save` had before version 25: a manifest.json, a configuration, a directory per layer."""
    layer = debian.base_layer()
    config = json.dumps(
        {
            "architecture": debian.architecture(),
            "os": "linux",
            "config": {"Env": ["PATH=/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.sha256}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": ["one/layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        archive.add(layer.path, "one/layer.tar")
        for entry, content in ((name, config), ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(entry)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_loading_what_does_not_exist_is_refused_in_kinds_words(probe_images: str) -> None:
    nowhere = kind("load", "docker-image", "busybox:dev", "--name=no-such-cluster", check=False)
    assert (nowhere.returncode, nowhere.stderr) == (
        1,
        'ERROR: no nodes found for cluster "no-such-cluster"\n',
    )
    absent = kind("load", "docker-image", "no/such:image", f"--name={probe_images}", check=False)
    assert (absent.returncode, absent.stderr) == (
        1,
        'ERROR: image: "no/such:image" not present locally\n',
    )


RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
LOAD_EVERY_LIBRARY = """
import ctypes, pathlib, sys
libraries = [p for d in sys.path for p in pathlib.Path(d).rglob("*.so")]
for library in libraries: ctypes.CDLL(str(library))
import kopf, kubernetes.aio, uvloop, ssl
assert ssl.create_default_context().get_ca_certs()
print(len(libraries), "libraries")
"""


def restricted(name: str, image: str, *command: str) -> dict[str, Any]:
    """A pod of an image as pod-security restricted and a read-only root let it run."""
    made = pod(name, image, *command)
    made["spec"]["restartPolicy"] = "Never"
    made["spec"]["containers"][0]["securityContext"] = RESTRICTED
    return made


def test_our_images_run_without_root_and_on_a_read_only_root(
    kubectl: Client, namespace: str, images_loaded: tuple[str, ...]
) -> None:
    prometheus = restricted("prometheus", "prometheus:dev")
    data = {"name": "data", "mountPath": "/prometheus"}
    prometheus["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    ready = {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1}
    prometheus["spec"]["containers"][0] |= {"volumeMounts": [data], "readinessProbe": ready}
    libraries = restricted("libraries", "relay-operator:dev", "python3", "-c", LOAD_EVERY_LIBRARY)
    simulator = restricted("simulator", "provider-simulator:dev")
    for image in (prometheus, simulator):
        del image["spec"]["containers"][0]["command"]
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    apply(kubectl, namespace, prometheus, simulator, libraries)

    await_ready(kubectl, namespace, "prometheus", "simulator")
    done = "--for=jsonpath={.status.phase}=Succeeded"
    kubectl("wait", "-n", namespace, done, "pod/libraries", "--timeout=60s")
    assert "libraries" in kubectl("logs", "-n", namespace, "libraries")


@pytest.mark.parametrize("command", ["relay", "relay-operator"])
def test_both_commands_of_the_image_are_on_its_path(
    kubectl: Client, namespace: str, images_loaded: tuple[str, ...], command: str
) -> None:
    locate = f"import shutil; print(shutil.which({command!r}))"
    apply(kubectl, namespace, restricted("which", "relay-operator:dev", "python3", "-c", locate))
    done = "--for=jsonpath={.status.phase}=Succeeded"
    kubectl("wait", "-n", namespace, done, "pod/which", "--timeout=60s")
    assert kubectl("logs", "-n", namespace, "which") == f"/usr/local/bin/{command}\n"


NODES, PODS = 20, 50
FAKE = {"kwok.x-k8s.io/node": "fake"}


def fake_node(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"fake-{number}", "annotations": FAKE, "labels": {"type": "fake"}},
        "spec": {
            "taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]
        },
    }


def fake_deployment(replicas: int) -> dict[str, Any]:
    spec = {
        "nodeSelector": {"type": "fake"},
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
        "containers": [{"name": "main", "image": "no-such-image"}],
    }
    labels = {"app": "fake"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "fake"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


@pytest.fixture
def fake_nodes(kubectl: Client, probe_images: str) -> Iterator[None]:
    kind("component", "start", probe_images, "kwok")
    kubectl.apply(*(fake_node(number) for number in range(NODES)))
    yield
    kubectl("delete", "nodes", "-l", "type=fake")
    kind("component", "stop", probe_images, "kwok")


def test_fake_nodes_run_fake_pods_apart_from_the_real_node(
    kubectl: Client, namespace: str, fake_nodes: None, probe_images: str
) -> None:
    kubectl("wait", "nodes", "-l", "type=fake", "--for=condition=Ready", "--timeout=60s")
    apply(kubectl, namespace, fake_deployment(PODS))
    kubectl("rollout", "status", "-n", namespace, "deployment/fake", "--timeout=60s")
    pods = kubectl.json("get", "pods", "-n", namespace)["items"]
    assert len({p["status"]["podIP"] for p in pods}) == PODS
    assert {p["spec"]["nodeName"] for p in pods} <= {f"fake-{n}" for n in range(NODES)}
    real = kubectl.json("get", "node", f"{probe_images}-control-plane")
    assert "kwok" not in json.dumps(real["metadata"].get("annotations", {}))
    kubectl("delete", "deployment", "fake", "-n", namespace)
    kubectl("wait", "pods", "--all", "-n", namespace, "--for=delete", "--timeout=60s")


# -- the life of clusters: a second one beside the session's


def _host_state() -> dict[str, object]:
    """What a cluster could leave behind or change on the host. Links are looked at apart: other clusters come and go."""
    networks = subprocess.run(
        ["sh", "-c", "ip -o link; ip route; iptables-save"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    foreign = (addresses.INTERFACE, str(addresses.LINKS).rpartition(".")[0], "#")
    settings = {name: (Path("/proc/sys") / name).read_text() for name in SHIELDED_SETTINGS}
    return {
        "mounts": Path("/proc/self/mounts").read_text(),
        "networks": [
            line for line in networks.splitlines() if not any(word in line for word in foreign)
        ],
        "settings": settings,
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def _no_link_without_a_cluster() -> bool:
    known = (records.read(name) for name in records.known_names())
    return namespaces.linked_indices() <= {record.index for record in known if record is not None}


def _processes_of(name: str) -> list[str]:
    """The command lines of processes that mention the cluster's state or run in its cgroups."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            groups = (directory / "cgroup").read_text()
            command = (directory / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"/rk-{name}" in groups or f"{places.state_root()}/{name}/" in command:
            found.append(command)
    return found


def assert_nothing_left(name: str, before: dict[str, object]) -> None:
    assert _processes_of(name) == []
    assert cgroups.left(f"rk-{name}") == []
    assert not (places.state_root() / name).exists()
    assert name not in kind("get", "clusters").stdout.split()
    eventually("links to be gone", _no_link_without_a_cluster, seconds=5)
    eventually("the host to be as before", lambda: _host_state() == before, seconds=5)


@pytest.fixture
def second(cluster: Any) -> Iterator[str]:
    name = f"second-{os.getpid()}"
    yield name
    kind("delete", "cluster", "--name", name)


def test_clusters_live_side_by_side_and_leave_nothing(
    kubectl: Client, second: str, probe_images: str, tmp_path: Path
) -> None:
    before = _host_state()
    config = tmp_path / "kubeconfig"
    config.write_text(Path(kubectl.kubeconfig).read_text())
    kind("create", "cluster", "--name", second, "--kubeconfig", str(config))
    assert {probe_images, second} <= set(kind("get", "clusters").stdout.split())
    assert kind("get", "nodes", "--name", second).stdout == f"{second}-control-plane\n"

    other = Client(kubectl.program, config, tmp_path)
    contexts = other("config", "get-contexts", "--output=name").split()
    assert {f"kind-{probe_images}", f"kind-{second}"} <= set(contexts)
    assert other("config", "current-context") == f"kind-{second}\n"
    kind("load", "docker-image", "python:dev", "--name", second)
    other.apply(*web_deployment("web", 1))
    other("rollout", "status", "deployment/web", "--timeout=60s")
    assert kubectl("get", "deployments", "-n", "default", "--output=name") == ""
    assert kubectl("get", "--raw", "/readyz") == "ok"

    again = kind("create", "cluster", "--name", second, check=False)
    taken = f'node(s) already exist for a cluster with the name "{second}"'
    assert again.returncode == 1
    assert again.stderr.endswith(f"ERROR: failed to create cluster: {taken}\n")

    kind("delete", "cluster", "--name", second, "--kubeconfig", str(config))
    assert other("config", "get-contexts", "--output=name").split() == [f"kind-{probe_images}"]
    assert_nothing_left(second, before)
    assert kubectl("get", "--raw", "/readyz") == "ok"


def test_a_create_that_cannot_succeed_says_why_and_leaves_nothing(
    second: str, tmp_path: Path
) -> None:
    before = _host_state()
    config = tmp_path / "config.yaml"
    config.write_text(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nfeatureGates: {NoSuchGate: true}\n"
    )
    failed = kind("create", "cluster", "--name", second, "--config", str(config), check=False)
    assert failed.returncode == 1
    assert "ERROR: failed to create cluster: waiting for the API server" in failed.stderr
    assert "kube-apiserver ends again and again" in failed.stderr
    assert "NoSuchGate" in failed.stderr
    assert_nothing_left(second, before)


@pytest.mark.parametrize("role", ["inner", "outer"])
def test_death_of_a_first_process_ends_everything_and_a_new_create_cleans_up(
    second: str, tmp_path: Path, role: str
) -> None:
    before = _host_state()
    options = ("--name", second, "--kubeconfig", str(tmp_path / "kubeconfig"))
    kind("create", "cluster", *options)
    record = records.read(second)
    victim = getattr(record, role)
    assert victim is not None
    os.kill(victim.pid, signal.SIGKILL)
    eventually("every process to be gone", lambda: not _processes_of(second))
    assert second not in kind("get", "clusters").stdout.split()
    gone = kind("get", "kubeconfig", "--name", second, check=False)
    assert gone.returncode == 1
    assert f"could not locate any control plane nodes for cluster named '{second}'" in gone.stderr

    created = kind("create", "cluster", *options)
    assert f'Removing what is left of cluster "{second}"' in created.stderr
    kind("delete", "cluster", *options)
    assert_nothing_left(second, before)


def test_a_create_that_is_killed_leaves_no_process_and_can_be_repeated(
    second: str, tmp_path: Path
) -> None:
    before = _host_state()
    options = ("create", "cluster", "--name", second, "--kubeconfig", str(tmp_path / "kubeconfig"))
    with subprocess.Popen(
        [str(EMBEDDED_KIND), *options], stderr=subprocess.PIPE, text=True
    ) as creating:
        assert creating.stderr is not None
        while "Starting the control plane" not in creating.stderr.readline():
            assert creating.poll() is None
        creating.kill()
    eventually("every process to be gone", lambda: not _processes_of(second))
    assert not (tmp_path / "kubeconfig").exists()

    kind(*options)
    kind("delete", "cluster", "--name", second)
    assert_nothing_left(second, before)


def test_a_create_that_is_interrupted_removes_what_it_made(second: str, tmp_path: Path) -> None:
    before = _host_state()
    options = ("create", "cluster", "--name", second, "--kubeconfig", str(tmp_path / "kubeconfig"))
    with subprocess.Popen(
        [str(EMBEDDED_KIND), *options], stderr=subprocess.PIPE, text=True
    ) as creating:
        assert creating.stderr is not None
        while "Starting the control plane" not in creating.stderr.readline():
            assert creating.poll() is None
        creating.terminate()
        said = creating.stderr.read()
    assert creating.returncode == 130
    assert said.endswith("interrupted\n")
    assert_nothing_left(second, before)
