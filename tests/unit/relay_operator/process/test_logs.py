"""An outage that concerns many objects does not fill the operator's log."""

import logging
from collections.abc import Iterator

import pytest

from relay_operator.process.logs import BURST, BoundedHandler


class Kept(logging.Handler):
    """The records that were written."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> Iterator[Kept]:
    kept = Kept()
    logger = logging.getLogger("relay_operator.test")
    handler = BoundedHandler(kept)
    logger.addHandler(handler)
    yield kept
    logger.removeHandler(handler)


def test_many_objects_have_a_burst_of_lines_then_a_number_and_an_end(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("relay_operator.test")
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    for number in range(1000):
        logger.warning("reconcile of %d failed", number, extra={"object": number})
    logger.error("another place")
    (handler,) = logger.handlers
    assert isinstance(handler, BoundedHandler)
    for second in range(30):
        handler.tick(now + second)
    told = [record.getMessage() for record in kept.records]
    assert told[:BURST] == [f"reconcile of {number} failed" for number in range(BURST)]
    assert told[BURST] == "another place"
    counted, over = kept.records[BURST + 1 :]
    assert counted.getMessage() == "reconcile of 999 failed"
    assert vars(counted)["times"] == 1000 - BURST
    assert (counted.levelname, vars(counted)["object"]) == ("WARNING", 999)
    assert over.getMessage().startswith("no more lines of relay_operator.test:")
    assert (over.levelname, vars(over)["times"]) == ("INFO", 1000)
