"""A price list: entries with dates, each with an explicit price for every dimension it has."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, Literal

from relay_contract.billing.token_buckets import Bucket, Unit

DAY_SECONDS: Final = 24 * 3600
NO_ENTRY: Final = -1
"""The place of an entry that stands in no list."""
PieceName = Unit | Literal["call"]


class InvalidPrices(ValueError):
    """A price list that cannot be used; the message names the entry and what to do."""


def normal_model(name: str) -> str:
    """Returns the name by which a model is looked up: lower case, without spaces around. Nothing else is guessed."""
    return name.strip().lower()


@dataclass(frozen=True, slots=True)
class DailyHours:
    """A part of every day in UTC, in seconds since midnight, from `start` up to but without `end`; it may go over midnight."""

    start: int
    end: int

    def __contains__(self, microseconds: int) -> bool:
        second = microseconds // 1_000_000 % DAY_SECONDS
        if self.start < self.end:
            return self.start <= second < self.end
        return second >= self.start or second < self.end

    def spans(self) -> list[tuple[int, int]]:
        """Returns the same as spans within one day."""
        if self.start < self.end:
            return [(self.start, self.end)]
        return [span for span in ((self.start, DAY_SECONDS), (0, self.end)) if span[0] < span[1]]


def hours_text(hours: DailyHours) -> str:
    """Writes them as 22:00-06:00."""
    start, end = (f"{one // 3600:02d}:{one % 3600 // 60:02d}" for one in (hours.start, hours.end))
    return f"{start}-{end}"


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """Prices of models for a time, half open: from `starts_at` up to but without `ends_at`, microseconds since 1970.

    provider and region are "" where the entry holds for all that no other entry names. above_input_tokens: the entry holds for calls with
    more input than this. tokens are micro-USD per million, pieces micro-USD each. What a provider bills like something
    else has been given its price already. place is where the entry stands in its list, from 0 on. source is where its prices are from, and
    checked_at the day on which somebody last compared them with it, as 2026-03-01: both say nothing of what is paid.
    """

    models: frozenset[str]
    provider: str
    tier: str
    region: str
    above_input_tokens: int
    starts_at: int | None
    ends_at: int | None
    hours: DailyHours | None
    tokens: Mapping[Bucket, int]
    pieces: Mapping[PieceName, int]
    place: int = field(default=NO_ENTRY, compare=False)
    source: str = field(default="", compare=False)
    checked_at: str = field(default="", compare=False)

    @property
    def amounts(self) -> dict[str, int]:
        """Returns the prices of tokens and of pieces by the names of what is counted."""
        found: dict[str, int] = {}
        found.update(self.tokens.items())
        found.update(self.pieces.items())
        return found

    def is_in_force(self, at: int) -> bool:
        """Returns whether the entry holds at that time."""
        return (
            (self.starts_at is None or self.starts_at <= at)
            and (self.ends_at is None or at < self.ends_at)
            and (self.hours is None or at in self.hours)
        )


@dataclass(frozen=True, slots=True)
class ToolPrice:
    """What a call of some tools costs for a time, half open: micro-USD for each.

    server is "" where the price holds for every server. pattern is the name that a server gives a tool, or with a star at its end
    the beginning of several. pays_errors tells whether a call counts of which the tool itself says that it failed. place is where the
    price stands among those of tools in its list, from 0 on. source and checked_at are as those of models.
    """

    server: str
    pattern: str
    starts_at: int | None
    ends_at: int | None
    call: int
    pays_errors: bool = True
    place: int = field(default=NO_ENTRY, compare=False)
    source: str = field(default="", compare=False)
    checked_at: str = field(default="", compare=False)

    def is_in_force(self, at: int) -> bool:
        """Returns whether the price holds at that time."""
        return (self.starts_at is None or self.starts_at <= at) and (
            self.ends_at is None or at < self.ends_at
        )

    @property
    def title(self) -> str:
        """Whose price it is, for a message."""
        return f"{self.server or 'every server'}/{self.pattern}"


@dataclass(frozen=True, slots=True)
class PriceList:
    """All entries of one name. version names what is paid: other prices, or other times of theirs, have another version, and another source or
    day on which it was checked has not.
    """

    name: str
    entries: tuple[PriceEntry, ...]
    tools: tuple[ToolPrice, ...] = ()
    version: str = field(init=False)
    by_model: Mapping[str, tuple[PriceEntry, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        entries = tuple(replace(one, place=place) for place, one in enumerate(self.entries))
        tools = tuple(replace(one, place=place) for place, one in enumerate(self.tools))
        by_model: dict[str, tuple[PriceEntry, ...]] = {}
        for entry in entries:
            for model in entry.models:
                by_model[model] = (*by_model.get(model, ()), entry)
        for model, alike in by_model.items():
            _refuse_overlaps(model, alike)
        _refuse_overlaps_of_tools(self.tools)
        content = json.dumps(_content_of(self), sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        object.__setattr__(self, "entries", entries)
        object.__setattr__(self, "tools", tools)
        object.__setattr__(self, "by_model", by_model)
        object.__setattr__(self, "version", f"{self.name}@{digest}")

    def has(self, model: str) -> bool:
        """Returns whether an entry names the model."""
        return normal_model(model) in self.by_model


def _content_of(prices: PriceList) -> Any:
    entries = [_content(entry) for entry in prices.entries]
    # a list without tools has the version that it had before there were any
    return (
        {"entries": entries, "tools": [_content_of_tool(one) for one in prices.tools]}
        if prices.tools
        else entries
    )


def _content(entry: PriceEntry) -> list[Any]:
    hours = entry.hours
    return [
        sorted(entry.models),
        *(entry.provider, entry.tier, entry.region, entry.above_input_tokens),
        *(entry.starts_at, entry.ends_at),
        None if hours is None else [hours.start, hours.end],
        dict(entry.tokens),
        dict(entry.pieces),
    ]


def _content_of_tool(price: ToolPrice) -> dict[str, Any]:
    return {
        "server": price.server,
        "pattern": price.pattern,
        "starts_at": price.starts_at,
        "ends_at": price.ends_at,
        "call": price.call,
        "pays_errors": price.pays_errors,
    }


def _refuse_overlaps(model: str, entries: tuple[PriceEntry, ...]) -> None:
    """Raises InvalidPrices where two entries of the same dimensions hold at one time."""
    alike: dict[tuple[str, str, str, int, bool], list[PriceEntry]] = {}
    for entry in entries:
        dimensions = (entry.provider, entry.tier, entry.region, entry.above_input_tokens)
        alike.setdefault((*dimensions, entry.hours is None), []).append(entry)
    for group in alike.values():
        if group[0].hours is None:
            _refuse_overlap_in_time(model, group)
        else:
            _refuse_overlap_in_hours(model, group)


def _refuse_overlaps_of_tools(tools: tuple[ToolPrice, ...]) -> None:
    """Raises InvalidPrices where two prices of the same server and tools hold at one time."""
    alike: dict[str, list[ToolPrice]] = {}
    for one in tools:
        alike.setdefault(one.title, []).append(one)
    for title, prices in alike.items():
        if _overlap_in_time(prices):
            raise InvalidPrices(
                f"tool {title}: two prices hold at one time; give the earlier one `until`, the time at which the later one begins"
            )


def _overlap_in_time(entries: Iterable[PriceEntry | ToolPrice]) -> bool:
    """Tells whether two of them hold at one time."""
    spans = sorted(
        ((one.starts_at, one.ends_at) for one in entries),
        key=lambda span: -1 if span[0] is None else span[0],
    )
    return any(
        end is None or start is None or start < end for (_, end), (start, _) in pairwise(spans)
    )


def _refuse_overlap_in_time(model: str, entries: list[PriceEntry]) -> None:
    if _overlap_in_time(entries):
        raise InvalidPrices(f"model {model}: {_OVERLAP}")


_OVERLAP: Final = (
    "two entries of the same provider, serviceTier, region and aboveInputTokens hold at one time;"
    " give the earlier one `until`, the time at which the later one begins"
)


def _refuse_overlap_in_hours(model: str, entries: list[PriceEntry]) -> None:
    """Raises InvalidPrices where hours of two entries meet while both hold. There are few: each pair is looked at."""
    for place, one in enumerate(entries):
        for other in entries[place + 1 :]:
            meet = any(
                start < other_end and other_start < end
                for start, end in _spans(one)
                for other_start, other_end in _spans(other)
            )
            if meet and _hold_together(one, other):
                raise InvalidPrices(f"model {model}: {_OVERLAP}, or other hours")


def _spans(entry: PriceEntry) -> list[tuple[int, int]]:
    return entry.hours.spans() if entry.hours is not None else []


def _hold_together(one: PriceEntry, other: PriceEntry) -> bool:
    def begins_before_end(earlier: PriceEntry, later: PriceEntry) -> bool:
        return (
            earlier.starts_at is None or later.ends_at is None or earlier.starts_at < later.ends_at
        )

    return begins_before_end(one, other) and begins_before_end(other, one)
