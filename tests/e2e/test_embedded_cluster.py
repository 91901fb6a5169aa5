"""The embedded cluster behaves like any Kubernetes cluster."""

import hashlib
import io
import json
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.build.go_programs import KUBERNETES_VERSION
from tests.cluster.images import debian
from tests.cluster.session.clients import Client, port_forward
from tests.e2e.embedded_probes import (
    SLEEP,
    WAIT,
    apply,
    await_ready,
    eventually,
    kind,
    pod,
    web_deployment,
    web_pod,
)

pytestmark = [pytest.mark.embedded_only, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def node_address(kubectl: Client) -> str:
    (node,) = kubectl.json("get", "nodes")["items"]
    (address,) = (a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    return str(address)


def test_client_and_server_have_the_pinned_version(kubectl: Client) -> None:
    said = kubectl.json("version")
    assert said["clientVersion"]["gitVersion"] == KUBERNETES_VERSION
    assert said["serverVersion"]["gitVersion"] == KUBERNETES_VERSION


def test_a_deployment_is_reached_by_service_name_and_by_node_port(
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


def test_names_outside_the_cluster_are_the_stand_in_or_do_not_resolve(
    kubectl: Client, namespace: str, probe_images: str
) -> None:
    apply(kubectl, namespace, pod("caller", "busybox:dev", *SLEEP))
    await_ready(kubectl, namespace, "caller")
    on_pod = ("exec", "-n", namespace, "caller", "--")
    fetched = kubectl(*on_pod, "wget", "-q", "-O-", "http://outside.test/")
    assert fetched.startswith("outside, called by")
    unknown = kubectl.attempt(*on_pod, "nslookup", "example.com.")
    assert "NXDOMAIN" in unknown.stdout + unknown.stderr


def test_logs_exec_and_port_forward_work(
    kubectl: Client, namespace: str, probe_images: str
) -> None:
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


def test_a_pod_above_its_memory_limit_is_oom_killed(
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


def test_killed_components_are_restarted_and_pods_keep_running(
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
    """Writes the layout of `docker save` before version 25: a manifest.json, a configuration, a directory per layer."""
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


def test_loading_an_unknown_image_is_refused_with_kinds_message(probe_images: str) -> None:
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
    """Returns a pod of an image with pod security `restricted` and a read-only root."""
    made = pod(name, image, *command)
    made["spec"]["restartPolicy"] = "Never"
    made["spec"]["containers"][0]["securityContext"] = RESTRICTED
    return made


def test_this_projects_images_run_without_root_and_on_a_read_only_root(
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


def test_fake_nodes_run_fake_pods_separately_from_the_real_node(
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
