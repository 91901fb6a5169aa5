"""Relays that are not their tenant's any more, and databases that say odd things: nobody else waits, and nothing stops for good."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import text
from tests.ledger.conftest import Books
from tests.ledger.ledger_process import LedgerProcess, lines, token_of
from tests.unit.relay_contract.billing.records import closed, opened

from relay_contract.billing.delivery import ATTEMPTS_PATH
from relay_contract.billing.usage_reading import CREDIT_PATH


def now() -> int:
    return time.time_ns() // 1000


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": "\0"},
        {"phase": "\ud800"},
        {"a\0b": 1},
        {"a\ud800b": 1},
        {"outcome": "\0"},
        {"usageSource": "\udfff\0"},
    ],
    ids=ascii,
)
def test_a_line_that_no_database_could_store_is_kept_apart_and_holds_up_nothing(
    changes: dict[str, object], serving: LedgerProcess, books: Books
) -> None:
    record = closed(dispatched_at=now())
    odd = json.dumps({**json.loads(lines([record])), **changes}).encode()
    for _ in range(2):
        response = serving.send(odd + b"\n" + lines([record]))
        assert response.status_code == httpx.codes.OK, response.text
        assert response.json()["quarantined"] == 1
    standing = books.ledger.standing("uid-a")
    assert (standing.tally.closed, standing.quarantined) == (1, 1)


@contextlib.contextmanager
def slow_batches(serving: LedgerProcess, number: int) -> Iterator[None]:
    head = f"POST {ATTEMPTS_PATH} HTTP/1.1\r\nHost: ledger\r\nAuthorization: Bearer {token_of('uid-a')}\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            relay = stack.enter_context(
                socket.create_connection(("127.0.0.1", serving.ingest_port))
            )
            relay.sendall(head.encode() + b"Content-Length: 100\r\n\r\n{")
        yield


def test_slow_batches_of_one_tenant_turn_no_other_away(
    books: Books, serving: LedgerProcess
) -> None:
    with slow_batches(serving, 100):
        serving.wait_for_metric('relay_ledger_refused_batches_total{reason="busy"}', 84)
        response = serving.send(
            [closed(tenant_uid="uid-b", dispatched_at=now())], token=token_of("uid-b")
        )
        assert response.status_code == httpx.codes.OK, response.text
    assert "in hand" not in serving.log_text()


def test_a_database_that_takes_no_writes_is_away_and_what_is_sent_again_is_booked(
    books: Books, serving: LedgerProcess
) -> None:
    """A PostgreSQL that has become a standby; on SQLite a table that is not there stands for what fails."""
    if books.engine.dialect.name != "postgresql":
        broken, mended = "ALTER TABLE tallies RENAME TO t", "ALTER TABLE t RENAME TO tallies"
    else:
        name = books.engine.url.database
        broken = f"ALTER DATABASE {name} SET default_transaction_read_only = on"
        mended = f"ALTER DATABASE {name} SET default_transaction_read_only = off"
    record = opened(dispatched_at=now())
    with books.engine.begin() as connection:
        connection.execute(text(broken))
        end_others(connection)
    response = serving.send([record])
    assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE, response.text
    with books.engine.begin() as connection:
        connection.execute(
            text("SET TRANSACTION READ WRITE") if "DATABASE" in mended else text("SELECT 1")
        )
        connection.execute(text(mended))
        end_others(connection)
    serving.deliver([record], token=token_of("uid-a"))
    assert books.ledger.standing("uid-a").in_flight == 1
    assert "Traceback" not in serving.log_text()


def end_others(connection: object) -> None:
    """Has every other connection of PostgreSQL be made anew: what holds for a database holds for new ones."""
    if connection.dialect.name == "postgresql":  # type: ignore[attr-defined]
        connection.execute(  # type: ignore[attr-defined]
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_upkeep_goes_on_after_what_nobody_expected(books: Books, serving: LedgerProcess) -> None:
    with books.engine.begin() as connection:
        connection.execute(text("ALTER TABLE tallies RENAME TO elsewhere"))
    event = "failed" if books.engine.dialect.name == "postgresql" else "database_away"
    serving.logged(event)
    with books.engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO tallies"))
    serving.deliver([opened(dispatched_at=now())], token=token_of("uid-a"))
    serving.wait_for_metric("relay_ledger_in_flight_attempts", 1)
    assert serving.ask("GET", CREDIT_PATH).status_code == httpx.codes.OK
