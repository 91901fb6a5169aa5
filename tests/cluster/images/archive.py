"""Writes an image as an OCI archive, which containerd, skopeo and podman import.

Format: OCI image-spec 1.1, image layout in an uncompressed tar. Equal images give byte-identical archives.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

EPOCH_SECONDS = 0
"""Every time stamp we write."""

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"

DEFAULT_REGISTRY = "docker.io"


@dataclass(frozen=True, slots=True)
class Layer:
    """An uncompressed tar on disk; its digest is therefore its diff id as well. sha256 is in hex, size in bytes."""

    path: Path
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image to write. reference is complete, e.g. docker.io/library/relay-operator:dev."""

    reference: str
    layers: tuple[Layer, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ("PATH=/usr/local/bin:/usr/bin:/bin",)
    user: str = ""
    working_directory: str = "/"
    labels: Mapping[str, str] | None = None
    architecture: str = "amd64"


@dataclass(frozen=True, slots=True)
class _Blob:
    media_type: str
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def descriptor(self) -> dict[str, Any]:
        return descriptor(self.media_type, self.sha256, len(self.content))


def complete_reference(name: str) -> str:
    """Completes a name by Docker's rules (library/ and latest are implied), as containerd stores it."""
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        path, tag = name, "latest"
    first, slash, _ = path.partition("/")
    if not slash:
        return f"{DEFAULT_REGISTRY}/library/{path}:{tag}"
    if "." in first or ":" in first or first == "localhost":
        return f"{path}:{tag}"
    return f"{DEFAULT_REGISTRY}/{path}:{tag}"


def descriptor(media_type: str, sha256: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{sha256}", "size": size}


def manifest_digest(image: Image) -> str:
    """Returns the image's digest, SHA-256 in hex."""
    return _manifest(image, _config(image)).sha256


def write(image: Image, output: IO[bytes], *, without: Collection[str] = ()) -> None:
    """Writes the archive to output, which need not be seekable.

    Leaves out the layers whose SHA-256 (in hex) is in without, which the receiver has already.
    """
    config = _config(image)
    manifest = _manifest(image, config)
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", _json(_index(image, manifest)))
        for blob in (manifest, config):
            _add(archive, f"blobs/sha256/{blob.sha256}", blob.content)
        for layer in dict.fromkeys(image.layers):
            if layer.sha256 not in without:
                _add_layer(archive, layer)


def _config(image: Image) -> _Blob:
    settings: dict[str, Any] = {
        "Entrypoint": list(image.entrypoint),
        "Cmd": list(image.command),
        "Env": list(image.environment),
        "User": image.user,
        "WorkingDir": image.working_directory,
        "Labels": dict(image.labels or {}),
    }
    content = {
        "created": "1970-01-01T00:00:00Z",
        "architecture": image.architecture,
        "os": "linux",
        "config": {key: value for key, value in settings.items() if value},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{layer.sha256}" for layer in image.layers],
        },
        "history": [{"created": "1970-01-01T00:00:00Z"} for _ in image.layers],
    }
    return _Blob(CONFIG_TYPE, _json(content))


def _manifest(image: Image, config: _Blob) -> _Blob:
    layers = [descriptor(LAYER_TYPE, layer.sha256, layer.size) for layer in image.layers]
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config.descriptor(),
        "layers": layers,
    }
    return _Blob(MANIFEST_TYPE, _json(content))


def _index(image: Image, manifest: _Blob) -> dict[str, Any]:
    annotations = {
        # containerd takes the first for the whole name, other tools the second for the tag
        "io.containerd.image.name": image.reference,
        "org.opencontainers.image.ref.name": image.reference.rpartition(":")[2],
    }
    entry = {**manifest.descriptor(), "annotations": annotations}
    entry["platform"] = {"architecture": image.architecture, "os": "linux"}
    return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o644, EPOCH_SECONDS
    return entry


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_entry(name, len(content)), io.BytesIO(content))


def _add_layer(archive: tarfile.TarFile, layer: Layer) -> None:
    with layer.path.open("rb") as content:
        archive.addfile(_entry(f"blobs/sha256/{layer.sha256}", layer.size), content)
