"""When a provider says to come back: retry-after in seconds or as a date, retry-after-ms, or Gemini's RetryInfo.

Nothing that is said is believed without a bound; the caller of this module sets it.
"""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_MOST_DIGITS: Final = 9
"""More are decades, whatever the unit."""
_ENDLESS: Final = 10.0**9
_DELAY: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")
_MAX_DETAILS: Final = 16


def retry_after_seconds(
    headers: list[tuple[bytes, bytes]], details: dict[str, Any], *, wall_time: float
) -> float | None:
    """Returns for how long the provider does not want to be asked, None where it does not say.

    details is its error object. wall_time, in seconds since 1970, is compared with a date where the answer has no date of
    its own; by its own, a clock that is wrong does not matter.
    """
    named: dict[bytes, bytes] = {}
    for name, value in headers:
        named.setdefault(name, value)
    milliseconds = _number(named.get(b"retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = named.get(b"retry-after")
    seconds = _number(text)
    if seconds is not None:
        return seconds
    until = _date(text)
    if until is None:
        return _retry_info(details)
    now = _date(named.get(b"date"))
    return max(0.0, until - (wall_time if now is None else now))


def _number(value: bytes | None) -> float | None:
    text = (value or b"").decode("latin-1").strip()
    if _NUMBER.fullmatch(text) is None:
        return None
    return _ENDLESS if len(text.partition(".")[0].lstrip("0")) > _MOST_DIGITS else float(text)


def _date(value: bytes | None) -> float | None:
    """Reads a date of RFC 9110 section 5.6.7; returns seconds since 1970."""
    if not value:
        return None
    try:
        date = parsedate_to_datetime(value.decode("latin-1"))
        # asctime, and -0000, come without a zone and mean UTC
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def _retry_info(details: dict[str, Any]) -> float | None:
    """Reads google.rpc.RetryInfo, which stands among the details of the error."""
    listed = details.get("details")
    for detail in listed[:_MAX_DETAILS] if isinstance(listed, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        found = _DELAY.fullmatch(delay) if isinstance(delay, str) else None
        if found is not None:
            return float(found[1])
    return None
