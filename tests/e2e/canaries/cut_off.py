"""A relay pod that the operator cannot reach, by a packet filter on the node of the embedded cluster."""

import contextlib
import subprocess
import time
from collections.abc import Iterator

from tests.cluster import cluster_records
from tests.demo import stage
from tests.demo.commands import Cluster
from tests.e2e.canaries.breaches import gets_no_more_calls
from tests.e2e.canaries.decisions import ANALYSIS, BAD
from tests.e2e.canaries.playing import Script
from tests.e2e.canaries.scene import Scene

TENANT = "apart"
TABLE = "cut_off"
MOUNT_SECONDS = 180
"""The kubelet brings a new document into a pod's volume within about a minute."""


@contextlib.contextmanager
def unreachable(cluster: Cluster, pod: str) -> Iterator[None]:
    """Drops whatever goes between the operator's pods and an address, of connections that are open as well."""
    operators = cluster.get("pods", "-n", stage.OPERATOR_NAMESPACE)["items"]
    rules = "".join(f"ip saddr {one['status']['podIP']} ip daddr {pod} drop\n" for one in operators)
    chain = f"chain pass {{ type filter hook postrouting priority -300; policy accept;\n{rules}}}\n"
    _nft(cluster, f"table ip {TABLE} {{\n{chain}}}\n")
    try:
        yield
    finally:
        _nft(cluster, f"delete table ip {TABLE}\n")


def _nft(cluster: Cluster, commands: str) -> None:
    record = cluster_records.read(cluster.name)
    assert record is not None
    assert record.inner is not None
    enter = ("nsenter", f"--target={record.inner.pid}", "--net", "--mount", "--")
    done = subprocess.run(
        [*enter, "nft", "-f", "-"], input=commands, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def is_rolled_back_by_its_mount(scene: Scene) -> Script:
    """The other pod is told at once, the one that cannot be reached by its ConfigMap; both are told of in status."""
    cluster = scene.world.cluster
    # slow answers take many connections, so that both pods get some
    scene.behave(latency_ms=400)
    scene.apply(scene.spec(canary=scene.canary(), analysis=ANALYSIS))
    yield scene.is_healthy()
    pods = cluster.get("pods", "-n", scene.namespace, "-l", "app.kubernetes.io/name=relay")["items"]
    assert len(pods) == 2
    with unreachable(cluster, pods[0]["status"]["podIP"]):
        scene.behave(**BAD)
        yield scene.reaches("RolledBack")
        decided = time.monotonic()
        yield scene.until(
            "that one pod has not acknowledged",
            lambda: scene.status["programmed"]["acknowledged"] == 1,
        )
        yield scene.until(
            "Programmed to be False",
            lambda: scene.condition("Programmed").get("reason") == "WaitingForPods",
        )
        message = scene.condition("Programmed")["message"]
        last, since = scene.served(), decided
        while time.monotonic() < decided + MOUNT_SECONDS:
            yield scene.passes(2)
            if (served := scene.served()) != last:
                last, since = served, time.monotonic()
            elif time.monotonic() - since > 20:
                break
        yield from gets_no_more_calls(scene)
    yield scene.until(
        "both pods to acknowledge", lambda: scene.status["programmed"]["acknowledged"] == 2
    )
    scene.figures.append(
        f"last call of the pod that was cut off {since - decided:.1f} s after the rollback; meanwhile: {message}"
    )
