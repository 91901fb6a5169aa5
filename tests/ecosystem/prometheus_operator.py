"""The Prometheus operator in a cluster, from its own programs and manifests; and a Prometheus that it runs."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from tests.cluster.build import go_build
from tests.cluster.build.go_programs import PROMETHEUS_OPERATOR, PROMETHEUS_OPERATOR_SOURCE
from tests.cluster.images import archive, debian, layers
from tests.cluster.images.archive import Image, Layer
from tests.cluster.session.provider import EMBEDDED_KIND
from tests.demo.commands import Cluster, DemoFailed

IMAGE: Final = "prometheus-operator:dev"
PROMETHEUS_IMAGE: Final = "operated-prometheus:dev"
PROMETHEUS_VERSION: Final = "2.53.3"
"""The Prometheus operator writes a configuration for it."""
_SUITE: Final = "trixie"
"""The Debian that has it: the Prometheus of the one before, which the other images have, cannot ask Kubernetes for pods."""
OPERATOR_NAMESPACE: Final = "default"
"""Where its own manifests put it."""
SERVICE: Final = "prometheus-operated"
"""The name that it gives to the Service of each Prometheus."""
PROMETHEUS: Final = "fleet"
_DEFINITIONS: Final = "example/prometheus-operator-crd"
_IN_THE_IMAGE: Final = ("operator", "prometheus-config-reloader")
_ARGUMENTS: Final = (
    f"--prometheus-config-reloader={IMAGE}",
    # with a hundredth of a processor, its default, the reloader would take long to begin
    "--config-reloader-cpu-request=0",
    "--config-reloader-cpu-limit=0",
    # it writes into the status of PodMonitors and PrometheusRules whether it takes them
    "--feature-gates=StatusForConfigurationResources=true",
)
Object = dict[str, Any]


def install(cluster: Cluster, directory: Path) -> None:
    """Installs definitions and operator into an embedded cluster. directory takes archives of images for a moment."""
    for image in (
        _image(IMAGE, "operator", _operator_layer()),
        _image(PROMETHEUS_IMAGE, "prometheus", _prometheus_layer()),
    ):
        _load(cluster, image, directory / "image.tar")
    source = go_build.sources(PROMETHEUS_OPERATOR, PROMETHEUS_OPERATOR_SOURCE)
    definitions = str(source / _DEFINITIONS)
    # on the server's side: the annotation of a client's apply cannot hold them
    cluster.kubectl("apply", "--server-side", "-f", definitions)
    cluster.kubectl("wait", "--for=condition=Established", "-f", definitions, "--timeout=60s")
    _apply(cluster, _operator(source))
    cluster.kubectl(
        "rollout", "status", "deployment/prometheus-operator", "-n", OPERATOR_NAMESPACE,
        "--timeout=90s",
    )  # fmt: skip


def run_prometheus(cluster: Cluster, *, namespace: str, selector: dict[str, str]) -> None:
    """Has a Prometheus run that takes the PodMonitors and rules of all namespaces with these labels; waits until it is available."""
    source = go_build.sources(PROMETHEUS_OPERATOR, PROMETHEUS_OPERATOR_SOURCE)
    account = [
        _in_namespace(one, namespace)
        for one in _examples(source, "prometheus")
        if one["kind"] != "Prometheus"
    ]
    _apply(cluster, [*account, _prometheus(namespace, selector)])
    _wait_until_available(cluster, namespace)


def _wait_until_available(cluster: Cluster, namespace: str) -> None:
    """Fails with what it says itself: a configuration that it cannot read ends it."""
    where = ("-n", namespace)
    wanted = (f"prometheus/{PROMETHEUS}", "--for=condition=Available", "--timeout=100s")
    try:
        cluster.kubectl("wait", *wanted, *where)
    except DemoFailed as error:
        pod = f"prometheus-{PROMETHEUS}-0"
        said = cluster.kubectl("logs", pod, *where, "--container=prometheus", "--tail=20")
        raise DemoFailed(f"{error}{said}") from error


def _prometheus(namespace: str, selector: dict[str, str]) -> Object:
    """Returns the object: it chooses as that of kube-prometheus-stack does, by a label, in all namespaces."""
    chosen = {"matchLabels": selector}
    spec = {
        "image": PROMETHEUS_IMAGE,
        "version": PROMETHEUS_VERSION,
        "replicas": 1,
        "serviceAccountName": "prometheus",
        "podMonitorSelector": chosen,
        "podMonitorNamespaceSelector": {},
        "ruleSelector": chosen,
        "ruleNamespaceSelector": {},
        "evaluationInterval": "2s",
        "resources": {"requests": {"memory": "100Mi"}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "fsGroup": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "Prometheus",
        "metadata": {"name": PROMETHEUS, "namespace": namespace},
        "spec": spec,
    }


def _operator(source: Path) -> Iterator[Object]:
    """Goes through its own manifests, changed in what this cluster needs: the image, and no bound on the processor."""
    for one in _examples(source, "prometheus-operator"):
        if one["kind"] == "Deployment":
            [container] = one["spec"]["template"]["spec"]["containers"]
            kept = [
                argument
                for argument in container["args"]
                if not argument.startswith("--prometheus-config-reloader=")
            ]
            container |= {"image": IMAGE, "args": [*kept, *_ARGUMENTS]}
            container["resources"].pop("limits")
        yield one


def _examples(source: Path, name: str) -> Iterator[Object]:
    for file in sorted((source / "example" / "rbac" / name).glob("*.yaml")):
        yield from filter(None, yaml.safe_load_all(file.read_text()))


def _in_namespace(one: Object, namespace: str) -> Object:
    if one["kind"] == "ServiceAccount":
        one["metadata"]["namespace"] = namespace
    for subject in one.get("subjects", ()):
        subject["namespace"] = namespace
    return one


def _apply(cluster: Cluster, objects: Iterator[Object] | list[Object]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(listed))


def _load(cluster: Cluster, image: Image, path: Path) -> None:
    with path.open("wb") as output:
        archive.write(image, output)
    command = [str(EMBEDDED_KIND), "load", "image-archive", str(path), "--name", cluster.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    path.unlink()
    assert done.returncode == 0, done.stderr


def _image(name: str, program: str, programs: Layer) -> Image:
    return Image(
        reference=archive.complete_reference(name),
        layers=(debian.base_layer(), programs),
        entrypoint=(f"/bin/{program}",),
        user="65534:65534",
        architecture=debian.architecture(),
    )


def _operator_layer() -> Layer:
    """Builds a layer of two programs, which are images of their own where they come from."""
    built = go_build.ensure_tools(PROMETHEUS_OPERATOR)

    def build(tree: Path) -> None:
        for name in _IN_THE_IMAGE:
            layers.copy_file(built / name, tree / "bin" / name, mode=0o755)
        layers.readable_by_all(tree)

    # the directory's name has a digest of all that was built from
    return layers.cached(layers.key("prometheus-operator", built.name.encode()), build)


def _prometheus_layer() -> Layer:
    def build(tree: Path) -> None:
        with tempfile.TemporaryDirectory(dir=tree.parent, prefix="packages.") as work:
            packed, unpacked = Path(work) / "root.tar", Path(work) / "root"
            command = ["mmdebstrap", "--quiet", "--variant=extract", "--include=prometheus"]
            debian.run([*command, _SUITE, str(packed)], f"unpacking Debian {_SUITE}'s prometheus")
            debian.unpack_tar(packed, unpacked)
            program = unpacked / "usr/bin/prometheus"
            layers.copy_file(program, tree / "bin/prometheus", mode=0o755)
        layers.readable_by_all(tree)

    inputs = (PROMETHEUS_VERSION.encode(), debian.architecture().encode())
    return layers.cached(layers.key("operated-prometheus", *inputs), build)
