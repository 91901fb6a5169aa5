"""The commands of docs/how-to/ledger.md that copy the books, pasted into a shell whose kubectl leads to a ledger on this machine."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.ledger.ledger_process import LedgerProcess, token_of
from tests.pages.blocks import ROOT, blocks_of
from tests.unit.relay_contract.billing.records import closed

from relay_ledger.store.databases import open_database
from relay_ledger.store.ledger import Ledger

VOLUME = "/var/lib/relay-ledger"
KUBECTL = """#!{python}
import os, sys
command = [one.replace({volume!r}, {directory!r}) for one in sys.argv[sys.argv.index("--") + 1 :]]
command[0] = sys.executable if command[0] == "python3" else command[0]
os.execvp(command[0], command)
"""
[BLOCK] = [
    block
    for block in blocks_of("docs/how-to/ledger.md")
    if block.detail == "tests/ledger/books/test_copied_books.py"
]


def booked(file: Path) -> int:
    """Returns how many attempts the books in a file have, which the audit finds whole."""
    engine = open_database(f"sqlite:///{file}")
    try:
        ledger = Ledger(engine)
        assert ledger.differences(start=0, end=2**62) == []
        return ledger.standing().tally.closed
    finally:
        engine.dispose()


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
def test_the_books_are_copied_whole_while_they_are_written(
    serving: LedgerProcess, tmp_path: Path
) -> None:
    reader = tmp_path / "reader"
    reader.mkdir()
    kubectl = reader / "kubectl"
    kubectl.write_text(
        KUBECTL.format(python=sys.executable, volume=VOLUME, directory=str(tmp_path))
    )
    kubectl.chmod(0o755)
    chart = (ROOT / "charts/relay-operator/templates/ledger.yaml").read_text()
    assert f"sqlite:///{VOLUME}/ledger.db" in chart
    assert f"{VOLUME}/ledger.db" in BLOCK.text
    for count in (1, 2):
        now = time.time_ns() // 1000
        serving.deliver(
            [closed(attempt_id=f"attempt-{count}", dispatched_at=now)], token=token_of("uid-a")
        )
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", BLOCK.text],
            cwd=reader,
            env={**os.environ, "PATH": f"{reader}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert [path.name for path in tmp_path.glob("copy*")] == []
        kept = shutil.copyfile(reader / "ledger.db", reader / f"kept-{count}.db")
        with sqlite3.connect(kept) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert booked(kept) == count
