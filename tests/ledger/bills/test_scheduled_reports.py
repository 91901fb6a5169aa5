"""The ledger compares providers with their own reports by itself, once a day, with a key that it never tells."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from tests.ledger.bills.usage_report_api import (
    ADMIN_KEY,
    UsageReportApi,
    openai_cost,
    openai_page,
    openai_usage,
)
from tests.ledger.conftest import Books
from tests.ledger.shell import Shell
from tests.unit.relay_contract.billing.records import closed

from relay_contract.billing.reconciliation_summary import Summary
from relay_contract.billing.token_buckets import TokenBuckets
from relay_ledger.ingest.booking_desk import BookingDesk
from relay_ledger.ingest.ledger_log import LedgerLog
from relay_ledger.ingest.ledger_metrics import LedgerMetrics
from relay_ledger.periods.months import month_period, read_month
from relay_ledger.periods.zones import zone
from relay_ledger.settings import ReportSource, Settings
from relay_ledger.store.bills.reconciliation_store import ReconciliationStore
from relay_ledger.store.tool_calls.tool_call_store import ToolCallStore
from relay_ledger.upkeep import scheduled_reports
from relay_ledger.upkeep.scheduled_reports import HOUR, ScheduledReports, month_due

FIRST = int(datetime(2026, 3, 10, tzinfo=UTC).timestamp())
NOON = int(datetime(2026, 3, 20, 12, tzinfo=UTC).timestamp()) * 10**6
UNSAFE_BASES = (
    *("file:///x", "http://proxy.test", "http://localhost.proxy.test", "http://10.0.0.7:3128"),
    *("https://user:pass@proxy.test", "http://127.0.0.1@proxy.test", "https://proxy.test/v1"),
)
"""Where a key of an administrator would go in clear, or what no request goes by."""
Look = Callable[..., list[tuple[str, dict[str, Any]]]]


@pytest.fixture
def api() -> Iterator[UsageReportApi]:
    served = UsageReportApi(
        {
            "/v1/organization/usage/completions": [
                openai_page([openai_usage(FIRST, input_tokens=1000, output_tokens=100)])
            ],
            "/v1/organization/costs": [openai_page([openai_cost(FIRST, 0.0028)])],
        }
    )
    yield served
    served.close()


@pytest.fixture
def look(
    books: Books,
    address: str,
    api: UsageReportApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Look:
    """Looks for what is due at times, one after the other, with the key that is given; returns what is logged."""
    monkeypatch.setenv("RELAY_LEDGER_DATABASE", address)
    key = tmp_path / "admin-key"
    metrics = LedgerMetrics()

    def looked(
        *times: int,
        given: str = ADMIN_KEY,
        providers: Sequence[str] = ("openai",),
        kept_days: int = 400,
    ) -> list[tuple[str, dict[str, Any]]]:
        key.write_text(given)
        logged: list[tuple[str, dict[str, Any]]] = []
        log = LedgerLog(lambda event, **told: logged.append((event, told)))
        desk = BookingDesk(
            books.ledger,
            ToolCallStore(books.engine),
            books.store,
            metrics,
            log=log,
            max_batches=4,
        )
        sources = tuple(
            ReportSource(provider=name, dialect="openai", key_file=key, base=api.base)
            for name in providers
        )
        settings = Settings(database=SecretStr(address), reports=sources, kept_days=kept_days)
        reports = ScheduledReports(
            settings,
            ReconciliationStore(books.engine),
            engine=books.engine,
            desk=desk,
            metrics=metrics,
            log=log,
        )
        try:
            for now in times or (NOON,):
                asyncio.run(reports.look(now=now))
        finally:
            desk.close()
        return logged

    return looked


def test_a_provider_is_compared_with_its_reports(books: Books, look: Look) -> None:
    attempt = closed(
        dispatched_at=FIRST * 10**6 + HOUR,
        tokens=TokenBuckets(input=1000, output=100),
        upstream_request_id="req-1",
    )
    books.ledger.book("uid-a", [attempt], books.prices, now=1)
    told = {"provider": "openai", "period": "2026-03", "flagged": False}
    assert look() == [("reconciled", told)]
    found = ReconciliationStore(books.engine).latest()["openai"]
    assert (found["flagged"], found["reported"]) == (0, "0.0028")


def test_a_month_is_compared_again_after_a_day(
    books: Books, api: UsageReportApi, look: Look
) -> None:
    compared(books, "2026-03", NOON)
    # an older month that somebody compared later, and another provider's, are not what counts
    compared(books, "2026-01", NOON + 12 * HOUR)
    compared(books, "2026-02", NOON + 12 * HOUR)
    compared(books, "2026-03", NOON + 12 * HOUR, provider="anthropic")
    assert look(NOON + 24 * HOUR - 1) == []
    assert api.asked == []
    assert [told["period"] for _, told in look(NOON + 24 * HOUR)] == ["2026-03"]


def test_a_later_month_that_somebody_compared_does_not_stand_for_this_one(
    books: Books, look: Look
) -> None:
    compared(books, "2026-03", NOON - 48 * HOUR)
    compared(books, "2026-02", NOON - 48 * HOUR)
    compared(books, "2026-04", NOON - HOUR)
    assert [told["period"] for _, told in look()] == ["2026-03"]


@pytest.mark.parametrize(
    ("made", "periods"),
    [("2026-04-02T23:59", ["2026-03", "2026-04"]), ("2026-04-03T00:00", ["2026-04"])],
)
def test_a_month_stays_due_until_it_was_compared_as_a_whole(
    books: Books, look: Look, made: str, periods: list[str]
) -> None:
    compared(books, "2026-03", moment(made))
    now = moment("2026-04-20T12:00")
    # the first fails, and the other comes all the same
    assert [told["period"] for _, told in look(now, given="sk-other")] == periods
    assert [told["period"] for _, told in look(now)] == periods
    # of April the provider has nothing
    assert [told["period"] for _, told in look(now)] == ["2026-04"]


def test_months_that_a_failing_key_has_missed_are_compared_once_it_is_right(
    books: Books, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the first one of which anything is booked, and however many have gone by."""
    book(books, "2026-02-10", provider="anthropic")
    book(books, "2026-03-10")
    now = moment("2026-05-20T12:00")
    periods = ["2026-03", "2026-04", "2026-05"]
    with monkeypatch.context() as patch:
        patch.setattr(scheduled_reports, "_COMMAND", ("/nowhere/python",))
        failed = look(now)
    assert [(event, told["period"]) for event, told in failed] == [
        ("report_failed", period) for period in periods
    ]
    assert [told["period"] for event, told in look(now) if event == "reconciled"] == ["2026-03"]
    # the provider has nothing of the others
    assert [told["period"] for _, told in look(now)] == ["2026-04", "2026-05"]


def test_months_of_which_attempts_are_no_longer_kept_are_not_due(
    books: Books, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduled_reports, "_COMMAND", ("/nowhere/python",))
    compared(books, "2025-01", moment("2025-01-20"))
    book(books, "2025-01-10")
    now = moment("2026-04-20T12:00")
    logged = look(now, kept_days=66)
    assert [told["period"] for _, told in logged] == ["2026-02", "2026-03", "2026-04"]
    # no more than a year before
    assert look(now, kept_days=4000)[0][1]["period"] == "2025-04"


def book(books: Books, day: str, *, provider: str = "openai") -> None:
    used = closed(attempt_id=day, dispatched_at=moment(day), provider=provider)
    books.ledger.book("uid-a", [used], books.prices, now=1)


def test_what_took_too_long_is_not_tried_each_hour(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = (sys.executable, "-c", "import time; time.sleep(60)")
    monkeypatch.setattr(scheduled_reports, "_COMMAND", slow)
    monkeypatch.setattr(scheduled_reports, "LONGEST_SECONDS", 0.2)
    late = ("report_failed", "it took too long")
    logged = look(NOON, NOON + HOUR, NOON + 24 * HOUR - 1)
    assert [(event, told["detail"]) for event, told in logged] == [late]
    assert len(look(NOON, NOON + HOUR, NOON + 24 * HOUR)) == 2


def test_a_comparison_that_takes_too_much_memory_ends_alone(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is of a container: what exceeds it ends who books as well."""
    greedy = (
        "from relay_ledger.commands import command_line; import sys, time; time.sleep(0.5);"
        "command_line._run = lambda _: len(bytearray(400 * 2**20));"
        "sys.exit(command_line.main(sys.argv[1:]))"
    )
    monkeypatch.setattr(scheduled_reports, "_COMMAND", (sys.executable, "-c", greedy, "reconcile"))
    [(event, told)] = look()
    assert (event, told["detail"]) == ("report_failed", "it takes more memory than it may have")


def test_a_process_that_does_not_start_keeps_no_other_source_waiting(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduled_reports, "_COMMAND", ("/nowhere/python",))
    logged = look(providers=("openai", "second"))
    detail = "it did not start: No such file or directory"
    assert [(told["provider"], told["detail"]) for _, told in logged] == [
        ("openai", detail),
        ("second", detail),
    ]


def compared(books: Books, month: str, made_at: int, *, provider: str = "openai") -> None:
    period = month_period(read_month(month), zone("UTC"))
    found = Summary(0, 0, 0, "USD", "0.00", "0.00", "0.00", "")
    ReconciliationStore(books.engine).keep(
        provider, found, "{}", start=period.start, end=period.end, now=made_at
    )


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**6


def test_a_key_that_is_refused_is_told_without_it_and_tried_again(books: Books, look: Look) -> None:
    (event, told) = look(given="sk-of-somebody-else")[0]
    assert (event, told["provider"]) == ("report_failed", "openai")
    assert "answered 401" in told["detail"]
    assert "somebody" not in json.dumps(told)
    assert ReconciliationStore(books.engine).latest() == {}
    assert look()[0][0] == "reconciled"


@pytest.mark.parametrize(
    "given",
    [
        "sk-planted\nsk-second",
        "# planted\nsk-one",
        "sk-planted é",
        "sk-planted\x00",
        "planted it",
        "\n",
    ],
)
def test_a_file_that_is_no_single_key_is_told_without_its_content(look: Look, given: str) -> None:
    (event, told) = look(given=given)[0]
    assert event == "report_failed"
    assert told["detail"] == "the key file does not hold one key on one line"


def test_a_traceback_of_the_command_is_not_told(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = "raise ValueError('relay-ledger: sk-planted')"
    monkeypatch.setattr(scheduled_reports, "_COMMAND", (sys.executable, "-c", crash))
    (event, told) = look()[0]
    assert (event, told["detail"]) == ("report_failed", "it ended with code 1")


@pytest.mark.parametrize(
    ("now", "month"),
    [
        ("2026-03-31T23:59:59", "2026-03"),
        ("2026-04-03T23:59:59", "2026-03"),
        ("2026-04-04T00:00:00", "2026-04"),
        ("2026-01-02T00:00:00", "2025-12"),
    ],
)
def test_the_month_is_that_of_the_last_settled_day(now: str, month: str) -> None:
    at = int(datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()) * 10**6
    assert month_due(at, settle_hours=48) == month


@pytest.mark.parametrize("base", UNSAFE_BASES)
def test_the_command_sends_its_key_nowhere_in_clear(
    base: str, shell: Shell, address: str, tmp_path: Path
) -> None:
    command = ["reconcile", "openai", "--period", "2026-03", "--dialect", "openai"]
    key = tmp_path / "key"
    key.write_text("k")
    code, _, said = shell.run(address, *command, "--api-key-file", str(key), f"--api-base={base}")
    assert code == 2
    assert "it has to be https:// and a name" in said


@pytest.mark.parametrize(
    "changes",
    [
        *({"provider": "--file=/etc/passwd"}, {"dialect": "x"}, {"key": "x"}),
        *({"base": base} for base in UNSAFE_BASES),
    ],
)
def test_a_source_that_cannot_be_asked_is_refused(changes: dict[str, str]) -> None:
    source = {"provider": "openai", "dialect": "openai", "keyFile": "/key"}
    with pytest.raises(ValidationError):
        ReportSource.model_validate(source | changes)
