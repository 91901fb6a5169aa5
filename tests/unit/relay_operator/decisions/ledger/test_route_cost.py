"""Status tells exact sums, a quotient that is rounded once, and never 0 for what is not known."""

from typing import Any

import pytest

from relay_contract.billing.route_costs import RouteCost
from relay_operator.decisions.ledger.cost_evidence import CostEvidence
from relay_operator.decisions.ledger.route_cost import SideCost, is_told, side_of, to_fields

PICOS = 10**12
QUARTER = 900 * 10**6


def row(side: str = "stable", provider: str = "legacy", **changes: Any) -> RouteCost:
    counts = {"attempts": 3, "calls": 3, "cost_pico": 10**9, "unpriced": 0, "unknown": 0}
    fields = {"tenant_uid": "u", "route": "chat", "held_pico": 0, **counts, **changes}
    return RouteCost(side=side, provider=provider, **fields)  # type: ignore[arg-type]


def told(**changes: Any) -> dict[str, Any]:
    side = side_of([row(**changes)], "stable", "legacy")
    return to_fields(side, None, since=0, until=QUARTER)


def test_a_thousand_calls_cost_their_exact_sum_divided_once() -> None:
    fields = told()
    # 0.001 USD for three calls
    assert fields["stable"] == {
        "provider": "legacy",
        "reason": "Known",
        "perThousandCalls": "0.333333",
        "calls": 3,
        "attempts": 3,
        "cost": "0.001",
        "unpricedAttempts": None,
        "unknownAttempts": None,
        "unknownAtMost": None,
    }
    assert (fields["reason"], fields["currency"]) == ("Known", "USD")
    assert fields["summary"] == "stable 0.333333 USD"
    assert (fields["from"], fields["until"]) == ("1970-01-01T00:00:00Z", "1970-01-01T00:15:00Z")
    assert told(cost_pico=2 * 10**9)["stable"]["perThousandCalls"] == "0.666667"
    assert told(cost_pico=0)["stable"]["perThousandCalls"] == "0.00"
    assert told(cost_pico=1, calls=10**9)["stable"]["perThousandCalls"] == "0.000001"
    assert told(cost_pico=10**18)["stable"]["cost"] == "1000000.00"


@pytest.mark.parametrize(
    ("changes", "reason", "summary"),
    [
        ({"unpriced": 1, "cost_pico": 0}, "Unpriced", "stable unpriced"),
        ({"unknown": 1}, "UsageUnknown", "stable usage unknown"),
        ({"calls": 0}, "NoCalls", "stable no calls"),
    ],
)
def test_what_is_not_known_has_a_reason_and_no_figure(
    changes: dict[str, int], reason: str, summary: str
) -> None:
    fields = told(**changes)
    assert (fields["reason"], fields["stable"]["reason"], fields["summary"]) == (
        *(reason, reason, summary),
    )
    assert fields["stable"]["perThousandCalls"] is None


def test_a_side_is_what_it_is_at_its_present_provider() -> None:
    rows = [row(), row(provider="older"), row("canary", "new", calls=1, cost_pico=5 * 10**9)]
    stable, canary = side_of(rows, "stable", "legacy"), side_of(rows, "canary", "new")
    fields = to_fields(stable, canary, since=0, until=1)
    assert fields["summary"] == "stable 0.333333 USD, canary 5.00 USD"
    assert side_of(rows, "canary", "legacy") == SideCost(provider="legacy")
    assert to_fields(stable, side_of([], "canary", "new"), since=0, until=1)["reason"] == "NoCalls"


def test_the_same_calls_at_another_time_are_no_news() -> None:
    side = side_of([row()], "stable", "legacy")
    first, later = (to_fields(side, None, since=at, until=at + 1) for at in (0, QUARTER))
    assert is_told(first, later)
    assert not is_told(first, told(calls=2))


def evidence(*looks: list[RouteCost]) -> CostEvidence:
    found = CostEvidence(token="a/1", providers=("legacy", "new"))
    for one in looks:
        found.take(one)
    return found


def both(number: int, *, quarter: int = 0, factor: int = 3, **changes: Any) -> list[RouteCost]:
    """Returns what a ledger tells after so many looks with ten calls of each side at each."""
    calls = 10 * number
    stable = row(calls=calls, attempts=calls, cost_pico=calls * 10**9, quarter=quarter)
    canary = {"calls": calls, "attempts": calls, "cost_pico": factor * calls * 10**9} | changes
    return [stable, row("canary", "new", quarter=quarter, **canary)]


def test_only_what_is_new_since_the_first_look_is_evidence() -> None:
    before = [row("canary", "new", calls=10**6, attempts=10**6, cost_pico=1, quarter=0)]
    looks = [both(number, quarter=QUARTER) for number in range(41)]
    found = evidence(before, *([*before, *one] for one in looks)).finding(10)
    assert (found.holds, found.reason) == (False, "CostHigher")
    assert "a thousand of 400 calls" in found.message
    assert found.increase_percent == pytest.approx(200)


def test_a_new_quarter_of_an_hour_goes_on_where_the_last_ended() -> None:
    first = [both(number) for number in range(1, 21)]
    second = [[*both(20), *both(number, quarter=QUARTER)] for number in range(1, 21)]
    # the first one has left the looks
    third = [both(number, quarter=QUARTER) for number in range(21, 31)]
    found = evidence(*first, *second, *third).finding(10)
    assert "a thousand of 490 calls" in found.message


def test_what_has_no_price_or_no_known_use_is_said_and_its_looks_are_left_out() -> None:
    lacking = both(41, unpriced=4)
    held = evidence(*(both(number) for number in range(41)), lacking)
    assert (held.finding(10).holds, held.finding(10).reason) == (None, "Unpriced")
    assert "4 attempts of canary at Provider new have no price" in held.finding(10).message
    # priced after all: what that adds is none of the last calls
    held.take(both(41, cost_pico=10**15))
    assert held.finding(10).increase_percent == pytest.approx(200)
    unknown = evidence(both(1), both(2, attempts=100, unknown=6)).finding(10)
    assert (unknown.holds, unknown.reason) == (None, "UsageUnknown")
    few = evidence(both(1), both(2, attempts=10, unknown=2)).finding(10)
    assert (few.holds, few.reason) == (None, "TooFewRequests")


def test_calls_at_another_provider_are_of_another_canary() -> None:
    looks = [[*both(number)[:1], row("canary", "older", calls=number)] for number in range(50)]
    assert "no calls of canary and stable" in evidence(*looks).finding(10).message
