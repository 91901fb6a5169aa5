"""Runs the commands that helm prints after an installation."""

import os
import shlex
import subprocess

from tests.demo import stage
from tests.demo.commands import Cluster

RELEASE = ("relay-operator", "--namespace", stage.OPERATOR_NAMESPACE)


def of(cluster: Cluster, release: tuple[str, ...] = RELEASE) -> str:
    """Returns the notes of a release."""
    return cluster.helm("get", "notes", *release)


def lines(notes: str) -> list[str]:
    """Returns the commands that the notes have on lines of their own."""
    indented = [line.strip() for line in notes.splitlines() if line.startswith("  ")]
    return [line for line in indented if line.startswith(("kubectl ", "helm "))]


def commands(notes: str) -> list[list[str]]:
    """Returns the same, word by word."""
    return [shlex.split(line) for line in lines(notes)]


def pasted(cluster: Cluster, line: str) -> str:
    """Runs a line in a shell; returns what it prints."""
    programs = f"{cluster.kubectl_path.parent}:{cluster.helm_path.parent}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        env={
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "KUBECONFIG": str(cluster.kubeconfig),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout
