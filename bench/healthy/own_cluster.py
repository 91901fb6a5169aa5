"""A cluster for one benchmark, with this checkout's images, deleted at the end."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.session import provider
from tests.demo import prepare, stage
from tests.demo.commands import Cluster


@contextlib.contextmanager
def own_cluster(name: str) -> Iterator[Cluster]:
    """Creates the cluster, over one that an aborted run may have left."""
    found = provider.find()
    prepare.prepare(found)
    with tempfile.TemporaryDirectory() as directory:
        kubeconfig = Path(directory) / "kubeconfig"

        def kind(*arguments: str) -> None:
            # keeps kind from merging its kubeconfig into the user's own
            environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
            command = [str(found.kind), *arguments, "--name", name]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

        kind("delete", "cluster")
        try:
            kind("create", "cluster", "--kubeconfig", str(kubeconfig), "--wait", "120s")
            stage.load_images(found.kind, name)
            yield Cluster(name, kubeconfig, found.kubectl, found.helm)
        finally:
            kind("delete", "cluster")
