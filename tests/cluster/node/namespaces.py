"""Starts, enters and ends the private namespaces of a cluster; the host's side of them."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.cluster import addresses, cluster_records, paths
from tests.cluster.cluster_records import ClusterRecord, Process
from tests.cluster.errors import ClusterError
from tests.cluster.node import first_process

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INTERFACES = Path("/sys/class/net")
CHILD_SECONDS = 10.0
END_SECONDS = 20.0

UNSHARE = ("unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--mount-proc")


class NamespaceGuard:
    """Ties new namespaces to this process until keep is called: they end when it does."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def go(self) -> None:
        self._say(first_process.GO)

    def keep(self) -> None:
        self._say(first_process.KEEP)
        assert self._process.stdin is not None
        self._process.stdin.close()
        # it goes on without us; nobody here will wait for it
        self._process.returncode = 0

    def ended(self) -> int | None:
        """The exit code once the namespaces are gone, else None."""
        return self._process.poll()

    def end(self) -> None:
        """The namespaces are gone."""
        self._process.kill()
        self._process.wait()

    def _say(self, word: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ClusterError("the node ended while it was being set up") from error


def environment() -> dict[str, str]:
    """What the node's processes see: nothing of the caller's, whose proxies and tokens are none of their business."""
    return {
        "PATH": SYSTEM_PATH,
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(paths.REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        # the node's first process must find the same state directory
        "RELAY_CLUSTERS": str(paths.state_root()),
    }


def start(record: ClusterRecord) -> tuple[ClusterRecord, NamespaceGuard]:
    """The cluster's first process waits in new namespaces, linked to the host; the record names both processes."""
    with (record.directory / "logs" / "init.log").open("ab") as log:
        process = subprocess.Popen(
            [
                *UNSHARE,
                "--kill-child=SIGKILL",
                *(sys.executable, "-P", "-m", "tests.cluster.node.first_process", record.name),
            ],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(),
            cwd="/",
            # signals meant for the creating command's terminal must not reach the cluster
            start_new_session=True,
        )
    guard = NamespaceGuard(process)
    try:
        inner = _child_of(guard)
        started = replace(record, outer=cluster_records.identify(process.pid), inner=inner)
        cluster_records.write(started)
        _connect(addresses.link(record.index), inner.pid)
    except BaseException:
        guard.end()
        raise
    return started, guard


def _child_of(guard: NamespaceGuard) -> Process:
    children = Path(f"/proc/{guard.pid}/task/{guard.pid}/children")
    deadline = time.monotonic() + CHILD_SECONDS
    while guard.ended() is None and time.monotonic() < deadline:
        try:
            listed = children.read_text().split()
        except FileNotFoundError:
            break
        identified = cluster_records.identify(int(listed[0])) if listed else None
        if identified is not None:
            return identified
        time.sleep(0.005)
    raise ClusterError("cannot make the cluster's namespaces (unshare ended): run doctor")


def _connect(link: addresses.Link, pid: int) -> None:
    """A wire from the host into the namespaces of this process."""
    peer = ("type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _ip("link", "add", link.host_interface, *peer)
    _ip("address", "add", f"{link.host_address}/{link.prefix_length}", "dev", link.host_interface)
    _ip("link", "set", link.host_interface, "up")


def linked_indices() -> set[int]:
    """The cluster indices whose link exists on this host."""
    names = (path.name.removeprefix(addresses.INTERFACE) for path in INTERFACES.iterdir())
    return {int(name) for name in names if name.isdigit()}


def remove_link(link: addresses.Link) -> None:
    """The host has no such interface. The kernel removes it by itself, but some time after its namespace ended."""
    if (INTERFACES / link.host_interface).exists():
        subprocess.run(
            ["ip", "link", "delete", link.host_interface],
            # it may have gone between the look and the deletion
            capture_output=True,
            check=False,
        )


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"linking the cluster to the host failed: {done.stderr.strip()}")


def end(record: ClusterRecord) -> None:
    """No process of the cluster is left. Ending the outer process ends the inner one, and that ends every other."""
    for process in (record.outer, record.inner):
        if process is not None and cluster_records.is_alive(process):
            os.kill(process.pid, 9)
    deadline = time.monotonic() + END_SECONDS
    while any(cluster_records.is_alive(process) for process in (record.outer, record.inner)):
        if time.monotonic() > deadline:
            raise ClusterError(f"the processes of cluster {record.name} do not end")
        time.sleep(0.01)


def command(record: ClusterRecord, argv: Sequence[str]) -> list[str]:
    """A command line that runs argv on the node: in all its namespaces, at its root (which need not be the machine's)."""
    assert record.inner is not None
    return [
        *("nsenter", f"--target={record.inner.pid}", "--mount", "--net", "--pid", "--ipc"),
        *("--root", "--wdns=/", "--", *argv),
    ]
