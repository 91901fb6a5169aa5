"""Brings a node whose namespaces exist to the point where pods can be created on it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.cluster import paths
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
"""A component that ended this often during start-up will not come up (a wrong feature gate, say)."""
LAST_WORDS = 5
"""Lines of a log that are shown when its node failed."""

Say = Callable[[str], None]


def bring_up(
    record: ClusterRecord, guard: NamespaceGuard, *, wait_seconds: float | None, say: Say
) -> None:
    """The control plane answers, cluster DNS is installed, the node is Ready.

    Raises ClusterError with the failing part's last words. A wait_seconds of the caller's own that ends is only said.
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
    _apply(record, paths.PACKAGE / "manifests" / "coredns.yaml")
    wait("the default service account", api.has_default_account)
    say("Waiting for the node to be Ready")
    try:
        wait("the node to be Ready", api.node_is_ready, wait_seconds or READY_SECONDS)
    except api_server.TimedOut as error:
        if wait_seconds is None:
            raise
        # kind's word and kind's exit code 0
        say(f"WARNING: Timed out waiting for Ready ({error})")


def _obstacle(record: ClusterRecord, guard: NamespaceGuard) -> str | None:
    """What makes further waiting useless, None if nothing does."""
    if guard.ended() is not None:
        return f"the node ended:\n{_last_words(record, 'init')}"
    if not (record.directory / control.SOCKET).exists():
        # the node is still setting itself up
        return None
    reply = control.ask(record.directory, control.Request(control.Verb.STATUS))
    for status in reply.components:
        if status.restarts >= HOPELESS_RESTARTS:
            return f"{status.name} ends again and again:\n{_last_words(record, status.name)}"
    return None


def _last_words(record: ClusterRecord, component: str) -> str:
    log = record.directory / "logs" / f"{component}.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-LAST_WORDS:]) or "it said nothing"


def dns_image(programs: Path) -> archive.Image:
    """CoreDNS as an image: the built binary alone."""
    binary = programs / "coredns"

    def build_tree(tree: Path) -> None:
        layers.copy_file(binary, tree / "coredns", mode=0o755)

    # the directory it resolves to is named by all it was built from
    layer_key = layers.key("coredns", binary.resolve().parent.name.encode())
    return archive.Image(
        reference="localhost/coredns:1",
        layers=(layers.cached(layer_key, build_tree),),
        entrypoint=("/coredns",),
        user=catalogue.NON_ROOT,
    )


def _apply(record: ClusterRecord, manifest: Path) -> None:
    kubectl = Path(record.binaries) / "kubectl"
    command = [str(kubectl), "apply", "--server-side", "--filename", str(manifest)]
    done = subprocess.run(
        namespaces.command(record, command),
        env={
            **namespaces.environment(),
            "KUBECONFIG": str(record.directory / "admin.kubeconfig"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterError(f"applying {manifest.name} failed: {done.stderr.strip()}")
