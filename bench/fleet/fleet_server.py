"""The unit tests' API server, with what thousands of tenants need: lists by kind, each object as text, and events in their order."""

import asyncio
import time
from collections import defaultdict, deque
from typing import Any, Final

import orjson
from tests.unit.relay_operator.field_ownership import Owners
from tests.unit.relay_operator.in_memory_api_server import FakeClock, InMemoryApiServer, ObjectKey

Manifest = dict[str, Any]

WRITTEN: Final = "2026-11-27T08:00:00Z"
"""Time of everything that is written, in metadata."""
_REMEMBERED: Final = 200_000


class _Clock(FakeClock):
    """The time of this machine; in metadata always the same."""

    def __call__(self) -> float:
        return time.time()

    def timestamp(self) -> str:
        return WRITTEN


class FleetServer(InMemoryApiServer):
    """The same objects and rules. texts are by kind; told are the last events, with version and kind; news tells of one of a kind."""

    def __init__(self) -> None:
        self.texts: dict[str, dict[ObjectKey, bytes]] = defaultdict(dict)
        self.told: deque[tuple[int, str, str, Manifest]] = deque(maxlen=_REMEMBERED)
        self.news: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.version = 0
        super().__init__(_Clock())

    def metadata(self, key: ObjectKey) -> Manifest:
        """Returns an object's metadata, which nobody may change."""
        found: Manifest = self._objects[key]["metadata"]
        return found

    def keep(self, manifest: Manifest, owners: Owners) -> None:
        super().keep(manifest, owners)
        metadata = manifest["metadata"]
        key = manifest["kind"], metadata.get("namespace", ""), metadata["name"]
        self.version = int(metadata["resourceVersion"])
        self.texts[key[0]][key] = orjson.dumps(manifest)

    def list(self, kind: str, *, namespace: str = "", **labels: str) -> list[Manifest]:
        return [
            self._objects[key]
            for key in self.texts[kind]
            if namespace in ("", key[1])
            and labels.items() <= self.metadata(key).get("labels", {}).items()
        ]

    def _tell(self, type_: str, stored: Manifest) -> None:
        metadata, kind = stored["metadata"], stored["kind"]
        key = kind, metadata.get("namespace", ""), metadata["name"]
        self.version = int(metadata["resourceVersion"])
        for entry in metadata.get("managedFields", ()):
            entry["time"] = WRITTEN
        if type_ == "DELETED":
            self.texts[kind].pop(key, None)
        else:
            self.texts[kind][key] = orjson.dumps(stored)
        self.told.append((self.version, kind, type_, stored))
        self.news[kind].set()
        self.news[kind] = asyncio.Event()
