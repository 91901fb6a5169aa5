"""Process 1 of a cluster's namespaces: `python -m tests.cluster.node.first_process NAME`.

Its standard input is the create command's namespace guard: the line GO starts the node, KEEP lets the node outlive the
command, and the pipe's end before KEEP ends the node, so that a create that is killed leaves nothing running.
"""

import os
import resource
import ssl
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from tests.cluster import addresses, cluster_records
from tests.cluster.errors import ClusterError
from tests.cluster.node import control, setup
from tests.cluster.node.components import After, components
from tests.cluster.node.configuration_files import CONTAINERD_SOCKET, LOCAL_API
from tests.cluster.node.supervisor import Supervisor

GO = b"go\n"
KEEP = b"keep\n"
ABANDONED = 3
API_POLL_SECONDS = 0.05


def main(name: str) -> int:
    """Runs the node and does not return; returns ABANDONED if the create command ends before it starts the node."""
    guard = sys.stdin.buffer
    if guard.readline() != GO:
        return ABANDONED
    # create writes the record before it sends GO
    record = cluster_records.read(name)
    if record is None:
        raise ClusterError(f"there is no cluster record for {name}")
    threading.Thread(target=_end_with_creator, args=(guard,), daemon=True).start()
    _raise_file_limit()
    setup.prepare(record.directory, addresses.link(record.index))
    _log("node prepared")
    api_ready = threading.Event()
    threading.Thread(
        target=_watch_api, args=(record.directory / "pki" / "ca.crt", api_ready), daemon=True
    ).start()
    supervisor = Supervisor(
        components(record),
        directory=record.directory,
        conditions={
            After.CONTAINERD: Path(CONTAINERD_SOCKET).exists,
            After.API: api_ready.is_set,
        },
        log=_log,
    )
    supervisor.run(control.listen(record.directory))
    return 0


def _raise_file_limit() -> None:
    """Raises the soft limit of open files, which containers inherit, to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _end_with_creator(guard: BinaryIO) -> None:
    if guard.readline() != KEEP:
        _log("the create command ended: ending the node")
        # the kernel ends every other process of the namespaces with this one
        os._exit(ABANDONED)


def _watch_api(authority: Path, ready: threading.Event) -> None:
    """Sets ready at the first `ok` of /readyz, which needs no credentials (system:public-info-viewer)."""
    context = ssl.create_default_context(cafile=str(authority))
    # an empty ProxyHandler keeps urllib from using the environment's proxy
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    while not ready.is_set():
        try:
            with opener.open(f"{LOCAL_API}/readyz", timeout=2) as answer:
                if answer.read() == b"ok":
                    _log("API server ready")
                    ready.set()
        except (urllib.error.URLError, OSError):
            time.sleep(API_POLL_SECONDS)


def _log(line: str) -> None:
    print(f"{time.time():.3f} {line}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except ClusterError as error:
        _log(f"ERROR: {error}")
        sys.exit(1)
    except Exception:
        _log(traceback.format_exc())
        sys.exit(1)
