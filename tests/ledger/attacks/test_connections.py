"""Clients that are slow, or many, do not keep records of others out."""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.ledger.conftest import Books
from tests.ledger.ledger_process import LedgerProcess, lines, token_of
from tests.ledger.serving.forked_ledger import ForkedLedger
from tests.unit.relay_contract.billing.records import closed

from relay_contract.billing.delivery import ATTEMPTS_PATH
from relay_ledger.ingest.listening.connections import HEAD_SECONDS

MANY = 300
PER_ADDRESS = 40
MOST = 100


@pytest.fixture
def bounded(books: Books, address: str, tmp_path: Path) -> Iterator[LedgerProcess]:
    """Serves with few places."""
    process = ForkedLedger(
        address, tmp_path, max_connections=MOST, connections_per_address=PER_ADDRESS
    )
    try:
        process.start()
        yield process
    finally:
        process.end()


@contextlib.contextmanager
def opened(
    serving: LedgerProcess, sources: list[str], head: bytes
) -> Iterator[list[socket.socket]]:
    """Opens a connection from each of these addresses, and sends the beginning of a head."""
    with contextlib.ExitStack() as stack:
        made = []
        for source in sources:
            one = stack.enter_context(
                socket.create_connection(
                    ("127.0.0.1", serving.ingest_port), source_address=(source, 0)
                )
            )
            with contextlib.suppress(OSError):
                one.sendall(head)
            made.append(one)
        yield made


def deliver(serving: LedgerProcess, source: str) -> httpx.Response:
    """Delivers an attempt from this address."""
    with httpx.Client(
        transport=httpx.HTTPTransport(local_address=source), timeout=5, trust_env=False
    ) as client:
        return client.post(
            f"http://127.0.0.1:{serving.ingest_port}{ATTEMPTS_PATH}",
            headers={"Authorization": f"Bearer {token_of('uid-a')}"},
            content=lines([closed(dispatched_at=time.time_ns() // 1000)]),
        )


def is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_thousands_of_connections_of_one_address_keep_no_other_out(bounded: LedgerProcess) -> None:
    with opened(bounded, ["127.0.0.1"] * MANY, b"POST "):
        refused = 'relay_ledger_connections_ended_total{reason="address"}'
        bounded.wait_for_metric(refused, MANY - PER_ADDRESS)
        answer = deliver(bounded, "127.0.0.2")
        assert (answer.status_code, answer.json()["booked"]) == (httpx.codes.OK, 1)
    assert deliver(bounded, "127.0.0.1").status_code == httpx.codes.OK


def test_who_waits_keeps_no_other_of_its_own_address_out(bounded: LedgerProcess) -> None:
    with opened(bounded, ["127.0.0.1"] * PER_ADDRESS, b"POST "):
        answer = deliver(bounded, "127.0.0.1")
        assert (answer.status_code, answer.json()["booked"]) == (httpx.codes.OK, 1)
        bounded.wait_for_metric('relay_ledger_connections_ended_total{reason="address"}', 1)


def test_as_many_files_are_open_as_the_machine_lets(
    books: Books, address: str, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    process = LedgerProcess(address, tmp_path)
    # what it starts with is of this process
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        process.start()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with opened(process, ["127.0.0.1"] * 200, b""):
            assert deliver(process, "127.0.0.2").status_code == httpx.codes.OK
            ended = 'relay_ledger_connections_ended_total{reason="full"}'
            assert process.metric(ended) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        process.end()


def test_where_all_places_are_taken_who_waits_makes_room(bounded: LedgerProcess) -> None:
    sources = [f"127.0.1.{number % 10 + 1}" for number in range(MOST)]
    with opened(bounded, sources, b"POST "):
        assert deliver(bounded, "127.0.0.2").status_code == httpx.codes.OK
        bounded.wait_for_metric('relay_ledger_connections_ended_total{reason="full"}', 1)


def test_a_head_that_comes_byte_by_byte_is_given_up(bounded: LedgerProcess) -> None:
    started = time.monotonic()
    with opened(bounded, ["127.0.0.1"], b"POST ") as [slow]:
        slow.settimeout(0.5)
        while time.monotonic() - started < 3 * HEAD_SECONDS:
            try:
                slow.sendall(b"x")
                if is_ended(slow):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        waited = time.monotonic() - started
    assert HEAD_SECONDS <= waited < 2 * HEAD_SECONDS
    bounded.wait_for_metric('relay_ledger_connections_ended_total{reason="slow_head"}', 1)


def test_a_second_slow_head_on_a_connection_is_given_up_as_well(bounded: LedgerProcess) -> None:
    whole = (
        f"POST {ATTEMPTS_PATH} HTTP/1.1\r\nHost: ledger\r\nContent-Length: 0\r\n"
        f"Authorization: Bearer {token_of('uid-a')}\r\n\r\n"
    )
    with opened(bounded, ["127.0.0.1"], whole.encode()) as [slow]:
        slow.settimeout(3 * HEAD_SECONDS)
        assert slow.recv(4096).startswith(b"HTTP/1.1 200")
        slow.sendall(b"POST ")
        started = time.monotonic()
        assert is_ended(slow)
        assert time.monotonic() - started < 2 * HEAD_SECONDS


def test_a_connection_whose_body_was_answered_early_is_kept(bounded: LedgerProcess) -> None:
    body = b"x" * 4096
    whole = f"POST {ATTEMPTS_PATH} HTTP/1.1\r\nHost: ledger\r\nContent-Length: {len(body)}\r\n\r\n"
    with opened(bounded, ["127.0.0.1"], whole.encode()) as [one]:
        one.settimeout(3 * HEAD_SECONDS)
        assert one.recv(4096).startswith(b"HTTP/1.1 401")
        one.sendall(body)
        # a head that began with that body would have lasted too long by now
        time.sleep(HEAD_SECONDS + 2)
        one.sendall(whole.encode())
        assert one.recv(4096).startswith(b"HTTP/1.1 401")
