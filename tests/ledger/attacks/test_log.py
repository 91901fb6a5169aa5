"""No caller and no outage fills the log: the first line at once, then numbers, and an end."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
from tests.ledger.conftest import Books
from tests.ledger.ledger_process import LedgerProcess, operator_token, token_of
from tests.ledger.postgresql_server import PostgresqlServer
from tests.unit.relay_contract.billing.records import closed

from relay_contract.billing.budget import LEASES_PATH, LeaseRequest
from relay_contract.billing.price_book import STANDING_PATH
from relay_contract.billing.usage_reading import CREDIT_PATH
from relay_ledger.store.databases import open_database
from relay_ledger.store.schema import upgrade

STORM = 150


def logged(process: LedgerProcess, event: str) -> list[dict[str, Any]]:
    """Returns the lines of this event; every line of the log is JSON."""
    fields = [json.loads(line) for line in process.log_text().splitlines()]
    return [one for one in fields if one["event"] == event]


def test_an_outage_of_the_database_is_told_once_and_when_it_is_over(tmp_path: Path) -> None:
    server = PostgresqlServer()
    process: LedgerProcess | None = None
    try:
        server.start()
        address = server.create("away")
        engine = open_database(address)
        upgrade(engine)
        engine.dispose()
        process = LedgerProcess(address, tmp_path)
        process.start()
        server.kill()
        lease = LeaseRequest(pod="relay-0", sequence=1).model_dump_json(by_alias=True)
        ways = (
            lambda: process.send([closed(tenant_uid="uid-a")]),
            lambda: process.ask("GET", CREDIT_PATH),
            lambda: process.ask("GET", STANDING_PATH, token=operator_token()),
            lambda: process.ask("POST", LEASES_PATH, body=lease.encode()),
            lambda: process.admin("/readyz"),
        )
        began = time.monotonic()
        for number in range(STORM):
            response = ways[number % len(ways)]()
            assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE, response.text
        intervals = int((time.monotonic() - began) / 10) + 1
        assert 1 <= len(logged(process, "database_away")) <= 1 + intervals
        server.start()
        assert process.logged("database_away_over")["times"] >= STORM
    finally:
        if process is not None:
            process.end()
        server.remove()


def test_callers_do_not_fill_the_log(serving: LedgerProcess, books: Books) -> None:
    began = time.monotonic()
    forged = [closed(tenant_uid="uid-b")]
    for _ in range(STORM):
        assert serving.send(forged, token=token_of("uid-a")).status_code == httpx.codes.FORBIDDEN
        assert serving.send(b"no record\n" * 10).status_code == httpx.codes.OK
        with socket.create_connection(("127.0.0.1", serving.ingest_port)) as connection:
            connection.sendall(b"\x16\x03\x01 \xff\r\n\r\n")
            connection.recv(1024)
    intervals = int((time.monotonic() - began) / 10) + 1
    assert 1 <= len(logged(serving, "forged_batch")) <= 1 + intervals
    kept_apart = logged(serving, "quarantined")
    assert 20 <= len(kept_apart) <= 20 + intervals
    assert len(serving.log_text().splitlines()) <= 30 + 4 * intervals
