"""Creates and deletes clusters."""

import contextlib
import fcntl
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import addresses, cluster_records, paths
from tests.cluster.build import debian_packages, go_build
from tests.cluster.cluster_records import ClusterRecord
from tests.cluster.errors import ClusterError
from tests.cluster.lifecycle import certificates, doctor, startup
from tests.cluster.node import cgroups, configuration_files, namespaces
from tests.cluster.node.namespaces import NamespaceGuard

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
"""Narrower than kind's: the name is also part of cgroup and socket paths and of the node's DNS name."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """A cluster to create. wait_seconds limits the wait for Ready; None takes the default of startup."""

    name: str
    wait_seconds: float | None = None
    retain: bool = False
    proxy_mode: str = "nftables"
    node_labels: dict[str, str] = field(default_factory=dict)
    feature_gates: dict[str, bool] = field(default_factory=dict)
    runtime_config: dict[str, str] = field(default_factory=dict)
    audit_log: bool = False
    dns_domain: str = addresses.DNS_DOMAIN


def create(plan: Plan, say: Say) -> ClusterRecord:
    """Creates a cluster and returns once pods can be created, names resolve and policies are enforced.

    Raises ClusterError if the name is taken or the machine lacks something; then the cluster is removed, unless
    plan.retain.
    """
    if not NAME.fullmatch(plan.name):
        raise ClusterError(
            f"'{plan.name}' is not a valid cluster name: at most 40 lower-case letters, digits and dashes, "
            "neither first nor last a dash"
        )
    _refuse_running(plan.name)
    debian_packages.ensure(say)
    doctor.require_host()
    programs = go_build.ensure_binaries(say)
    say("Preparing the node")
    record, guard = _start(plan, programs, say)
    try:
        startup.bring_up(record, guard, wait_seconds=plan.wait_seconds, say=say)
    except BaseException:
        if plan.retain:
            guard.keep()
            say(f"The node is kept; its logs are in {record.directory / 'logs'}")
        else:
            guard.end()
            with _exclusively():
                _remove(record)
        raise
    guard.keep()
    return record


def delete(name: str) -> list[str]:
    """Removes a cluster, running or incomplete; returns the names of its nodes."""
    with _exclusively():
        if name not in cluster_records.known_names() and not cgroups.left(f"rk-{name}"):
            return []
        record = cluster_records.read(name)
        nodes = [record.node_name] if record is not None else []
        _remove(record or _nameless(name))
        return nodes


def running(name: str) -> ClusterRecord:
    """Returns the record of a running cluster; raises ClusterError, in kind's words, if there is none."""
    record = cluster_records.read(name)
    if record is None or not cluster_records.is_running(record):
        raise ClusterError(f'no nodes found for cluster "{name}"')
    return record


def _refuse_running(name: str) -> None:
    record = cluster_records.read(name)
    if record is not None and cluster_records.is_running(record):
        raise ClusterError(f'node(s) already exist for a cluster with the name "{name}"')


def _start(plan: Plan, programs: Path, say: Say) -> tuple[ClusterRecord, NamespaceGuard]:
    """Writes the state and starts the namespaces; their first process waits for the start signal."""
    with _exclusively():
        # another create may have taken the name before we got the lock
        _refuse_running(plan.name)
        _sweep(say)
        taken = {record.index for record in cluster_records.running()}
        record = ClusterRecord(
            name=plan.name,
            # clusters of another state directory are visible by their links only
            index=addresses.free_index(taken | namespaces.linked_indices()),
            binaries=str(programs),
            proxy_mode=plan.proxy_mode,
            node_labels=plan.node_labels,
            feature_gates=plan.feature_gates,
            runtime_config=plan.runtime_config,
            audit_log=plan.audit_log,
            dns_domain=plan.dns_domain,
        )
        # removes empty cgroups of an earlier cluster; fails if they are in use by one of another state directory
        cgroups.remove(record.cgroup)
        try:
            (record.directory / "logs").mkdir(parents=True)
            cluster_records.write(record)
            link = addresses.link(record.index)
            certificates.write_certificates(
                record.directory / "pki", record.node_name, link.node_address, record.dns_domain
            )
            configuration_files.write(record, snapshotter=doctor.snapshotter(paths.state_root()))
            cgroups.create(record.cgroup)
            record, guard = namespaces.start(record)
        except BaseException:
            _remove(record)
            raise
    return record, guard


def _sweep(say: Say) -> None:
    """Removes what is left of clusters that ended without delete. Call it under the lock only."""
    alive = {record.name for record in cluster_records.running()}
    for name in cluster_records.known_names():
        if name not in alive:
            say(f'Removing what is left of cluster "{name}", which no longer runs')
            _remove(cluster_records.read(name) or _nameless(name))


def _nameless(name: str) -> ClusterRecord:
    """Returns a stand-in for a lost or unreadable record, enough to remove the directory and cgroups."""
    return ClusterRecord(name=name, index=0, binaries="")


def _remove(record: ClusterRecord) -> None:
    """Removes processes, link, cgroups and state."""
    namespaces.end(record)
    if record.index:
        namespaces.remove_link(addresses.link(record.index))
    cgroups.remove(record.cgroup)
    shutil.rmtree(record.directory, ignore_errors=True)
    if record.directory.exists():
        raise ClusterError(f"cannot remove {record.directory}: is something mounted below it?")


@contextlib.contextmanager
def _exclusively() -> Iterator[None]:
    """Holds the lock of the state directory, so that one create or delete at a time changes it."""
    root = paths.state_root()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (root / ".lock").open("w")
    except OSError as error:
        raise ClusterError(
            f"cannot write to {root} ({error.strerror}): run as root, or set RELAY_CLUSTERS"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
