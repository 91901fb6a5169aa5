"""Builds programs and images before a cluster is created, and shows the progress."""

import subprocess
import sys

from tests.cluster import paths
from tests.cluster.images import docker_engine
from tests.cluster.session import provider
from tests.demo.commands import DemoFailed


def prepare(found: provider.Provider) -> None:
    """Builds programs and images that are missing or outdated. Raises DemoFailed or ClusterError."""
    if not found.embedded:
        docker_engine.build()
        return
    for what in ("binaries", "images"):
        command = [str(found.kind), "build", what]
        done = subprocess.run(command, cwd=paths.REPOSITORY, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise DemoFailed(f"{' '.join(command)} failed")


if __name__ == "__main__":
    chosen = provider.find()
    sys.stdout.write(f"cluster: {chosen.reason}\n")
    sys.stdout.flush()
    prepare(chosen)
