"""What the platform reads: costs, charges and margins to the last digit, and statements that never change once they are final."""

import asyncio
import csv
import io
import json
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, event, insert, select, update
from sqlalchemy.exc import DBAPIError
from tests.ledger.conftest import RETAIL, Books
from tests.ledger.shell import Shell
from tests.unit.relay_contract.billing.records import closed

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.token_buckets import TokenBuckets
from relay_ledger.ingest.booking_desk import BookingDesk
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.money.rounding import CURRENCIES
from relay_ledger.periods.contracts import Terms
from relay_ledger.periods.months import Month
from relay_ledger.settings import Settings
from relay_ledger.statements import kept_statement
from relay_ledger.statements.statement import Line, NoRate, NotDue, Rate, Statement
from relay_ledger.statements.statement_table import csv_table, json_document
from relay_ledger.store.bills.cost_adjustments import CostAdjustments
from relay_ledger.store.bills.exchange_rates import put_rate
from relay_ledger.store.bills.statement_store import PostingsGone, StatementStore
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.repricing import Repricing
from relay_ledger.store.tables import STATEMENTS, TERMS
from relay_ledger.store.tool_calls.tool_call_store import ToolCallStore
from relay_ledger.upkeep.final_statements import FinalStatements

HOUR = 3600 * 10**6
DAY = 24 * HOUR
GRACE = 72 * HOUR
MARCH, APRIL, MAY = (Month(2026, number) for number in (3, 4, 5))


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**6


def book(books: Books, *records: AttemptRecord, tenant: str = "uid-a") -> None:
    books.ledger.book(tenant, records, books.prices, now=at("2026-03-01"))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def used(attempt_id: str, when: str, **changes: Any) -> AttemptRecord:
    return closed(attempt_id=attempt_id, dispatched_at=at(when), **changes)


def test_a_report_says_what_came_in_what_went_out_and_what_nobody_knows(
    books: Books, address: str, shell: Shell
) -> None:
    lost = {"delivered": False, "tokens": None, "answered_model": None, "usage_source": "unknown"}
    book(
        books,
        used("one", "2026-03-01"),
        used("two", "2026-03-31T23:59:59", tokens=TokenBuckets(input=1)),
        used("retried", "2026-03-05", delivered=False, outcome="truncated"),
        used("lost", "2026-03-05", reserved_pico=10**12 // 3, **lost),
        used("dear", "2026-03-05", answered_model="=gpt-0", key_name="+ops", side="canary"),
        used("april", "2026-04-01"),
    )
    book(books, used("other", "2026-03-02", tenant_uid="uid-b", tenant="b"), tenant="uid-b")
    ContractStore(books.engine).put("uid-a", Terms(0, "UTC", tenant="=acme"), now=1)
    code, out, _ = shell.run(address, "report", "--month", "2026-03")
    assert code == 0
    assert out.startswith("tenant,tenant_name,model,attempts,")
    first, second, third = rows(out)
    assert [one["tenant_name"] for one in (first, third)] == ["'=acme", ""]
    assert (first["tenant"], first["model"]) == ("uid-a", "'=gpt-0")
    assert (first["cost_unpriced"], first["charge_unpriced"], first["cost_usd"]) == (
        "1",
        "1",
        "0.00",
    )
    # 2,001 at 2 and 200 at 8 are spent, 1,001 at 3 and 100 at 12 come in, USD per million
    assert (second["attempts"], second["delivered"], second["input"]) == ("4", "2", "2001")
    assert (second["cost_usd"], second["charge_usd"]) == ("0.005602", "0.004203")
    assert second["margin_usd"] == "-0.001399"
    assert second["held_usd"] == "0.333333333333"
    # the other is not billed: it costs, and brings nothing in
    assert (third["tenant"], third["margin_usd"]) == ("uid-b", "-0.0028")
    code, out, _ = shell.run(
        address, "report", "--from", "2026-03-01", "--until", "2026-04-01",
        "--by", "provider,key,side", "--tenant", "uid-a", "--format", "json",
    )  # fmt: skip
    report = json.loads(out)
    assert [(row["key"], row["side"]) for row in report["rows"]] == [
        ("+ops", "canary"),
        ("app", "stable"),
    ]
    assert report["total"]["margin_usd"] == "-0.001399"
    assert report["total"]["cost_unpriced"] == 1
    _, out, _ = shell.run(address, "report", "--month", "2026-03", "--format", "json")
    named = [(row["tenant"], row["tenant_name"]) for row in json.loads(out)["rows"]]
    assert sorted(set(named)) == [("uid-a", "=acme"), ("uid-b", "")]


def test_focus_has_exact_costs_of_whole_days(books: Books, address: str, shell: Shell) -> None:
    book(
        books,
        used("one", "2026-03-01", tokens=TokenBuckets(cache_read=1)),
        used("two", "2026-03-01T23:59:59"),
        used("three", "2026-03-02", answered_model="gpt-0"),
    )
    code, out, _ = shell.run(address, "report", "--month", "2026-03", "--format", "focus")
    assert code == 0
    first, second = sorted(rows(out), key=lambda row: row["ChargePeriodStart"])
    assert first["BilledCost"] == first["EffectiveCost"] == "0.0028005"
    assert (first["ChargePeriodStart"], first["ChargePeriodEnd"]) == (
        "2026-03-01T00:00:00Z",
        "2026-03-02T00:00:00Z",
    )
    assert (first["BillingPeriodStart"], first["BillingPeriodEnd"]) == (
        "2026-03-01T00:00:00Z",
        "2026-04-01T00:00:00Z",
    )
    assert (first["ChargeCategory"], first["BillingCurrency"]) == ("Usage", "USD")
    assert (first["ConsumedQuantity"], first["ConsumedUnit"]) == ("1101", "Tokens")
    assert first["x_TenantCharge"] == "0.00420075"
    assert (first["SubAccountId"], first["SubAccountName"]) == ("uid-a", "uid-a")
    assert (second["x_UnpricedAttempts"], second["ResourceId"]) == ("1", "gpt-0")
    ContractStore(books.engine).put("uid-a", Terms(0, "UTC", tenant="acme"), now=1)
    _, out, _ = shell.run(address, "report", "--month", "2026-03", "--format", "focus")
    assert {row["SubAccountName"] for row in rows(out)} == {"acme"}
    code, _, said = shell.run(
        address, "report", "--month", "2026-03", "--zone", "Asia/Kathmandu", "--format", "focus"
    )
    assert (code, "days of UTC" in said) == (1, True)


def test_focus_has_what_an_invoice_differs_by_as_an_adjustment(
    books: Books, address: str, shell: Shell
) -> None:
    book(books, used("one", "2026-03-01"))
    start, end = at("2026-03-01"), at("2026-04-01")
    CostAdjustments(books.engine).adjust(
        "openai", start=start, end=end, difference_pico=-1_500_000_000, now=end
    )
    report = ("report", "--month", "2026-03", "--format", "focus")
    _, adjusted = rows(shell.run(address, *report)[1])
    assert (adjusted["ChargeCategory"], adjusted["BilledCost"], adjusted["x_Margin"]) == (
        *("Adjustment", "-0.0015", "0.0015"),
    )
    assert (adjusted["ProviderName"], adjusted["SubAccountId"]) == ("openai", "")
    assert (adjusted["ChargePeriodStart"], adjusted["BillingPeriodEnd"]) == (
        *("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"),
    )
    # what no attempt explains is no tenant's
    [usage] = rows(shell.run(address, *report, "--tenant", "uid-a")[1])
    assert usage["ChargeCategory"] == "Usage"


@pytest.fixture
def statements(books: Books) -> StatementStore:
    return StatementStore(books.engine, grace=GRACE)


def counts(line: Line) -> tuple[int, int, int]:
    return line.requests, line.input_tokens, line.output_tokens


def only(found: Iterable[Statement]) -> Statement:
    (statement,) = found
    return statement


def test_a_statement_counts_the_requests_whose_callers_left_and_that_are_paid_for(
    books: Books, statements: StatementStore, address: str, shell: Shell, tmp_path: Path
) -> None:
    left: dict[str, Any] = {
        "delivered": False,
        "outcome": "cancelled",
        "usage_source": "partial",
        "tokens": TokenBuckets(input=500),
        "answered_model": None,
    }
    book(
        books,
        used("whole", "2026-03-01"),
        used("waived", "2026-03-01", **left),
        used("charged", "2026-03-01", abandoned=True, **left),
        used("also", "2026-03-02", abandoned=True, **left),
    )
    draft = only(statements.statements("uid-a", MARCH, now=at("2026-03-20")))
    # 1,000 at 3 and 100 at 12, and twice 500 at 3, USD per million
    assert [(line.requests, line.abandoned, line.input_tokens) for line in draft.lines] == [
        *((3, 2, 0), (0, 0, 2000), (0, 0, 0)),
    ]
    assert draft.total_pico == 4_200_000_000 + 2 * 1_500_000_000
    final = only(statements.finalize("uid-a", MARCH, now=at("2026-05-01")))
    assert final.lines[0].abandoned == 2
    assert only(statements.statements("uid-a", MARCH, now=at("2026-06-01"))).lines == final.lines
    _, out, _ = shell.run(address, "statement", "--month", "2026-03", "--tenant", "uid-a")
    told, *_, total = rows(out)
    assert (told["requests"], told["abandoned_requests"]) == ("3", "2")
    assert (total["abandoned_requests"], total["unpriced_requests"]) == ("", "0")
    directory = ("--directory", str(tmp_path), "--tenant", "uid-a", "--format", "html")
    shell.run(address, "statement", "--month", "2026-03", *directory)
    (page,) = tmp_path.glob("uid-a-2026-03*.html")
    assert "2 of the requests left before the answer" in page.read_text()
    _, out, _ = shell.run(address, "report", "--month", "2026-03")
    (row,) = rows(out)
    assert (row["attempts"], row["delivered"], row["abandoned"]) == ("4", "1", "2")


def test_a_statement_that_is_kept_from_before_has_none_of_them(
    books: Books, statements: StatementStore
) -> None:
    book(books, used("one", "2026-03-01"))
    final = only(statements.finalize("uid-a", MARCH, now=at("2026-05-01")))
    content = json.loads(kept_statement.written(final))
    for line in content["lines"]:
        del line["abandoned"]
    assert kept_statement.read(json.dumps(content)) == final


def test_a_statement_goes_from_draft_over_grace_to_final(
    books: Books, statements: StatementStore
) -> None:
    ContractStore(books.engine).put("uid-a", Terms(0, "Asia/Shanghai", tenant="acme"), now=1)
    midnight, end = at("2026-02-28T16:00:00"), at("2026-03-31T16:00:00")
    for name, when in (
        ("before", midnight - 1),
        ("first", midnight),
        ("last", end - 1),
        ("after", end),
    ):
        book(books, closed(attempt_id=name, dispatched_at=when))
    draft = only(statements.statements("uid-a", MARCH, now=end - 1))
    assert (draft.state, draft.period.start, draft.period.end) == ("draft", midnight, end)
    assert [(line.counted, line.quantity, line.amount_pico) for line in draft.lines] == [
        *(("call", 2, 0), ("input", 2000, 6_000_000_000), ("output", 200, 2_400_000_000)),
    ]
    assert [sum(column) for column in zip(*map(counts, draft.lines), strict=True)] == [2, 2000, 200]
    assert (draft.total_pico, draft.total_minor) == (8_400_000_000, 1)
    assert {line.price_version.split("@")[0] for line in draft.lines} == {"retail"}
    assert only(statements.statements("uid-a", MARCH, now=end)).state == "grace"
    with pytest.raises(NotDue, match="in 1 hours"):
        statements.finalize("uid-a", MARCH, now=end + GRACE - 1)
    final = only(statements.finalize("uid-a", MARCH, now=end + GRACE))
    assert (final.state, final.lines) == ("final", draft.lines)


def test_a_final_statement_never_changes_and_the_next_ones_say_what_did(
    books: Books, statements: StatementStore
) -> None:
    due = {month: at(f"2026-{month.number + 1:02d}-01") + GRACE for month in (MARCH, APRIL, MAY)}
    book(books, used("march", "2026-03-10"), used("april", "2026-04-10"))
    march = only(statements.finalize("uid-a", MARCH, now=due[MARCH]))
    # late records, and a correction of a price
    book(books, used("late", "2026-03-11"), used("unpriced", "2026-03-12", answered_model="gpt-0"))
    assert only(statements.statements("uid-a", MARCH, now=due[APRIL])) == march
    april = only(statements.finalize("uid-a", APRIL, now=due[APRIL]))
    *own, late = april.lines
    assert {line.kind for line in own} == {"usage"}
    assert sum(line.amount_pico for line in own) == 4_200_000_000
    assert (late.kind, late.period, late.amount_pico) == ("adjustment", "2026-03", 4_200_000_000)
    books.store.load(RETAIL.replace("[gpt-4.1]", "[gpt-4.1, gpt-0]").replace("'12'", "'11'"), now=2)
    Repricing(books.engine, books.prices, start=0, end=2**60).run(now=3)
    may = only(statements.finalize("uid-a", MAY, now=due[MAY]))
    changes = {(line.period, line.model): line.amount_pico for line in may.lines}
    # each of three attempts costs 100 tokens at 1 less; the one without a price 1,000 at 3 and 100 at 11
    assert changes == {
        ("2026-03", "gpt-0"): 4_100_000_000,
        ("2026-03", "gpt-4.1"): -200_000_000,
        ("2026-04", "gpt-4.1"): -100_000_000,
    }
    total = sum(
        only(statements.statements("uid-a", month, now=due[MAY])).total_pico
        for month in (MARCH, APRIL, MAY)
    )
    assert total == books.ledger.sums("uid-a", start=0, end=2**60)["charge_pico"]
    assert only(statements.statements("uid-a", MARCH, now=due[MAY])) == march
    june = only(statements.statements("uid-a", Month(2026, 6), now=due[MAY]))
    assert (june.lines, june.total_minor) == ((), 0)
    for statement in (update(STATEMENTS).values(content="{}"), delete(STATEMENTS)):
        with pytest.raises(DBAPIError, match="never changed"), books.engine.begin() as connection:
            connection.execute(statement)


def test_a_change_of_terms_gives_a_statement_for_each_part(
    books: Books, statements: StatementStore
) -> None:
    change = at("2026-03-17T06:15:00")
    contracts = ContractStore(books.engine)
    contracts.put("uid-a", Terms(0, "UTC"), now=1)
    contracts.put("uid-a", Terms(change, "Asia/Kathmandu"), now=1)
    book(
        books,
        closed(attempt_id="before", dispatched_at=change - 1),
        closed(attempt_id="after", dispatched_at=change),
    )
    first, second = statements.finalize("uid-a", MARCH, now=at("2026-05-01"))
    assert [sum(line.requests for line in one.lines) for one in (first, second)] == [1, 1]
    assert (first.period.end, second.period.start) == (change, change)
    assert (first.zone, second.zone) == ("UTC", "Asia/Kathmandu")


def test_a_month_that_is_made_final_late_does_not_adjust_what_a_later_one_has(
    books: Books, statements: StatementStore
) -> None:
    book(books, used("one", "2026-03-05"), used("two", "2026-04-05"), used("three", "2026-05-05"))
    now = at("2026-08-01")
    (march,) = statements.finalize("uid-a", MARCH, now=now)
    book(books, used("late", "2026-03-31"))
    (may,) = statements.finalize("uid-a", MAY, now=now)
    (april,) = statements.finalize("uid-a", APRIL, now=now)
    assert may.total_pico == 2 * march.total_pico
    assert april.total_pico == march.total_pico


def test_what_comes_late_of_a_tenant_that_has_gone_is_billed_too(
    books: Books, statements: StatementStore
) -> None:
    def due(now: str) -> list[str]:
        found = statements.due("uid-a", since=at("2026-01-01"), now=at(now))
        for period in found:
            assert statements.finalize_period("uid-a", period, now=at(now))
        return [period.name for period in found]

    book(books, used("one", "2026-03-05"))
    assert due("2026-04-10") == ["2026-03"]
    # nothing of March has changed, and April was not used
    assert due("2026-05-10") == []
    book(books, used("late", "2026-03-30"))
    assert due("2026-05-10") == ["2026-04"]
    (april,) = statements.statements("uid-a", APRIL, now=at("2026-05-10"))
    assert [(line.kind, line.period) for line in april.lines] == [("adjustment", "2026-03")]
    (march,) = statements.statements("uid-a", MARCH, now=at("2026-05-10"))
    assert april.total_pico == march.total_pico > 0
    # once, and in no statement of a month that follows
    assert due("2026-05-10") == due("2026-06-10") == due("2026-07-10") == []


def test_what_is_due_becomes_final_without_anybody_asking(
    books: Books, statements: StatementStore
) -> None:
    for uid, currency in (("uid-a", "USD"), ("uid-b", "CNY"), ("uid-c", "USD")):
        books.bill(uid)
        ContractStore(books.engine).put(uid, Terms(0, tenant=uid, currency=currency), now=1)
        for name, when in (("march", "2026-03-05"), ("may", "2026-05-05")):
            book(books, used(name, when, tenant_uid=uid), tenant=uid)
    logged: list[tuple[str, str, str]] = []
    metrics = LedgerMetrics()
    desk = BookingDesk(
        books.ledger,
        ToolCallStore(books.engine),
        books.store,
        metrics,
        log=LedgerLog(),
        max_batches=4,
    )
    settings = Settings(database=SecretStr("sqlite:////nowhere"))
    finals = FinalStatements(
        settings,
        statements,
        desk=desk,
        metrics=metrics,
        log=LedgerLog(
            lambda event, **told: logged.append((event, told["tenant_uid"], told["period"]))
        ),
    )

    def final(uid: str, month: Month) -> list[str]:
        return [one.state for one in statements.statements(uid, month, now=at("2026-07-01"))]

    def counted() -> tuple[float | None, float | None]:
        names = ("relay_ledger_final_statements_total", "relay_ledger_statements_held")
        final, held = (metrics.registry.get_sample_value(name) for name in names)
        return final, held

    def look(when: int) -> list[tuple[str, str, str]]:
        logged.clear()
        asyncio.run(finals.look(now=when))
        return logged

    assert look(at("2026-04-01") + GRACE - 1) == []
    of_march = [(one, "2026-03") for one in ("uid-a", "uid-b", "uid-c")]
    assert look(at("2026-04-01") + GRACE) == [
        *(("statement_final", *of_march[0]), ("statement_held", *of_march[1])),
        ("statement_final", *of_march[2]),
    ]
    assert counted() == (2, 1)
    # what waits is told once, and becomes final when it can; months without use are none
    assert look(at("2026-06-01")) == []
    assert counted() == (2, 1)
    put_rate(books.engine, Rate(CURRENCIES["CNY"], 7_000_000, 0, "PBOC"), now=at("2026-06-01"))
    assert look(at("2026-06-01") + GRACE) == [
        *(("statement_final", "uid-a", "2026-05"), ("statement_final", "uid-b", "2026-03")),
        *(("statement_final", "uid-b", "2026-05"), ("statement_final", "uid-c", "2026-05")),
    ]
    assert counted() == (6, 0)
    assert final("uid-b", MARCH) == ["final"]
    assert final("uid-b", APRIL) == ["grace"]
    # a late record is an adjustment, and what is no longer kept is left alone
    book(books, used("late", "2026-03-31"))
    assert look(at("2026-07-01")) == look(at("2036-07-01")) == []
    desk.close()


FAILING = {
    "sqlite": (
        "CREATE TRIGGER failing BEFORE INSERT ON statements WHEN NEW.tenant_uid = 'uid-a' BEGIN"
        " SELECT sum(x) FROM (SELECT 9223372036854775807 AS x UNION ALL SELECT 1); END",
    ),
    "postgresql": (
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'too slow' USING ERRCODE = 'query_canceled'; END$$",
        "CREATE TRIGGER failing BEFORE INSERT ON statements FOR EACH ROW"
        " WHEN (NEW.tenant_uid = 'uid-a') EXECUTE FUNCTION fail()",
    ),
}


@pytest.mark.parametrize("problem", ["zone", "statement"])
def test_no_statement_waits_for_one_of_another_tenant_that_fails(
    books: Books, statements: StatementStore, problem: str
) -> None:
    for uid in ("uid-a", "uid-b"):
        ContractStore(books.engine).put(uid, Terms(0, tenant=uid), now=1)
        book(books, used("march", "2026-03-05", tenant_uid=uid), tenant=uid)
    with books.engine.begin() as connection:
        if problem == "zone":
            # time zones are those of the image, and one may be gone with the next
            gone = {"starts_at": at("2026-01-01"), "number": 1, "zone": "America/Gone"}
            others = {"anchor_day": 1, "currency": "USD", "tenant": "uid-a", "loaded_at": 2}
            connection.execute(insert(TERMS), [{"tenant_uid": "uid-a", **gone, **others}])
        else:
            for statement in FAILING[books.engine.dialect.name]:
                connection.exec_driver_sql(statement)
    logged: list[tuple[str, str]] = []
    desk = BookingDesk(
        books.ledger,
        ToolCallStore(books.engine),
        books.store,
        LedgerMetrics(),
        log=LedgerLog(),
        max_batches=4,
    )
    finals = FinalStatements(
        Settings(database=SecretStr("sqlite:////nowhere")),
        statements,
        desk=desk,
        metrics=LedgerMetrics(),
        log=LedgerLog(lambda event, **told: logged.append((event, told["tenant_uid"]))),
    )
    for _ in range(2):
        asyncio.run(finals.look(now=at("2026-04-20")))
    assert logged == [("statement_held", "uid-a"), ("statement_final", "uid-b")]
    desk.close()


def test_the_first_terms_do_not_bill_again_what_was_billed_without_any(
    books: Books, statements: StatementStore
) -> None:
    book(books, used("one", "2026-03-05"), used("two", "2026-04-05"))
    (final,) = statements.finalize("uid-a", MARCH, now=at("2026-04-05"))
    first = Terms(at("2026-04-10"), zone="Asia/Shanghai", tenant="acme")
    ContractStore(books.engine).put("uid-a", first, now=at("2026-04-10"))
    march = statements.statements("uid-a", MARCH, now=at("2026-04-11"))
    april = statements.statements("uid-a", APRIL, now=at("2026-05-11"))
    assert march == [final]
    assert sum(one.total_pico for one in [*march, *april]) == 2 * final.total_pico


def test_a_statement_in_yuan_is_by_the_rate_of_its_time(
    books: Books, address: str, shell: Shell, tmp_path: Path, statements: StatementStore
) -> None:
    many = [used(f"call-{number}", "2026-03-10") for number in range(1000)]
    books.store.load(RETAIL.replace("[gpt-4.1]", "[gpt-4.1, '<b>gpt</b>', third]"), now=2)
    others = [
        used(f"other-{place}-{number}", "2026-03-10", answered_model=model)
        for place, model in enumerate(("<b>gpt</b>", "third"))
        for number in range(1001)
    ]
    book(books, *many, *others, used("none", "2026-03-10", answered_model="gpt-0"))
    command = [
        "terms",
        "uid-a",
        "--name",
        "acme & co",
        "--currency",
        "CNY",
        "--zone",
        "Asia/Shanghai",
    ]
    assert shell.run(address, *command)[0] == 0
    with pytest.raises(NoRate, match="relay-ledger rates"):
        statements.statements("uid-a", MARCH, now=at("2026-05-01"))
    for rate, day in (("7.1025", "2026-01-01"), ("7.25", "2026-03-31"), ("6.9", "2026-04-01")):
        code, out, _ = shell.run(address, "rates", "CNY", rate, "--from", day, "--source", "PBOC")
        assert (code, out) == (0, f"1 USD = {rate} CNY, in force\n")
    code, out, _ = shell.run(
        address, "statement", "--month", "2026-03", "--tenant", "uid-a", "--finalize"
    )
    assert code == 0
    *lines, total = rows(out)
    # 3.003 USD are 21.77175 CNY twice, 1.2012 are 8.7087 twice, 3 are 21.75, 1.2 are 8.7: together 91.4109, which is 91.41
    assert [(line["counted"], line["amount_usd"], line["amount"]) for line in lines] == [
        *(("call", "0.00", "0.00"), ("input", "3.003", "21.77"), ("output", "1.2012", "8.71")),
        ("", "0.00", "0.00"),
        *(("call", "0.00", "0.00"), ("input", "3.00", "21.75"), ("output", "1.20", "8.70")),
        *(("call", "0.00", "0.00"), ("input", "3.003", "21.77"), ("output", "1.2012", "8.71")),
    ]
    assert (total["kind"], total["amount"], total["rate"]) == ("total", "91.41", "7.25")
    assert total["unpriced_requests"] == "1"
    code, out, _ = shell.run(
        address, "statement", "--month", "2026-03", "--format", "html",
        "--directory", str(tmp_path), "--tenant", "uid-a",
    )  # fmt: skip
    page = (tmp_path / "uid-a-2026-03-final.html").read_text()
    assert out == f"{tmp_path}/uid-a-2026-03-final.html\n"
    assert "acme &amp; co" in page
    assert "&lt;b&gt;gpt&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "91.41 CNY" in page
    assert "1 USD = 7.25 CNY" in page
    assert "1 requests have no price yet" in page
    assert "2026-03-01 up to 2026-04-01, Asia/Shanghai" in page
    code, out, _ = shell.run(
        address, "statement", "--month", "2026-03", "--tenant", "uid-a", "--format", "json"
    )
    document = json.loads(out)
    assert (document["total"], document["total_usd"]) == ("91.41", "12.6084")
    assert document["rate_source"] == "PBOC"
    # a rate that comes later changes nothing
    shell.run(address, "rates", "CNY", "8", "--from", "2026-03-31", "--source", "PBOC")
    assert only(statements.statements("uid-a", MARCH, now=at("2026-06-01"))).total_minor == 9141


def test_sums_without_their_postings_give_no_statement(
    books: Books, statements: StatementStore
) -> None:
    book(books, used("march", "2026-03-10"))
    books.ledger.drop_before(at("2026-05-01"))
    with pytest.raises(PostingsGone, match="KEPT_DAYS"):
        statements.finalize("uid-a", MARCH, now=at("2026-05-01"))


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["report"], "--month"),
        (["report", "--month", "2026-03", "--from", "2026-03-01"], "--month"),
        (["report", "--from", "2026-03-02", "--until", "2026-03-01"], "after"),
        (["report", "--month", "2026-3"], "2026-03"),
        (["report", "--month", "2026-03", "--by", "tenant,price"], "name some of"),
        (["report", "--month", "2026-03", "--zone", "Mars"], "IANA"),
        (["terms", "uid-a", "--zone", "Mars"], "IANA"),
        (["terms", "uid-a", "--zone", "UTC", "--from", "2026-01-01T00:01:00Z"], "quarter"),
        (["terms", "uid-a", "--from", "2026-01-01"], "say what is to change"),
        (["terms", "uid-a", "--zone", "UTC", "--from", "soon"], "no time"),
        (["rates", "CNY", "0", "--from", "2026-01-01"], "above 0"),
        (["rates", "CNY", "7,1", "--from", "2026-01-01"], "digits"),
        (["rates", "USD", "1", "--from", "2026-01-01"], "invalid choice"),
    ],
)
def test_what_cannot_be_asked_says_what_can(
    command: list[str], word: str, address: str, shell: Shell
) -> None:
    code, _, said = shell.run(address, *command)
    assert code in (1, 2)
    assert word in said
    assert "Traceback" not in said


def test_a_file_that_cannot_be_written_is_told(books: Books, address: str, shell: Shell) -> None:
    book(books, used("march", "2026-03-10"))
    code, _, said = shell.run(
        address, "statement", "--month", "2026-03", "--directory", "/nowhere/at/all"
    )
    assert (code, "/nowhere/at/all" in said) == (1, True)


def test_a_tenant_is_named_by_uid_or_name_and_an_unknown_one_is_refused(
    books: Books, address: str, shell: Shell
) -> None:
    book(books, used("one", "2026-03-05"))
    terms = ContractStore(books.engine)
    terms.put("uid-a", Terms(tenant="acme"), now=1)
    commands = (
        ("statement", "--month", "2026-03", "--tenant"),
        ("report", "--month", "2026-03", "--tenant"),
        ("report", "--month", "2026-03", "--format", "focus", "--tenant"),
        ("tools", "--month", "2026-03", "--tenant"),
        ("compare", "--price-list", "retail", "--month", "2026-03", "--tenant"),
        ("credit",),
    )
    for command in commands:
        by_uid, by_name = (shell.run(address, *command, named) for named in ("uid-a", "acme"))
        assert by_uid == by_name
        assert by_uid[0] == 0, by_uid
        code, out, said = shell.run(address, *command, "acne")
        assert (code, out) == (1, "")
        assert "the ledger knows no tenant of UID acne, and none of that name" in said
    finalize = ("statement", "--month", "2026-03", "--finalize", "--tenant")
    assert shell.run(address, *finalize, "uid-a", "--tenant", "acne")[0] == 1
    with books.engine.begin() as connection:
        assert connection.execute(select(STATEMENTS)).all() == []
    early = ("statement", "--month", "2100-01", "--tenant", "acme", "--finalize")
    assert "waited for" in shell.run(address, *early)[2]
    terms.put("uid-b", Terms(tenant="acme"), now=1)
    code, _, said = shell.run(address, *finalize, "acme")
    assert (code, "give the UID, one of uid-a, uid-b" in said) == (1, True)


def test_statements_of_several_tenants_are_one_table_and_no_stream_of_pages(
    books: Books, address: str, shell: Shell, tmp_path: Path
) -> None:
    books.bill("uid-b")
    book(books, used("one", "2026-03-05"))
    book(books, used("two", "2026-03-05", tenant_uid="uid-b"), tenant="uid-b")
    ask = ("statement", "--month", "2026-03")
    code, out, _ = shell.run(address, *ask)
    assert (code, out.count("tenant_uid")) == (0, 1)
    assert {row["tenant_uid"] for row in rows(out)} == {"uid-a", "uid-b"}
    code, out, said = shell.run(address, *ask, "--format", "html", "--finalize")
    assert (code, out, "give --directory" in said) == (1, "", True)
    with books.engine.begin() as connection:
        assert connection.execute(select(STATEMENTS)).all() == []
    # one tenant's month can have two statements as well
    ContractStore(books.engine).put("uid-a", Terms(at("2026-03-10"), "UTC", 10, "USD", "a"), now=1)
    code, out, _ = shell.run(address, *ask, "--tenant", "uid-b", "--format", "html")
    assert (code, out.count("<html")) == (0, 1)
    shell.run(address, *ask, "--format", "html", "--directory", str(tmp_path))
    for page in tmp_path.glob("uid-*.html"):
        assert page.read_text().count("<html") == 1
    for table in (shell.run(address, *ask, "--directory", str(tmp_path))[1]).split():
        assert Path(table).read_text().count("tenant_uid") == 1


def test_names_stand_in_json_as_they_are_and_in_tables_as_no_formula(
    books: Books, statements: StatementStore
) -> None:
    books.store.load(RETAIL.replace("gpt-4.1", "'@cf/meta/llama'"), now=2)
    ContractStore(books.engine).put("uid-a", Terms(0, tenant="=acme"), now=1)
    book(books, used("one", "2026-03-01", answered_model="@cf/meta/llama"))
    (march,) = statements.statements("uid-a", MARCH, now=at("2026-04-01"))
    told = json.loads(json_document(march))
    assert (told["tenant"], told["lines"][0]["model"]) == ("=acme", "@cf/meta/llama")
    row = rows(csv_table(march))[1]
    assert (row["tenant"], row["model"]) == ("'=acme", "'@cf/meta/llama")
    assert row["amount_usd"] == "0.003"


def test_others_book_while_a_statement_is_read_and_what_they_book_is_in_it(
    books: Books, statements: StatementStore
) -> None:
    book(books, used("one", "2026-03-01"))
    late = threading.Thread(target=book, args=(books, used("late", "2026-03-02")))

    def booked_meanwhile(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "FROM postings" in statement and late.ident is None:
            late.start()
            late.join(timeout=10)

    event.listen(books.engine, "before_cursor_execute", booked_meanwhile)
    due = at("2026-04-01") + GRACE
    (period,) = statements.due("uid-a", since=0, now=due)
    assert statements.finalize_period("uid-a", period, now=due)
    assert not late.is_alive()
    (march,) = statements.statements("uid-a", MARCH, now=due)
    assert (march.state, march.total_pico) == ("final", 2 * 4_200 * 10**6)
    assert sum(line.requests for line in march.lines) == 2


def test_who_has_statements_is_found_without_a_look_at_every_sum(
    books: Books, statements: StatementStore
) -> None:
    for uid in ("uid-a", "uid-c"):
        book(books, used("one", "2026-03-01", tenant_uid=uid), tenant=uid)
    ContractStore(books.engine).put("uid-b", Terms(), now=1)
    asked: list[tuple[str, Any]] = []
    event.listen(
        books.engine, "before_cursor_execute", lambda *told: asked.append((told[2], told[3]))
    )
    assert statements.tenants() == ["uid-a", "uid-b", "uid-c"]
    if books.engine.dialect.name == "sqlite":
        with books.engine.connect() as connection:
            for statement, values in [one for one in asked if "FROM sums" in one[0]]:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
                assert not any("SCAN" in row[3] for row in plan), plan
