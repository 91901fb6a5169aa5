"""Operators as processes on a real API server, from the sources: each with a name, a port and a time of day of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.blackbox.process import free_ports, python_environment
from tests.cluster.session.clients import Client
from tests.contract.api_requests import requests_of
from tests.growing_files import whole_text

from relay_contract import endpoints
from relay_operator import names

Seen = TypeVar("Seen")

SECONDS: Final = 60.0
"""Seconds are usual; a busy machine takes its time."""
_LOOK_SECONDS: Final = 0.1
_PROGRAM: Final = """
import socket, sys, time
name, clock = sys.argv[1:]
del sys.argv[1:]
now = time.time

def ahead():
    with open(clock) as file:
        return float(file.read())

# a name of its own in the Lease, as a pod has one, and a host whose clock can be set
socket.gethostname = lambda: name
time.time = lambda: now() + ahead()
from relay_operator.main import main
main()
"""


@dataclass(slots=True)
class Operator:
    """One process. clock is the file that says by how many seconds its time of day is ahead of this machine's."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    clock: Path
    port: int

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        """Waits for its end; returns its exit code."""
        return self.process.wait(SECONDS)

    def is_killed(self) -> None:
        """Kills it, also where it is stopped, and waits for its end."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.ends()

    def set_clock(self, ahead_seconds: float) -> None:
        """Sets its time of day to so many seconds ahead of this machine's."""
        _write(self.clock, str(ahead_seconds))

    def output(self) -> str:
        """Returns what it logged."""
        return whole_text(self.log)

    def is_ready(self) -> bool:
        """Tells whether its watches have shown everything."""
        return self.page(endpoints.READY_PATH) != ""

    def page(self, path: str) -> str:
        """Returns what its own port answers; empty where it is not open, or refuses."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=SECONDS) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""


@dataclass(slots=True)
class Operators:
    """The operators of one namespace, by name. settings are those of all, by name and without the prefix; after_all is called once
    none runs any more.
    """

    kubectl: Client
    namespace: str
    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    started: dict[str, Operator] = field(default_factory=dict)
    after_all: list[Callable[[], None]] = field(default_factory=list)

    def start(self, *, ahead_seconds: float = 0.0, **settings: str) -> Operator:
        """Starts another operator, with more settings."""
        name = f"operator-{len(self.started)}"
        log, clock = self.directory / f"{name}.log", self.directory / f"{name}.clock"
        _write(clock, str(ahead_seconds))
        [port] = free_ports(1)
        told = {"NAMESPACE": self.namespace, "PORT": str(port), "LOG_FORMAT": "text"}
        told |= {key.upper(): value for key, value in (self.settings | settings).items()}
        environment = {
            **os.environ,
            **python_environment(),
            "KUBECONFIG": str(self.kubectl.kubeconfig),
            **{f"OPERATOR_{key}": value for key, value in told.items()},
        }
        command = [sys.executable, "-c", _PROGRAM, name, str(clock)]
        with log.open("wb") as file:
            process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        started = self.started[name] = Operator(name, process, log, clock, port)
        return started

    def lease(self, shard: str = "") -> dict[str, Any]:
        """Reads the Lease's spec; empty where there is none."""
        found = self.read("lease", names.leader_lease(shard), self.namespace)
        return dict(found.get("spec", {}))

    def holder(self, shard: str = "") -> str:
        """Returns the name of the operator that holds the Lease."""
        return str(self.lease(shard).get("holderIdentity", "")).partition("_")[0]

    def leader(self, *, other_than: str = "", shard: str = "") -> Operator:
        """Waits for a leader."""
        name = self.until(
            "a leader", lambda: self.holder(shard), lambda seen: seen not in ("", other_than)
        )
        return self.started[name]

    def read(self, kind: str, name: str, space: str) -> dict[str, Any]:
        """Reads an object; empty where there is none."""
        answer = requests_of(self.kubectl).get(kind, name, space)
        return {} if answer.refusal else answer.body

    def until(self, what: str, look: Callable[[], Seen], good: Callable[[Seen], bool]) -> Seen:
        """Waits for something; tells the operators' logs where it does not come."""
        end = time.monotonic() + SECONDS
        while not good(seen := look()):
            if time.monotonic() > end:
                logs = "\n".join(one.output()[-3000:] for one in self.started.values())
                raise AssertionError(f"waited for {what}; last seen: {seen}\n{logs}")
            time.sleep(_LOOK_SECONDS)
        return seen


@contextlib.contextmanager
def operators(
    kubectl: Client, namespace: str, directory: Path, **settings: str
) -> Iterator[Operators]:
    """Returns a namespace without operators yet; those that are started are killed at the end."""
    made = Operators(kubectl, namespace, directory, settings)
    try:
        yield made
    finally:
        for one in made.started.values():
            one.is_killed()
        for clear in made.after_all:
            clear()


def _write(path: Path, text: str) -> None:
    """Writes a file that a process reads at any moment."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)
