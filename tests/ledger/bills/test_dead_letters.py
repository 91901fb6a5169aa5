"""Alerts that nobody takes: tried for days, then kept, listed, and sent again when a person says so."""

import csv
import io
import json

from tests.ledger.conftest import Books
from tests.ledger.ledger_process import LedgerProcess, operator_token
from tests.ledger.shell import Shell
from tests.ledger.test_budgets import CALL, HOUR, NOON, attempts, budget

from relay_contract.billing.budget import (
    ALERTS_TOLD_PATH,
    BUDGETS_PATH,
    UNDELIVERED_OF,
    AlertsTold,
    BudgetStandings,
    TenantAlert,
)
from relay_ledger.budgets.alert_delivery import TRIED_FOR
from relay_ledger.store.books.book_store import BookStore
from relay_ledger.store.limits.budget_store import BudgetStore
from relay_ledger.store.limits.dead_letters import DeadLetters


def crossed(books: Books, *, at: int = NOON, tenant_uid: str = "uid-a") -> tuple[TenantAlert, ...]:
    """Crosses two thresholds of a tenant's budget; returns all alerts that are to be told."""
    store = BudgetStore(books.engine)
    books.bill(tenant_uid)
    terms = budget(2 * CALL, alert_at_percent=(50, 100))
    store.put(terms.model_copy(update={"tenant_uid": tenant_uid}), now=at)
    calls = attempts(2, at=at, relay=tenant_uid, tenant_uid=tenant_uid)
    books.ledger.book(tenant_uid, calls, books.prices, now=at)
    return to_tell(books, at)


def to_tell(books: Books, now: int) -> tuple[TenantAlert, ...]:
    return BudgetStore(books.engine).standings([], now=now).alerts


def undelivered(books: Books, now: int) -> int:
    return BudgetStore(books.engine).standings([], now=now).undelivered


def test_an_alert_that_fails_is_told_again_for_days_and_then_kept(books: Books) -> None:
    letters, alerts = DeadLetters(books.engine), crossed(books)
    assert len(alerts) == 2
    letters.failed(alerts, now=NOON + TRIED_FOR - 1)
    assert to_tell(books, NOON) == alerts
    assert (letters.all(), undelivered(books, NOON)) == ([], 0)
    letters.failed(alerts[:1], now=NOON + TRIED_FOR)
    assert to_tell(books, NOON) == alerts[1:]
    [one] = letters.all()
    assert (one.alert, one.given_up_at) == (alerts[0], NOON + TRIED_FOR)
    assert undelivered(books, NOON) == 1
    # what fails once more stays what it is
    letters.failed(alerts[:1], now=NOON + 2 * TRIED_FOR)
    assert letters.all() == [one]


def test_one_that_is_sent_again_is_the_same_and_has_its_days_anew(books: Books) -> None:
    letters, alerts = DeadLetters(books.engine), crossed(books)
    given_up = NOON + TRIED_FOR
    letters.failed(alerts, now=given_up)
    assert to_tell(books, NOON) == ()
    found = letters.all()
    assert letters.send_again(found, now=given_up + HOUR) == 2
    assert letters.send_again(found, now=given_up + 2 * HOUR) == 0
    assert to_tell(books, NOON) == alerts
    letters.failed(alerts, now=given_up + HOUR + TRIED_FOR - 1)
    assert letters.all() == []
    letters.failed(alerts, now=given_up + HOUR + TRIED_FOR)
    assert len(letters.all()) == 2


def test_one_that_was_delivered_is_never_given_up(books: Books) -> None:
    letters, alerts = DeadLetters(books.engine), crossed(books)
    BudgetStore(books.engine).told(alerts, now=NOON)
    letters.failed(alerts, now=NOON + 2 * TRIED_FOR)
    assert (letters.all(), to_tell(books, NOON)) == ([], ())


def test_the_operator_says_what_failed(serving: LedgerProcess, books: Books) -> None:
    long_ago = NOON - 4 * TRIED_FOR
    alerts = crossed(books, at=long_ago)
    told = AlertsTold(alerts=alerts[:1], failed=alerts[1:]).model_dump_json(by_alias=True).encode()
    answer = serving.ask("POST", ALERTS_TOLD_PATH, token=operator_token(), body=told)
    assert answer.status_code == 200, answer.text
    standings = serving.ask("GET", BUDGETS_PATH, token=operator_token()).text
    found = BudgetStandings.model_validate_json(standings)
    assert (found.alerts, found.undelivered) == ((), 1)
    # an operator of an earlier version refuses what it does not know
    assert "undeliveredOf" not in json.loads(standings)
    asked = f"{BUDGETS_PATH}?tenantUid=uid-a&tenantUid=uid-b&{UNDELIVERED_OF}=tenant"
    answer = serving.ask("GET", asked, token=operator_token())
    assert BudgetStandings.model_validate_json(answer.text).undelivered_of == {"uid-a": 1}
    asked = f"{BUDGETS_PATH}?tenantUid=uid-b&{UNDELIVERED_OF}=tenant"
    answer = serving.ask("GET", asked, token=operator_token())
    assert BudgetStandings.model_validate_json(answer.text).undelivered_of == {}


def test_a_person_lists_them_and_sends_those_of_a_tenant_again(
    books: Books, address: str, shell: Shell
) -> None:
    crossed(books)
    alerts = crossed(books, tenant_uid="uid-b")
    DeadLetters(books.engine).failed(alerts, now=NOON + TRIED_FOR)
    code, listed, _ = shell.run(address, "alerts")
    rows = list(csv.DictReader(io.StringIO(listed)))
    assert code == 0
    assert [(row["tenant"], row["threshold"]) for row in rows] == [
        *(("uid-a", "50%"), ("uid-a", "100%")),
        *(("uid-b", "50%"), ("uid-b", "100%")),
    ]
    assert rows[0] == {
        "tenant": "uid-a",
        "limit": "budget",
        "threshold": "50%",
        "period_start": "2026-09-22T00:00:00Z",
        "amount_usd": "0.0084",
        "spent_usd": "0.0084",
        "crossed_at": "2026-09-22T12:00:00Z",
        "given_up_at": "2026-09-25T12:00:00Z",
    }
    assert shell.run(address, "alerts", "--tenant", "uid-b", "--send-again")[:2] == (
        *(0, "2 alerts are sent again\n"),
    )
    assert {one.tenant_uid for one in to_tell(books, NOON)} == {"uid-b"}
    assert len(shell.run(address, "alerts")[1].splitlines()) == 3


def test_a_person_dismisses_those_that_nobody_needs(
    books: Books, address: str, shell: Shell
) -> None:
    crossed(books)
    alerts = crossed(books, tenant_uid="uid-b")
    DeadLetters(books.engine).failed(alerts, now=NOON + TRIED_FOR)
    assert shell.run(address, "alerts", "--tenant", "uid-b", "--dismiss")[:2] == (
        *(0, "2 alerts are dismissed\n"),
    )
    assert (undelivered(books, NOON), to_tell(books, NOON)) == (2, ())
    assert shell.run(address, "alerts", "--tenant", "uid-b", "--send-again")[:2] == (
        *(0, "0 alerts are sent again\n"),
    )
    assert shell.run(address, "alerts", "--dismiss", "--send-again")[0] == 2


def test_those_of_tenants_that_are_gone_are_dismissed_together_and_it_is_told_who_did_what(
    books: Books, address: str, shell: Shell
) -> None:
    alerts = (*crossed(books), *crossed(books, tenant_uid="uid-b"))
    DeadLetters(books.engine).failed(tuple(dict.fromkeys(alerts)), now=NOON + TRIED_FOR)
    code, _, said = shell.run(address, "alerts", "--gone", "--dismiss")
    assert (code, "nobody can tell which are gone" in said) == (1, True)
    book = {"v": 1, "tenants": {"uid-a": {"name": "finance", "zone": "UTC"}}}
    BookStore(books.engine, books.store).put(json.dumps(book).encode(), now=NOON)
    listed = list(csv.DictReader(io.StringIO(shell.run(address, "alerts", "--gone")[1])))
    assert {row["tenant"] for row in listed} == {"uid-b"}
    done = shell.run(address, "alerts", "--gone", "--dismiss", "--note", "=offboarded")
    assert done[:2] == (0, f"{len(listed)} alerts are dismissed\n")
    assert shell.run(address, "alerts", "--gone")[1].count("\n") == 1
    assert shell.run(address, "alerts", "--tenant", "uid-a", "--send-again")[0] == 0
    acts = list(csv.DictReader(io.StringIO(shell.run(address, "acts")[1])))
    assert [(row["act"], row["tenant"], row["subject"], row["note"]) for row in acts] == [
        ("alert dismissed", "uid-b", "budget 100% crossed 2026-09-22T12:00:00Z", "'=offboarded"),
        ("alert dismissed", "uid-b", "budget 50% crossed 2026-09-22T12:00:00Z", "'=offboarded"),
        ("alert sent again", "uid-a", "budget 100% crossed 2026-09-22T12:00:00Z", ""),
        ("alert sent again", "uid-a", "budget 50% crossed 2026-09-22T12:00:00Z", ""),
    ]
    # dismissed once, so told once
    assert shell.run(address, "alerts", "--gone", "--dismiss")[1] == "0 alerts are dismissed\n"
    assert shell.run(address, "acts", "--tenant", "uid-b")[1].count("\n") == 3
