"""Writes down every state that the objects of a cluster pass through, beside whatever else is going on there."""

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.demo.commands import Cluster
from tests.ecosystem import kinds

KINDS = tuple(sorted(kinds.defined().values()))
_OURS = {kind: f"/apis/relay-operator.dev/v1alpha1/{kind}" for kind in KINDS}
_SUFFIX = ".jsonl"
_AGAIN_SECONDS = 1.0


class WatchedStates:
    """Watches all objects of each kind from start to stop. A watch that ends, with the API server perhaps, begins again.

    paths has a kind's path at the API server, by a name for it.
    """

    def __init__(self, cluster: Cluster, directory: Path, paths: Mapping[str, str] = _OURS) -> None:
        self._cluster = cluster
        self._paths = paths
        self._directory = directory
        self._ended = threading.Event()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._threads = [threading.Thread(target=self._watch, args=(kind,)) for kind in paths]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for process in list(self._running.values()):
            process.terminate()
        for thread in self._threads:
            thread.join()

    def bodies(self) -> Iterator[dict[str, Any]]:
        """Yields every state that was seen, once."""
        return bodies(self._directory)

    def _file(self, kind: str) -> Path:
        return self._directory / f"{kind}{_SUFFIX}"

    def _watch(self, kind: str) -> None:
        command = [str(self._cluster.kubectl_path), f"--kubeconfig={self._cluster.kubeconfig}"]
        command += ["get", "--raw", f"{self._paths[kind]}?watch=1&timeoutSeconds=3600"]
        while not self._ended.is_set():
            with self._file(kind).open("ab") as file:
                process = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)
                self._running[kind] = process
                if self._ended.is_set():
                    process.terminate()
                process.wait()
                # what a watch that ended in the middle of a line left
                file.write(b"\n")
            self._ended.wait(_AGAIN_SECONDS)


def bodies(directory: Path) -> Iterator[dict[str, Any]]:
    """Yields every state that was seen and written to files of the directory, once, in the order in which each kind's were."""
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        seen = set()
        for event in _events(path):
            body = event["object"]
            version = body.get("metadata", {}).get("resourceVersion")
            if event["type"] in ("ADDED", "MODIFIED") and version not in seen:
                seen.add(version)
                yield body


def _events(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "type" in event:
            yield event
