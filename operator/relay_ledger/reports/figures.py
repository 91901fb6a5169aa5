"""Groups of sums: what is told of a tenant, a model, a provider, a key or a side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from relay_contract.billing.attempt_event import SERVED, UsageSource
from relay_contract.billing.token_buckets import INPUT_BUCKETS
from relay_ledger.booking.posting import FIGURES, Figures

SERVED_SIDES: Final = tuple(sorted(SERVED))
USAGE_SOURCES: Final[tuple[UsageSource, ...]] = get_args(UsageSource)
OUTPUT_BUCKETS: Final = ("output", "reasoning", "audio_output")


@dataclass(frozen=True, slots=True)
class Group:
    """Sums of what has the same names; names are by dimension."""

    names: Mapping[str, str]
    figures: Figures


def added(figures: Iterable[Figures]) -> dict[str, int]:
    """Adds figures up."""
    total = dict.fromkeys(FIGURES, 0)
    for one in figures:
        for name in FIGURES:
            total[name] += one[name]
    return total


def grouped(groups: Sequence[Group], dimension: str) -> dict[str, dict[str, int]]:
    """Adds groups up that have the same name in a dimension, in the order of the names."""
    found: dict[str, list[Figures]] = {}
    for group in groups:
        found.setdefault(group.names[dimension], []).append(group.figures)
    return {name: added(found[name]) for name in sorted(found)}


def input_tokens(figures: Figures) -> int:
    """Returns all tokens that models read, those of caches among them."""
    return sum(figures[bucket] for bucket in INPUT_BUCKETS)


def output_tokens(figures: Figures) -> int:
    """Returns all tokens that models wrote, those of reasoning among them."""
    return sum(figures[bucket] for bucket in OUTPUT_BUCKETS)


def all_tokens(figures: Figures) -> int:
    """Returns the tokens of every bucket, each once."""
    return input_tokens(figures) + output_tokens(figures)


def share(part: int, whole: int) -> str | None:
    """Writes a share with four digits after the point, rounded down; None of nothing."""
    if not whole:
        return None
    units = part * 10_000 // whole
    return f"{units // 10_000}.{units % 10_000:04d}"
