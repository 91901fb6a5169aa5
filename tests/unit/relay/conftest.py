"""A relay in memory, and its functions in C, for the tests that need them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.relay.dialect.body_scans import BodyReader, loaded
from tests.unit.relay.documents import document
from tests.unit.relay.extensions import extension
from tests.unit.relay.memory import MemoryRelay

from hatch_build import BODY_SCAN


@pytest.fixture(scope="session")
def compiled() -> BodyReader:
    """The functions in C that read bodies, built from these sources."""
    return loaded(extension(BODY_SCAN))


@pytest.fixture
async def relay(tmp_path: Path) -> MemoryRelay:
    """A relay with the small document in force; async, because timers need a loop."""
    return MemoryRelay(document(), tmp_path)


@pytest.fixture
async def relay_with(tmp_path: Path) -> Callable[..., MemoryRelay]:
    """Makes a relay with changes to the document, and settings."""

    def make(settings: dict[str, Any] | None = None, **changes: Any) -> MemoryRelay:
        return MemoryRelay(document(**changes), tmp_path, **(settings or {}))

    return make
