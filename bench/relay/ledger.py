"""Runs the ledger that the recording relay delivers to: the real one, on SQLite, with what the load leaves of its core."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.relay import places

from relay_contract.billing.ledger_token import read_keys
from relay_ledger.store.databases import open_database
from relay_ledger.store.schema import upgrade

TENANT_UID: Final = "uid-bench"
_KEY: Final = "a-key-of-the-benchmark-of-the-relay"
_START_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Booking:
    """A ledger that takes records, and the tenant's token."""

    url: str
    token_file: Path


@contextmanager
def running(directory: Path) -> Iterator[Booking]:
    """Runs the ledger while the block runs."""
    directory.mkdir()
    address = f"sqlite:///{directory}/ledger.db"
    engine = open_database(address)
    upgrade(engine)
    engine.dispose()
    (directory / "keys").write_text(f"{_KEY}\n")
    token_file = directory / "token"
    token_file.write_text(read_keys(_KEY).tenant_token(TENANT_UID))
    settings = {
        "DATABASE": address,
        "KEYS_FILE": str(directory / "keys"),
        "INGEST_HOST": "127.0.0.1",
        "INGEST_PORT": str(places.LEDGER_PORT),
        "ADMIN_HOST": "127.0.0.1",
        "ADMIN_PORT": str(places.LEDGER_ADMIN_PORT),
    }
    environment = {f"RELAY_LEDGER_{name}": value for name, value in settings.items()}
    environment["PYTHONPATH"] = str(places.REPOSITORY / "operator")
    command = [sys.executable, "-m", "relay_ledger", "serve"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            # in a cluster it is elsewhere: here it runs where the load's core has nothing else to do, and makes way at once
            ["taskset", "--cpu-list", str(places.LOAD_CPU), "chrt", "--idle", "0", *command],
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, directory / "log")
        yield Booking(f"http://127.0.0.1:{places.LEDGER_PORT}", token_file)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            address = f"http://127.0.0.1:{places.LEDGER_ADMIN_PORT}/healthz"
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the ledger did not start: {log.read_text(errors='replace')[-2000:]}")
