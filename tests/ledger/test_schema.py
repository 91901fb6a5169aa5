"""The tables: migrations make what the code expects, once, and a database of a newer ledger is left alone."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, insert, select, text
from tests.ledger.postgresql_server import PostgresqlServer
from tests.unit.relay_contract.billing.records import NOON, closed

from relay_ledger.booking.posting import posting_of
from relay_ledger.booking.price_book import PriceBook
from relay_ledger.store.books.month_sums import MonthSums
from relay_ledger.store.databases import DatabaseMisconfigured, open_database, reading
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.limits.budget_store import BudgetStore
from relay_ledger.store.partitions import Partitions
from relay_ledger.store.rows.posting_rows import row_of
from relay_ledger.store.schema import NewerSchema, _config, upgrade
from relay_ledger.store.tables import METADATA, PARTITIONED, POSTINGS


def _is_ours(thing: Any, name: str | None, kind: str, *_: object) -> bool:
    return kind != "table" or name in METADATA.tables


def test_migrations_make_the_tables_of_the_code(address: str) -> None:
    engine = open_database(address)
    Partitions(engine).ensure([NOON])
    with reading(engine) as connection:
        context = MigrationContext.configure(
            connection, opts={"include_object": _is_ours, "compare_type": True}
        )
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_ledgers_that_start_at_once_make_the_tables_once(
    tmp_path: Path, postgresql: PostgresqlServer
) -> None:
    for address in (f"sqlite:///{tmp_path}/fresh.db", postgresql.create("fresh")):
        engine = open_database(address)
        with ThreadPoolExecutor(3) as starts:
            list(starts.map(upgrade, [engine] * 3))
        with reading(engine) as connection:
            assert connection.execute(text("SELECT count(*) FROM sums")).scalar_one() == 0
        engine.dispose()


def test_rows_of_an_older_ledger_stay(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    """Steps that change a table that has rows: those of alerts, which began without dead letters."""
    for address in (f"sqlite:///{tmp_path}/old.db", postgresql.create("old")):
        engine = open_database(address)
        with engine.begin() as connection:
            command.upgrade(_config(connection), "0005")
            connection.execute(
                text("INSERT INTO budget_alerts VALUES ('u','budget',1,2,50,3,4,5,0)")
            )
        upgrade(engine)
        [one] = BudgetStore(engine).standings([], now=6).alerts
        assert (one.tenant_uid, one.alert.threshold, one.alert.crossed_at) == ("u", 50, 5)
        engine.dispose()


def test_an_index_that_was_made_before_the_upgrade_is_taken(
    tmp_path: Path, postgresql: PostgresqlServer
) -> None:
    """As the page about upgrades has it, and with records of months that are there."""
    for address in (f"sqlite:///{tmp_path}/large.db", postgresql.create("large")):
        engine = open_database(address)
        with engine.begin() as connection:
            command.upgrade(_config(connection), "0013")
        Partitions(engine).ensure([NOON])
        page = (Path(__file__).parents[2] / "docs/how-to/upgrade.md").read_text()
        [statement] = re.findall(r"`(CREATE INDEX [^`]+)`", page)
        with engine.begin() as connection:
            connection.execute(text(statement))
        upgrade(engine)
        with reading(engine) as connection:
            context = MigrationContext.configure(connection, opts={"include_object": _is_ours})
            assert compare_metadata(context, METADATA) == []
        engine.dispose()


def test_postings_of_an_older_ledger_stay_and_name_no_manifest(
    tmp_path: Path, postgresql: PostgresqlServer
) -> None:
    for address in (f"sqlite:///{tmp_path}/older.db", postgresql.create("older")):
        engine = open_database(address)
        with engine.begin() as connection:
            command.upgrade(_config(connection), "0010")
        Partitions(engine).ensure([NOON])
        former, new = closed(attempt_id="former"), closed(manifest_revision="r7")
        row = row_of(posting_of(former, PriceBook({}, ())), NOON)
        del row["manifest_revision"]
        with engine.begin() as connection:
            connection.execute(insert(POSTINGS), [row])
        upgrade(engine)
        Ledger(engine).book("uid-a", [new], PriceBook({}, ()), now=NOON)
        columns = (POSTINGS.c.event_id, POSTINGS.c.manifest_revision)
        with reading(engine) as connection:
            rows = [tuple(row) for row in connection.execute(select(*columns))]
        assert sorted(rows) == sorted([(former.id, ""), (new.id, "r7")])
        engine.dispose()


def test_what_is_asked_of_all_tenants_goes_by_an_index_of_time(address: str) -> None:
    engine, asked = open_database(address), list[str]()

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    months = MonthSums(engine)
    months.spent({"u": "UTC"}, now=NOON)
    months.unpriced(now=NOON)
    event.remove(engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    questions = [one for one in asked if "FROM sums" in one]
    assert len(questions) == 4
    for question in questions:
        with engine.connect() as connection:
            if explain == "EXPLAIN":
                # an empty table is read as a whole otherwise
                connection.execute(text("SET enable_seqscan = off"))
            plan = connection.exec_driver_sql(f"{explain} {_with_values(question)}").all()
        assert "ix_sums_quarter" in str(plan), question
    engine.dispose()


def _with_values(question: str) -> str:
    """Returns the question with a value in place of each parameter: a number, or what is one and a text as well."""
    return re.sub(
        r"\?|%\([a-z_0-9]+\)s(::[A-Z]+)?",
        lambda found: "1" if found[1] == "::BIGINT" else "'1'",
        question,
    )


def test_tables_of_a_newer_ledger_are_left_alone(address: str) -> None:
    engine = open_database(address)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerSchema, match="of version 9999, which this ledger does not know"):
        upgrade(engine)
    engine.dispose()


def test_months_are_made_by_several_at_once(postgresql: PostgresqlServer) -> None:
    engine = open_database(postgresql.create("months", template="upgraded"))
    year = [NOON + month * 31 * 86_400 * 10**6 for month in range(12)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: Partitions(engine).ensure(year), range(4)))
    with reading(engine) as connection:
        made = connection.execute(text("SELECT count(*) FROM pg_inherits")).scalar_one()
    # three tables of twelve months or thirteen, and their indexes: one of each, and one more of two
    assert made in ((3 + 5) * 12, (3 + 5) * 13)
    assert set(PARTITIONED) == {"events", "postings", "tool_calls"}
    engine.dispose()


@pytest.mark.parametrize(
    "address", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://user:hush@host/name"]
)
def test_an_address_of_something_else_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(DatabaseMisconfigured) as refused:
        open_database(address)
    assert "hush" not in str(refused.value)
