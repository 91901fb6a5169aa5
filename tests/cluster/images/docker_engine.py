"""Builds the images of this project with Docker, where its engine answers."""

import subprocess

from tests.cluster import paths
from tests.cluster.errors import ClusterError

DOCKERFILES = {
    "relay-operator:dev": "operator/Dockerfile",
    "provider-simulator:dev": "tests/cluster/docker/provider-simulator.Dockerfile",
    "prometheus:dev": "tests/cluster/docker/prometheus.Dockerfile",
}


def build() -> None:
    """Builds all images under the names that manifests use; raises ClusterError."""
    for image, dockerfile in DOCKERFILES.items():
        command = ["docker", "build", "--quiet", "--tag", image, "--file", dockerfile, "."]
        done = subprocess.run(
            command, cwd=paths.REPOSITORY, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ClusterError(f"docker build of {image} failed: {done.stderr[-2000:]}")
