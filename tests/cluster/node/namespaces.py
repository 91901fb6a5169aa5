"""Starts, enters and ends the private namespaces of a cluster, from the host."""

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
    """Ends new namespaces with this process, unless keep has been called.

    It holds the write end of their first process's standard input.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def go(self) -> None:
        self._send(first_process.GO)

    def keep(self) -> None:
        self._send(first_process.KEEP)
        assert self._process.stdin is not None
        self._process.stdin.close()
        # it outlives this process, so Popen must not wait for it
        self._process.returncode = 0

    def ended(self) -> int | None:
        """Returns the exit code once the namespaces have ended, else None."""
        return self._process.poll()

    def end(self) -> None:
        """Ends the namespaces and waits for it."""
        self._process.kill()
        self._process.wait()

    def _send(self, word: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ClusterError("the node ended while it was being set up") from error


def environment() -> dict[str, str]:
    """Returns the environment of the node's processes, without the caller's proxies and tokens."""
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
    """Starts the first process, which waits in new namespaces linked to the host; records both processes."""
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
            # signals to the create command's terminal must not reach the cluster
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
    """Creates the link from the host into the namespaces of this process."""
    peer = ("type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _ip("link", "add", link.host_interface, *peer)
    _ip("address", "add", f"{link.host_address}/{link.prefix_length}", "dev", link.host_interface)
    _ip("link", "set", link.host_interface, "up")


def linked_indices() -> set[int]:
    """Returns the indices of clusters whose link exists on this host."""
    names = (path.name.removeprefix(addresses.INTERFACE) for path in INTERFACES.iterdir())
    return {int(name) for name in names if name.isdigit()}


def remove_link(link: addresses.Link) -> None:
    """Removes the host's interface of a link. The kernel does so too, but some time after the namespace ended."""
    if (INTERFACES / link.host_interface).exists():
        subprocess.run(
            ["ip", "link", "delete", link.host_interface],
            # the kernel may have removed it in the meantime
            capture_output=True,
            check=False,
        )


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"linking the cluster to the host failed: {done.stderr.strip()}")


def end(record: ClusterRecord) -> None:
    """Ends every process of the cluster: the outer process ends the inner one, and that ends the others."""
    for process in (record.outer, record.inner):
        if process is not None and cluster_records.is_alive(process):
            os.kill(process.pid, 9)
    deadline = time.monotonic() + END_SECONDS
    while any(cluster_records.is_alive(process) for process in (record.outer, record.inner)):
        if time.monotonic() > deadline:
            raise ClusterError(f"the processes of cluster {record.name} do not end")
        time.sleep(0.01)


def command(record: ClusterRecord, argv: Sequence[str]) -> list[str]:
    """Returns the command line that runs argv on the node, in all its namespaces and at its root directory."""
    assert record.inner is not None
    return [
        *("nsenter", f"--target={record.inner.pid}", "--mount", "--net", "--pid", "--ipc"),
        *("--root", "--wdns=/", "--", *argv),
    ]
