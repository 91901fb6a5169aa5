"""Runs the provider simulator as a process and uses its control API."""

import base64
import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from tests.blackbox.process import Process, free_ports, python_environment, python_module
from tests.blackbox.waiting import eventually


@dataclass(frozen=True, slots=True)
class Received:
    """A request as the upstream got it; header names in lower case, credentials as sha256:<hex>."""

    number: int
    connection: int
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    body_sha256: str
    model: str
    outcome: str
    events_sent: int
    bytes_sent: int

    def header(self, name: str) -> str | None:
        """Returns the value of a header that may appear at most once."""
        values = self.all_of(name)
        assert len(values) <= 1, f"{name} appears {len(values)} times: {values}"
        return values[0] if values else None

    def all_of(self, name: str) -> list[str]:
        """Returns every value of a header."""
        return [value for key, value in self.headers if key == name]

    def json(self) -> Any:
        """Returns the body as JSON."""
        return orjson.loads(self.body)


class Upstream:
    """A running simulator. behave() changes fields; reset() restores the start."""

    def __init__(self, log: Path, *arguments: str, scheme: str = "http") -> None:
        self.port, self.control_port = free_ports(2)
        self.url = f"{scheme}://127.0.0.1:{self.port}/v1"
        self.process = Process(
            python_module(
                "tests.simulator",
                *("--host", "127.0.0.1", "--control-host", "127.0.0.1"),
                *("--port", str(self.port), "--control-port", str(self.control_port)),
                *("--seed", "1", "--recorded-requests", "2000"),
                *arguments,
            ),
            environment=python_environment(),
            log=log,
        )

    def wait_ready(self) -> None:
        """Waits until both ports are open."""
        eventually(
            lambda: (self.process.output(), self.process.exit_code),
            lambda seen: '"ready"' in seen[0] or seen[1] is not None,
            what="the simulator's start",
        )
        assert self.process.exit_code is None, self.process.output()

    def behave(self, **fields: Any) -> None:
        """Changes these fields of the behaviour."""
        self._control("PUT", "/behaviour", fields)

    def reset(self) -> None:
        """Makes the provider healthy, with nothing recorded and nothing held."""
        self._control("POST", "/reset")

    def release(self) -> int:
        """Releases held answers and returns how many there were."""
        released: int = self._control("POST", "/release")["released"]
        return released

    def stats(self) -> dict[str, Any]:
        """Returns the counts since the reset."""
        stats: dict[str, Any] = self._control("GET", "/stats")
        return stats

    def calls(self) -> int:
        """Returns how many calls arrived; requests to /v1/models do not count."""
        by_endpoint: dict[str, int] = self.stats()["by_endpoint"]
        return sum(count for endpoint, count in by_endpoint.items() if endpoint)

    def received(self) -> list[Received]:
        """Returns the recorded calls, oldest first."""
        found = self._control("GET", "/requests")
        return [_received(entry) for entry in found if entry["endpoint"]]

    def only_request(self) -> Received:
        """Returns the call that arrived; asserts that there was one."""
        received = self.received()
        assert len(received) == 1, f"{len(received)} calls arrived: {received}"
        return received[0]

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.control_port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


def _received(entry: dict[str, Any]) -> Received:
    return Received(
        number=entry["number"],
        connection=entry["connection"],
        target=entry["target"],
        headers=tuple((name.lower(), value) for name, value in entry["headers"]),
        body=base64.b64decode(entry["body_base64"]),
        body_sha256=entry["body_sha256"],
        model=entry["model"],
        outcome=entry["outcome"],
        events_sent=entry["events_sent"],
        bytes_sent=entry["bytes_sent"],
    )
