"""What is booked, as a reconciliation looks at it: each attempt with its bucket, its tokens, and what speaks for a cause."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from relay_contract.billing.attempt_event import AttemptClosed, AttemptRecord
from relay_contract.billing.service_tiers import STANDARD, normal_tier
from relay_contract.billing.token_buckets import Bucket, TokenBuckets
from relay_ledger.prices.price_list import normal_model
from relay_ledger.reconciliation.comparison import Cause, Evidence
from relay_ledger.reconciliation.provider_report import DAY, TOKENS, Tokens
from relay_ledger.reconciliation.reported_tiers import ReportedTiers

_KINDS: Final[Mapping[Tokens, tuple[Bucket, ...]]] = {
    "input": ("input", "audio_input", "tool_prompt"),
    "cache_read": ("cache_read",),
    "cache_write": ("cache_write", "cache_write_hour"),
    "output": ("output", "reasoning", "audio_output"),
}
_BOTH_WAYS: Final[tuple[Cause, ...]] = ("several_models", "not_reported", "stream_without_usage")
"""Causes of attempts whose tokens may be more or less than the provider's."""


@dataclass(slots=True)
class Booked:
    """Sums of a bucket, a model and a group of tiers: tokens by kind, and evidence of causes by kind.

    unknown are attempts of unknown use, or without an end, that tell nothing of what was expected of them.
    """

    tokens: dict[Tokens, int]
    more: dict[tuple[Cause, Tokens], int]
    less: dict[tuple[Cause, Tokens], int]
    reasoning: int = 0
    counted: int = 0
    unknown: int = 0
    other_tiers: int = 0


class OwnUse:
    """Adds attempts up, in the order of their dispatch, by the tiers that the report tells apart."""

    def __init__(self, buckets: Iterable[tuple[int, int]], tiers: ReportedTiers) -> None:
        self._tiers = tiers
        self._ordered = sorted(set(buckets))
        self._starts = [start for start, _ in self._ordered]
        self._requests = _Requests()
        self.booked: dict[tuple[int, str, str], Booked] = {}

    def add(self, attempt: AttemptRecord) -> None:
        """Adds an attempt; one that is in no bucket counts as evidence alone."""
        if not isinstance(attempt, AttemptClosed):
            own = self._bucket(attempt.dispatched_at)
            if own is not None:
                model = normal_model(attempt.routed_model)
                self._count_unknown(self._of(own, model, self._tiers.group(None)), attempt)
            return
        model = normal_model(attempt.answered_model or attempt.routed_model)
        own = self._bucket(attempt.dispatched_at)
        ended = self._bucket(attempt.closed_at)
        tier = self._tiers.group(attempt.service_tier)
        tokens = kinds(attempt.tokens or TokenBuckets())
        if ended is not None and ended != own:
            _add(self._of(ended, model, tier).less, "bucket_edge", tokens)
        if own is None:
            return
        booked = self._of(own, model, tier)
        self._count(booked, attempt, tokens)
        if ended != own:
            _add(booked.more, "bucket_edge", tokens)

    def evidence(self, start: int, model: str, tier: str, kind: Tokens) -> dict[Cause, Evidence]:
        """Returns what speaks for causes in a bucket, a model, a group of tiers and a kind of token."""
        booked = self.booked.get((start, model, tier))
        if booked is None:
            return {}
        causes = {cause for cause, of in (*booked.more, *booked.less) if of == kind}
        found = {
            cause: Evidence(booked.more.get((cause, kind), 0), booked.less.get((cause, kind), 0))
            for cause in causes
        }
        if booked.unknown and booked.counted:
            # nobody knows what they used; as much as the others did is likely
            likely = -(-booked.tokens[kind] * booked.unknown // booked.counted)
            known = found.get("not_reported", Evidence())
            found["not_reported"] = Evidence(known.more, known.less + likely)
        return found

    def _count(self, booked: Booked, attempt: AttemptClosed, tokens: Mapping[Tokens, int]) -> None:
        if attempt.usage_source == "unknown":
            self._count_unknown(booked, attempt)
            return
        if attempt.tokens is None:
            return
        booked.counted += 1
        booked.reasoning += attempt.tokens.reasoning
        booked.other_tiers += normal_tier(attempt.service_tier) != STANDARD
        for kind in TOKENS:
            booked.tokens[kind] += tokens[kind]
        for cause in self._causes(attempt):
            _add(booked.more, cause, tokens)
            if cause in _BOTH_WAYS:
                _add(booked.less, cause, tokens)

    def _count_unknown(self, booked: Booked, attempt: AttemptRecord) -> None:
        if attempt.reserved_tokens is None:
            booked.unknown += 1
        else:
            _add(booked.less, "not_reported", kinds(attempt.reserved_tokens))

    def _causes(self, attempt: AttemptClosed) -> list[Cause]:
        """Returns the causes that an attempt itself speaks for."""
        request = attempt.upstream_request_id
        if request and not self._requests.try_add(request, attempt.dispatched_at):
            return ["duplicate"]
        causes: list[Cause] = []
        if attempt.doubt == "models":
            causes.append("several_models")
        elif attempt.usage_source in ("partial", "estimated"):
            whole = attempt.stream and attempt.outcome == "ok"
            causes.append("stream_without_usage" if whole else "not_reported")
        if not attempt.is_billed:
            causes.append("retried")
        return causes

    def _bucket(self, at: int) -> int | None:
        place = bisect_right(self._starts, at) - 1
        return self._starts[place] if place >= 0 and at < self._ordered[place][1] else None

    def _of(self, start: int, model: str, tier: str) -> Booked:
        key = start, model, tier
        if key not in self.booked:
            self.booked[key] = Booked(dict.fromkeys(TOKENS, 0), {}, {})
        return self.booked[key]


class _Requests:
    """Ids of a provider's requests of one day and of the day before, which no repetition comes later than: those of a month would take hundreds
    of MiB."""

    def __init__(self) -> None:
        self._day = 0
        self._of_day: set[str] = set()
        self._before: set[str] = set()

    def try_add(self, request: str, at: int) -> bool:
        """Returns whether the id is new; times never go back."""
        day = at // DAY
        if day != self._day:
            self._before = self._of_day if day == self._day + 1 else set()
            self._day, self._of_day = day, set()
        if request in self._of_day or request in self._before:
            return False
        self._of_day.add(request)
        return True


def kinds(tokens: TokenBuckets) -> dict[Tokens, int]:
    """Returns tokens by the kinds that providers report."""
    return {kind: sum(getattr(tokens, name) for name in names) for kind, names in _KINDS.items()}


def _add(
    amounts: dict[tuple[Cause, Tokens], int], cause: Cause, tokens: Mapping[Tokens, int]
) -> None:
    for kind in TOKENS:
        amounts[cause, kind] = amounts.get((cause, kind), 0) + tokens[kind]
