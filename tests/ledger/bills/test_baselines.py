"""What an old relay served is kept beside what is booked, once, and nobody owes it."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from tests.ledger.bills.test_compare import MARCH, OTHER, compare, used
from tests.ledger.conftest import Books
from tests.ledger.shell import Shell

from relay_ledger.periods.months import Month
from relay_ledger.statements.statement_table import json_document
from relay_ledger.store.bills.statement_store import StatementStore
from relay_ledger.store.books.month_sums import MonthSums
from relay_ledger.store.credits import CreditStore, Payment
from relay_ledger.store.databases import reading
from relay_ledger.store.rows.act_rows import acts

WHOSE = ("--tenant", "uid-a", "--source", "old-relay")


class OldRelay:
    """Writes histories and imports them."""

    def __init__(self, books: Books, address: str, shell: Shell, directory: Path) -> None:
        books.store.load(OTHER, now=1)
        books.ledger.book(
            "uid-a", [used("one"), used("mini", answered_model="mini")], books.prices, now=1
        )
        self.books, self.address, self.shell = books, address, shell
        self._file = directory / "history.json"

    def history(self, *days: str, tokens: int = 1_000_000, **rest: Any) -> Path:
        data = [
            {"timestamp": f"2026-{day}T00:00:00Z", "input_tokens": tokens, "output_tokens": 1000}
            for day in days
        ]
        self._file.write_text(json.dumps({"granularity": "day", "data": data, **rest}))
        return self._file

    def take(self, file: Path, *options: str) -> tuple[int, str]:
        code, out, said = self.shell.run(
            self.address, "baseline", "import", str(file), *WHOSE, *options
        )
        assert "Traceback" not in said
        return code, out or said

    def report(self, *options: str) -> list[dict[str, str]]:
        code, out, said = self.shell.run(
            self.address, "baseline", "report", "--month", "2026-03", *options
        )
        assert code == 0, said
        return list(csv.DictReader(io.StringIO(out)))

    def imported(self) -> list[tuple[str, str, str]]:
        return [
            (row["day"], row["model"], row["input_tokens"])
            for row in self.report()
            if row["origin"] == "imported"
        ]


@pytest.fixture
def old(books: Books, address: str, shell: Shell, tmp_path: Path) -> OldRelay:
    return OldRelay(books, address, shell, tmp_path)


def test_it_stands_by_day_model_and_in_all_beside_what_is_booked(old: OldRelay) -> None:
    assert old.take(old.history("03-09", "03-10"), "--model", "gpt-4.1")[0] == 0
    rows = [tuple(row.values()) for row in old.report()]
    booked, imported = ("booked", ""), ("imported", "old-relay")
    day = f"2026-03-{1 + (MARCH // 10**6 - 1772323200) // 86400:02d}"
    assert rows == [
        (*booked, day, "gpt-4.1", "1000", "100", "0.0042"),
        (*booked, day, "mini", "1000", "100", "0.00"),
        (*booked, "", "gpt-4.1", "1000", "100", "0.0042"),
        (*booked, "", "mini", "1000", "100", "0.00"),
        (*booked, "", "", "2000", "200", "0.0042"),
        (*imported, "2026-03-09", "gpt-4.1", "1000000", "1000", ""),
        (*imported, "2026-03-10", "gpt-4.1", "1000000", "1000", ""),
        (*imported, "", "gpt-4.1", "2000000", "2000", ""),
        (*imported, "", "", "2000000", "2000", ""),
    ]


def test_days_are_those_of_a_zone(old: OldRelay) -> None:
    old.take(old.history("03-09"))
    days = [row["day"] for row in old.report("--zone", "America/New_York")]
    assert "2026-03-08" in days
    assert "2026-03-09" not in days


def test_the_same_again_changes_nothing_and_another_of_the_same_time_is_refused(
    old: OldRelay,
) -> None:
    file = old.history("03-09", "03-10")
    assert old.take(file)[1].endswith("are imported\n")
    before = old.imported()
    for _ in range(3):
        assert old.take(file)[1].endswith("nothing changed\n")
    for days in (("03-10", "03-11"), ("03-08", "03-09"), ("03-08", "03-11"), ("03-09",)):
        code, said = old.take(old.history(*days, tokens=5))
        assert (code, "imported already from 2026-03-09T00:00:00Z" in said) == (1, True)
    hourly = old.history("03-10", tokens=5, granularity="hour")
    hourly.write_text(hourly.read_text().replace("T00:00", "T07:00"))
    assert old.take(hourly)[0] == 1
    assert old.imported() == before
    assert old.take(old.history("03-11"))[0] == 0
    assert len(old.imported()) == len(before) + 1


def test_replacing_takes_away_whole_imports_and_is_an_act(old: OldRelay) -> None:
    old.take(old.history("03-09", "03-10"))
    old.take(old.history("03-12"))
    assert old.take(old.history("03-10", "03-11", tokens=7), "--replace")[0] == 0
    assert old.imported()[:3] == [
        ("2026-03-10", "", "7"),
        ("2026-03-11", "", "7"),
        ("2026-03-12", "", "1000000"),
    ]
    done = [(one.act, one.subject[:20]) for one in acts(old.books.engine, "uid-a")]
    assert [act for act, _ in done] == [*["baseline imported"] * 2, "baseline replaced"]
    code, out, _ = old.shell.run(old.address, "baseline", "remove", *WHOSE)
    assert (code, out, old.imported()) == (0, "2 imports are taken away\n", [])
    assert acts(old.books.engine)[-1].act == "baseline removed"


def test_nobody_owes_what_was_imported(old: OldRelay) -> None:
    engine = old.books.engine
    payments = CreditStore(engine)
    payments.add("uid-a", Payment("ref", 10**13), now=MARCH)
    statements = StatementStore(engine, grace=0)

    def owed() -> Any:
        (march,) = statements.statements("uid-a", Month(2026, 3), now=MARCH)
        report = old.shell.run(old.address, "report", "--month", "2026-03")[1]
        months = MonthSums(engine).spent({"uid-a": "UTC"}, now=MARCH)
        return json_document(march), report, months, payments.balance("uid-a")

    before = owed()
    old.take(old.history("03-09", "03-10"), "--model", "gpt-4.1")
    assert owed() == before
    assert old.books.ledger.differences(start=0, end=2**60) == []


def test_a_comparison_has_it_apart_at_the_prices_of_the_list(old: OldRelay) -> None:
    before = compare(old.shell, old.address)
    assert "imported" not in before
    old.take(old.history("03-09", "04-01"), "--model", "gpt-4.1")
    unnamed = old.history("03-09", tokens=2_000_000)
    old.shell.run(
        old.address, "baseline", "import", str(unnamed), "--tenant", "uid-a", "--source", "older"
    )
    found = compare(old.shell, old.address)
    assert found["total"] == before["total"]
    # 1 and 4 USD per million
    assert [
        (one["source"], one["input_tokens"], one["usd_by_price_list"]) for one in found["imported"]
    ] == [
        ("old-relay", 1_000_000, "1.004"),
        ("older", 2_000_000, None),
    ]
    named = compare(old.shell, old.address, "--baseline-model", "mini")["imported"]
    assert named[1]["usd_by_price_list"] == "0.8016"
    other = [used("other", tenant_uid="uid-b")]
    old.books.ledger.book("uid-b", other, old.books.prices, now=1)
    assert "imported" not in compare(old.shell, old.address, "--tenant", "uid-b")


@pytest.mark.parametrize(
    ("point", "word"),
    [
        ({"input_tokens": float("nan")}, "no count"),
        ({"input_tokens": 10**30}, "no count"),
        ({"timestamp": 1_800_000_000_000}, "no time"),
        ({"timestamp": -5}, "no time"),
        ({"timestamp": True}, "TypeError"),
        ({"timestamp": "2026-03-09"}, "no offset"),
        ({"model": "\ud800"}, "no name"),
        ({"model": ["gpt"]}, "no name"),
        ({"model": "=HYPERLINK(1) x"}, "no name"),
    ],
)
def test_what_is_no_history_is_refused_whole(
    point: dict[str, Any], word: str, old: OldRelay
) -> None:
    file = old.history("03-09")
    document = json.loads(file.read_text())
    document["data"].append({**document["data"][0], "timestamp": 1_773_100_800, **point})
    file.write_text(json.dumps(document))
    code, said = old.take(file)
    assert (code, "no usage history" in said, word in said) == (1, True, True), said
    assert old.imported() == []


def test_nothing_is_kept_of_a_point_that_stands_twice_a_stranger_or_a_source_without_a_name(
    old: OldRelay,
) -> None:
    assert "stands twice" in old.take(old.history("03-09", "03-09"))[1]
    assert "no points" in old.take(old.history())[1]
    file = old.history("03-09")
    for whose in (("uid-z", "old"), ("uid-a", "=old"), ("uid-a", "o" * 64), ("uid-a", "")):
        code, _, said = old.shell.run(
            *(old.address, "baseline", "import", str(file)),
            *("--tenant", whose[0], "--source", whose[1]),
        )
        assert (code, "Traceback" in said) == (1, False), said
    assert old.imported() == []


def test_acts_never_change(old: OldRelay) -> None:
    old.take(old.history("03-09"))
    with pytest.raises(DatabaseError), old.books.engine.begin() as connection:
        connection.execute(text("UPDATE acts SET note = 'nothing'"))
    with reading(old.books.engine) as connection:
        assert connection.execute(text("SELECT note FROM acts")).scalar_one() == "1 points"
