"""What is said of a database of the ledger that cannot be used: which one, why, and what to do."""

import os
import re
import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from relay_ledger.store.databases import BUSY_SECONDS

_READ_ONLY_SERVER: Final = "25006"
"""SQLSTATE read_only_sql_transaction: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_NO_PRIVILEGE: Final = "42501"
_CHECKS: Final = (
    ("password", "check user and password (reserved characters are percent-encoded: @ is %40)"),
    ("pg_hba[.]conf", "allow this user, database and address in the server's pg_hba.conf"),
    ('role ".*" does not exist', "create the role, or name another user"),
    (
        'database ".*" does not exist',
        "create the database (CREATE DATABASE), or name another; the ledger makes its tables itself",
    ),
    ("resolve", "check the host name, and that this machine or pod can resolve names"),
    ("invalid port", "correct the port"),
    ("invalid ", "remove or correct what the address has after the question mark"),
    ("SSL", "check sslmode and the certificates in the address"),
)
"""Patterns of reasons in English, and what to do by the first that is found. A server may speak another language."""
_CHECK_SERVER: Final = "check that the server runs, and that host, port and firewalls or network policies let this process reach it"


def why_not(url: URL, error: BaseException | None) -> str:
    """Returns what is said: never the statement, which may hold what is nobody's business."""
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "").absolute()
        return f"{path} cannot be used: {_why_not_sqlite(path, error)}"
    return f"{_server(url)} cannot be used: {_why_not_postgresql(error)}"


def _why_not_sqlite(path: Path, error: BaseException | None) -> str:
    # the low byte is the primary code: https://www.sqlite.org/rescode.html
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_NOTADB:
            return "it is not an SQLite database; name another file, or restore the ledger's file from a backup"
        case sqlite3.SQLITE_CORRUPT:
            return "it is damaged; restore it from a backup"
        case sqlite3.SQLITE_FULL:
            return "its disk is full; free some space, or enlarge the volume"
        case sqlite3.SQLITE_BUSY:
            return f"another process has locked it for {BUSY_SECONDS} s; end that process, or wait for it"
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return _why_no_access(path, str(error))
    return str(error)


def _why_no_access(path: Path, said: str) -> str:
    directory = path.parent
    try:
        os.stat(f"{directory}/")
        if path.is_dir():
            return f"it is a directory; name a file in it, as sqlite:///{path}/ledger.db"
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            return "its file system is read-only; mount it for writing, or name a file elsewhere"
    except NotADirectoryError:
        return f"{directory} is not a directory; name a file elsewhere"
    except FileNotFoundError:
        return f"the directory {directory} does not exist; create it, mount its volume, or name a file elsewhere"
    except OSError as error:
        return f"{directory}: {error.strerror}; {_give_rights()}"
    return _what_is_kept_from_this_process(path) or said


def _what_is_kept_from_this_process(path: Path) -> str | None:
    files = (path, Path(f"{path}-wal"), Path(f"{path}-shm"))
    for one in (one for one in files if one.exists()):
        if not os.access(one, os.R_OK | os.W_OK):
            return f"no permission to read and write {one}; {_give_rights()}"
    if not os.access(path.parent, os.R_OK | os.W_OK | os.X_OK):
        return f"no permission to create files in {path.parent}; {_give_rights()}"
    return None


def _give_rights() -> str:
    return f"let the user of this process (UID {os.geteuid()}) read and write the file and its directory"


def _server(url: URL) -> str:
    queried = url.query.get("host", "")
    host = url.host or (queried if isinstance(queried, str) else ",".join(queried))
    port = f":{url.port}" if url.port else ""
    of_user = f" as user {url.username!r}" if url.username else ""
    return f"the database {url.database!r} of PostgreSQL at {host or 'the local socket'}{port}{of_user}"


def _why_not_postgresql(error: BaseException | None) -> str:
    # libpq tells every try of a connection in a line of its own, of which the first is enough
    reason = str(error).partition("\n")[0].removeprefix("connection failed: ").strip()
    match getattr(error, "sqlstate", None):
        case str(state) if state == _READ_ONLY_SERVER:
            return f"{reason}; name the primary server, not a standby"
        case str(state) if state == _NO_PRIVILEGE:
            return f"{reason}; grant the user CREATE on the schema, or let it own the database"
        case str():
            return reason
    found = (check for pattern, check in _CHECKS if re.search(pattern, reason))
    return f"{reason}; {next(found, _CHECK_SERVER)}"
