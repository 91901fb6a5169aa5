"""Judges how an attempt ended."""

from typing import Final, Literal

from relay.accounting.usage_event import Outcome
from relay.dialect.event_stream import SseScan
from relay.http.upstream import Fault

Trouble = Fault | Literal["no_key"]
"""A fault, or the relay's own lack of the provider's key."""

TROUBLE_OUTCOMES: Final[dict[Trouble, Outcome]] = {
    "no_key": "no_key",
    "unreachable": "unreachable",
    "timeout": "timeout",
    "reset": "failed",
    "truncated": "truncated",
    "invalid": "invalid",
}


def judge(status: int, stream: SseScan | None) -> Outcome:
    """Judges a whole answer by its status, and a stream of events by its end."""
    if 300 <= status < 400:
        return "invalid"
    if status < 300:
        return "ok" if stream is None else _judge_stream(stream)
    if status == 429:
        return "throttled"
    return "failed" if status >= 500 or status in (401, 403) else "client_error"


def _judge_stream(stream: SseScan) -> Outcome:
    if stream.garbage:
        return "invalid"
    if stream.failed:
        return "failed"
    return "ok" if stream.ended else "truncated"
