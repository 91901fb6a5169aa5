"""A Secret as the kubelet mounts it: entries are links through `..data`, which is replaced in one step."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import Platform


class MountedSecret:
    """The mount of a Secret that is optional: without the Secret it is an empty directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(exist_ok=True)

    def put(self, entries: Mapping[str, bytes]) -> None:
        """Mounts these entries, and no others."""
        version = Path(tempfile.mkdtemp(prefix="..version-", dir=self._directory))
        for name, data in entries.items():
            (version / name).write_bytes(data)
        former = self._directory / "..data"
        old = former.resolve() if former.is_symlink() else None
        fresh = self._directory / "..data.new"
        fresh.symlink_to(version.name)
        fresh.replace(former)
        for link in self._directory.iterdir():
            if not link.name.startswith("..") and link.name not in entries:
                link.unlink()
        for name in entries:
            if not (self._directory / name).is_symlink():
                (self._directory / name).symlink_to(f"..data/{name}")
        if old is not None:
            shutil.rmtree(old)

    def remove(self) -> None:
        """Mounts what is left of a Secret that was deleted: nothing."""
        self.put({})


def relay_with_tls(
    new_relay: NewRelay, platform: Platform, entries: Mapping[str, bytes], **settings: str
) -> Relay:
    """Starts a relay whose tenant asks for TLS, with these entries in its Secret."""
    relay = waiting_relay(new_relay, platform, **settings)
    MountedSecret(relay.tls_directory).put(entries)
    relay.wait_ready()
    return relay


def waiting_relay(new_relay: NewRelay, platform: Platform, **settings: str) -> Relay:
    """Starts a relay whose tenant asks for TLS before its Secret exists."""
    relay = new_relay(document=None, **settings)
    relay.process.kill()
    MountedSecret(relay.tls_directory)
    relay.write_document(platform.document(client_tls=True))
    relay.restart()
    relay.wait_listening()
    return relay
