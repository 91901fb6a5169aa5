"""`python -m bench.ledger`: records that the ledger books a second, and how soon a report has them.

`relay-ledger serve` is a process of its own; relays of eight tenants deliver batches of 500 records to it over HTTP, and each batch is on
disk before it is answered. Beside it, in the same round and on the same database, the same lines are appended to a table without a key:
what the database takes where nothing is parsed, known as a duplicate, priced or summed.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.ledger.senders import Delivered, batches, deliver
from bench.ledger.stores import Kind, appended_per_second, database
from tests.ledger.ledger_process import LedgerProcess, token_of
from tests.unit.relay_contract.billing.records import closed

from relay_contract.billing.usage_reading import USAGE_REPORT_PATH

TENANTS: Final = tuple(f"tenant-{number}" for number in range(8))
ROUNDS: Final = int(os.environ.get("LEDGER_ROUNDS", "3"))
BATCHES: Final = int(os.environ.get("LEDGER_BATCHES", "12"))
"""Of each tenant in a round."""
RECORDS: Final = 500
LAGS: Final = 40
GOAL: Final = 5000


def main() -> int:
    """Prints a line a round and one a store; returns 1 if PostgreSQL missed the goal in every round."""
    best: dict[Kind, float] = {}
    kinds: tuple[Kind, ...] = ("sqlite", "postgresql")
    for kind in kinds:
        with database(kind, TENANTS) as address, tempfile.TemporaryDirectory() as directory:
            best[kind] = _measure(kind, address, Path(directory))
    return int(best["postgresql"] < GOAL)


def _measure(kind: Kind, address: str, directory: Path) -> float:
    ledger = LedgerProcess(address, directory, upkeep_seconds=15)
    try:
        ledger.start()
        rates, ratios = [], []
        for number in range(ROUNDS):
            bodies = {
                tenant: batches(tenant, number=BATCHES, records=RECORDS, round_number=number)
                for tenant in TENANTS
            }
            place = urlsplit(ledger.url)
            booked = deliver(place.hostname or "", place.port or 0, bodies)
            appended = appended_per_second(address, list(bodies.values()))
            rates.append(booked.per_second)
            ratios.append(booked.per_second / appended)
            _say(f"{kind} round {number + 1}: {_round(booked, appended)}")
        lags = [_lag(ledger, number) for number in range(LAGS)]
    finally:
        ledger.end()
    _say(
        f"{kind}: records_per_second={statistics.median(rates):.0f} (best {max(rates):.0f})"
        f" of_appending_alone={statistics.median(ratios):.2f}"
        f" report_lag_ms p50={_percent(lags, 50) * 1000:.0f} p99={_percent(lags, 99) * 1000:.0f}"
        f" load={os.getloadavg()[0]:.1f}"
    )
    return max(rates)


def _round(booked: Delivered, appended: float) -> str:
    times = booked.batch_seconds
    return (
        f"{booked.per_second:.0f} records/s booked, {appended:.0f} lines/s appended alone,"
        f" ratio {booked.per_second / appended:.2f}; a batch of {RECORDS} p50"
        f" {_percent(times, 50) * 1000:.0f} ms, p99 {_percent(times, 99) * 1000:.0f} ms; load {os.getloadavg()[0]:.1f}"
    )


def _lag(ledger: LedgerProcess, number: int) -> float:
    """Returns the seconds from the delivery of an attempt to a report that has it, asked for again and again."""
    tenant = f"lag-{number}"
    record = closed(tenant_uid=tenant, dispatched_at=time.time_ns() // 1000)
    began = time.monotonic()
    ledger.deliver([record], token=token_of(tenant))
    while True:
        report = ledger.ask("GET", USAGE_REPORT_PATH, token=token_of(tenant)).json()
        if report["summary"]["attempts"] == 1:
            return time.monotonic() - began


def _percent(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[-(-len(ordered) * percent // 100) - 1]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
