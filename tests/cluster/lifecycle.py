"""Creates and deletes clusters."""

import contextlib
import fcntl
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import (
    addresses,
    apiserver,
    build,
    certificates,
    cgroups,
    doctor,
    namespaces,
    node_files,
    node_images,
    packages,
    places,
    records,
)
from tests.cluster.apiserver import ApiServer
from tests.cluster.errors import ClusterError
from tests.cluster.images import archive, catalogue, layers
from tests.cluster.namespaces import Leash
from tests.cluster.records import Record

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
"""kind allows more; here the name is also part of a cgroup's and a socket's path and of the node's DNS name."""

START_SECONDS = 180.0
READY_SECONDS = 120.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What create is asked for. wait_seconds bounds the wait for the node's Ready; None takes READY_SECONDS."""

    name: str
    wait_seconds: float | None = None
    retain: bool = False
    proxy_mode: str = "nftables"
    node_labels: dict[str, str] = field(default_factory=dict)
    feature_gates: dict[str, bool] = field(default_factory=dict)
    runtime_config: dict[str, str] = field(default_factory=dict)


def create(plan: Plan, say: Say) -> Record:
    """A cluster of this name runs: pods can be created, names resolve, policies hold.

    Raises ClusterError when the name is taken or the machine lacks something; then nothing of the cluster is left,
    unless plan.retain.
    """
    if not NAME.fullmatch(plan.name):
        raise ClusterError(
            f"'{plan.name}' is not a valid cluster name: at most 40 lower-case letters, digits and dashes, "
            "neither first nor last a dash"
        )
    _refuse_running(plan.name)
    packages.ensure(say)
    doctor.require_host()
    programs = build.ensure_binaries(say)
    pause = catalogue.pause()
    say("Preparing the node")
    record, leash = _start(plan, programs, say)
    try:
        _bring_up(plan, record, leash, pause, say)
    except BaseException:
        if plan.retain:
            leash.keep()
        else:
            leash.end()
            with _exclusively():
                _remove(record)
        raise
    leash.keep()
    return record


def delete(name: str) -> list[str]:
    """Nothing of the cluster is left, running or half there. Returns the names of its nodes."""
    with _exclusively():
        if name not in records.known_names() and not cgroups.left(f"rk-{name}"):
            return []
        record = records.read(name)
        nodes = [record.node_name] if record is not None else []
        _remove(record or _nameless(name))
        return nodes


def running(name: str) -> Record:
    """The record of a running cluster; raises ClusterError, in kind's words, if there is none."""
    record = records.read(name)
    if record is None or not records.is_running(record):
        raise ClusterError(f'no nodes found for cluster "{name}"')
    return record


def _refuse_running(name: str) -> None:
    record = records.read(name)
    if record is not None and records.is_running(record):
        raise ClusterError(
            f'failed to create cluster: node(s) already exist for a cluster with the name "{name}"'
        )


def _start(plan: Plan, programs: Path, say: Say) -> tuple[Record, Leash]:
    """State is on disk, namespaces exist and the node begins to set itself up."""
    with _exclusively():
        # asked again under the lock: another create may have come between
        _refuse_running(plan.name)
        _sweep(say)
        taken = {record.index for record in records.running()}
        record = Record(
            name=plan.name,
            # a cluster of another state directory shows by its link alone
            index=addresses.free_index(taken | namespaces.linked_indices()),
            binaries=str(programs),
            proxy_mode=plan.proxy_mode,
            node_labels=plan.node_labels,
            feature_gates=plan.feature_gates,
            runtime_config=plan.runtime_config,
        )
        try:
            # empty ones may be left; busy ones, of another state directory, are refused
            cgroups.remove(record.cgroup)
            (record.directory / "logs").mkdir(parents=True)
            records.write(record)
            link = addresses.link(record.index)
            certificates.write_certificates(
                record.directory / "pki", record.node_name, link.node_address
            )
            node_files.write(record, snapshotter=doctor.snapshotter(places.state_root()))
            cgroups.create(record.cgroup)
            record, leash = namespaces.start(record)
        except BaseException:
            _remove(record)
            raise
    leash.go()
    return record, leash


def _bring_up(plan: Plan, record: Record, leash: Leash, pause: archive.Image, say: Say) -> None:
    def still_possible() -> str | None:
        code = leash.ended()
        return None if code is None else f"the node ended ({_last_line(record)})"

    def wait(what: str, condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        apiserver.await_true(
            what,
            condition,
            seconds=seconds,
            still_possible=still_possible,
            evidence=record.directory / "logs",
        )

    say("Starting the control plane")
    wait("the container runtime", lambda: node_images.runtime_answers(record))
    node_images.load(record, pause)
    node_images.load(record, dns_image(Path(record.binaries)))
    api = ApiServer(record)
    wait("the API server", api.is_ready)
    wait("the node to register", api.node_is_registered)
    api.label_node()
    say("Installing cluster DNS")
    _apply(record, places.PACKAGE / "manifests" / "coredns.yaml")
    wait("the default service account", api.has_default_account)
    say("Waiting for the node to be Ready")
    try:
        wait("the node to be Ready", api.node_is_ready, plan.wait_seconds or READY_SECONDS)
    except apiserver.TimedOut as error:
        if plan.wait_seconds is None:
            raise
        # kind's word and kind's exit code 0 for a wait that was the caller's own
        say(f"WARNING: Timed out waiting for Ready ({error})")


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
        user="65532:65532",
    )


def _apply(record: Record, manifest: Path) -> None:
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


def _sweep(say: Say) -> None:
    """Removes what clusters left that ended without delete. Only under the lock: nobody else is creating."""
    alive = {record.name for record in records.running()}
    for name in records.known_names():
        if name not in alive:
            say(f'Removing what is left of cluster "{name}", which no longer runs')
            _remove(records.read(name) or _nameless(name))


def _nameless(name: str) -> Record:
    """Stands for a cluster whose record is gone or unreadable: enough to remove its directory and cgroups."""
    return Record(name=name, index=0, binaries="")


def _remove(record: Record) -> None:
    """Processes, link, cgroups and state are gone."""
    namespaces.end(record)
    if record.index:
        namespaces.remove_link(addresses.link(record.index))
    cgroups.remove(record.cgroup)
    shutil.rmtree(record.directory, ignore_errors=True)
    if record.directory.exists():
        raise ClusterError(f"cannot remove {record.directory}: is something mounted below it?")


def _last_line(record: Record) -> str:
    log = record.directory / "logs" / "init.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"


@contextlib.contextmanager
def _exclusively() -> Iterator[None]:
    """One create or delete at a time changes what clusters there are. Held for fractions of a second."""
    root = places.state_root()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (root / ".lock").open("w")
    except PermissionError as error:
        raise ClusterError(f"cannot enter {root}: run as root") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
