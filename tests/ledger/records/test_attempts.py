"""Single attempts: found by what a caller, a key or a provider has of them, with money to the last digit and the reason where there is none."""

import csv
import io
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.ledger.conftest import COSTS, Books
from tests.ledger.records.reading_costs import asked, fill
from tests.ledger.shell import Shell
from tests.unit.relay_contract.billing.records import attempt, closed, opened

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.event_line import event_line
from relay_contract.billing.token_buckets import TokenBuckets
from relay_ledger.periods.contracts import Terms
from relay_ledger.store.attempts.attempt_reading import Asked, AttemptReading, Place
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.repricing import Repricing

MARCH = ("--month", "2026-03")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**6


def used(attempt_id: str, when: str = "2026-03-05", **changes: Any) -> AttemptRecord:
    return closed(attempt_id=attempt_id, dispatched_at=at(when), **changes)


def book(books: Books, *records: AttemptRecord, tenant: str = "uid-a") -> None:
    books.ledger.book(tenant, records, books.prices, now=at("2026-03-06"))


def listed(shell: Shell, address: str, *options: str) -> list[dict[str, Any]]:
    code, out, said = shell.run(address, "attempts", *options, "--format", "json")
    assert code == 0, said
    attempts: list[dict[str, Any]] = json.loads(out)["attempts"]
    return attempts


def test_a_call_is_found_by_the_id_that_its_caller_gave_it(
    books: Books, address: str, shell: Shell
) -> None:
    request_id = 'née "42"\\ \',"requestId":"decoy'
    begun = opened(attempt_id="one", dispatched_at=at("2026-03-05"), request_id=request_id)
    throttled: dict[str, Any] = {"outcome": "throttled", "status": 429, "delivered": False}
    throttled |= {"tokens": None, "usage_source": "none", "answered_model": None}
    book(
        books,
        begun,
        used("one", request_id=request_id, **throttled),
        used(
            "two",
            "2026-03-05T00:00:01",
            request_id=request_id,
            side="fallback",
            attempt=2,
            manifest_revision="r7",
        ),
        used("other", request_id=request_id.upper()),
        used("quotes", request_id="decoy"),
        used("none"),
    )
    one, two = listed(shell, address, *MARCH, "--request-id", request_id)
    assert (one["outcome"], one["status"], one["cost_usd"], one["cost_state"]) == (
        *("throttled", 429, "0.00", "free"),
    )
    assert (one["input"], two["input"]) == (None, 1000)
    assert (one["manifest_revision"], two["manifest_revision"]) == ("", "r7")
    assert (two["request_id"], two["side"], two["time"]) == (
        *(request_id, "fallback", "2026-03-05T00:00:01Z"),
    )
    # 1,000 at 2 and 100 at 8 are spent, at 3 and at 12 come in, USD per million
    assert (two["cost_usd"], two["charge_usd"]) == ("0.0028", "0.0042")
    assert two["cost_version"].startswith("openai@")
    assert two["charge_version"].startswith("retail@")
    [again] = listed(shell, address, "--id", two["id"])
    assert again == two


def fill_with_many(books: Books) -> None:
    """Adds records of 20,000 attempts, of 30 tenants and 23 days."""
    line = event_line(used("one")).decode()
    fill(
        books.engine,
        [
            {
                "tenant_uid": f"uid-{number % 30}",
                "event_id": f"{number:032x}",
                "dispatched_at": at("2026-03-05") + number * 100_000_000,
                "line": line,
            }
            for number in range(20_000)
        ],
    )


def test_an_id_is_found_without_a_look_at_every_attempt(books: Books) -> None:
    book(books, used("one"))
    fill_with_many(books)
    reading = AttemptReading(books.engine)
    with asked(books.engine) as questions:
        page = reading.page(Asked(event_id=used("one").id), most=10)
    assert [one.record.id for one in page.attempts] == [used("one").id]
    # by the primary key, which begins with the tenant
    plan = questions.plan(books.engine, " events")
    assert re.search(
        r"tenant_uid = tenants.uid\) AND|tenant_uid=\? AND event_id=\? AND phase", plan
    ), plan
    assert questions.rows_read(books.engine) < 1000


def test_attempts_are_chosen_by_all_that_tells_them_apart(
    books: Books, address: str, shell: Shell
) -> None:
    ContractStore(books.engine).put("uid-a", Terms(0, "UTC", tenant="acme"), now=1)
    book(
        books,
        used("plain"),
        used("route", route="batch"),
        used("key", key_name="=ops"),
        used("asked", requested_model="mini"),
        used("answered", answered_model="GPT-4.1"),
        used("azure", provider="azure"),
        used("late", outcome="timeout", usage_source="unknown", tokens=None, reserved_pico=7),
        used("call", call_id="c1"),
        used("april", "2026-04-01"),
    )
    book(books, used("b", tenant_uid="uid-b", tenant="b"), tenant="uid-b")
    for option, value, found in (
        ("--tenant", "uid-b", ["b"]),
        ("--route", "batch", ["route"]),
        ("--key", "=ops", ["key"]),
        ("--model", "mini", ["asked"]),
        ("--model", "GPT-4.1", ["answered"]),
        ("--provider", "azure", ["azure"]),
        ("--outcome", "timeout", ["late"]),
        ("--call-id", "c1", ["call"]),
        ("--side", "canary", []),
    ):
        rows = listed(shell, address, *MARCH, option, value)
        ids = [attempt(attempt_id=one, dispatched_at=at("2026-03-05"),
                       tenant_uid="uid-b" if one == "b" else "uid-a")["id"] for one in found]  # fmt: skip
        assert [row["id"] for row in rows] == ids, option
    assert len(listed(shell, address, *MARCH, "--tenant", "acme")) == 8
    assert listed(shell, address, *MARCH, "--tenant", "acme", "--key", "nobody") == []


def test_what_has_no_price_says_why_and_is_never_nothing(
    books: Books, address: str, shell: Shell
) -> None:
    book(
        books,
        used("new", answered_model="gpt-0", requested_model="gpt-0"),
        used("plain"),
        used("advised", usage_source="estimated", doubt="models"),
        used("lost", usage_source="unknown", tokens=None, reserved_pico=10**12 // 3),
    )
    [unpriced] = listed(shell, address, *MARCH, "--unpriced")
    assert (unpriced["cost_usd"], unpriced["charge_usd"]) == (None, None)
    assert (unpriced["cost_state"], unpriced["charge_state"]) == ("unpriced", "unpriced")
    assert "gpt-0" in unpriced["cost_reason"]
    code, out, _ = shell.run(address, "attempts", *MARCH, "--unpriced")
    assert (code, "unpriced: " in out, "0.00" in out) == (0, True, False)
    code, out, _ = shell.run(address, "attempts", *MARCH, "--format", "csv", "--model", "gpt-4.1")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["usage_source"] for row in rows if row["usage_doubt"] == "models"] == ["estimated"]
    lost = next(row for row in rows if row["usage_source"] == "unknown")
    assert (lost["cost_usd"], lost["cost_state"], lost["held_usd"]) == (
        *("", "unknown", "0.333333333333"),
    )
    # a correction is what counts from then on
    corrected = COSTS.replace("[gpt-4.1]", "[gpt-4.1, gpt-0]")
    books.store.load(corrected, now=2)
    books.store.load(corrected.replace("openai", "retail"), now=2)
    Repricing(books.engine, books.prices, start=0, end=2**60).run(now=3)
    assert listed(shell, address, *MARCH, "--unpriced") == []
    [priced] = listed(shell, address, *MARCH, "--model", "gpt-0")
    assert (priced["cost_usd"], priced["cost_state"]) == ("0.0028", "priced")


def test_an_attempt_without_an_end_is_in_flight_until_it_is_swept_and_counts_as_it_ended(
    books: Books, address: str, shell: Shell
) -> None:
    begun = opened(attempt_id="one", dispatched_at=at("2026-03-05"), reserved_pico=5)
    book(books, begun)
    # a tenant of whom nothing is summed up yet is known all the same
    [row] = listed(shell, address, *MARCH, "--outcome", "in_flight", "--tenant", "uid-a")
    assert (row["outcome"], row["cost_usd"], row["reserved_usd"], row["milliseconds"]) == (
        *("in_flight", None, "0.000000000005", None),
    )
    assert (row["charge_usd"], row["charge_state"]) == (None, "unknown")
    assert listed(shell, address, *MARCH, "--outcome", "swept") == []
    books.ledger.sweep(sent_before=at("2026-03-06"), now=at("2026-03-06"))
    [row] = listed(shell, address, *MARCH, "--outcome", "swept", "--key", "app")
    assert (row["outcome"], row["cost_state"], row["held_usd"]) == (
        *("swept", "unknown", "0.000000000005"),
    )
    book(books, used("one", reserved_pico=5, tokens=TokenBuckets(input=1)))
    assert listed(shell, address, *MARCH, "--outcome", "swept") == []
    [row] = listed(shell, address, *MARCH)
    assert (row["outcome"], row["cost_usd"], row["held_usd"]) == ("ok", "0.000002", "0.00")


def test_a_page_is_read_without_the_rest_of_its_month(books: Books) -> None:
    fill_with_many(books)
    reading = AttemptReading(books.engine)
    month = Asked(at("2026-03-01"), at("2026-04-01"))
    place: Place | None = None
    for _ in range(3):
        with asked(books.engine) as questions:
            page = reading.page(month, most=50, after=place)
        assert questions.rows_read(books.engine) < 2000
        assert len(page.attempts) == 50
        place = page.following
    assert place is not None
    assert place[0] == at("2026-03-05") + 149 * 100_000_000


def test_many_attempts_come_page_by_page_each_once(
    books: Books, address: str, shell: Shell
) -> None:
    for batch in range(0, 1200, 400):
        # many of one moment, so that only the id tells their order
        some = [used(f"a{number}", request_id="bulk") for number in range(batch, batch + 400)]
        book(books, *some)
    seen: list[str] = []
    place: tuple[str, ...] = ()
    sizes = []
    while True:
        code, out, _ = shell.run(
            address, "attempts", *MARCH, "--limit", "501", "--format", "json", *place
        )
        assert code == 0
        page = json.loads(out)
        sizes.append(len(page["attempts"]))
        seen += [one["id"] for one in page["attempts"]]
        if page["next"] is None:
            break
        place = ("--after", page["next"])
    assert sizes == [501, 501, 198]
    assert len(set(seen)) == 1200
    code, out, said = shell.run(address, "attempts", *MARCH)
    assert (code, len(out.splitlines())) == (0, 101)
    assert said == f"relay-ledger: there are more: --after {at('2026-03-05')}/uid-a/{seen[99]}\n"


def test_a_table_and_a_sheet_obey_nothing_that_a_caller_wrote(
    books: Books, address: str, shell: Shell
) -> None:
    hostile = "=HYPERLINK(1)\x9b31m\u202e"
    book(books, used("one", request_id=hostile, key_name="@key"))
    _, out, _ = shell.run(address, "attempts", *MARCH)
    assert "\\x9b31m\\u202e" in out
    assert "\x9b" not in out
    _, out, _ = shell.run(address, "attempts", *MARCH, "--format", "csv")
    [row] = csv.DictReader(io.StringIO(out))
    assert (row["request_id"], row["key"], row["delivered"]) == (f"'{hostile}", "'@key", "true")
    [row] = listed(shell, address, *MARCH, "--request-id", hostile)
    assert row["request_id"] == hostile


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 1, "give --month, or --from and --until"),
        (("--id", "0" * 32, "--month", "2026-03"), 1, "the ledger has no such attempt"),
        (("--id", "0" * 32), 1, "or its month is no longer kept"),
        (("--id", "abc"), 2, "an id has 32 hexadecimal digits"),
        ((*MARCH, "--tenant", "nobody"), 1, "the ledger knows no tenant"),
        ((*MARCH, "--limit", "0"), 2, "it is a number from 1 to 10000"),
        ((*MARCH, "--limit", "10001"), 2, "it is a number from 1 to 10000"),
        ((*MARCH, "--after", "1-x"), 2, "is no place that an answer named"),
        ((*MARCH, "--outcome", "fine"), 2, "invalid choice"),
        ((*MARCH, "--request-id", "\udcff"), 2, "a text of 1 to 256 characters"),
        ((*MARCH, "--key", "a\nb"), 2, "a text of 1 to 256 characters"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(
    options: tuple[str, ...], code: int, said: str, books: Books, address: str, shell: Shell
) -> None:
    returned, out, error = shell.run(address, "attempts", *options)
    assert (returned, out) == (code, "")
    assert said in error
