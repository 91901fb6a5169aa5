"""The rows that the load generator writes and the report reads: one per call."""

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FIELDS: Final = 7
NEVER: Final = 60.0
"""Seconds counted for a call without a good answer: far more than a caller would wait."""


@dataclass(frozen=True, slots=True)
class Row:
    """A call's row. Times are monotonic seconds; provider_seconds is what the provider needed once it began.

    status is that of the last answer, 0 for none; answers counts them, retries included.
    """

    intended_at: float
    sent_at: float
    answered_at: float
    provider_seconds: float
    status: int
    answers: int
    round: int

    @property
    def late_seconds(self) -> float:
        """Returns how late the generator sent the call; it is part of every latency."""
        return self.sent_at - self.intended_at

    @property
    def latency_seconds(self) -> float:
        """Returns the seconds from the planned send to the last byte."""
        return self.answered_at - self.intended_at if self.status == 200 else NEVER

    @property
    def added_seconds(self) -> float:
        """Returns the latency less the provider's own time: what the relay, its queue and a full provider added."""
        return self.latency_seconds - self.provider_seconds if self.status == 200 else NEVER


def write(path: Path, rows: list[Row]) -> None:
    flat = array("d")
    for row in rows:
        flat.extend(
            (
                row.intended_at,
                row.sent_at,
                row.answered_at,
                row.provider_seconds,
                row.status,
                row.answers,
                row.round,
            )
        )
    path.write_bytes(flat.tobytes())


def read(path: Path) -> list[Row]:
    flat = array("d")
    flat.frombytes(path.read_bytes())
    return [_row(flat[at : at + FIELDS]) for at in range(0, len(flat), FIELDS)]


def _row(values: "array[float]") -> Row:
    intended_at, sent_at, answered_at, provider_seconds, status, answers, number = values
    return Row(
        intended_at,
        sent_at,
        answered_at,
        provider_seconds,
        status=int(status),
        answers=int(answers),
        round=int(number),
    )
