"""Providers' keys: files below one directory, read again when they change, never logged."""

from collections.abc import Iterable
from pathlib import Path

from relay.routing.snapshot import Upstream


class ProviderKeys:
    """The keys as last read.

    A key whose file vanishes stays in use until another takes its place: a rotation that replaces files one by one must
    not stop traffic.
    """

    __slots__ = ("_directory", "_keys", "_stamps")

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stamps: dict[str, tuple[int, int]] = {}
        self._keys: dict[str, bytes] = {}

    def line(self, upstream: Upstream) -> bytes | None:
        """Returns `Header: scheme key` with its line end; empty when the provider takes no key; None when there is none."""
        if upstream.key_file is None:
            return b""
        key = self._keys.get(upstream.key_file)
        return None if key is None else upstream.auth_prefix + key + b"\r\n"

    def refresh(self, upstreams: Iterable[Upstream]) -> list[str]:
        """Reads the files that have changed and returns their names. Costs a stat per provider."""
        names = {upstream.key_file for upstream in upstreams}
        return [name for name in names if name is not None and self._read(name)]

    def _read(self, name: str) -> bool:
        """Reads the file; returns True if it holds another key than before."""
        path = self._directory / name
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if self._stamps.get(name) == stamp:
                return False
            key = path.read_bytes().strip()
        except OSError:
            return False
        self._stamps[name] = stamp
        # a key with a line break in it would end its header: no such key exists, so the file is not one
        if (
            not key
            or any(byte < 0x20 or byte == 0x7F for byte in key)
            or key == self._keys.get(name)
        ):
            return False
        self._keys[name] = key
        return True
