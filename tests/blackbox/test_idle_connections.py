"""Idle connections to a provider: given up before the provider does, and a call that crosses their close is sent again.

Only where the provider's system certainly has nothing of it: what it may have taken is never sent twice.
"""

import contextlib
import ctypes
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.blackbox.authority import Authority
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.scripted import CHAT_ANSWER, ScriptedProvider, play, scripted, unary
from tests.blackbox.tenant import Platform, provider, route, side
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Answer

SO_ATTACH_FILTER = 26
GOOD = unary(CHAT_ANSWER)
SIZES = {"small": 10, "joined": 15_000, "large": 100_000, "huge": 3_000_000}


def serve(relay: Relay, platform: Platform, url: str, **fields: object) -> None:
    """Sends the relay's calls to the provider, one with the TLS of the suite if it has an https URL."""
    relay.push(platform.document(providers=[provider("stable", url, **fields)]))


# -- how long an idle connection is kept ---------------------------------------------------------------------------------


def test_a_connection_is_not_used_after_the_providers_time(
    cold_relay: Relay, platform: Platform
) -> None:
    with scripted(ScriptedProvider([GOOD])) as there:
        serve(cold_relay, platform, there.url, keep_alive_seconds=0.3)
        assert cold_relay.chat().status == 200
        time.sleep(0.6)
        assert cold_relay.chat().status == 200
        assert there.connections == 2
        eventually(lambda: there.closed, lambda closed: closed == 2, what="the last to be closed")


def test_a_connection_is_used_again_within_the_providers_time(
    cold_relay: Relay, platform: Platform
) -> None:
    with scripted(ScriptedProvider([GOOD])) as there:
        serve(cold_relay, platform, there.url, keep_alive_seconds=600)
        assert [cold_relay.chat().status for _ in range(5)] == [200] * 5
        assert there.connections == 1


def test_a_provider_without_keep_alive_gets_a_connection_for_each_call(
    new_relay: NewRelay, platform: Platform
) -> None:
    relay = new_relay(upstream_warm_connections="3")
    with scripted(ScriptedProvider([GOOD])) as there:
        serve(relay, platform, there.url, keep_alive_seconds=0)
        assert [relay.chat().status for _ in range(5)] == [200] * 5
        assert there.connections == 5
        eventually(lambda: there.closed, lambda closed: closed == 5, what="all to be closed")


@pytest.mark.parametrize(
    "says",
    [b"timeout=1", b"timeout=1, max=100", b'max=100, Timeout="1"', b"timeout = 1", b"timeout=0"],
)
def test_a_provider_that_says_its_time_is_obeyed(
    cold_relay: Relay, platform: Platform, says: bytes
) -> None:
    answer = unary(CHAT_ANSWER, fields=b"Keep-Alive: " + says + b"\r\n")
    with scripted(ScriptedProvider([answer])) as there:
        serve(cold_relay, platform, there.url)
        assert cold_relay.chat().status == 200
        time.sleep(0.7)
        assert cold_relay.chat().status == 200
        assert there.connections == 2


@pytest.mark.parametrize(
    "says", [b"timeout=60", b"max=1", b"timeout=", b"timeout=soon", b"timeout=-1", b"idletimeout=0"]
)
def test_a_provider_that_says_no_short_time_keeps_its_connection(
    cold_relay: Relay, platform: Platform, says: bytes
) -> None:
    answer = unary(CHAT_ANSWER, fields=b"Keep-Alive: " + says + b"\r\n")
    with scripted(ScriptedProvider([answer])) as there:
        serve(cold_relay, platform, there.url)
        assert cold_relay.chat().status == 200
        time.sleep(0.7)
        assert cold_relay.chat().status == 200
        assert there.connections == 1


# -- calls that cross the close ------------------------------------------------------------------------------------------


def goes_deaf(connection: socket.socket) -> None:
    """Makes this side's kernel drop whatever comes, unacknowledged, as if it were still on its way."""
    everything = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("@HP", 1, ctypes.addressof(everything))
    connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def in_flight(port: int, to: int) -> int:
    """Returns how many bytes the socket at the one port has sent to the other that nobody has acknowledged."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        ports = (int(local.rpartition(":")[2], 16), int(remote.rpartition(":")[2], 16))
        if ports == (port, to):
            return int(queues.partition(":")[0], 16)
    return 0


@dataclass(slots=True)
class Crossing(ScriptedProvider):
    """Ends its first connection while the second request on it is under way, and answers on the others.

    takes_bytes of that request arrive before, all of it with None. `how` ends the connection.
    """

    context: ssl.SSLContext | None = None
    takes_bytes: int | None = 0
    how: Callable[[socket.socket], None] = socket.socket.close
    ready: threading.Event = field(default_factory=threading.Event)
    peer_port: int = 0

    def serve(self, connection: socket.socket) -> None:
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True)
        if self.connections:
            ScriptedProvider.serve(self, connection)
            return
        self.connections += 1
        found = self._request(connection, b"")
        assert found is not None
        self.heads.append(found[0])
        play(self.answers[0], connection)
        self.peer_port = connection.getpeername()[1]
        if self.takes_bytes == 0:
            self._drop_a_request(connection)
        elif self.takes_bytes is None:
            self.ready.set()
            self._request(connection, b"")
        else:
            self.ready.set()
            connection.recv(self.takes_bytes)
            goes_deaf(connection)
        self.how(connection)
        connection.close()

    def _drop_a_request(self, connection: socket.socket) -> None:
        eventually(
            lambda: in_flight(self.port, to=self.peer_port), (0).__eq__, what="the answer's way"
        )
        goes_deaf(connection)
        self.ready.set()
        eventually(lambda: in_flight(self.peer_port, to=self.port), what="the request's way")


def says_goodbye(connection: socket.socket) -> None:
    """Ends TLS by its own message, and waits for no answer."""
    assert isinstance(connection, ssl.SSLSocket)
    connection.setblocking(False)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.unwrap()


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half_closes(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    time.sleep(0.2)


@contextlib.contextmanager
def crossing(
    relay: Relay, platform: Platform, there: Crossing, url: str = "", **fields: object
) -> Iterator[Callable[..., Answer]]:
    """Gives a function that makes the call which crosses the close."""
    with scripted(there):
        scheme = "https://localhost" if there.context is not None else "http://127.0.0.1"
        providers = [
            provider("stable", f"{scheme}:{there.port}/v1", **fields),
            *([provider("backup", url)] if url else []),
        ]
        fallback = (side("backup"),) if url else ()
        relay.push(platform.document(providers=providers, routes=[route(fallback=fallback)]))
        assert relay.chat().status == 200
        assert there.ready.wait(10)

        def cross(text: str, *, request_id: str = "crossing") -> Answer:
            messages = [{"role": "user", "content": text}]
            return relay.chat(messages=messages, headers={"x-request-id": request_id})

        yield cross


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Creates an authority."""
    return Authority()


@pytest.fixture(scope="module")
def context(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Returns a provider's TLS, for localhost."""
    directory = tmp_path_factory.mktemp("provider")
    authority.issue(directory)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    return made


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("how", [socket.socket.close, half_closes], ids=["close", "half-close"])
def test_a_call_that_crosses_an_idle_close_is_sent_on_another_connection(
    cold_relay: Relay, platform: Platform, how: Callable[[socket.socket], None], size: int
) -> None:
    there = Crossing([GOOD], how=how)
    with crossing(cold_relay, platform, there) as cross:
        assert cross("x" * size).status == 200
        assert len(there.heads) == 2
        # the second's own, and a warm one that the pool may have opened just then
        assert there.connections in (2, 3)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("how", [socket.socket.close, says_goodbye], ids=["close", "notify"])
def test_a_call_that_crosses_an_idle_close_inside_tls_is_sent_on_another_connection(
    cold_relay: Relay,
    platform: Platform,
    authority: Authority,
    context: ssl.SSLContext,
    how: Callable[[socket.socket], None],
    size: int,
) -> None:
    there = Crossing([GOOD], how=how, context=context)
    with crossing(cold_relay, platform, there, ca_bundle=authority.pem) as cross:
        assert cross("x" * size).status == 200
        assert len(there.heads) == 2
        # the second's own, and a warm one that the pool may have opened just then
        assert there.connections in (2, 3)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    ("takes", "how", "size"),
    [
        (None, socket.socket.close, 10),
        (None, resets, 10),
        (None, socket.socket.close, 100_000),
        (1, socket.socket.close, 100_000),
        (1, half_closes, 3_000_000),
        # a reset may come from a side that has the request and only did not acknowledge it yet
        (0, resets, 10),
        (0, resets, 100_000),
    ],
)
def test_a_call_that_the_provider_may_have_is_never_sent_again(
    cold_relay: Relay,
    platform: Platform,
    authority: Authority,
    context: ssl.SSLContext,
    backup: Upstream,
    takes: int | None,
    how: Callable[[socket.socket], None],
    size: int,
    tls: bool,
) -> None:
    there = Crossing([GOOD], how=how, takes_bytes=takes, context=context if tls else None)
    trust = {"ca_bundle": authority.pem} if tls else {}
    with crossing(cold_relay, platform, there, backup.url, **trust) as cross:
        answer = cross("x" * size)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_truncated")
        assert (there.connections, len(there.heads), backup.calls()) == (1, 1, 0)


def test_a_call_that_crossed_is_one_attempt_and_one_usage_line(
    cold_relay: Relay, platform: Platform
) -> None:
    with crossing(cold_relay, platform, Crossing([GOOD])) as cross:
        crossed, last = f"crossed-{time.monotonic_ns()}", f"last-{time.monotonic_ns()}"
        assert cross("hello", request_id=crossed).status == 200
        assert cross("hello", request_id=last).status == 200
        log = eventually(cold_relay.output, lambda text: last in text, what="the last usage line")
        (line,) = [line for line in log.splitlines() if crossed in line]
        assert '"outcome":"ok"' in line


def test_a_call_that_crosses_the_close_and_meets_a_closed_port_goes_to_the_fallback(
    cold_relay: Relay, platform: Platform, backup: Upstream
) -> None:
    there = Crossing([GOOD])
    with crossing(cold_relay, platform, there, backup.url) as cross:
        there.stop_listening()
        assert cross("hello").status == 200
        assert backup.calls() == 1


# -- times of a provider -------------------------------------------------------------------------------------------------


def test_a_providers_own_first_byte_timeout_ends_a_call(
    patient_relay: Relay, platform: Platform, stable: Upstream
) -> None:
    stable.behave(fault="no_answer")
    serve(patient_relay, platform, stable.url, first_byte_timeout_seconds=1)
    answer = patient_relay.chat()
    assert (answer.status, answer.error()["code"]) == (504, "upstream_timeout")


def test_a_provider_that_thinks_for_long_may_have_more_time_than_others(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    # the relay's own patience is a second
    stable.behave(latency_ms=2500)
    serve(relay, platform, stable.url, first_byte_timeout_seconds=30)
    assert relay.chat().status == 200


def test_a_providers_own_idle_timeout_ends_a_stream(
    patient_relay: Relay, platform: Platform, stable: Upstream
) -> None:
    stable.behave(hold_after_events=2)
    serve(patient_relay, platform, stable.url, idle_timeout_seconds=1)
    answer = patient_relay.chat(stream=True)
    assert b"upstream_timeout" in answer.body.rpartition(b"data: ")[2]


def test_a_provider_that_pauses_inside_a_stream_may_have_more_time_than_others(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    stable.behave(token_interval_ms=2500, completion_tokens=2)
    serve(relay, platform, stable.url, first_byte_timeout_seconds=30, idle_timeout_seconds=30)
    answer = relay.chat(stream=True)
    assert answer.body.endswith(b"data: [DONE]\n\n")
