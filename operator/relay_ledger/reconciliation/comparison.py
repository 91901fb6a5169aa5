"""Compares by integers, and divides a difference among its causes until they sum to it.

Causes are tried in a fixed order. Each has evidence: an amount by which it can have made ours larger (positive) or smaller than theirs.
It explains as much of what is left of the difference as the evidence goes, in its direction; what no cause explains is `unexplained`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

Cause = Literal[
    "no_page",
    "duplicate",
    "several_models",
    "not_reported",
    "retried",
    "cache_convention",
    "reasoning",
    "stream_without_usage",
    "price",
    "tier",
    "bucket_edge",
    "unknown_key",
    "provider_lag",
    "unexplained",
]
"""In the order in which they are tried. no_page: no page of the report covers the time. duplicate: a request of the provider's is in two attempts. several_models: answers to which several
models contributed, whose tokens are all booked of the one that answered. not_reported: attempts whose use is
partial, estimated or unknown. retried: attempts that no caller got. cache_convention: cached tokens are counted n times. reasoning: tokens of
reasoning are left out. stream_without_usage: streams that ended well without usage. price: the same tokens at another price. tier: tokens of
another service tier. bucket_edge: attempts that went over the edge of a bucket. unknown_key: use by a key that is not ours. provider_lag: the bucket is too young."""
CAUSES: Final[tuple[Cause, ...]] = get_args(Cause)


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far a cause can have made ours larger (more) and smaller (less) than theirs; both are 0 or above."""

    more: int = 0
    less: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both sides, and the parts of ours - theirs by cause. They sum to it."""

    name: str
    ours: int
    theirs: int
    parts: Mapping[Cause, int]
    provisional: bool = False

    @property
    def amount(self) -> int:
        """Returns ours less theirs."""
        return self.ours - self.theirs

    @property
    def is_flagged(self) -> bool:
        """Returns whether somebody should look: more than 1 % apart, and no longer provisional."""
        return not self.provisional and is_apart(self.ours, self.theirs)


def is_apart(ours: int, theirs: int) -> bool:
    """Returns whether they are more than 1 % of theirs apart, by integers; anything is apart from nothing."""
    return 100 * abs(ours - theirs) > theirs if theirs else ours != 0


def explained(
    name: str,
    *,
    ours: int,
    theirs: int,
    evidence: Mapping[Cause, Evidence],
    provisional: bool = False,
) -> Difference:
    """Divides a difference among the causes."""
    rest = ours - theirs
    parts: dict[Cause, int] = {}
    for cause in CAUSES:
        found = evidence.get(cause, Evidence())
        part = min(rest, found.more) if rest > 0 else max(rest, -found.less)
        if part:
            parts[cause] = part
            rest -= part
    if rest:
        parts["unexplained"] = rest
    return Difference(name, ours, theirs, parts, provisional)


def multiple_of(difference: int, cached: int, *, most: int = 3) -> Evidence:
    """Returns evidence for cached tokens that one side counts n times more often, where the difference is such a multiple to 1 %."""
    if not cached or not difference:
        return Evidence()
    times = (abs(difference) + cached // 2) // cached
    if not 1 <= times <= most or 100 * abs(abs(difference) - times * cached) > abs(difference):
        return Evidence()
    amount = times * cached
    return Evidence(more=amount) if difference > 0 else Evidence(less=amount)


def summed(name: str, differences: Sequence[Difference]) -> Difference:
    """Adds differences up: those of a month, in which opposite errors cancel. It is provisional while any part of it is."""
    parts: dict[Cause, int] = {}
    for one in differences:
        for cause, part in one.parts.items():
            parts[cause] = parts.get(cause, 0) + part
    return Difference(
        name,
        sum(one.ours for one in differences),
        sum(one.theirs for one in differences),
        {cause: parts[cause] for cause in CAUSES if parts.get(cause)},
        any(one.provisional for one in differences),
    )


def causes_told(parts: Mapping[Cause, int]) -> Iterable[tuple[Cause, int]]:
    """Returns causes with their parts, the largest first."""
    return sorted(parts.items(), key=lambda item: (-abs(item[1]), CAUSES.index(item[0])))
