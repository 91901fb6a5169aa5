"""Builds what a cluster needs before one is made, with its progress in plain sight: programs and images."""

import subprocess
import sys

from tests.cluster import places, provider
from tests.demo.commands import DemoFailed

DOCKERFILES = {
    "relay-operator:dev": "operator/Dockerfile",
    "provider-simulator:dev": "tests/cluster/docker/provider-simulator.Dockerfile",
    "prometheus:dev": "tests/cluster/docker/prometheus.Dockerfile",
}


def prepare(found: provider.Provider) -> None:
    """Programs and images are there; quick when they were. Raises DemoFailed."""
    if found.embedded:
        for what in ("binaries", "images"):
            _run([str(found.kind), "build", what])
        return
    for image, dockerfile in DOCKERFILES.items():
        _run(["docker", "build", "--quiet", "--tag", image, "--file", dockerfile, "."])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=places.REPOSITORY, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise DemoFailed(f"{' '.join(command)} failed")


if __name__ == "__main__":
    chosen = provider.find()
    sys.stdout.write(f"cluster: {chosen.reason}\n")
    sys.stdout.flush()
    prepare(chosen)
