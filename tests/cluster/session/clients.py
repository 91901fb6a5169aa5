"""kubectl and helm for one cluster, and forwarding of ports to it."""

import contextlib
import json
import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.errors import ClusterError

COMMAND_SECONDS = 300.0
FORWARD_SECONDS = 20.0
FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")


@dataclass(frozen=True, slots=True)
class Client:
    """A command-line client bound to one kubeconfig. home keeps its caches apart from the user's."""

    program: Path
    kubeconfig: Path
    home: Path

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs the command and returns its output; raises ClusterError with its error output."""
        done = self.attempt(*arguments, stdin=stdin)
        if done.returncode:
            raise ClusterError(
                f"{self.program.name} {' '.join(arguments)} failed with exit code "
                f"{done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout

    def attempt(
        self, *arguments: str, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs the command and returns it finished, whatever its exit code."""
        return subprocess.run(
            [str(self.program), *arguments],
            input=stdin,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """Runs the command with `--output json` and returns the parsed output."""
        return json.loads(self(*arguments, "--output", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        """Applies these objects, in this order (kubectl only)."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self("apply", "--filename", "-", stdin=json.dumps(listed))

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "KUBECONFIG": str(self.kubeconfig),
            "HELM_CACHE_HOME": str(self.home / "helm-cache"),
            "HELM_CONFIG_HOME": str(self.home / "helm-config"),
            "HELM_DATA_HOME": str(self.home / "helm-data"),
        }


@contextlib.contextmanager
def port_forward(
    kubectl: Client, target: str, port: int, *, namespace: str = "default"
) -> Iterator[int]:
    """Forwards a free port of 127.0.0.1 to port of target (pod/NAME, service/NAME); yields its number."""
    command = [str(kubectl.program), "port-forward", "--namespace", namespace, "--address"]
    process = subprocess.Popen(
        [*command, "127.0.0.1", target, f":{port}"],
        env=kubectl.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield _forwarded_port(process, f"{target}:{port} in {namespace}")
        finally:
            process.terminate()


def _forwarded_port(process: subprocess.Popen[str], what: str) -> int:
    assert process.stdout is not None
    said = ""
    deadline = time.monotonic() + FORWARD_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([process.stdout], [], [], left)
        line = process.stdout.readline() if ready else ""
        if not line:
            break
        if found := FORWARDING.search(line):
            return int(found[1])
        said += line
    raise ClusterError(f"forwarding a port to {what} failed: {said.strip() or 'no answer'}")
