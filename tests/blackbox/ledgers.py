"""A ledger of the test's own, on SQLite unless another database is given, a relay that delivers to it, and what is booked there."""

import json
import os
import secrets
import signal
from pathlib import Path
from typing import Any

from sqlalchemy import text
from tests.blackbox.process import free_ports
from tests.blackbox.relays import Relay
from tests.blackbox.tenant import TENANT_UID
from tests.blackbox.waiting import eventually
from tests.ledger.ledger_process import LedgerProcess, give_keys, token_of

from relay_contract.billing.event_line import read_event
from relay_ledger.store.databases import open_database, reading
from relay_ledger.store.schema import upgrade

SHIPPER = "relay-shipper"
BOOKED_SECONDS = 90.0


class BookingLedger:
    """A `relay-ledger` that can be killed and started again at the same address."""

    def __init__(self, directory: Path, address: str = "", **settings: Any) -> None:
        directory.mkdir()
        self.address = address or f"sqlite:///{directory}/ledger.db"
        engine = open_database(self.address)
        upgrade(engine)
        engine.dispose()
        self.port, admin = free_ports(2)
        self.process = LedgerProcess(
            self.address, directory, ingest_port=self.port, admin_port=admin, **settings
        )
        # a ledger of another session that takes the port while ours is dead is not to take our records
        key = secrets.token_hex(32)
        give_keys(directory, key)
        self.token_file = directory / "token"
        self.token_file.write_text(token_of(TENANT_UID, key))

    def settings(self, outbox: Path, **changed: str) -> dict[str, str]:
        """Returns the settings of a relay that delivers here."""
        outbox.mkdir(exist_ok=True)
        return {
            "ledger_url": f"http://127.0.0.1:{self.port}",
            "ledger_token_file": str(self.token_file),
            "outbox_directory": str(outbox),
            "pod_name": "relay-0",
            **changed,
        }

    def records(self) -> list[dict[str, Any]]:
        """Returns every record that a relay delivered, as its line says; each has to be one of the contract."""
        rows = self.rows("SELECT line FROM events WHERE phase != 'swept' ORDER BY received_at")
        lines = [line for (line,) in rows]
        for line in lines:
            read_event(line.encode())
        return [json.loads(line) for line in lines]

    def closed(self) -> list[dict[str, Any]]:
        """Returns the records of attempts that have ended."""
        return [record for record in self.records() if record["phase"] == "closed"]

    def quarantined(self) -> int:
        """Returns how many lines were kept apart."""
        ((count,),) = self.rows("SELECT count(*) FROM quarantine")
        return int(count)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Returns what the database answers, each time on a connection of its own: it may be killed between two."""
        engine = open_database(self.address)
        try:
            with reading(engine) as connection:
                return [tuple(row) for row in connection.execute(text(query))]
        finally:
            engine.dispose()

    def wait_closed(self, count: int) -> list[dict[str, Any]]:
        """Waits until so many attempts are closed, and returns them."""
        return eventually(
            self.closed,
            lambda found: len(found) >= count,
            within_seconds=BOOKED_SECONDS,
            what=f"{count} closed attempts in the ledger",
        )

    def attempt(self, request_id: str) -> dict[str, Any]:
        """Waits for the one attempt of a call, and returns its end."""
        (found,) = self.attempts(request_id, 1)
        return found

    def attempts(self, request_id: str, count: int) -> list[dict[str, Any]]:
        """Waits for so many attempts of a call to end; returns them in the order in which they were sent."""

        def look() -> list[dict[str, Any]]:
            return [one for one in self.closed() if one.get("requestId") == request_id]

        found = eventually(
            look,
            lambda seen: len(seen) >= count,
            within_seconds=BOOKED_SECONDS,
            what=f"{count} attempts of {request_id}",
        )
        assert len(found) == count, found
        return sorted(found, key=lambda one: one["dispatchedAt"])


def shippers(relay: Relay) -> list[int]:
    """Returns the process that delivers."""
    return [pid for pid in relay.process.workers() if _name(pid) == SHIPPER]


def workers(relay: Relay) -> list[int]:
    """Returns the processes that serve."""
    return [pid for pid in relay.process.workers() if _name(pid) not in (SHIPPER, "")]


def kill(pids: list[int]) -> None:
    """Kills processes of a relay that may have ended meanwhile."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
