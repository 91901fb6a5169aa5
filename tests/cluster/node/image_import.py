"""Loads images into a running node's container runtime."""

import subprocess
from pathlib import Path
from typing import IO

from tests.cluster.cluster_records import ClusterRecord
from tests.cluster.errors import ClusterError
from tests.cluster.images import archive
from tests.cluster.images.archive import Image
from tests.cluster.node import namespaces
from tests.cluster.node.configuration_files import CONTAINERD_SOCKET

CTR = ("ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io")
IMPORT = (*CTR, "images", "import", "-")
LIST_CONTENT = (*CTR, "content", "list", "--quiet")


def load(record: ClusterRecord, image: Image) -> None:
    """Loads an image, so that pods can use it by its name. Sends only layers that the node does not have."""
    _import(record, image, _content(record))


def load_archive(record: ClusterRecord, path: Path) -> None:
    """Loads every image of an archive: an OCI layout or the output of `docker save`."""
    try:
        content = path.open("rb")
    except OSError as error:
        raise ClusterError(f"cannot read image archive {path}: {error.strerror}") from error
    with content:
        _run_import(record, str(path), stdin=content)


def runtime_answers(record: ClusterRecord) -> bool:
    """Returns whether containerd takes requests yet."""
    assert record.inner is not None
    return Path(f"/proc/{record.inner.pid}/root{CONTAINERD_SOCKET}").exists()


def _content(record: ClusterRecord) -> frozenset[str]:
    """Returns the SHA-256 digests, in hex, of the content in the node's runtime."""
    listed = subprocess.run(
        namespaces.command(record, LIST_CONTENT), capture_output=True, text=True, check=False
    )
    if listed.returncode:
        raise ClusterError(f"listing the images of {record.node_name} failed: {listed.stderr}")
    return frozenset(line.removeprefix("sha256:") for line in listed.stdout.split())


def _import(record: ClusterRecord, image: Image, known: frozenset[str]) -> None:
    command = namespaces.command(record, IMPORT)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with process.stdin as pipe:
                archive.write(image, pipe, without=known)
        except BrokenPipeError:
            # the importer ended early; its output has the reason
            pass
        said = process.stdout.read().decode(errors="replace")
    if process.returncode:
        raise ClusterError(
            f"loading {image.reference} into {record.node_name} failed: {said.strip()}"
        )


def _run_import(record: ClusterRecord, what: str, *, stdin: IO[bytes]) -> None:
    done = subprocess.run(
        namespaces.command(record, IMPORT),
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterError(f"loading {what} into {record.node_name} failed: {done.stderr.strip()}")
