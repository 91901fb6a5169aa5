"""Unit tests open no sockets: what needs one belongs to another tier."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import pytest_socket
from hypothesis.internal.detection import is_hypothesis_test

_PROPERTIES = "hypothesis"
"""The mark that Hypothesis gives its tests; also what their files import."""


@pytest.fixture(autouse=True)
def _no_sockets() -> Iterator[None]:
    # asyncio's own self-pipe is a Unix socket pair
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out files without a property where properties alone are asked for: to import all takes longer than many of them."""
    if config.option.markexpr != _PROPERTIES or collection_path.suffix != ".py":
        return None
    return True if _PROPERTIES not in collection_path.read_text() else None


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Refuses a property whose file would be left out."""
    for item in items:
        test = getattr(item, "obj", None)
        if is_hypothesis_test(test) and _PROPERTIES not in item.path.read_text():
            raise pytest.UsageError(f"{item.nodeid}: its file has to import {_PROPERTIES} itself")
