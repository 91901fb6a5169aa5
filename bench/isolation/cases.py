"""The situations in which a neighbour could have an effect, each with a control in which it must.

(a) Two keys of one tenant share a relay; the provider serves no more calls at a time than the tenant has seats.
    Control: the queue is off, and calls wait in the provider's own line.
(b) Two tenants, each with its own relay, share a provider's quota, divided by the document.
    Control: the quota is not divided, and the first calls use it up.
(c) Two keys of one tenant share a relay as the image has it; the neighbour sends large and odd bodies.
    Control: the relay runs on its sources, where bodies are read in Python.
"""

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson
from bench.isolation import places
from bench.isolation.provider import Capacity
from bench.isolation.schedule import Load
from tests.blackbox import compiled
from tests.blackbox.process import Process, free_ports, python_environment, python_module
from tests.blackbox.relays import Relay
from tests.blackbox.tenant import Signer, api_key, provider, route

from relay_contract.document import Document, ProviderAuth, ProviderLimits, Queue

LIGHT_KEY: Final = "sk-relay-finance-light-1f0c"
NEIGHBOUR_KEY: Final = "sk-relay-finance-neighbour-9d2e"
SEATS: Final = 60
LIGHT: Final = Load(calls_per_second=100.0, mean_seconds=0.1)
"""Work for ten seats: a third of what half of the seats can serve."""
FLOOD: Final = Load(calls_per_second=1000.0, mean_seconds=0.1)
"""The neighbour at ten times the light flow's load: work for a hundred seats on what is left of sixty."""

QUOTA_PER_SECOND: Final = 240.0
"""The provider's quota; the neighbour alone asks for four times as much."""
SLICE_PER_MINUTE: Final = int(QUOTA_PER_SECOND * 60 / 2)
BURST_SECONDS: Final = 10.0
QUOTA_BURST: Final = QUOTA_PER_SECOND * BURST_SECONDS * 1.05
"""Both parts' bursts together; the rest is for calls that were admitted separately and arrive together."""

WIDE: Final = Queue(concurrency=100_000, max_depth=100_000, max_wait_seconds=60)


@dataclass(frozen=True, slots=True)
class Case:
    """A case. control switches off the protection that the case is about.

    bodies: the neighbour sends large and odd bodies in place of a flood; compiled: the relay is that of the image.
    """

    name: str
    control: bool
    capacity: Capacity
    dedicated: bool
    queue: Queue
    limits: ProviderLimits
    bodies: bool = False
    compiled: bool = False


SHARED_QUEUE: Final = Queue(concurrency=SEATS, max_depth=256, max_wait_seconds=10)
DIVIDED: Final = ProviderLimits(requests_per_minute=SLICE_PER_MINUTE)
QUOTA: Final = Capacity(calls_per_second=QUOTA_PER_SECOND, burst_calls=QUOTA_BURST)

TWO_KEYS: Final = Case(
    "two keys, one relay", False, Capacity(slots=SEATS), False, SHARED_QUEUE, ProviderLimits()
)
TWO_KEYS_NO_QUEUE: Final = Case(
    "two keys, queue off", True, Capacity(slots=SEATS), False, WIDE, ProviderLimits()
)
TWO_TENANTS: Final = Case("two tenants, quota divided", False, QUOTA, True, SHARED_QUEUE, DIVIDED)
TWO_TENANTS_UNDIVIDED: Final = Case(
    "two tenants, quota not divided", True, QUOTA, True, WIDE, ProviderLimits()
)
LARGE_BODIES: Final = Case(
    *("two keys, odd bodies", False, Capacity(slots=SEATS), False, SHARED_QUEUE, ProviderLimits()),
    bodies=True,
    compiled=True,
)
LARGE_BODIES_IN_PYTHON: Final = Case(
    *("two keys, odd bodies read in Python", True, Capacity(slots=SEATS), False),
    *(SHARED_QUEUE, ProviderLimits()),
    bodies=True,
)


@dataclass(frozen=True, slots=True)
class Setting:
    """A running case: where each of the two flows sends its calls."""

    light_port: int
    neighbour_port: int


@contextmanager
def running(case: Case, directory: Path) -> Iterator[Setting]:
    """Runs the provider and the relays of a case, each on its core, and ends them afterwards."""
    with ExitStack() as stack:
        for cpu in (places.RELAY_CPU, places.OTHER_CPU):
            _start_watch(stack, cpu, watch_path(directory, cpu))
        provider_port = _start_provider(stack, case.capacity, directory / "provider.log")
        relays = [
            _start_relay(stack, case, provider_port, directory / f"relay-{number}")
            for number in range(2 if case.dedicated else 1)
        ]
        yield Setting(relays[0].port, relays[-1].port)


def watch_path(directory: Path, cpu: int) -> Path:
    """Returns the path of the stalls of that core once the case is over."""
    return directory / f"stalls-{cpu}"


def _start_watch(stack: ExitStack, cpu: int, path: Path) -> None:
    process = Process(
        python_module("bench.isolation.watch", str(cpu), str(path)),
        environment=python_environment(),
        log=path.with_suffix(".log"),
    )
    stack.callback(process.kill)
    stack.callback(process.wait)
    stack.callback(process.send_signal, signal.SIGTERM)


def _start_provider(stack: ExitStack, capacity: Capacity, log: Path) -> int:
    (port,) = free_ports(1)
    process = Process(
        python_module(
            "bench.isolation.provider", str(port), orjson.dumps(asdict(capacity)).decode()
        ),
        environment=python_environment(),
        log=log,
    )
    stack.callback(process.kill)
    return port


def _start_relay(stack: ExitStack, case: Case, provider_port: int, directory: Path) -> Relay:
    signer = Signer()
    with _relay_command(case):
        relay = Relay(directory, signer, document_poll_seconds="1")
    stack.callback(relay.process.kill)
    relay.write_document(_document(case, provider_port, signer))
    relay.wait_ready()
    for pid in relay.process.members():
        places.pin(pid, places.RELAY_CPU, places.MEASURED)
    return relay


@contextmanager
def _relay_command(case: Case) -> Iterator[None]:
    """Makes relays that are started meanwhile the compiled ones, if the case says so."""
    if case.compiled:
        command = ["env", f"PYTHONPATH={compiled.package()}", sys.executable, "-m", "relay"]
        os.environ["RELAY_BLACKBOX_COMMAND"] = shlex.join(command)
    try:
        yield
    finally:
        os.environ.pop("RELAY_BLACKBOX_COMMAND", None)


def _document(case: Case, provider_port: int, signer: Signer) -> Document:
    upstream = provider(
        "shared",
        f"http://127.0.0.1:{provider_port}/v1",
        auth=ProviderAuth(key_file=None),
        limits=case.limits,
    )
    return signer.document(
        providers=[upstream],
        routes=[route("shared")],
        keys=(api_key("light", LIGHT_KEY), api_key("neighbour", NEIGHBOUR_KEY)),
        queue=case.queue,
    )
