"""kubectl relay on the real cluster, built as it is shipped and called by kubectl."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.demo.commands import Cluster

import plugin_build


@dataclass(frozen=True, slots=True)
class Plugin:
    """The built plugin on PATH, beside kubectl and a python3."""

    cluster: Cluster
    directory: Path

    @classmethod
    def built(cls, cluster: Cluster, directory: Path) -> "Plugin":
        plugin_build.build(directory, "")
        (directory / "python3").symlink_to(sys.executable)
        return cls(cluster, directory)

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `kubectl relay ...` as a person does."""
        return self._run("relay", *arguments)

    def completions(self, *words: str) -> list[str]:
        """Returns what kubectl offers a shell for the last of these words after `kubectl relay`."""
        return self._run("__complete", "relay", *words).stdout.splitlines()

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kubectl = self.cluster.kubectl_path
        environment = {
            **os.environ,
            # as wide as the pages show it, whatever the terminal of the tests is
            "COLUMNS": "100",
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "PATH": f"{self.directory}:{kubectl.parent}:{os.environ['PATH']}",
        }
        return subprocess.run(
            [str(kubectl), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def __call__(self, *arguments: str) -> str:
        """Runs a command that has to succeed; returns what it prints."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        print(f"\n$ kubectl relay {' '.join(arguments)}\n{done.stdout}")
        return done.stdout

    def data(self, *arguments: str) -> dict[str, Any]:
        """Returns what a command prints for machines."""
        found: dict[str, Any] = json.loads(self(*arguments, "-o", "json"))
        return found
