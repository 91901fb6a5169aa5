"""Usage and cost reports of OpenAI and Anthropic, read into one form: disjoint tokens by bucket, model and key, and costs by day.

OpenAI: `GET /v1/organization/usage/completions` and `/v1/organization/costs` (openai-openapi). Its input_tokens hold the cached ones.
Anthropic: `GET /v1/organizations/usage_report/messages` and `/v1/organizations/cost_report`. Its amounts are text in cents.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Final, Literal, get_args

from relay_contract.billing.service_tiers import STANDARD, normal_tier
from relay_ledger.money.amounts import PICOS
from relay_ledger.periods.zones import SECOND, utc_text
from relay_ledger.reconciliation.reported_tiers import ReportedTiers, reported_tiers

Dialect = Literal["openai", "anthropic"]
Tokens = Literal["input", "cache_read", "cache_write", "output"]
TOKENS: Final[tuple[Tokens, ...]] = ("input", "cache_read", "cache_write", "output")
Layer = Literal["usage", "costs"]
LAYERS: Final[tuple[Layer, ...]] = get_args(Layer)
Span = tuple[int, int]
"""A time, half open, microseconds since 1970."""
DAY: Final = 86_400 * SECOND
MAX_TOKENS: Final = 10**15
TIERS_WITHOUT_COSTS: Final[Mapping[Dialect, frozenset[str]]] = {
    "openai": frozenset(),
    # committed capacity, billed apart: platform.claude.com/docs/en/manage-claude/usage-cost-api
    "anthropic": frozenset({"priority"}),
}
"""Tiers that are in reports of usage and not in those of costs."""
PROJECT_FIELDS: Final[Mapping[Dialect, str]] = {
    "openai": "project_id",
    "anthropic": "workspace_id",
}
"""What names the part of an organization that a row is of."""
DEFAULT_PROJECT: Final = "default"
"""Anthropic's default workspace, which has no id: its rows have null, as those that tell no workspace. At OpenAI null tells nothing."""
_CENT: Final = PICOS // 100


class UnreadableReport(ValueError):
    """A report that cannot be read; the message says where."""


@dataclass(frozen=True, slots=True)
class Use:
    """What the provider counted in a bucket of time, half open, microseconds since 1970.

    key is its own id of an API key, tier the service tier of the row, None where the report is not divided by tiers, project that of an
    OpenAI project or an Anthropic workspace, None where the report is not divided by them.
    """

    start: int
    end: int
    model: str
    key: str
    tier: str | None
    tokens: Mapping[Tokens, int]
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What the provider charged for a day, in pico-USD; project is as that of use."""

    start: int
    end: int
    item: str
    pico: int
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The text of a page; layer says what it is of where that is known, None where its rows have to tell."""

    text: str
    layer: Layer | None = None


@dataclass(frozen=True, slots=True)
class ProviderReport:
    """All pages together."""

    uses: tuple[Use, ...]
    costs: tuple[Cost, ...]
    spans: Mapping[Layer, frozenset[Span]]
    """Every bucket of the pages, by what they are of: times of which is known what was counted, if only that it was nothing."""
    missing: Mapping[Layer, frozenset[Span]] = field(default_factory=dict)
    """Times of a period that no page covers, none of which goes over the end of a day."""

    @property
    def tiers(self) -> ReportedTiers:
        """Returns which service tiers its rows tell apart."""
        return reported_tiers(use.tier for use in self.uses)

    def of_projects(self, projects: Collection[str]) -> "ProviderReport":
        """Returns what it has of these projects or workspaces; raises UnreadableReport where its rows do not tell them apart."""
        told = {use.project for use in self.uses} | {cost.project for cost in self.costs}
        if None in told or (told == {DEFAULT_PROJECT} and DEFAULT_PROJECT not in projects):
            raise UnreadableReport(
                "these reports do not tell projects or workspaces apart: ask for them grouped by project_id or workspace_id"
            )
        return replace(
            self,
            uses=tuple(use for use in self.uses if use.project in projects),
            costs=tuple(cost for cost in self.costs if cost.project in projects),
        )

    def within(self, start: int, end: int) -> "ProviderReport":
        """Returns what it has of a period, with what is missing of it; raises UnreadableReport where it has nothing of it."""
        spans = {
            layer: frozenset(span for span in known if start <= span[0] and span[1] <= end)
            for layer, known in self.spans.items()
        }
        if not any(spans.values()):
            raise UnreadableReport(
                f"these reports have nothing of {utc_text(start)} to {utc_text(end)}"
            )
        return replace(
            self,
            uses=tuple(use for use in self.uses if start <= use.start and use.end <= end),
            costs=tuple(cost for cost in self.costs if start <= cost.start and cost.end <= end),
            spans=spans,
            missing={layer: _missing(known, start, end) for layer, known in spans.items()},
        )


def _missing(known: Iterable[Span], start: int, end: int) -> frozenset[Span]:
    missing: set[Span] = set()
    at = start
    for first, last in (*sorted(known), (end, end)):
        while at < first:
            # by day, as what a provider counts nothing of
            following = min(first, at - at % DAY + DAY)
            missing.add((at, following))
            at = following
        at = max(at, last)
    return frozenset(missing)


@dataclass(slots=True)
class _Read:
    """What is in one page; layers is empty where nothing tells what it is of."""

    uses: list[Use] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    spans: set[Span] = field(default_factory=set)
    layers: set[Layer] = field(default_factory=set)
    goes_on: bool = False


def read_pages(pages: Iterable[Page], dialect: Dialect) -> ProviderReport:
    """Reads pages of usage and of costs, in any order; raises UnreadableReport, also where the last page of either says that there are more,
    and where a page with rows is given twice.

    A page without rows that is not known to be of either counts as one of each that there is.
    """
    read: list[_Read] = []
    given: dict[str, int] = {}
    for number, page in enumerate(pages, 1):
        read.append(_read(number, page, dialect))
        first = given.setdefault(page.text.strip(), number)
        if first != number and (read[-1].uses or read[-1].costs):
            raise UnreadableReport(f"page {number} is page {first} once more: give each once")
    known = {layer for one in read for layer in one.layers} or {"usage"}
    spans: dict[Layer, frozenset[Span]] = {}
    for layer in LAYERS:
        if layer in known:
            of_it = [one for one in read if layer in (one.layers or known)]
            _refuse_cut_off(of_it, layer)
            spans[layer] = frozenset(span for one in of_it for span in one.spans)
            _refuse_overlaps({span for one in of_it if one.layers for span in one.spans}, layer)
    return ProviderReport(
        tuple(use for one in read for use in one.uses),
        tuple(cost for one in read for cost in one.costs),
        spans,
    )


def _read(number: int, page: Page, dialect: Dialect) -> _Read:
    found = _Read() if page.layer is None else _Read(layers={page.layer})
    try:
        content = json.loads(page.text, parse_float=Decimal, parse_constant=_refuse)
        found.goes_on = bool(content.get("has_more"))
        for bucket in content["data"]:
            start, end = _time(bucket, "start"), _time(bucket, "end")
            found.spans.add((start, end))
            for result in bucket["results"]:
                one = _result(result, start, end, dialect)
                if isinstance(one, Use):
                    found.uses.append(one)
                    found.layers.add("usage")
                else:
                    found.costs.append(one)
                    found.layers.add("costs")
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
        what = f"{type(error).__name__} {error}"[:120]
        raise UnreadableReport(
            f"page {number} is no usage or cost report of {dialect}: {what}"
        ) from None
    return found


def _refuse_cut_off(pages: Iterable[_Read], layer: Layer) -> None:
    """Raises UnreadableReport where the page that ends last says that it is not the last one."""
    ends = [(max((end for _, end in one.spans), default=0), not one.goes_on) for one in pages]
    end, is_last = max(ends)
    if not is_last:
        raise UnreadableReport(
            f"the report of {layer} goes on after {utc_text(end)} (has_more): give the pages that follow, too"
        )


def _refuse_overlaps(spans: Iterable[Span], layer: Layer) -> None:
    """Raises UnreadableReport where buckets have a part of their time in common, which would count twice."""
    for (start, end), (following, _) in pairwise(sorted(spans)):
        if following < end:
            raise UnreadableReport(
                f"buckets of {layer} overlap, from {utc_text(start)} and {utc_text(following)}:"
                " give those of one width and zone, asked for when they were over"
            )


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _time(bucket: Mapping[str, Any], edge: str) -> int:
    """Returns the edge of a bucket: seconds at OpenAI, RFC 3339 at Anthropic."""
    if f"{edge}_time" in bucket:
        return _count(bucket[f"{edge}_time"]) * SECOND
    return int(datetime.fromisoformat(bucket[f"{edge}ing_at"]).timestamp()) * SECOND


def _result(result: Mapping[str, Any], start: int, end: int, dialect: Dialect) -> Use | Cost:
    if "amount" in result:
        return _cost(result, start, end, dialect)
    tokens = _openai(result) if dialect == "openai" else _anthropic(result)
    return Use(
        start=start,
        end=end,
        model=str(result.get("model") or ""),
        key=str(result.get("api_key_id") or ""),
        tier=_tier(result),
        tokens=tokens,
        project=_project(result, dialect),
    )


def _project(result: Mapping[str, Any], dialect: Dialect) -> str | None:
    """Returns the project or workspace of a row, None where it does not tell."""
    name = PROJECT_FIELDS[dialect]
    if dialect == "anthropic" and name in result and result[name] is None:
        return DEFAULT_PROJECT
    return None if result.get(name) is None else str(result[name])


def _tier(result: Mapping[str, Any]) -> str | None:
    """Returns the service tier of a row. OpenAI tells batches apart by a field of their own, Anthropic a speed."""
    if result.get("batch") is True:
        return "batch"
    tier = result.get("service_tier")
    if not tier:
        return None
    usual = normal_tier(str(tier))
    speed = normal_tier(str(result.get("speed") or ""))
    return usual if speed == STANDARD else speed


def _openai(result: Mapping[str, Any]) -> dict[Tokens, int]:
    """Returns disjoint tokens. input_tokens and output_tokens are documented as those of text, sound stands beside them."""
    cached = _count(result.get("input_cached_tokens") or 0)
    heard, spoken = (
        _count(result.get(f"{name}_audio_tokens") or 0) for name in ("input", "output")
    )
    return {
        "input": _count(_count(result["input_tokens"]) - cached) + heard,
        "cache_read": cached,
        "cache_write": 0,
        "output": _count(result["output_tokens"]) + spoken,
    }


def _anthropic(result: Mapping[str, Any]) -> dict[Tokens, int]:
    created = result.get("cache_creation") or {}
    return {
        "input": _count(result["uncached_input_tokens"]),
        "cache_read": _count(result.get("cache_read_input_tokens") or 0),
        "cache_write": sum(_count(number) for number in created.values()),
        "output": _count(result["output_tokens"]),
    }


def _cost(result: Mapping[str, Any], start: int, end: int, dialect: Dialect) -> Cost:
    amount = result["amount"]
    if dialect == "openai":
        if str(amount["currency"]).lower() != "usd":
            raise ValueError("an amount is not in USD")
        return Cost(
            start,
            end,
            str(result.get("line_item") or ""),
            _pico(amount["value"], PICOS),
            _project(result, dialect),
        )
    if str(result.get("currency", "USD")).upper() != "USD":
        raise ValueError("an amount is not in USD")
    if not isinstance(amount, str):
        raise ValueError("an amount of Anthropic's is text, in cents")
    return Cost(
        start,
        end,
        str(result.get("description") or result.get("model") or ""),
        _pico(amount, _CENT),
        _project(result, dialect),
    )


def _pico(amount: Any, unit: int) -> int:
    """Returns pico-USD; what is below one is rounded away, half to even: providers print sums of floats."""
    value = Decimal(amount)
    if not value.is_finite() or abs(value) > 10**9:
        raise ValueError(f"{str(amount)[:40]} is no amount")
    return int((value * unit).to_integral_value())


def _count(number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MAX_TOKENS:
        raise ValueError(f"{str(number)[:40]} is no count")
    return number
