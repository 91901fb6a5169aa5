"""Starts a relay process between raw sockets and simulated providers.

Three providers live as long as the session, a relay as long as some of its tests; every test starts with healthy, empty
providers and gives the relay a document of its own. Tests that change the process itself (signals, settings, restarts) take `new_relay`.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from tests.blackbox.forked_relays import ForkedRelay
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.shared_relays import LOOK_SECONDS, SharedRelay
from tests.blackbox.tenant import Platform, Signer
from tests.blackbox.tool_calls import FINANCE, MARKETING, SECRET, TOOLS, document
from tests.blackbox.tool_server import ToolServer, serving
from tests.blackbox.upstream import Upstream

from relay_contract.document import Document

TEST_TIMEOUT_SECONDS = 60
UPSTREAM_SECRETS = {
    "stable": "sk-upstream-stable-secret",
    "canary": "sk-upstream-canary-secret",
    "backup": "sk-upstream-backup-secret",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Limits every test's time, so that a hanging relay fails its test and not the run."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_SECONDS))


@pytest.fixture(scope="session")
def _upstreams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Upstream]]:
    logs = tmp_path_factory.mktemp("upstreams")
    started = {name: Upstream(logs / f"{name}.log") for name in UPSTREAM_SECRETS}
    try:
        for upstream in started.values():
            upstream.wait_ready()
        yield started
    finally:
        for upstream in started.values():
            upstream.process.kill()


@pytest.fixture
def upstreams(_upstreams: dict[str, Upstream]) -> dict[str, Upstream]:
    """Resets the providers stable, canary and backup: healthy, with nothing recorded."""
    for upstream in _upstreams.values():
        upstream.reset()
    return _upstreams


@pytest.fixture
def stable(upstreams: dict[str, Upstream]) -> Upstream:
    """Returns the provider of the stable side."""
    return upstreams["stable"]


@pytest.fixture
def canary(upstreams: dict[str, Upstream]) -> Upstream:
    """Returns the provider of the canary side."""
    return upstreams["canary"]


@pytest.fixture
def backup(upstreams: dict[str, Upstream]) -> Upstream:
    """Returns the provider of fallbacks."""
    return upstreams["backup"]


@pytest.fixture(scope="session")
def signer() -> Signer:
    """Signs documents as the operator does."""
    return Signer()


@pytest.fixture
def platform(signer: Signer, upstreams: dict[str, Upstream]) -> Platform:
    """Composes documents of this session's tenant."""
    return Platform(signer, _urls(upstreams))


@pytest.fixture(scope="session")
def _shared_relay(
    tmp_path_factory: pytest.TempPathFactory, signer: Signer, _upstreams: dict[str, Upstream]
) -> Iterator[SharedRelay]:
    with _shared(
        tmp_path_factory.mktemp("relay"),
        signer,
        _upstreams,
        first_byte_timeout_seconds="1",
        upstream_idle_timeout_seconds="1",
        connect_timeout_seconds="1",
    ) as shared:
        yield shared


@pytest.fixture(scope="session")
def _shared_patient_relay(
    tmp_path_factory: pytest.TempPathFactory, signer: Signer, _upstreams: dict[str, Upstream]
) -> Iterator[SharedRelay]:
    with _shared(tmp_path_factory.mktemp("patient-relay"), signer, _upstreams) as shared:
        yield shared


@pytest.fixture(scope="session")
def _shared_cold_relay(
    tmp_path_factory: pytest.TempPathFactory, signer: Signer, _upstreams: dict[str, Upstream]
) -> Iterator[SharedRelay]:
    directory = tmp_path_factory.mktemp("cold-relay")
    with _shared(directory, signer, _upstreams, upstream_warm_connections="0") as shared:
        yield shared


@contextlib.contextmanager
def _shared(
    directory: Path, signer: Signer, upstreams: dict[str, Upstream], **settings: str
) -> Iterator[SharedRelay]:
    def start(number: int) -> Relay:
        relay = Relay(
            directory / str(number), signer, document_poll_seconds=str(LOOK_SECONDS), **settings
        )
        try:
            _give_keys(relay)
            relay.write_document(Platform(signer, _urls(upstreams)).document())
            relay.wait_ready()
        except BaseException:  # an interrupted session must leave no relay either
            relay.process.kill()
            raise
        return relay

    shared = SharedRelay(start)
    try:
        yield shared
    finally:
        shared.end()


@pytest.fixture
def relay(_shared_relay: SharedRelay, platform: Platform) -> Relay:
    """Gives the shared relay a plain document: every model to stable, no limits, a wide queue.

    It times out on a silent provider after one second, so that tests of stalls are short.
    """
    return _fresh(_shared_relay, platform)


@pytest.fixture
def patient_relay(_shared_patient_relay: SharedRelay, platform: Platform) -> Relay:
    """Like relay, with the default timeouts, for tests that hold back a provider's answers."""
    return _fresh(_shared_patient_relay, platform)


@pytest.fixture
def cold_relay(_shared_cold_relay: SharedRelay, platform: Platform) -> Relay:
    """Like patient_relay, without connections opened in advance: each one belongs to a call."""
    return _fresh(_shared_cold_relay, platform)


def _fresh(shared: SharedRelay, platform: Platform) -> Relay:
    relay = shared.for_a_test()
    _give_keys(relay)
    relay.push(platform.document())
    return relay


@pytest.fixture
def new_relay(tmp_path: Path, signer: Signer, platform: Platform) -> Iterator[NewRelay]:
    """Starts relays of the test's own; see NewRelay and ForkedRelay."""
    with _starting(ForkedRelay, tmp_path, signer, platform) as start:
        yield start


@pytest.fixture
def new_unforked_relay(tmp_path: Path, signer: Signer, platform: Platform) -> Iterator[NewRelay]:
    """Starts relays of the test's own that share no memory with another process, for tests that measure it."""
    with _starting(Relay, tmp_path, signer, platform) as start:
        yield start


@contextlib.contextmanager
def _starting(
    kind: type[Relay], directory: Path, signer: Signer, platform: Platform
) -> Iterator[NewRelay]:
    started: list[Relay] = []

    def start(*, document: Document | Literal["plain"] | None = "plain", **settings: str) -> Relay:
        relay = kind(directory / f"relay-{len(started)}", signer, **settings)
        started.append(relay)
        _give_keys(relay)
        if document is not None:
            plain = platform.document() if document == "plain" else document
            relay.write_document(plain)
            relay.wait_ready()
        return relay

    yield start
    for relay in started:
        relay.process.kill()
        shutil.rmtree(relay.directory, ignore_errors=True)


def _give_keys(relay: Relay) -> None:
    for name, secret in UPSTREAM_SECRETS.items():
        relay.give_key(name, secret)


def _urls(upstreams: dict[str, Upstream]) -> dict[str, str]:
    return {name: upstream.url for name, upstream in upstreams.items()}


@pytest.fixture
def erp() -> Iterator[ToolServer]:
    """Starts a tool server with five tools."""
    with serving(ToolServer(tools=[*TOOLS])) as server:
        yield server


@pytest.fixture
def finance(relay: Relay, platform: Platform, erp: ToolServer) -> Relay:
    """Gives the shared relay three of the five tools."""
    relay.give_key("tools-erp", SECRET)
    relay.push(document(platform, erp, FINANCE))
    return relay


@pytest.fixture
def tenants(new_relay: NewRelay, platform: Platform, erp: ToolServer) -> tuple[Relay, Relay]:
    """Starts the relays of two tenants with other tools of one server."""
    relays = new_relay(), new_relay()
    for relay, granted in zip(relays, (FINANCE, MARKETING), strict=True):
        relay.give_key("tools-erp", SECRET)
        relay.push(document(platform, erp, granted))
    return relays
