"""A PostgreSQL server in a directory of its own, without a network, run by a user without rights.

python -m tests.ledger.postgresql_server     installs Debian's package where it is missing
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import psycopg
from tests.cluster.build import debian_packages

PACKAGE: Final = "postgresql"
START_SECONDS: Final = 60
GUARDED: Final = "guarded"
"""The one user who has to give a password."""
_NOBODY: Final = 65534
_FIRST_WITH_A_CHOICE: Final = 15
"""Of the versions of PostgreSQL, the first that copies databases in two ways."""
_MEMORY: Final = Path("/dev/shm")
_ENOUGH_BYTES: Final = 2 * 2**30
"""Ten times what a server has there at once; in a container it is often 64 MiB."""


def programs() -> Path | None:
    """Returns the directory of the newest server's programs, None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version)
    return found[-1].parent if found else None


def _place() -> Path | None:
    """Returns a directory in memory, where the three hundred files of a database are made in a fifth of the time; None for the usual one.

    What a killed process has written is there as well.
    """
    with contextlib.suppress(OSError):
        if shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES:
            return _MEMORY
    return None


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def _version(program: Path) -> int:
    return int(program.parts[-3])


def ensure_installed() -> Path:
    """Installs the server if it is missing, without starting it; returns the directory of its programs."""
    if programs() is None:
        debian_packages.install([PACKAGE], lambda line: print(line, file=sys.stderr))
    found = programs()
    assert found is not None, f"{PACKAGE} is installed, and there is no server"
    return found


class PostgresqlServer:
    """One server, reached through a Unix socket. stop and kill leave its files; remove takes them away."""

    def __init__(self) -> None:
        self._programs = ensure_installed()
        self._directory = Path(tempfile.mkdtemp(prefix="ledger-postgresql.", dir=_place()))
        self._user = _NOBODY if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self._directory, self._user, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-A", "trust", "-U", "ledger", "-E", "UTF8", "--locale=C", "--no-sync")
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"local all {GUARDED} scram-sha-256\n{rules.read_text()}")

    def address(self, database: str, *, user: str = "ledger") -> str:
        """Returns where to find a database; the user may have a password after a colon."""
        return f"postgresql://{user}@/{database}?host={self._directory}"

    def start(self) -> None:
        """Starts it and waits until it answers."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._programs / "postgres"),
                    *("-D", str(self._data)),
                    # what a killed process has written is in the system's memory: no test here cuts the power
                    *("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "jit=off"),
                    *(
                        "-c",
                        "listen_addresses=",
                        "-c",
                        f"unix_socket_directories={self._directory}",
                    ),
                    *("-c", "shared_buffers=64MB", "-c", "max_connections=40"),
                    # databases of some seconds' life need no vacuum, and their log no room
                    *("-c", "autovacuum=off", "-c", "max_wal_size=64MB"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                user=self._user,
                group=self._user,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self._log()
            assert time.monotonic() < deadline, self._log()
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it in order, breaking off what is under way."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Ends it and all its processes at once, and returns when none is left to answer a query."""
        assert self._process is not None
        # a server that is stopped starts no more of them; each has a session of its own
        self._process.send_signal(signal.SIGSTOP)
        backends = self._backends()
        for pid in backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        self._process = None
        deadline = time.monotonic() + START_SECONDS
        while any(_runs(pid) for pid in backends):
            assert time.monotonic() < deadline, "a process of PostgreSQL outlives SIGKILL"
            time.sleep(0.005)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def remove(self) -> None:
        if self._process is not None:
            self.stop()
        shutil.rmtree(self._directory)

    def create(self, database: str, *, template: str = "template1") -> str:
        """Makes a database like another; returns its address."""
        self.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"{self._copied}')
        return self.address(database)

    def drop(self, database: str) -> None:
        """Removes a database, whoever is connected to it."""
        self.execute(f'DROP DATABASE "{database}" WITH (FORCE)')

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        """Executes a statement as the server's owner."""
        # a psql for each of two statements of a test takes longer than what they do
        with psycopg.connect(self.address(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    @property
    def _copied(self) -> str:
        """How a database is made from another one: file by file, without a log of every page, which takes twice as long."""
        always = _version(self._programs / "postgres") < _FIRST_WITH_A_CHOICE
        return "" if always else " STRATEGY FILE_COPY"

    def _backends(self) -> list[int]:
        """Returns the processes that the server has started."""
        assert self._process is not None
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(timeout=START_SECONDS)
        self._process = None

    def _answers(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", str(self._directory)]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), "-D", str(self._data), *arguments],
            check=True,
            cwd=self._directory,
            user=self._user,
            group=self._user,
            stdout=subprocess.DEVNULL,
        )

    def _log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")[-2000:]


if __name__ == "__main__":
    ensure_installed()
