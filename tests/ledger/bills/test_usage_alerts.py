"""What a tenant reads of its alerts: how each was delivered, page by page, and never another tenant's."""

from typing import Any

from tests.ledger.bills.test_dead_letters import crossed
from tests.ledger.conftest import Books
from tests.ledger.ledger_process import LedgerProcess, token_of
from tests.ledger.test_budgets import CALL, HOUR, NOON, attempts, pay
from tests.ledger.test_reading import ALERTS, answer, error

from relay_contract.billing.budget import CreditTerms, TenantBudget, alert_message_id
from relay_ledger.budgets.alert_delivery import TRIED_FOR
from relay_ledger.store.limits.budget_store import BudgetStore
from relay_ledger.store.limits.dead_letters import DeadLetters

DAY = 24 * HOUR


def read(ledger: LedgerProcess, query: str = "", tenant_uid: str = "uid-a") -> dict[str, Any]:
    told = answer(ledger.ask("GET", f"{ALERTS}{query}", token=token_of(tenant_uid)))
    assert (told["object"], told["currency"]) == ("usage.alerts", "USD")
    return dict(told)


def states(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["threshold"], one["delivery"]["state"]) for one in told["data"]]


def test_a_tenant_reads_how_each_of_its_alerts_was_delivered(
    serving: LedgerProcess, books: Books
) -> None:
    half, whole = sorted(crossed(books), key=lambda one: one.alert.threshold)
    letters = DeadLetters(books.engine)
    BudgetStore(books.engine).told([half], now=NOON + HOUR)
    assert read(serving)["data"] == [
        {
            "id": alert_message_id("uid-a", alert.alert),
            "limit": "budget",
            "threshold": f"{alert.alert.threshold}%",
            "amount": "0.0084",
            "spent": "0.0084",
            "period_start": "2026-09-22T00:00:00Z",
            "period_end": "2026-09-23T00:00:00Z",
            "crossed_at": "2026-09-22T12:00:00Z",
            "delivery": delivery,
        }
        for alert, delivery in (
            (
                whole,
                {
                    "state": "pending",
                    "tried_until": "2026-09-25T12:00:00Z",
                    "message": "the platform's receiver has not taken it yet; it is sent again every few minutes until 2026-09-25T12:00:00Z",
                },
            ),
            (
                half,
                {
                    "state": "delivered",
                    "at": "2026-09-22T13:00:00Z",
                    "message": "the platform was told",
                },
            ),
        )
    ]
    letters.failed([whole], now=NOON + TRIED_FOR)
    dead = read(serving)["data"][0]["delivery"]
    assert (dead["state"], dead["at"]) == ("dead", "2026-09-25T12:00:00Z")
    assert "for three days" in dead["message"]
    letters.send_again(letters.all(), now=NOON + TRIED_FOR + DAY)
    again = read(serving)["data"][0]["delivery"]
    assert (again["state"], again["tried_until"]) == ("pending", "2026-09-29T12:00:00Z")
    letters.failed([whole], now=NOON + 2 * TRIED_FOR + DAY)
    letters.dismiss(letters.all(), now=NOON + 3 * TRIED_FOR)
    assert states(read(serving)) == [("100%", "dismissed"), ("50%", "delivered")]


def test_no_tenant_reads_anything_of_another(serving: LedgerProcess, books: Books) -> None:
    crossed(books)
    crossed(books, at=NOON + DAY, tenant_uid="uid-b")
    own, others = (read(serving, tenant_uid=uid)["data"] for uid in ("uid-a", "uid-b"))
    assert {one["period_start"][:10] for one in own} == {"2026-09-22"}
    assert {one["period_start"][:10] for one in others} == {"2026-09-23"}
    assert not {one["id"] for one in own} & {one["id"] for one in others}
    assert read(serving, tenant_uid="uid-c")["data"] == []
    # a place among another's alerts is only a time: what comes after it is the asking tenant's
    place = read(serving, "?limit=1", tenant_uid="uid-b")["next"]
    assert read(serving, f"?after={place}")["data"] == own
    for query in ("?tenant_uid=uid-b", "?tenantUid=uid-b", "?tenant=uid-b&limit=2"):
        error(serving.ask("GET", ALERTS + query), 400, "limit and after")
    assert serving.ask("GET", ALERTS, token=token_of("uid-a") + "b").status_code == 401


def test_all_pages_together_are_all_alerts_once_the_newest_first(
    serving: LedgerProcess, books: Books
) -> None:
    for day in range(3):
        crossed(books, at=NOON + day * DAY)
    everything = read(serving)
    assert everything["next"] is None
    times = [one["crossed_at"] for one in everything["data"]]
    assert (len(times), times) == (6, sorted(times, reverse=True))
    for limit in (1, 2, 4, 5, 6, 100):
        found: list[Any] = []
        following: str | None = ""
        while following is not None:
            page = read(serving, f"?limit={limit}{following and f'&after={following}'}")
            assert len(page["data"]) <= limit
            found += page["data"]
            following = page["next"]
        assert found == everything["data"]


def test_credit_is_told_of_without_an_end(serving: LedgerProcess, books: Books) -> None:
    books.bill("uid-a")
    terms = CreditTerms(alert_below_pico=(2 * CALL,))
    BudgetStore(books.engine).put(
        TenantBudget(tenant_uid="uid-a", tenant="acme", credit=terms), now=NOON
    )
    pay(books, "uid-a", 3 * CALL, NOON)
    books.ledger.book("uid-a", attempts(2, at=NOON), books.prices, now=NOON)
    (told,) = read(serving)["data"]
    assert (told["limit"], told["threshold"], told["period_end"]) == (
        *("credit", "below 0.0084", None),
    )


def test_a_question_that_cannot_be_answered_says_what_to_ask(serving: LedgerProcess) -> None:
    for query, word in (
        ("limit=0", "1 to 100"),
        ("limit=101", "1 to 100"),
        ("limit=ten", "1 to 100"),
        ("limit=%D9%A1", "1 to 100"),
        ("limit=1&limit=2", "once"),
        ("after=yesterday", "next"),
        ("after=1-credit-2-3", "next"),
        ("after=1-budget-2-3-9223372036854775808", "next"),
        ("after=1-budget-2-3-4'", "next"),
        ("after=1-gift-2-3-4", "next"),
        ("start=2026-01-01", "limit and after"),
    ):
        error(serving.ask("GET", f"{ALERTS}?{query}"), 400, word)
    assert read(serving, "?after=9223372036854775807-credit-0-0-0")["data"] == []
