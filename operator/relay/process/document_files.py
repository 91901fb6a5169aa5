"""The two files a relay may start from: the mounted ConfigMap and its own copy of the last accepted document."""

import os
from pathlib import Path
from typing import Final

from relay_contract.document import MAX_DOCUMENT_BYTES
from relay_contract.endpoints import DOCUMENT_KEY

_Stamp = tuple[int, int, int]


class DocumentMount:
    """The kubelet replaces the `..data` link beside the file; its target's inode and times tell of a new version."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()

    def changed(self) -> bool:
        """Looks for a new file, at the cost of one stat; returns True if there is one since the last call."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        return stamp is not None

    def read(self) -> bytes | None:
        """Reads the file; None when there is none."""
        return _read(self._path)

    def _stamp(self) -> _Stamp | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size


class StateFile:
    """Survives a restart of the container, not of the pod."""

    NAME: Final = f"accepted-{DOCUMENT_KEY}"

    def __init__(self, directory: Path) -> None:
        self._path = directory / self.NAME

    def read(self) -> bytes | None:
        """Reads the last accepted envelope; None when there is none."""
        return _read(self._path)

    def write(self, envelope: bytes) -> None:
        """Keeps the envelope, whole or not at all; raises OSError when it cannot."""
        _replace(self._path, envelope)


class LeaderFile:
    """Keeps what the latest leader has shown, beside the last accepted document."""

    NAME: Final = "leader"

    def __init__(self, directory: Path) -> None:
        self._path = directory / self.NAME

    def read(self) -> str:
        """Reads what was shown; empty when nothing was."""
        return (_read(self._path) or b"").decode(errors="replace")

    def write(self, shown: str) -> None:
        """Keeps it, whole or not at all; raises OSError when it cannot."""
        _replace(self._path, shown.encode())


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            # one byte more than is ever taken, so that an oversized file is refused and not cut
            return file.read(2 * MAX_DOCUMENT_BYTES + 1)
    except OSError:
        return None
