"""The page for people who would rather look than read: one file that needs nothing else, and its tables have every digit."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.ledger.bills.parsed_page import ParsedPage
from tests.ledger.conftest import Books
from tests.ledger.shell import Shell
from tests.unit.relay_contract.billing.records import closed, tool_call

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.token_buckets import TokenBuckets
from relay_ledger.periods.contracts import Terms
from relay_ledger.store.bills.cost_adjustments import CostAdjustments
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.tool_calls.tool_call_store import ToolCallStore

HOSTILE = "</title><script>alert(1)</script>\"'&<b>\u202e"
Look = Callable[..., ParsedPage]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**6


def used(attempt_id: str, when: str, **changes: Any) -> AttemptRecord:
    return closed(attempt_id=attempt_id, dispatched_at=at(when), **changes)


def book(books: Books, *records: AttemptRecord, tenant: str = "uid-a") -> None:
    books.ledger.book(tenant, records, books.prices, now=at("2026-03-01"))


@pytest.fixture
def look(address: str, shell: Shell) -> Look:
    def look(*options: str) -> ParsedPage:
        code, out, said = shell.run(address, "report", *options, "--format", "html")
        assert (code, said) == (0, "")
        return ParsedPage(out)

    return look


def test_a_page_shows_usage_cost_and_what_it_rests_on(books: Books, look: Look) -> None:
    ContractStore(books.engine).put("uid-a", Terms(0, "UTC", tenant="acme"), now=1)
    lost: dict[str, Any] = {"usage_source": "unknown", "tokens": None, "delivered": False}
    book(
        books,
        used("one", "2026-03-01"),
        used("two", "2026-03-31T23:59:59", tokens=TokenBuckets(input=1)),
        used("part", "2026-03-05", usage_source="partial"),
        used("lost", "2026-03-05", reserved_pico=10**12 // 3, **lost),
        used("new", "2026-03-05", answered_model="gpt-0", provider="azure"),
        used("april", "2026-04-01"),
    )
    book(books, used("b", "2026-03-02", tenant_uid="uid-b", tenant="b"), tenant="uid-b")
    page = look("--month", "2026-03")
    assert page.headings[0] == "Usage and cost from 2026-03-01 up to 2026-04-01: all tenants"
    assert [title for title, _ in page.charts] == [
        *("Tokens by the day", "Cost in USD by the day", "Cost and charge by model in USD"),
        "Attempts by who counted their tokens",
    ]
    assert all(description for _, description in page.charts)
    days = page.table("Usage by the day")
    assert [row[0] for row in days[1:]] == ["2026-03-01", "2026-03-02", "2026-03-05", "2026-03-31"]
    # 1,000 at 2 and 100 at 8 are spent, at 3 and at 12 come in, USD per million
    assert days[1] == ["2026-03-01", "1", "1,000", "100", "0.0028", "0.0042", "0.0014"]
    head, *models, total = page.table("Models")
    assert head[0] == "Model that answered"
    assert models == [
        ["gpt-4.1", "5", "3,301", "0.008402", "0.008403", "0.000001", "0"],
        ["gpt-0", "1", "1,100", "0.00", "0.00", "0.00", "1"],
    ]
    assert total == ["Total", "6", "4,401", "0.008402", "0.008403", "0.000001", "1"]
    evidence = page.table("Attempts that used something")
    assert evidence[1:] == [
        ["azure", "1", "0", "0", "0", "100.00 %"],
        ["openai", "3", "1", "0", "1", "60.00 %"],
        ["Total", "4", "1", "0", "1", "66.66 %"],
    ]
    assert "providers counted 4, 66.66 %" in page.charts[3][1]
    tenants = page.table("By tenant")
    assert [row[:2] for row in tenants[1:]] == [["acme (uid-a)", "5"], ["uid-b", "1"]]


def test_names_of_others_are_text_and_nothing_else(books: Books, look: Look) -> None:
    ContractStore(books.engine).put("uid-a", Terms(0, "UTC", tenant=HOSTILE), now=1)
    book(books, used("one", "2026-03-01", answered_model=HOSTILE))
    call = tool_call(called_at=at("2026-03-01"), name=HOSTILE, server="a<b")
    ToolCallStore(books.engine).book("uid-a", [call], books.prices, now=1)
    # the parser refuses what runs, fetches or does not close
    page = look("--month", "2026-03")
    assert [row[0] for row in page.table("Models")[1:]] == [HOSTILE, "Total"]
    assert page.table("By tenant")[1][0] == f"{HOSTILE} (uid-a)"
    assert page.table("By server and tool")[1][:2] == [f"a<b/{HOSTILE}", "1"]
    own = look("--month", "2026-03", "--tenant", "uid-a")
    assert own.headings[0].endswith(f": {HOSTILE} (uid-a)")


def test_a_page_of_one_tenant_says_nothing_of_others(
    books: Books, address: str, shell: Shell
) -> None:
    ContractStore(books.engine).put("uid-b", Terms(0, "UTC", tenant="rival"), now=1)
    book(books, used("one", "2026-03-01"))
    theirs = used("b", "2026-03-02", tenant_uid="uid-b", answered_model="secret-model")
    book(books, theirs, tenant="uid-b")
    CostAdjustments(books.engine).adjust(
        "openai", start=at("2026-03-01"), end=at("2026-04-01"), difference_pico=10**12, now=1
    )
    ask = ("report", "--month", "2026-03", "--format", "html")
    code, out, _ = shell.run(address, *ask, "--tenant", "uid-a")
    assert code == 0
    for word in ("rival", "uid-b", "secret-model", "Invoices differ"):
        assert word not in out
    _, out, _ = shell.run(address, *ask)
    assert "Invoices differ by</dt><dd><bdi>1.00 USD" in out
    assert "rival (uid-b)" in out


def test_days_are_those_of_the_zone_and_long_times_are_drawn_by_the_month(
    books: Books, look: Look
) -> None:
    book(books, used("one", "2026-03-01T18:15:00"), used("two", "2026-03-01T18:14:59"))
    page = look("--month", "2026-03", "--zone", "Asia/Kathmandu")
    assert [row[:2] for row in page.table("Usage by the day")[1:]] == [
        *(["2026-03-01", "1"], ["2026-03-02", "1"]),
    ]
    page = look("--from", "2026-01-01", "--until", "2026-12-31")
    assert [row[0] for row in page.table("Usage by the month")[1:]] == ["2026-03"]
    # the night in which Berlin has no hour from two to three
    hours = look("--from", "2026-03-29", "--until", "2026-03-30", "--zone", "Europe/Berlin")
    assert "23 columns" in hours.charts[0][1]


def test_a_time_without_use_is_a_page_too(books: Books, look: Look) -> None:
    page = look("--month", "2026-03")
    assert page.table("Models")[1:] == [["Nothing was used."]]
    assert len(page.charts) == 2


def test_many_models_are_a_chart_of_the_dearest_and_a_table_that_sums_up(
    books: Books, look: Look
) -> None:
    for first in range(0, 250, 50):
        some = [
            used(f"m{number}", "2026-03-01", answered_model=f"model-{number:03d}")
            for number in range(first, first + 50)
        ]
        book(books, *some)
    page = look("--month", "2026-03")
    _, *rows, rest, total = page.table("Models")
    assert (len(rows), rest[:2], total[:2]) == (
        *(200, ["50 other models", "50"]),
        ["Total", "250"],
    )
    assert "15 dearest of 250 models" in page.charts[2][1]


def test_the_page_is_light_or_dark_as_the_reader_has_it_and_prints_light(
    books: Books, look: Look
) -> None:
    page = look("--month", "2026-03")
    assert "color-scheme:light dark" in page.style
    assert "@media (prefers-color-scheme:dark)" in page.style
    assert "@media print" in page.style
    assert "url(" not in page.style
    assert "@import" not in page.style
