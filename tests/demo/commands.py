"""Runs kubectl and helm against one cluster, with deadlines that show the last value seen."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.demo import objects_read

COMMAND_SECONDS = 120.0

Seen = TypeVar("Seen")


class DemoFailed(Exception):
    """A step did not end as expected; the message says what was seen instead."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster and the commands to use it."""

    name: str
    kubeconfig: Path
    kubectl_path: Path
    helm_path: Path

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl and returns its output; raises DemoFailed with its error."""
        return self._run([str(self.kubectl_path), *arguments], stdin)

    def break_glass(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs kubectl as an admin in an emergency, who may also change what the operator keeps."""
        groups = ("--as-group=system:masters", "--as-group=relay-operator:break-glass")
        return self.kubectl("--as=on-call", *groups, *arguments, stdin=stdin)

    def helm(self, *arguments: str) -> str:
        """Runs helm and returns its output; raises DemoFailed with its error."""
        return self._run([str(self.helm_path), *arguments], None)

    def get(self, *arguments: str) -> dict[str, Any]:
        """Returns an object as kubectl prints it in JSON; raises DemoFailed with kubectl's error."""
        read = objects_read.answer(self.kubeconfig, arguments)
        found: dict[str, Any] = read or json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def _run(self, command: list[str], stdin: str | None) -> str:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            command,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise DemoFailed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout


def wait_until(
    what: str,
    look: Callable[[], Seen],
    good: Callable[[Seen], bool],
    *,
    seconds: float,
    every: float = 0.1,
) -> Seen:
    """Returns the first value that is good; raises DemoFailed with the last value after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if good(seen):
            return seen
        if time.monotonic() > deadline:
            raise DemoFailed(f"waited {seconds:g} s for {what}; last seen: {seen}")
        time.sleep(every)
