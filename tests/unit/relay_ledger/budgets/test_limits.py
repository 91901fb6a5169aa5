"""A budget is of the period of the tenant's zone in which an attempt was sent, to the microsecond."""

from datetime import UTC, datetime

from relay_contract.billing.budget import BudgetTerms, CreditTerms
from relay_ledger.budgets.limits import Credit, budget_limit, credit_limit
from relay_ledger.periods.contracts import Contract, Terms
from relay_ledger.periods.zones import QUARTER

DAY = BudgetTerms(amount_pico=1001, period="Day", hard=True, alert_at_percent=(100, 50))
MONTH = BudgetTerms(amount_pico=1000, period="Month", hard=True)


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp()) * 10**6


def test_a_period_begins_at_its_zones_midnight_and_not_a_microsecond_before() -> None:
    contract = Contract([Terms(zone="Asia/Kathmandu")])
    midnight = micros("2026-03-01T00:00:00+05:45")
    for terms in (DAY, MONTH):
        before, after = (budget_limit(terms, contract, at) for at in (midnight - 1, midnight))
        assert before.ends_at == after.starts_at == midnight
    assert budget_limit(MONTH, contract, midnight).ends_at == micros("2026-04-01T00:00:00+05:45")


def test_a_day_has_as_many_hours_as_the_clocks_give_it() -> None:
    contract = Contract([Terms(zone="America/New_York")])
    hours = [
        (limit.ends_at - limit.starts_at) // (3600 * 10**6)
        for day in ("2026-03-08", "2026-11-01", "2026-11-02")
        for limit in [budget_limit(DAY, contract, micros(f"{day}T12:00:00-05:00"))]
    ]
    assert hours == [23, 25, 24]


def test_thresholds_are_rounded_up_so_that_half_is_never_less_than_half() -> None:
    limit = budget_limit(DAY, Contract([]), 0)
    assert [(one.value, one.spent_pico) for one in limit.thresholds] == [(50, 501), (100, 1001)]
    assert limit.crossed(500) == []
    assert [one.value for one in limit.crossed(501)] == [50]
    assert [one.value for one in limit.crossed(5000)] == [50, 100]


def test_credit_is_what_was_paid_since_the_quarter_of_the_first_payment() -> None:
    terms = CreditTerms(alert_below_pico=(10, 100, 5000))
    limit = credit_limit(terms, Credit(paid_pico=1000, first_at=QUARTER + 5))
    assert (limit.starts_at, limit.amount_pico, limit.hard) == (QUARTER, 1000, True)
    # more is warned of than was ever paid: it would only be noise
    assert [(one.value, one.spent_pico) for one in limit.thresholds] == [(100, 900), (10, 990)]
    assert credit_limit(terms, Credit(-5, 1)).amount_pico == 0
