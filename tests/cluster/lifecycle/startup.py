"""Starts a node in its namespaces, until pods can be created on it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.cluster import addresses, paths
from tests.cluster.cluster_records import ClusterRecord
from tests.cluster.errors import ClusterError
from tests.cluster.images import archive, catalogue, layers
from tests.cluster.lifecycle import api_server
from tests.cluster.lifecycle.api_server import ApiServer
from tests.cluster.node import control, image_import, namespaces
from tests.cluster.node.namespaces import NamespaceGuard

START_SECONDS = 180.0
READY_SECONDS = 120.0
HOPELESS_RESTARTS = 3
"""Restarts during start-up after which a component is considered broken, by a wrong feature gate for example."""
LOG_LINES = 5
"""Lines of a log in the error message of a failed node."""

Say = Callable[[str], None]


def bring_up(
    record: ClusterRecord, guard: NamespaceGuard, *, wait_seconds: float | None, say: Say
) -> None:
    """Starts the control plane, installs cluster DNS and waits for the node to be Ready.

    Raises ClusterError with the end of the failing component's log. If the caller's own wait_seconds passes, prints a
    warning instead.
    """

    def wait(what: str, condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        api_server.await_true(
            what, condition, seconds=seconds, obstacle=lambda: _obstacle(record, guard)
        )

    pause, dns = catalogue.pause(), dns_image(Path(record.binaries))
    guard.go()
    say("Starting the control plane")
    wait("the container runtime", lambda: image_import.runtime_answers(record))
    image_import.load(record, pause)
    image_import.load(record, dns)
    api = ApiServer(record)
    wait("the API server", api.is_ready)
    wait("the node to register", api.node_is_registered)
    api.label_node()
    say("Installing cluster DNS")
    _apply(record, "coredns.yaml", dns_manifest(record))
    wait("the default service account", api.has_default_account)
    say("Waiting for the node to be Ready")
    try:
        wait("the node to be Ready", api.node_is_ready, wait_seconds or READY_SECONDS)
    except api_server.TimedOut as error:
        if wait_seconds is None:
            raise
        # kind prints this, too, and exits with 0
        say(f"WARNING: Timed out waiting for Ready ({error})")


def _obstacle(record: ClusterRecord, guard: NamespaceGuard) -> str | None:
    """Returns why further waiting is useless, None if it is not."""
    if guard.ended() is not None:
        return f"the node ended:\n{_end_of_log(record, 'init')}"
    if not (record.directory / control.SOCKET).exists():
        # the node is still setting itself up
        return None
    reply = control.ask(record.directory, control.Request(control.Verb.STATUS))
    for status in reply.components:
        if status.restarts >= HOPELESS_RESTARTS:
            return f"{status.name} keeps ending:\n{_end_of_log(record, status.name)}"
    return None


def _end_of_log(record: ClusterRecord, component: str) -> str:
    log = record.directory / "logs" / f"{component}.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-LOG_LINES:]) or "(log is empty)"


def dns_image(programs: Path) -> archive.Image:
    """Builds the image of CoreDNS: the binary alone."""
    binary = programs / "coredns"

    def build_tree(tree: Path) -> None:
        layers.copy_file(binary, tree / "coredns", mode=0o755)

    # the binary's directory is named by a digest of all its inputs
    layer_key = layers.key("coredns", binary.resolve().parent.name.encode())
    return archive.Image(
        reference="localhost/coredns:1",
        layers=(layers.cached(layer_key, build_tree),),
        entrypoint=("/coredns",),
        user=catalogue.NON_ROOT,
    )


def dns_manifest(record: ClusterRecord) -> str:
    """Returns the objects of cluster DNS, for the cluster's domain."""
    text = (paths.PACKAGE / "manifests" / "coredns.yaml").read_text()
    return text.replace(addresses.DNS_DOMAIN, record.dns_domain)


def _apply(record: ClusterRecord, name: str, manifest: str) -> None:
    kubectl = Path(record.binaries) / "kubectl"
    command = [str(kubectl), "apply", "--server-side", "--filename", "-"]
    done = subprocess.run(
        namespaces.command(record, command),
        input=manifest,
        env={
            **namespaces.environment(),
            "KUBECONFIG": str(record.directory / "admin.kubeconfig"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterError(f"applying {name} failed: {done.stderr.strip()}")
