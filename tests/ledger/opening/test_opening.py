"""A database that cannot be used: every command names it, the reason and what to do, in a line without the password."""

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from tests.ledger.bills.usage_report_api import openai_page, openai_usage
from tests.ledger.ledger_process import COMMAND, environment
from tests.ledger.postgresql_server import GUARDED, PostgresqlServer
from tests.ledger.shell import Shell

OCTOBER: Final = 1_790_812_800
PASSWORD: Final = "hush"
SPAN: Final = ("--from", "2026-10-01", "--until", "2026-11-01")
COMMANDS: Final = (
    ("serve",),
    ("report", "--month", "2026-10"),
    ("audit", *SPAN),
    ("prices", "reprice", *SPAN),
    ("tools", "--month", "2026-10"),
    ("attempts", "--month", "2026-10"),
    ("quarantine",),
    ("statement", "--month", "2026-10"),
    ("compare", "--price-list", "a", "--month", "2026-10"),
    ("credit", "finance"),
    ("alerts",),
    ("baseline", "list"),
    ("acts",),
    ("terms", "finance"),
    ("rates", "CNY", "7", "--from", "2026-10-01"),
    ("reconcile", "openai", "--period", "2026-10", "--dialect", "openai", "--file", "REPORT"),
)
SERVES_AND_READS: Final = COMMANDS[:2]
SERVES_AND_WRITES: Final = (COMMANDS[0], ("rates", "CNY", "7", "--from", "2026-10-01"))
# with no capabilities, root has the rights of any other user who owns the files
AS_A_USER: Final = (
    ()
    if os.geteuid()
    else ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
)
Place = Callable[[Path], Path]


def refused(shell: Shell, address: str, *arguments: str) -> str:
    """Runs a command that has to fail as settings do; returns the line it says."""
    report = shell.directory / "report.json"
    report.write_text(json.dumps(openai_page([openai_usage(OCTOBER, input_tokens=1)])))
    given = (str(report) if one == "REPORT" else one for one in arguments)
    code, written, said = shell.run(address, *given)
    assert written == ""
    return told(code, said)


def told(code: int, said: str) -> str:
    assert code == 2, said
    line = re.fullmatch(r"relay-ledger: RELAY_LEDGER_DATABASE: ([^\n]+)\n", said)
    assert line is not None, said
    assert PASSWORD not in said
    return line[1]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_every_command_says_which_database_it_cannot_open(
    arguments: tuple[str, ...], tmp_path: Path, shell: Shell
) -> None:
    said = refused(shell, f"sqlite:///{tmp_path}/none/ledger.db", *arguments)
    assert said == (
        f"{tmp_path}/none/ledger.db cannot be used: the directory {tmp_path}/none does not exist;"
        " create it, mount its volume, or name a file elsewhere"
    )


def test_every_command_that_opens_the_database_is_tried(shell: Shell) -> None:
    _, helped, _ = shell.run("", "--help")
    commands = set(re.findall(r"^    ([a-z-]+)(?: |$)", helped, re.MULTILINE))
    # it reads keys alone
    assert commands - {"payments-token"} == {arguments[0] for arguments in COMMANDS}


def directory(path: Path) -> Path:
    return path


def text_file(path: Path) -> Path:
    (path / "notes.txt").write_text("nothing of a database\n" * 100)
    return path / "notes.txt"


def below_a_file(path: Path) -> Path:
    return text_file(path) / "ledger.db"


def damaged(path: Path) -> Path:
    file = path / "ledger.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    connection.close()
    with file.open("r+b") as opened:
        opened.seek(100)
        opened.write(b"\xff" * 400)
    return file


@pytest.mark.parametrize("command", SERVES_AND_READS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (directory, r"it is a directory; name a file in it, as sqlite:////\S+/ledger\.db"),
        (text_file, r"it is not an SQLite database; name another file, or restore .*"),
        (below_a_file, r"\S+/notes\.txt is not a directory; name a file elsewhere"),
        (damaged, "it is damaged; restore it from a backup"),
    ],
)
def test_a_file_that_is_no_database_is_named(
    command: tuple[str, ...], place: Place, reason: str, tmp_path: Path, shell: Shell
) -> None:
    file = place(tmp_path)
    said = refused(shell, f"sqlite:///{file}", *command)
    assert re.fullmatch(f"{re.escape(str(file))} cannot be used: {reason}", said), said


def unwritable(path: Path, sqlite: Path) -> Path:
    file = path / "ledger.db"
    file.write_bytes(sqlite.read_bytes())
    file.chmod(0o444)
    return file


def unreadable(path: Path, sqlite: Path) -> Path:
    file = unwritable(path, sqlite)
    file.chmod(0)
    return file


def in_a_closed_directory(path: Path, _: Path) -> Path:
    (path / "closed").mkdir(mode=0o555)
    return path / "closed" / "ledger.db"


def behind_a_closed_directory(path: Path, _: Path) -> Path:
    (path / "closed").mkdir(mode=0)
    return path / "closed" / "deep" / "ledger.db"


@pytest.mark.parametrize("command", SERVES_AND_WRITES, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (unwritable, r"no permission to read and write \S+/ledger\.db"),
        (unreadable, r"no permission to read and write \S+/ledger\.db"),
        (in_a_closed_directory, r"no permission to create files in \S+/closed"),
        (behind_a_closed_directory, r"\S+/closed/deep: Permission denied"),
    ],
)
def test_a_file_without_the_rights_to_it_is_named_with_the_user(
    command: tuple[str, ...],
    place: Callable[[Path, Path], Path],
    reason: str,
    tmp_path: Path,
    sqlite: Path,
) -> None:
    file = place(tmp_path, sqlite)
    done = as_a_user(file, *command)
    said = told(done.returncode, done.stderr)
    rights = rf"let the user of this process \(UID {os.geteuid()}\) read and write the file and its directory"
    assert re.fullmatch(f"{re.escape(str(file))} cannot be used: {reason}; {rights}", said), said


def as_a_user(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AS_A_USER, *COMMAND, *arguments],
        env=environment(f"sqlite:///{file}", file.parent),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_report_is_made_of_a_file_that_cannot_be_written(tmp_path: Path, sqlite: Path) -> None:
    done = as_a_user(unwritable(tmp_path, sqlite), *COMMANDS[1])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", SERVES_AND_READS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("", "it is not the address of a database: write sqlite:"),
        ("hush", "it is not the address of a database: write sqlite:"),
        ("sqlite://", "sqlite is not a database that the ledger uses: write sqlite:////path"),
        ("sqlite:////tmp/l.db?mode=hush", "options and zero bytes are not taken: write sqlite:"),
        ("sqlite:////tmp/%00.db", "options and zero bytes are not taken: write sqlite:"),
        ("postgres://u:hush@h/n", "postgres is not a database that the ledger uses: write sqlite:"),
        ("mysql://u:hush@h/n?p=hush", "mysql is not a database that the ledger uses: write sqlite:"),
        ("postgresql://u:hush", "its port is not a number: write .*; percent-encode"),
        ("postgresql://u:x@y/hush@h/n", "it has more than one @: write .*; percent-encode"),
        ("postgresql://u:x@hush@h/n", "it has more than one @: write .*; percent-encode"),
        ("postgresql://u:hush@a..b/n", "the database 'n' of PostgreSQL at a..b as user 'u' cannot be used: .*label empty.*; check"),
        ("postgresql://u:hush@127.0.0.1:99999/n", "the database 'n' of PostgreSQL at 127.0.0.1:99999 as user 'u' .*invalid port number.*; correct the port"),
        ("postgresql://u:hush@127.0.0.1:1/n", "the database 'n' of PostgreSQL at 127.0.0.1:1 .* refused; check that the server runs"),
        ("postgresql://u:hush@127.0.0.1:1/n?nonsense=1", ".*invalid connection option .nonsense.; remove or correct"),
        ("postgresql://u:hush@nowhere.invalid/n", ".* at nowhere.invalid .*failed to resolve host 'nowhere.invalid': .*; check the host name"),
        ("postgresql:///n?host=/none&user=u&password=hush", "the database 'n' of PostgreSQL at /none cannot be used: .*; check that the server runs"),
    ],
)  # fmt: skip
def test_an_address_of_no_database_is_told_without_its_password(
    command: tuple[str, ...],
    address: str,
    reason: str,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # a machine without a name server is not to be waited for
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")
    assert re.match(reason, said := refused(shell, address, *command)), said


@pytest.mark.parametrize("command", SERVES_AND_READS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("user", "database", "reason"),
    [
        (f"{GUARDED}:hush", "guarded", "password authentication failed .*; check user and password"),
        (GUARDED, "guarded", ".*password supplied; check user and password"),
        ("nobody:hush", "guarded", '.*role "nobody" does not exist; create the role'),
        (f"{GUARDED}:right", "missing", '.*database "missing" does not exist; create the database'),
        (f"{GUARDED}:right", "guarded", ".*permission denied for schema public; grant the user CREATE"),
        ("ledger", "standby", ".*in a read-only transaction; name the primary server"),
    ],
)  # fmt: skip
def test_a_server_that_refuses_is_told_with_its_reason(
    command: tuple[str, ...],
    user: str,
    database: str,
    reason: str,
    guarded: PostgresqlServer,
    shell: Shell,
) -> None:
    said = refused(shell, guarded.address(database, user=user), *command)
    named = f"the database '{database}' of PostgreSQL at /"
    assert said.startswith(named)
    assert re.search(f" cannot be used: .*{reason}", said), said


@pytest.fixture(scope="module")
def guarded(postgresql: PostgresqlServer) -> PostgresqlServer:
    """The server with a database in which its user may make no tables, and one that takes no writes."""
    postgresql.execute(f"CREATE ROLE {GUARDED} LOGIN PASSWORD 'right'")
    postgresql.create("guarded")
    postgresql.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database="guarded")
    postgresql.create("standby")
    postgresql.execute("ALTER DATABASE standby SET default_transaction_read_only = on")
    return postgresql
