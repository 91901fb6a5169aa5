"""What the sides of routes have cost is told by side and provider, of the routes that were asked for alone, and exactly."""

import json
import time
from typing import Any

import httpx
import pytest
from tests.ledger.conftest import Books
from tests.ledger.ledger_process import KEY, LedgerProcess, token_of
from tests.unit.relay_contract.billing.records import NOON, closed

from relay_contract.billing.ledger_token import read_keys
from relay_contract.billing.route_costs import (
    MAX_ROUTES,
    ROUTE_COSTS_PATH,
    RouteAsked,
    RouteCost,
    RouteCosts,
)
from relay_ledger.store.route_cost_reading import RouteCostReading
from relay_ledger.store.tables import QUARTER_MICROSECONDS

QUARTER = NOON - NOON % QUARTER_MICROSECONDS
CALL = 1000 * 2 * 10**6 + 100 * 8 * 10**6
"""What an attempt of the records costs, in pico-USD."""


def asked(uid: str = "uid-a", route: str = "chat", since: int = NOON) -> RouteAsked:
    return RouteAsked(tenant_uid=uid, route=route, since=since)


def book(books: Books, **changes: Any) -> None:
    record = closed(**changes)
    assert books.ledger.book(record.tenant_uid, [record], books.prices, now=NOON).booked == 1


def told(books: Books, *routes: RouteAsked, by_quarter: bool = False) -> list[RouteCost]:
    return RouteCostReading(books.engine).costs(routes or (asked(),), by_quarter=by_quarter)


def test_each_side_has_its_calls_its_attempts_and_all_that_they_cost(books: Books) -> None:
    book(books, attempt_id="one")
    book(books, attempt_id="two", side="canary", provider="openai")
    # nobody got it, and it cost all the same
    book(books, attempt_id="three", side="canary", delivered=False, outcome="truncated")
    book(books, attempt_id="four", side="fallback")
    book(books, attempt_id="five", side="shadow", delivered=False)
    canary, stable = told(books)
    assert (canary.side, canary.attempts, canary.calls, canary.cost_pico) == (
        *("canary", 2, 1, 2 * CALL),
    )
    assert (stable.side, stable.attempts, stable.calls, stable.cost_pico) == ("stable", 1, 1, CALL)
    assert (stable.unpriced, stable.unknown, stable.quarter) == (0, 0, 0)


def test_what_lacks_a_price_or_a_known_use_is_counted_and_costs_nothing_yet(books: Books) -> None:
    book(books, attempt_id="one", answered_model="gpt-new")
    book(
        books,
        attempt_id="two",
        usage_source="unknown",
        tokens=None,
        outcome="timeout",
        delivered=False,
        reserved_pico=77,
    )
    (stable,) = told(books)
    assert (stable.attempts, stable.calls, stable.cost_pico) == (2, 1, 0)
    assert (stable.unpriced, stable.unknown, stable.held_pico) == (1, 1, 77)


def test_only_what_was_asked_for_is_told_from_the_quarter_of_an_hour_of_its_moment(
    books: Books,
) -> None:
    book(books, attempt_id="before", dispatched_at=QUARTER - 1)
    book(books, attempt_id="first", dispatched_at=QUARTER)
    book(books, attempt_id="next", dispatched_at=QUARTER + QUARTER_MICROSECONDS)
    book(books, attempt_id="other-route", route="embed")
    book(books, attempt_id="other-tenant", tenant_uid="uid-b")
    book(books, attempt_id="other-both", tenant_uid="uid-b", route="embed")
    pairs = [asked(since=QUARTER + 1), asked("uid-b", "embed", since=QUARTER + 1)]
    found = told(books, *pairs)
    assert {(one.tenant_uid, one.route): one.calls for one in found} == {
        ("uid-a", "chat"): 2,
        ("uid-b", "embed"): 1,
    }
    quarters = told(books, asked(since=QUARTER - 1), by_quarter=True)
    assert [(one.quarter, one.calls) for one in quarters] == [
        (QUARTER - QUARTER_MICROSECONDS, 1),
        (QUARTER, 1),
        (QUARTER + QUARTER_MICROSECONDS, 1),
    ]
    assert told(books, asked(route="none")) == []


def ask(serving: LedgerProcess, content: Any, *, token: str) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return serving.ask("POST", ROUTE_COSTS_PATH, token=token, body=body)


def test_the_operator_alone_is_told_and_bad_questions_are_refused(
    serving: LedgerProcess, books: Books
) -> None:
    at = time.time_ns() // 1000
    record = closed(tenant_uid="uid-b", dispatched_at=at)
    serving.send([record], token=token_of("uid-b"))
    question = {"routes": [{"tenantUid": "uid-b", "route": "chat", "since": at}]}
    for token in (token_of("uid-b"), token_of("operator"), "operator.x"):
        assert ask(serving, question, token=token).status_code == 401
    operators = read_keys(KEY).operator_token()
    answer = ask(serving, question, token=operators)
    assert answer.status_code == 200
    found = RouteCosts.model_validate_json(answer.content)
    assert found.until >= at
    assert [(one.tenant_uid, one.calls) for one in found.costs] == [("uid-b", 1)]
    old = {"routes": [{"tenantUid": "uid-b", "route": "chat", "since": 1}]}
    many = {"routes": question["routes"] * (MAX_ROUTES + 1)}
    for bad in (old, many, b"{", {"routes": [{"tenantUid": "uid-b"}]}, {"routes": "all"}):
        refused = ask(serving, bad, token=operators)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid")
    assert ask(serving, b" " * 300_000, token=operators).status_code == 413
    assert ask(serving, {"routes": []}, token=operators).json()["costs"] == []


@pytest.mark.parametrize("name", ["chat'; --", "a" * 64, ""])
def test_a_name_that_no_route_has_is_no_part_of_a_statement(books: Books, name: str) -> None:
    book(books)
    asked_for = RouteAsked.model_construct(tenant_uid="uid-a", route=name, since=NOON)
    assert told(books, asked_for) == []
