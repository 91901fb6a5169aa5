"""Closes what tests of the outbox leave open: a process has but so many files."""

from collections.abc import Iterator

import pytest
from tests.unit.relay.outbox.attempts import close_readers


@pytest.fixture(autouse=True)
def closed_readers() -> Iterator[None]:
    """Closes all readers after each test."""
    yield
    close_readers()
