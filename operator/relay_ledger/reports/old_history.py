"""The usage history of an old relay, as `POST /usage/history` answers it: points of time with tokens of input and output."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from relay_contract.billing.token_buckets import MAX_TOKENS, BilledUnits, TokenBuckets
from relay_ledger.periods.zones import SECOND
from relay_ledger.prices.price_list import PriceList
from relay_ledger.prices.pricing import Use, price_of_token

MAX_POINTS: Final = 100_000
_LATEST: Final = 4_102_444_800
"""2100, in seconds: a time in milliseconds is none."""
_MODEL: Final = re.compile(r"[\x21-\x7e]{1,200}")
_LEAST_LENGTHS: Final = {
    "hour": 3600 * SECOND,
    "day": 23 * 3600 * SECOND,
    "month": 28 * 86_400 * SECOND,
}
"""How long a point lasts at least: a day in which the clocks go on has 23 hours."""


class UnreadableHistory(ValueError):
    """A usage history that cannot be read; the message says where."""


@dataclass(frozen=True, slots=True)
class Point:
    """Tokens since a moment, microseconds since 1970; model is empty where the history does not tell it."""

    at: int
    model: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class History:
    """All points in order, one of a moment and model, and the time that they are of, half open."""

    points: tuple[Point, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """What an old relay's history says of a time: tokens, and its slowest and worst point."""

    points: tuple[Point, ...]
    latency_p99: float | None
    error_rate: float | None


def read_baseline(text: str, *, start: int, end: int) -> Baseline:
    """Reads a history, and takes the points of a time (microseconds since 1970); raises UnreadableHistory."""
    try:
        data = [point for point in _data(text) if start <= _at(point["timestamp"]) < end]
        return Baseline(
            points=tuple(_point(point, "") for point in data),
            latency_p99=_largest(data, "latency_p99"),
            error_rate=_largest(data, "error_rate"),
        )
    except _UNREADABLE as error:
        raise _unreadable(error) from None


def read_history(text: str, *, model: str = "") -> History:
    """Reads a history to keep; model is that of points which name none. Raises UnreadableHistory."""
    try:
        points = sorted((_point(one, model) for one in _data(text)), key=_key)
        if not points:
            raise ValueError("it has no points")
        if len({_key(point) for point in points}) < len(points):
            raise ValueError("a timestamp of a model stands twice")
        length = _LEAST_LENGTHS.get(str(json.loads(text).get("granularity")), 1)
        return History(tuple(points), points[0].at, points[-1].at + length)
    except _UNREADABLE as error:
        raise _unreadable(error) from None


def cost_of_tokens(
    points: Iterable[Point], prices: PriceList, models: Mapping[str, str]
) -> int | None:
    """Returns what tokens cost by a list, none of them cached, in pico-USD; None where one has no price. What calls cost beside their
    tokens is not in it: a history does not tell how many there were.

    models says which model of the list stands for another name; that of "" stands for points without one.
    """
    pico = 0
    for point in points:
        model = models.get(point.model, point.model)
        for tokens, bucket in ((point.input_tokens, "input"), (point.output_tokens, "output")):
            # a history is of more tokens than one attempt can have: the price of one, times all
            use = Use("", model, point.at, TokenBuckets(**{bucket: 1}), BilledUnits())
            price = price_of_token(use, prices)
            if price is None:
                return None
            pico += price * tokens
    return pico


_UNREADABLE: Final = (
    *(ValueError, KeyError, TypeError, OverflowError, AttributeError, RecursionError),
)


def _unreadable(error: Exception) -> UnreadableHistory:
    said = f"it is no usage history: {type(error).__name__} {error}"[:200]
    return UnreadableHistory(said.encode(errors="replace").decode())


def _data(text: str) -> Sequence[Any]:
    data = json.loads(text)["data"]
    if not isinstance(data, list) or len(data) > MAX_POINTS:
        raise ValueError(f"data is no list of at most {MAX_POINTS} points")
    return data


def _point(one: Mapping[str, Any], model: str) -> Point:
    named = one.get("model") or model
    if named and (not isinstance(named, str) or _MODEL.fullmatch(named) is None):
        raise ValueError(f"{str(named)[:40]!r} is no name of a model")
    return Point(
        _at(one["timestamp"]), named, _count(one["input_tokens"]), _count(one["output_tokens"])
    )


def _key(point: Point) -> tuple[int, str]:
    return point.at, point.model


def _at(timestamp: Any) -> int:
    if isinstance(timestamp, int) and not isinstance(timestamp, bool):
        seconds = timestamp
    else:
        moment = datetime.fromisoformat(timestamp)
        if moment.tzinfo is None:
            raise ValueError(f"{timestamp} has no offset")
        seconds = int(moment.timestamp())
    if not 0 <= seconds < _LATEST:
        raise ValueError(f"{str(timestamp)[:40]} is no time of this century, in seconds or as text")
    return seconds * SECOND


def _count(number: Any) -> int:
    if (
        not isinstance(number, int)
        or isinstance(number, bool)
        or not 0 <= number <= 10**6 * MAX_TOKENS
    ):
        raise ValueError(f"{str(number)[:40]} is no count of tokens")
    return number


def _largest(points: Sequence[Any], name: str) -> float | None:
    found = [point[name] for point in points if point.get(name) is not None]
    if not all(isinstance(one, int | float) and 0 <= one < 10**9 for one in found):
        raise ValueError(f"a {name} is no number")
    return max(found, default=None)
