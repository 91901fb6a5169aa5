"""What libraries log, in one bounded line each."""

import json
import logging
import os
from typing import Any

import pytest

from relay.accounting.logs import Log
from relay_contract.log_lines.library_log import LibraryLog
from relay_contract.log_lines.repeated_lines import MAX_KINDS

SECRET = "sk-upstream-secret"


def record(level: int, *, line: int = 7, error: Exception | None = None) -> logging.LogRecord:
    raised = (type(error), error, None) if error is not None else None
    return logging.LogRecord("asyncio", level, "base_events.py", line, SECRET, (), raised)


def written(level: str, *records: logging.LogRecord) -> list[dict[str, Any]]:
    """Returns the lines of a log of this level."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as lines:
        handler = LibraryLog(
            Log(level=level, pod="p", process="worker-0", descriptor=writer).repeated
        )
        for one in records:
            handler.emit(one)
        os.close(writer)
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("logged", "level"),
    [
        (logging.WARNING, "warning"),
        (logging.ERROR, "error"),
        (logging.CRITICAL, "error"),
    ],
)
def test_a_message_keeps_its_level_and_loses_its_text(logged: int, level: str) -> None:
    (line,) = written("info", record(logged, error=ValueError(SECRET)))
    assert (line["level"], line["event"]) == (level, "library_message")
    assert (line["logger"], line["type"], line["place"]) == (
        "asyncio",
        "ValueError",
        "base_events:7",
    )
    assert SECRET not in json.dumps(line)


def test_a_log_of_errors_has_those_of_libraries_whatever_warnings_came_before() -> None:
    warnings = [record(logging.WARNING, line=number) for number in range(MAX_KINDS + 1)]
    errors = [record(logging.ERROR), record(logging.ERROR)]
    lines = written("error", *warnings[:8], *errors, *warnings, record(logging.ERROR, line=9))
    assert [line["level"] for line in lines] == ["error", "error"]
