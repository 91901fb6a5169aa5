"""A statement: lines of a period, rounded once, and adjustments of periods whose statements are final.

It is a draft while its period lasts and in grace until late records have come. Then it can be made final, and never changes: what comes
later is an adjustment line of the next one, which names the period that it belongs to.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from relay_ledger.money.rounding import CURRENCIES, USD, USD_RATE, Currency, statement_lines
from relay_ledger.periods.contracts import Terms
from relay_ledger.periods.months import Period

State = Literal["draft", "grace", "final"]
LineKind = Literal["usage", "adjustment"]
CALL: Final = "call"
"""What is counted on a line of requests: some cost beside their tokens."""


class NotDue(ValueError):
    """A statement that cannot be made final yet; the message says when it can."""


class NoRate(ValueError):
    """A currency without an exchange rate at that time; the message says how to give one."""


@dataclass(frozen=True, slots=True)
class Line:
    """What was used of a model, or the change of a former period's. With a server, model is one of its tools and requests are calls that
    it carried out. price_version names all versions of prices in it.

    period_start and period are those that the use belongs to. tokens are of billed attempts alone. abandoned are those of the requests
    whose callers left before the answer began. unpriced are requests that nothing is charged for until they have a price.

    A line with a unit price is of one kind of tokens or pieces, `counted`: quantity times unit_price_micro, micro-USD for `per` of it, is
    the amount. conditions say of which requests, beside their time; the first and the last of them were sent at first_at and last_at.
    A line without one is of all that its requests used.
    """

    kind: LineKind
    period_start: int
    period: str
    model: str
    price_version: str
    requests: int
    input_tokens: int
    output_tokens: int
    unpriced: int
    amount_pico: int
    amount_minor: int = 0
    server: str = ""
    abandoned: int = 0
    counted: str = ""
    quantity: int = 0
    unit_price_micro: int | None = None
    per: int = 0
    conditions: str = ""
    first_at: int = 0
    last_at: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    """Micro-units of a currency for one USD, from a time on, and who says so."""

    currency: Currency = USD
    micro: int = USD_RATE
    since: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a tenant owes for a period, in the currency of its contract. Times are microseconds since 1970.

    has_unit_prices is False of statements that became final before lines had any: they read as they were sent.
    """

    tenant_uid: str
    tenant: str
    state: State
    period: Period
    zone: str
    rate: Rate
    made_at: int
    lines: tuple[Line, ...]
    has_unit_prices: bool = False

    @property
    def total_pico(self) -> int:
        """Returns the exact total in pico-USD."""
        return sum(line.amount_pico for line in self.lines)

    @property
    def total_minor(self) -> int:
        """Returns the total in the minor unit of the currency: that of the lines, to the last unit."""
        return sum(line.amount_minor for line in self.lines)

    @property
    def unpriced(self) -> int:
        """Returns how many requests are not in the total, because they have no price."""
        return sum(line.unpriced for line in self.lines)


@dataclass(frozen=True, slots=True)
class Changed:
    """What a model of a former period, or a tool of a server, amounts to now, in pico-USD."""

    period: Period
    server: str
    model: str
    amount_pico: int


def state_at(now: int, period: Period) -> State:
    """Returns the state of a statement that is not final."""
    return "draft" if now < period.end else "grace"


def refuse_before(now: int, period: Period, grace: int) -> None:
    """Raises NotDue before the grace is over."""
    if now < period.end + grace:
        hours = -(-(period.end + grace - now) // 3_600_000_000)
        raise NotDue(
            f"late records of {period.name} are waited for: it can be made final in {hours} hours"
        )


def made(
    *,
    tenant_uid: str,
    terms: Terms,
    period: Period,
    state: State,
    rate: Rate,
    lines: Sequence[Line],
    now: int,
) -> Statement:
    """Makes a statement of lines that are not rounded yet."""
    minors = statement_lines([line.amount_pico for line in lines], rate.currency, rate=rate.micro)
    return Statement(
        tenant_uid=tenant_uid,
        tenant=terms.tenant or tenant_uid,
        state=state,
        period=period,
        zone=terms.zone,
        rate=rate,
        made_at=now,
        lines=tuple(
            replace(line, amount_minor=minor) for line, minor in zip(lines, minors, strict=True)
        ),
        has_unit_prices=True,
    )


def adjustments(
    changed: Iterable[Changed], finals: Sequence[Statement], *, before: int
) -> list[Line]:
    """Returns a line for each model and tool of a final period, begun before a time, that amounts to something else than what was billed of
    it in any statement, also a later one.
    """
    billed: dict[tuple[int, str, str], int] = {}
    for final in finals:
        for line in final.lines:
            key = line.period_start, line.server, line.model
            billed[key] = billed.get(key, 0) + line.amount_pico
    periods = {one.period.start: one.period for one in finals if one.period.start < before}
    now = {(one.period.start, one.server, one.model): one.amount_pico for one in changed}
    return [
        _adjustment(periods[key[0]], *key[1:], now.get(key, 0) - billed.get(key, 0))
        for key in sorted(now.keys() | billed.keys())
        if key[0] in periods and now.get(key, 0) != billed.get(key, 0)
    ]


def _adjustment(period: Period, server: str, model: str, amount_pico: int) -> Line:
    return Line(
        kind="adjustment",
        period_start=period.start,
        period=period.name,
        server=server,
        model=model,
        price_version="",
        requests=0,
        input_tokens=0,
        output_tokens=0,
        unpriced=0,
        amount_pico=amount_pico,
    )


def currency(code: str) -> Currency:
    """Returns a currency by its code; raises NoRate for one that no statement can be in."""
    known = CURRENCIES.get(code)
    if known is None:
        raise NoRate(f"{code} is no currency of statements; there are {', '.join(CURRENCIES)}")
    return known
