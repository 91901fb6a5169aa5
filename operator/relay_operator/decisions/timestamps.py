"""Times in status: RFC 3339 in UTC, beside seconds since the epoch as the decisions count."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_LATEST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""What is later, such as the end of a pause of a thousand years, is told as this."""


@lru_cache(maxsize=4096)
def to_text(seconds: float) -> str:
    """Formats seconds since the epoch; whole seconds, as metav1.Time."""
    return datetime.fromtimestamp(min(seconds, _LATEST), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_precise_text(seconds: float) -> str:
    """Formats seconds since the epoch with microseconds, as metav1.MicroTime."""
    moment = datetime.fromtimestamp(min(seconds, _LATEST), tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_text(text: object) -> float:
    """Parses either form; 0 for what is no time, which nobody but a stranger writes into a status."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return 0.0
