"""Checks that the machine has what a node needs, before anything is built or started."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import paths
from tests.cluster.build import debian_packages, go_build
from tests.cluster.errors import ClusterError, ToolMissing
from tests.cluster.node import cgroups, policy_queue
from tests.cluster.node.namespaces import UNSHARE

NAT_TABLE = "add table ip probe\nadd chain ip probe c { type nat hook postrouting priority 100; }\nadd rule ip probe c masquerade\n"

OVERLAY = "overlayfs"
NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. problem is empty if it passed; a problem that does not block only costs time."""

    subject: str
    problem: str = ""
    blocks: bool = True


def findings() -> list[Finding]:
    """Runs every check, in the order in which they depend on each other. May create an empty state directory."""
    checks: Sequence[tuple[str, Callable[[], str]]] = (
        ("root", _root),
        ("Go toolchain", _go),
        ("private namespaces", _namespaces),
        ("cgroups", _cgroups),
        ("veth links", _veth),
        ("packet queue for network policies", _packet_queue),
        ("nftables for Services", _nftables),
        ("state directory", _state_directory),
    )
    found = [Finding(subject, check()) for subject, check in checks]
    found.append(Finding("Debian packages", _packages(), blocks=False))
    found.append(Finding("overlay snapshots", _overlay(), blocks=False))
    return found


def require_host() -> None:
    """Checks that a node can run here; raises ToolMissing with everything that prevents it."""
    checks: Sequence[tuple[str, Callable[[], str]]] = (
        ("root", _root),
        ("private namespaces", _namespaces),
        ("cgroups", _cgroups),
        ("packet queue for network policies", _packet_queue),
    )
    problems = [f"{subject}: {problem}" for subject, check in checks if (problem := check())]
    if problems:
        raise ToolMissing("this machine cannot run a node: " + "; ".join(problems))


def snapshotter(directory: Path) -> str:
    """Returns containerd's snapshotter for this directory: overlayfs if its filesystem supports it, else copies."""
    with tempfile.TemporaryDirectory(dir=directory, prefix=".overlay.") as work:
        parts = {name: Path(work) / name for name in ("lowerdir", "upperdir", "workdir")}
        merged = Path(work) / "merged"
        for path in (*parts.values(), merged):
            path.mkdir()
        options = ",".join(f"{name}={path}" for name, path in parts.items())
        mount = ["mount", "-t", "overlay", "-o", options, "overlay", str(merged)]
        return NATIVE if _in_namespaces(mount) else OVERLAY


def _root() -> str:
    return "" if os.geteuid() == 0 else "run as root: containers, mounts and links need it"


def _go() -> str:
    try:
        go_build.go_version(go_build.find_go())
    except ClusterError as error:
        return str(error)
    return ""


def _packages() -> str:
    missing = debian_packages.missing()
    return f"create will install {' '.join(missing)}" if missing else ""


def _namespaces() -> str:
    said = _in_namespaces(["true"])
    return f"{' '.join(UNSHARE)} is refused ({said})" if said else ""


def _cgroups() -> str:
    if not cgroups.ROOT.is_dir() or not cgroups.hierarchies():
        return f"no cgroup hierarchy is mounted at {cgroups.ROOT}"
    missing = cgroups.missing_controllers()
    if missing:
        return f"controllers not available: {', '.join(sorted(missing))}"
    unwritable = [str(h) for h in cgroups.hierarchies() if not os.access(h, os.W_OK)]
    return f"cannot be written to: {', '.join(unwritable)}" if unwritable else ""


def _veth() -> str:
    said = _in_namespaces(["ip", "link", "add", "name", "probe0", "type", "veth"])
    return f"the kernel refuses veth pairs ({said})" if said else ""


def _packet_queue() -> str:
    said = _in_namespaces(["iptables-restore", "--noflush"], stdin=policy_queue.rules())
    return f"the kernel refuses the NFQUEUE rules ({said})" if said else ""


def _nftables() -> str:
    said = _in_namespaces(["nft", "-f", "-"], stdin=NAT_TABLE)
    return f"the kernel refuses nftables NAT rules ({said})" if said else ""


def _state_directory() -> str:
    root = paths.state_root()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        return f"{root}: {error.strerror}; set RELAY_CLUSTERS to another directory"
    return "" if os.access(root, os.W_OK) else f"{root} cannot be written to"


def _overlay() -> str:
    root = paths.state_root()
    if _state_directory() or snapshotter(root) == OVERLAY:
        return ""
    return f"the filesystem of {root} does not support them: images are copied, which is slower"


def _in_namespaces(command: Sequence[str], stdin: str = "") -> str:
    """Runs command in temporary namespaces; returns its error, empty if it succeeded."""
    try:
        done = subprocess.run(
            [*UNSHARE, *command], input=stdin, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        return f"{error.filename} is missing"
    if not done.returncode:
        return ""
    return done.stderr.strip() or f"exit code {done.returncode}"
