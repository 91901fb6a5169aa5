"""A relay in memory for the tests that need one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.relay.documents import document
from tests.unit.relay.memory import MemoryRelay


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
