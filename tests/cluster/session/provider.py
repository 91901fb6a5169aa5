"""Chooses the provider of clusters: kind on Docker where both work, else the embedded cluster."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import paths
from tests.cluster.build import go_build, go_programs

DOCKER_SECONDS = 10.0
EMBEDDED_KIND = paths.PACKAGE / "kind"

FORCE = "RELAY_CLUSTER_PROVIDER"
"""Environment variable: embedded or kind, to override the choice."""


@dataclass(frozen=True, slots=True)
class Provider:
    """The commands to use, and the reason for the choice."""

    kind: Path
    kubectl: Path
    helm: Path
    embedded: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Input of the choice: paths of commands (None: not found) and why Docker cannot be used, if so."""

    kind: str | None
    kubectl: str | None
    helm: str | None
    docker_problem: str


def choose() -> tuple[Path, Path, str]:
    """Returns the kind command, the kubectl command and the reason for them."""
    provider = find()
    return provider.kind, provider.kubectl, provider.reason


def find() -> Provider:
    """Returns the provider of this machine. Builds and installs nothing: the embedded cluster's create does that."""
    machine = _inspect()
    wanted = os.environ.get(FORCE, "")
    if decide(machine, wanted):
        assert machine.kind
        assert machine.kubectl
        assert machine.helm
        return Provider(
            kind=Path(machine.kind),
            kubectl=Path(machine.kubectl),
            helm=Path(machine.helm),
            embedded=False,
            reason=f"kind on Docker: {machine.kind}, and the Docker engine answers",
        )
    programs = go_programs.collection_directory(go_build.go_version(go_build.find_go()))
    return Provider(
        kind=EMBEDDED_KIND,
        kubectl=programs / "kubectl",
        helm=programs / "helm",
        embedded=True,
        reason=f"embedded cluster: {_why_not_kind(machine, wanted)}",
    )


def decide(machine: Machine, wanted: str) -> bool:
    """Returns whether to use kind on Docker. wanted is the value of FORCE; raises ValueError if it is unknown."""
    if wanted not in {"", "embedded", "kind"}:
        raise ValueError(f"{FORCE} must be embedded or kind, not {wanted!r}")
    if wanted == "kind" and (problem := _why_not_kind(machine, wanted)):
        raise ValueError(f"{FORCE}=kind, but {problem}")
    return wanted != "embedded" and not _why_not_kind(machine, wanted)


def _why_not_kind(machine: Machine, wanted: str) -> str:
    if wanted == "embedded":
        return f"{FORCE} asks for it"
    tools = {"kind": machine.kind, "kubectl": machine.kubectl, "helm": machine.helm}
    absent = [name for name, path in tools.items() if path is None]
    if machine.docker_problem:
        return machine.docker_problem
    return f"{', '.join(absent)} not on PATH" if absent else ""


def _inspect() -> Machine:
    return Machine(
        kind=shutil.which("kind"),
        kubectl=shutil.which("kubectl"),
        helm=shutil.which("helm"),
        docker_problem=_docker_problem(),
    )


def _docker_problem() -> str:
    """Returns why containers cannot be run with Docker; empty if its engine answers."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, timeout=DOCKER_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the Docker engine did not answer within {DOCKER_SECONDS:.0f} s"
    return "" if said.returncode == 0 else "there is a docker command, but no engine answers it"
