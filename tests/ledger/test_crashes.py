"""What is answered is on disk, and what is not comes again: ledgers and databases are killed while relays deliver."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests.ledger.conftest import COSTS, Books
from tests.ledger.ledger_process import LedgerProcess, token_of
from tests.ledger.postgresql_server import PostgresqlServer
from tests.unit.relay_contract.billing.records import closed, opened

from relay_contract.billing.attempt_event import AttemptRecord
from relay_ledger.booking.price_book import Assignment
from relay_ledger.store.databases import open_database
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.price_book_store import PriceBookStore
from relay_ledger.store.schema import upgrade

EVER = {"start": 0, "end": 2**60}
TENANTS = ("uid-a", "uid-b", "uid-c")
CALLS = 200
BATCH = 20


def records_of(tenant_uid: str, at: int) -> list[AttemptRecord]:
    """Returns the records of a tenant's calls, in the order in which its relay has them."""
    records: list[AttemptRecord] = []
    for number in range(CALLS):
        same = {
            "tenant_uid": tenant_uid,
            "attempt_id": f"call-{number}",
            "dispatched_at": at + number,
        }
        records += [opened(**same), closed(**same)]
    return records


@contextmanager
def delivering(process: LedgerProcess, at: int) -> Iterator[list[threading.Thread]]:
    """Has a relay of each tenant deliver, every batch until it is answered, some of them again though they were."""
    failed: list[BaseException] = []

    def relay(tenant_uid: str) -> None:
        chance = random.Random(tenant_uid)
        records = records_of(tenant_uid, at)
        batches = [records[start : start + BATCH] for start in range(0, len(records), BATCH)]
        try:
            for batch in batches:
                process.deliver(batch, token=token_of(tenant_uid))
                if chance.random() < 0.3:
                    process.deliver(
                        chance.choice(batches[: batches.index(batch) + 1]),
                        token=token_of(tenant_uid),
                    )
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=relay, args=(tenant_uid,)) for tenant_uid in TENANTS]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.join()
    assert failed == []


def check(ledger: Ledger, tenants: Sequence[str] = TENANTS) -> None:
    for tenant_uid in tenants:
        standing = ledger.standing(tenant_uid)
        assert (standing.tally.opened, standing.tally.closed) == (CALLS, CALLS)
        assert standing.in_flight == standing.quarantined == 0
        sums = ledger.sums(tenant_uid, **EVER)
        assert (sums["attempts"], sums["cost_pico"]) == (CALLS, CALLS * 2_800_000_000)
    assert ledger.differences(**EVER) == []


def test_a_ledger_that_is_killed_again_and_again_loses_nothing_and_books_nothing_twice(
    books: Books, address: str, tmp_path: Path
) -> None:
    process = LedgerProcess(address, tmp_path)
    chance = random.Random(9)
    kills = 0
    try:
        process.start()
        with delivering(process, time.time_ns() // 1000) as relays:
            while any(relay.is_alive() for relay in relays) and kills < 3:
                time.sleep(chance.uniform(0.05, 0.4))
                process.kill()
                kills += 1
                process.start()
        assert kills >= 2
        check(books.ledger)
    finally:
        process.end()


def test_a_database_that_is_killed_is_waited_for(tmp_path: Path) -> None:
    server = PostgresqlServer()
    process: LedgerProcess | None = None
    try:
        server.start()
        address = server.create("killed")
        engine = open_database(address)
        upgrade(engine)
        store = PriceBookStore(engine)
        store.load(COSTS, now=1)
        store.assign(Assignment("cost", "openai", 0, "openai"), now=1)
        process = LedgerProcess(address, tmp_path)
        process.start()
        with delivering(process, time.time_ns() // 1000):
            for _ in range(2):
                time.sleep(0.2)
                server.kill()
                assert process.admin("/healthz").status_code == httpx.codes.OK
                assert process.admin("/readyz").status_code == httpx.codes.SERVICE_UNAVAILABLE
                server.start()
        assert process.admin("/readyz").status_code == httpx.codes.OK
        assert process.logged("database_away")
        check(Ledger(engine))
        engine.dispose()
    finally:
        if process is not None:
            process.end()
        server.remove()


def test_a_ledger_that_is_told_to_end_answers_what_it_has_in_hand(
    books: Books, address: str, tmp_path: Path
) -> None:
    process = LedgerProcess(address, tmp_path)
    try:
        process.start()
        at = time.time_ns() // 1000
        answered = 0
        ended = threading.Event()

        def relay() -> None:
            nonlocal answered
            records = records_of("uid-a", at)
            for start in range(0, len(records), BATCH):
                try:
                    response = process.send(records[start : start + BATCH])
                except httpx.TransportError:
                    return
                assert response.status_code == httpx.codes.OK, response.text
                answered += response.json()["booked"]
                if start > 2 * BATCH:
                    ended.set()

        thread = threading.Thread(target=relay)
        thread.start()
        ended.wait(60)
        assert process.stop() == 0
        thread.join()
        tally = books.ledger.standing("uid-a").tally
        # one batch may be on disk whose answer found the connection closed
        assert tally.opened + tally.closed - answered in (0, BATCH)
        assert '"stopped"' in process.log_text()
    finally:
        process.end()
