"""The tables: migrations make what the code expects, once, and a database of a newer ledger is left alone."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, select, text
from tests.ledger.postgresql_server import PostgresqlServer
from tests.ledger.records.reading_costs import asked
from tests.unit.relay_contract.billing.records import NOON, closed

from relay_ledger.booking.posting import FIGURES, posting_of
from relay_ledger.booking.price_book import PriceBook
from relay_ledger.periods.zones import QUARTER
from relay_ledger.store.books.month_sums import MonthSums
from relay_ledger.store.databases import DatabaseMisconfigured, open_database, reading
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.limits.budget_store import BudgetStore
from relay_ledger.store.migrations.steps import configuration, migrate
from relay_ledger.store.partitions import Partitions
from relay_ledger.store.rows.bulk_insert import insert_rows
from relay_ledger.store.rows.posting_rows import row_of
from relay_ledger.store.schema import VERSIONS, NewerSchema, upgrade
from relay_ledger.store.tables import DIMENSIONS, METADATA, PARTITIONED, POSTINGS, SUMS


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


def test_each_step_stands_in_a_module_named_for_its_version(address: str) -> None:
    """A start that finds the newest by its name does not read the steps."""
    engine = open_database(address)
    with engine.begin() as connection:
        steps = ScriptDirectory.from_config(configuration(connection))
        known = [step.revision for step in steps.walk_revisions()]
        assert MigrationContext.configure(connection).get_current_revision() == VERSIONS[-1]
    assert list(VERSIONS) == known[::-1]
    assert steps.get_current_head() == VERSIONS[-1]
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
            migrate(connection, "0005")
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
            migrate(connection, "0013")
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
            migrate(connection, "0010")
        Partitions(engine).ensure([NOON])
        former, new = closed(attempt_id="former"), closed(manifest_revision="r7")
        row = row_of(posting_of(former, PriceBook({}, ())), NOON)
        # columns that came later
        later = {"manifest_revision", "abandoned", "charge_entry"}
        row = {name: row[name] for name in row.keys() - later}
        with engine.begin() as connection:
            connection.execute(insert(POSTINGS), [row])
        upgrade(engine)
        Ledger(engine).book("uid-a", [new], PriceBook({}, ()), now=NOON)
        columns = (POSTINGS.c.event_id, POSTINGS.c.manifest_revision)
        with reading(engine) as connection:
            rows = [tuple(row) for row in connection.execute(select(*columns))]
        assert sorted(rows) == sorted([(former.id, ""), (new.id, "r7")])
        engine.dispose()


def test_what_is_asked_each_minute_reads_the_sums_of_each_tenant_where_they_lie_together(
    address: str,
) -> None:
    engine, tenants, quarters = open_database(address), 40, 200
    names = dict.fromkeys(DIMENSIONS, "a")
    figures = dict.fromkeys(FIGURES, 0)
    rows = [
        {"tenant_uid": f"u-{uid}", "quarter": NOON // QUARTER * QUARTER - number * QUARTER}
        | names
        | figures
        for uid in range(tenants)
        for number in range(quarters)
    ]
    with engine.begin() as connection:
        insert_rows(connection, SUMS, rows)
        # PostgreSQL does so by itself after some time
        connection.execute(text("ANALYZE"))
    months = MonthSums(engine)
    for ask in (
        lambda: months.spent({f"u-{uid}": "UTC" for uid in range(tenants)}, now=NOON),
        lambda: months.unpriced(now=NOON),
    ):
        with asked(engine) as questions:
            ask()
        # by the index of time it would be all of them for each tenant, or a look for each of them
        assert "ix_sums_quarter" not in questions.plan(engine, "sums")
        assert questions.rows_read(engine) < 2 * tenants * quarters
    engine.dispose()


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
