"""What attempts of one kind have in common, as the records of a segment refer to it."""

import re
from typing import Final

import orjson

from relay.outbox.record_format import NAMES, record_bytes, sealed

MAX_LABEL: Final = 256
"""Characters of a label in a record (relay_contract.billing.attempt_event)."""
MAX_NAMES_BYTES: Final = 10 * (4 * MAX_LABEL + 32)
"""Of ten fields with their quotes and names; a character takes at most four bytes."""
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")


class AttemptNames:
    """The fields of every record of one kind of attempts, rendered once.

    segment is the writer's segment that has them already; the writer's alone to change.
    """

    __slots__ = ("body", "number", "segment", "size")

    def __init__(self, number: int, fields: dict[str, str]) -> None:
        self.number = number
        self.body = orjson.dumps(fields)
        self.size = record_bytes(len(self.body))
        self.segment = -1

    def record(self) -> bytes:
        """Returns the record of these names."""
        return sealed(NAMES, self.number, self.body)


def label(text: str) -> str:
    """Returns what others wrote as a record can hold it."""
    return _CONTROLS.sub("\ufffd", text[:MAX_LABEL])
