"""Turns the namespaces of the calling process into a node: mounts, shielded kernel settings, network.

Runs as the first process of the namespaces, before any component. Nothing here reaches the host: the mounts are
private, the addresses live in the own network namespace.
"""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import addresses
from tests.cluster.errors import ClusterError
from tests.cluster.node import policy_queue
from tests.cluster.node.components import OUTSIDE_NAMESPACE

LINK_SECONDS = 20.0

SHIELDED_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""Kernel settings without a namespace: kubelet would change them for the whole machine."""

STATE_DIRECTORIES = ("varlog", "podlogs", "volumeplugins", "kubelet", "etcd", "opt", "shield")


def prepare(directory: Path, link: addresses.Link) -> None:
    """Prepares the node for its components: mounts, settings, link to the host, internet stub, policy queue."""
    for name in STATE_DIRECTORIES:
        (directory / name).mkdir(mode=0o700, exist_ok=True)
    _mount_private(directory)
    _shield_settings(directory / "shield")
    _configure_network(link)
    _build_internet()
    _run("iptables-restore", "--noflush", stdin=policy_queue.rules())


def _mount_private(directory: Path) -> None:
    _run("mount", "--make-rprivate", "/")
    # hides the host's sockets; network namespaces, locks and container state are the node's own
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for name in ("netns", "lock", "containerd"):
        (Path("/run") / name).mkdir()
    # containers that ask for mount propagation must see kubelet's volumes
    _run("mount", "--make-rshared", "/")
    _run("mount", "--bind", str(directory / "varlog"), "/var/log")
    # kubelet's device plugin socket is below /var/lib/kubelet whatever --root-dir says
    for path in ("/var/lib/cni", "/var/lib/kubelet"):
        Path(path).mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "tmpfs", path)


def _shield_settings(shield: Path) -> None:
    """Mounts plain files over the settings, so that kubelet reads back the values it wrote."""
    for setting in SHIELDED_SETTINGS:
        source = Path("/proc/sys") / setting
        if not source.exists():
            continue
        copy = shield / setting.replace("/", ".")
        copy.write_text(source.read_text())
        _run("mount", "--bind", str(copy), str(source))


def _configure_network(link: addresses.Link) -> None:
    _run("ip", "link", "set", "lo", "up")
    # policies cover IPv4 only: without this, pods could reach the node's link-local IPv6 addresses
    for scope in ("all", "default"):
        _write_setting(f"net/ipv6/conf/{scope}/disable_ipv6", "1")
    _wait_for_link()
    _run("ip", "address", "add", f"{link.node_address}/{link.prefix_length}", "dev", "eth0")
    _run("ip", "link", "set", "eth0", "up")
    _write_setting("net/ipv4/ip_forward", "1")


def _wait_for_link() -> None:
    """Waits until the create command has moved eth0 into this namespace."""
    deadline = time.monotonic() + LINK_SECONDS
    while subprocess.run(
        ["ip", "link", "show", "eth0"], capture_output=True, check=False
    ).returncode:
        if time.monotonic() > deadline:
            raise ClusterError(f"no link to the host appeared within {LINK_SECONDS:.0f} s")
        time.sleep(0.01)


def _build_internet() -> None:
    """Builds a second network in place of the internet, reached by the default route."""
    outside = Path(OUTSIDE_NAMESPACE).name
    prefix = addresses.OUTSIDE_CIDR.rpartition("/")[2]
    _run("ip", "netns", "add", outside)
    _run("ip", "link", "add", "outside0", "type", "veth", "peer", "name", "eth0", "netns", outside)
    _run("ip", "address", "add", f"{addresses.OUTSIDE_GATEWAY}/{prefix}", "dev", "outside0")
    _run("ip", "link", "set", "outside0", "up")
    _run("ip", "-n", outside, "link", "set", "lo", "up")
    _run(
        "ip",
        "-n",
        outside,
        "address",
        "add",
        f"{addresses.OUTSIDE_ADDRESS}/{prefix}",
        "dev",
        "eth0",
    )
    _run("ip", "-n", outside, "link", "set", "eth0", "up")
    _run("ip", "-n", outside, "route", "add", "default", "via", addresses.OUTSIDE_GATEWAY)
    _run("ip", "route", "add", "default", "via", addresses.OUTSIDE_ADDRESS)


def _write_setting(name: str, value: str) -> None:
    path = Path("/proc/sys") / name
    # a kernel without IPv6 has no such file, and nothing to turn off
    if path.exists():
        path.write_text(value)


def _run(*command: str, stdin: str | None = None) -> None:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(_failure(command, done.stderr))


def _failure(command: Sequence[str], stderr: str) -> str:
    return f"setting up the node failed at `{' '.join(command)}`: {stderr.strip()}"
