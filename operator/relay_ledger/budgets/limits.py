"""What a tenant may spend until when: a budget for each day or month of its zone, and credit that was paid in advance."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from relay_contract.billing.attempt_event import MAX_MICROSECONDS
from relay_contract.billing.budget import BudgetTerms, CreditTerms, LimitKind
from relay_ledger.periods.contracts import Contract
from relay_ledger.periods.zones import QUARTER, day_start, local


@dataclass(frozen=True, slots=True)
class Threshold:
    """A value that somebody is warned at, and what has to be spent for it, in pico-USD.

    value is a percentage of a budget, or an amount below which credit has gone.
    """

    value: int
    spent_pico: int


@dataclass(frozen=True, slots=True)
class Limit:
    """An amount in pico-USD for the attempts that are sent from starts_at up to but without ends_at."""

    kind: LimitKind
    starts_at: int
    ends_at: int
    amount_pico: int
    hard: bool
    thresholds: tuple[Threshold, ...] = ()

    @property
    def key(self) -> tuple[LimitKind, int]:
        """Returns what tells it from the tenant's others."""
        return self.kind, self.starts_at

    def crossed(self, spent_pico: int) -> list[Threshold]:
        """Returns the thresholds that this spending has reached."""
        return [one for one in self.thresholds if spent_pico >= one.spent_pico]


@dataclass(frozen=True, slots=True)
class Credit:
    """What a tenant has paid in advance in all, and when the first payment came."""

    paid_pico: int
    first_at: int


NOTHING_PAID: Final = Credit(0, 0)


def budget_limit(terms: BudgetTerms, contract: Contract, at: int) -> Limit:
    """Returns the budget of the period in which an attempt is sent at that time."""
    starts_at, ends_at = _period(terms, contract, at)
    return Limit(
        "budget",
        starts_at,
        ends_at,
        terms.amount_pico,
        terms.hard,
        tuple(
            Threshold(percent, -(-terms.amount_pico * percent // 100))
            for percent in sorted(terms.alert_at_percent)
        ),
    )


def credit_limit(terms: CreditTerms, credit: Credit) -> Limit:
    """Returns the limit of what was paid; before the first payment it is nothing, for ever.

    What was used before the quarter of an hour of the first payment is on a statement.
    """
    return Limit(
        "credit",
        credit.first_at // QUARTER * QUARTER,
        MAX_MICROSECONDS,
        max(credit.paid_pico, 0),
        hard=True,
        thresholds=tuple(
            Threshold(below, max(credit.paid_pico - below, 0))
            for below in sorted(terms.alert_below_pico, reverse=True)
            if below < credit.paid_pico
        ),
    )


def _period(terms: BudgetTerms, contract: Contract, at: int) -> tuple[int, int]:
    (month,) = contract.periods(at, at + 1)
    if terms.period == "Month":
        return month.start, month.end
    where = contract.terms_at(at).where
    day = local(at, where).date()
    # terms that change within a day divide it, as they do a month
    return (
        max(day_start(day, where), month.start),
        min(day_start(day + timedelta(days=1), where), month.end),
    )
