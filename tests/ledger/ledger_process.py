"""A `relay-ledger serve` process and a relay's way of delivering to it: again and again, until it has an answer."""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final, Protocol

import httpx
from tests.growing_files import whole_text

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.delivery import ATTEMPTS_PATH, TOOL_CALLS_PATH
from relay_contract.billing.event_line import event_line
from relay_contract.billing.ledger_token import read_keys
from relay_contract.billing.tool_call import ToolCall, tool_call_line

START_SECONDS: Final = 60.0
KEY: Final = "the-key-of-the-tests-of-the-ledger"
NO_AUTHORITIES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Of clients that speak plain HTTP alone: to read the machine's authorities takes longer than a test's requests."""
COMMAND: Final = (sys.executable, "-m", "relay_ledger")


def environment(address: str, directory: Path, **settings: Any) -> dict[str, str]:
    """Returns the environment of a ledger on free ports of this machine."""
    values = {
        "database": address,
        "keys_file": directory / "keys",
        "keys_poll_seconds": 0.1,
        "ingest_host": "127.0.0.1",
        "ingest_port": 0,
        "admin_host": "127.0.0.1",
        "admin_port": 0,
        "upkeep_seconds": 0.2,
        **settings,
    }
    named = {f"RELAY_LEDGER_{name.upper()}": str(value) for name, value in values.items()}
    return {**os.environ, **named}


def operator_token() -> str:
    return read_keys(KEY).operator_token()


def payments_token() -> str:
    return read_keys(KEY).payments_token()


def token_of(tenant_uid: str, key: str = KEY) -> str:
    return read_keys(key).tenant_token(tenant_uid)


def give_keys(directory: Path, *keys: str) -> None:
    """Writes the keys as a mounted Secret would change: at once."""
    temporary = directory / ".keys"
    temporary.write_text("\n".join(keys) + "\n")
    temporary.rename(directory / "keys")


def lines(records: Sequence[AttemptRecord]) -> bytes:
    return b"".join(event_line(record) + b"\n" for record in records)


def tool_lines(calls: Sequence[ToolCall]) -> bytes:
    return b"".join(tool_call_line(call) + b"\n" for call in calls)


class Begun(Protocol):
    """What is asked of a process that was begun; as subprocess.Popen has it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def send_signal(self, sig: int, /) -> None: ...
    def kill(self) -> None: ...
    def wait(self, timeout: float | None = None) -> int: ...


class LedgerProcess:
    """One process; started again it serves the same database on other ports."""

    def __init__(self, address: str, directory: Path, **settings: Any) -> None:
        self.directory = directory
        self._log = directory / ".log"
        give_keys(directory, KEY)
        self._environment = environment(address, directory, **settings)
        self._process: Begun | None = None
        self._ports: dict[str, int] = {}
        # no connection outlives a request: each is to meet the process as it is
        self._client = httpx.Client(
            timeout=60,
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            verify=NO_AUTHORITIES,
        )

    def start(self) -> None:
        self._log.write_bytes(b"")
        with self._log.open("ab") as log:
            self._process = self._begin(log)
        self._ports = self.logged("listening")

    def _begin(self, log: IO[bytes]) -> Begun:
        return subprocess.Popen(
            [*COMMAND, "serve"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    @property
    def ingest_port(self) -> int:
        """The port that relays speak to."""
        return self._ports["ingest_port"]

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> int:
        """Ends it in order; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=START_SECONDS)
        self._process = None
        return code

    def end(self) -> None:
        self._client.close()
        if self._process is not None:
            self.kill()

    def logged(self, event: str) -> dict[str, Any]:
        """Waits for a log line of this event and returns it."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            text = whole_text(self._log)
            for line in text.splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    fields = json.loads(line)
                    if isinstance(fields, dict) and fields.get("event") == event:
                        return fields
            assert self._process is not None
            assert self._process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.02)

    def log_text(self) -> str:
        return whole_text(self._log)

    def send(
        self,
        records: Sequence[AttemptRecord] | bytes,
        *,
        token: str | None = token_of("uid-a"),
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        body = records if isinstance(records, bytes) else lines(records)
        authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{self._ports['ingest_port']}{ATTEMPTS_PATH}"
        return self._client.post(url, content=body, headers={**authorization, **(headers or {})})

    def send_tool_calls(
        self, calls: Sequence[ToolCall] | bytes, *, token: str | None = None
    ) -> httpx.Response:
        """Delivers tool calls; with uid-a's token if none is given."""
        body = calls if isinstance(calls, bytes) else tool_lines(calls)
        return self.ask("POST", TOOL_CALLS_PATH, token=token, body=body)

    @property
    def url(self) -> str:
        """Where relays reach it."""
        return f"http://127.0.0.1:{self._ports['ingest_port']}"

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Sends a request to the port of relays; with uid-a's token if none is named."""
        token = token_of("uid-a") if token is None else token
        return self._client.request(
            method,
            f"{self.url}{path}",
            content=body,
            headers={"Authorization": f"Bearer {token}", **(headers or {})},
        )

    def deliver(self, records: Sequence[AttemptRecord], *, token: str) -> None:
        """Sends a batch until the ledger says that it is on disk."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx.TransportError):
                response = self.send(records, token=token)
                if response.status_code == httpx.codes.OK:
                    return
                assert response.status_code == httpx.codes.SERVICE_UNAVAILABLE, response.text
            assert time.monotonic() < deadline, self.log_text()
            time.sleep(0.02)

    def admin(self, path: str) -> httpx.Response:
        return self._client.get(f"http://127.0.0.1:{self._ports['admin_port']}{path}")

    def metric(self, name: str) -> float:
        """Returns a sample by its name and labels as they are written; 0 where there is none."""
        for line in self.admin("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def wait_for_metric(self, name: str, value: float) -> None:
        deadline = time.monotonic() + START_SECONDS
        while (found := self.metric(name)) != value:
            assert time.monotonic() < deadline, f"{name} is {found}, not {value}"
            time.sleep(0.05)
