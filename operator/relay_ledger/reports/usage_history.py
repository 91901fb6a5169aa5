"""What a tenant is told of its use over time: `POST /v1/usage/history`."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from relay_ledger.booking.answer_times import percentile
from relay_ledger.booking.posting import Figures
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.contracts import Contract
from relay_ledger.periods.divisions import Granularity
from relay_ledger.periods.moments import Moments, NotATime
from relay_ledger.periods.months import NotAMonth, read_month
from relay_ledger.periods.zones import SECOND, aligned, utc_text
from relay_ledger.reports.figures import input_tokens, output_tokens
from relay_ledger.reports.usage_report import ReportedTime

Metric = Literal[
    "input_tokens",
    "output_tokens",
    "latency_p50",
    "latency_p99",
    "error_rate",
    "requests",
    "amount",
]
DEFAULT_METRICS: Final[tuple[Metric, ...]] = (
    "input_tokens",
    "output_tokens",
    "latency_p99",
    "error_rate",
)
_LAST: Final = re.compile(r"([1-9][0-9]{0,3})([hd])")
_UNITS: Final = {"h": 3600 * SECOND, "d": 86_400 * SECOND}


class BadQuestion(ValueError):
    """A question that cannot be answered; the message names the field and what to write."""


class _Time(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    start: str | int
    end: str | int


class HistoryQuestion(BaseModel):
    """The body of a request. period is `24h`, `30d`, a month as `2026-10`, or a start and an end."""

    model_config = ConfigDict(extra="forbid", strict=True)

    period: Annotated[str, Field(max_length=32)] | _Time = "30d"
    granularity: Granularity = "day"
    metrics: Annotated[list[Metric], Field(min_length=1, max_length=len(get_args(Metric)))] = list(
        DEFAULT_METRICS
    )

    @field_validator("metrics")
    @classmethod
    def _names_each_once(cls, metrics: list[Metric]) -> list[Metric]:
        return list(dict.fromkeys(metrics))

    @model_validator(mode="after")
    def _has_a_known_period(self) -> Self:
        if isinstance(self.period, str) and _LAST.fullmatch(self.period) is None:
            try:
                read_month(self.period)
            except NotAMonth:
                raise ValueError(
                    "period is `24h`, `30d`, a month as `2026-10`, or an object with start and end"
                ) from None
        return self


def read_question(body: bytes) -> HistoryQuestion:
    """Reads a request's body, which may be empty; raises BadQuestion."""
    if not body.strip():
        return HistoryQuestion()
    try:
        return HistoryQuestion.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise BadQuestion(f"{place}: {message}" if place else message) from None
    except (ValueError, RecursionError):
        raise BadQuestion("the body is no JSON") from None


def time_of(question: HistoryQuestion, contract: Contract, now: int) -> tuple[int, int]:
    """Returns the time that is asked for, widened to quarters of an hour; raises BadQuestion."""
    period = question.period
    if isinstance(period, str):
        found = _LAST.fullmatch(period)
        if found is not None:
            return aligned(now - int(found[1]) * _UNITS[found[2]], now)
        parts = contract.of_month(read_month(period))
        return parts[0].start, min(parts[-1].end, max(aligned(now, now)[1], parts[0].start))
    moments = Moments(contract.terms_at(now).where)
    try:
        return moments.span(str(period.start), str(period.end))
    except NotATime as error:
        raise BadQuestion(str(error)) from None


@dataclass(frozen=True, slots=True)
class Part:
    """What there was in an hour, a day or a month. steps counts answers by their time."""

    start: int
    figures: Figures
    steps: Mapping[int, int]
    failed: int
    calls: int


def usage_history(
    time: ReportedTime, question: HistoryQuestion, parts: Sequence[Part]
) -> dict[str, Any]:
    """Returns the answer. A rate or a time of no calls is null."""
    return {
        "object": "usage.history",
        **time.fields(),
        "granularity": question.granularity,
        "metrics": question.metrics,
        "data": [
            {"timestamp": utc_text(part.start)}
            | {metric: _metric(metric, part) for metric in question.metrics}
            for part in parts
        ],
    }


def _metric(metric: Metric, part: Part) -> Any:
    match metric:
        case "input_tokens":
            return input_tokens(part.figures)
        case "output_tokens":
            return output_tokens(part.figures)
        case "latency_p50":
            return percentile(part.steps, 50)
        case "latency_p99":
            return percentile(part.steps, 99)
        case "error_rate":
            return None if not part.calls else round(part.failed / part.calls, 6)
        case "requests":
            return part.figures["delivered"] + part.figures["abandoned"]
        case "amount":
            return usd_text(part.figures["charge_pico"])
