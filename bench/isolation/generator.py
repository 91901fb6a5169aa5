"""Open-loop load: every call is sent at its planned time, whatever happened to earlier calls.

Run as a process of its own: `python -m bench.isolation.generator PLAN.json`. Latency counts from the planned time, so a
stall is seen by every call it touches (no coordinated omission). One thread, epoll, no event loop between a call's time
and its first byte.
"""

import gc
import re
import select
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import Final

import orjson
from bench.isolation import places, rows
from bench.isolation.alarm import NANOSECONDS, Alarm
from bench.isolation.schedule import Call, Load, Round, light_calls, neighbour_calls

MOST_CONNECTIONS: Final = 3000
"""With more calls under way a call is not sent and counts as dropped."""
GRACE_SECONDS: Final = 8.0
"""Time to wait for answers after the last call."""
RETRYABLE: Final = frozenset({429, 503})
PROMPT: Final = "What a neighbour does must not be felt here. " * 20
"""Padding for a request of about 1 KB."""

_PROVIDER_TIMES: Final = re.compile(rb'"system_fingerprint":"(\d+) (\d+)"')
_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY_AFTER: Final = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Plan:
    """A generator's plan; start_at is on the monotonic clock.

    Retries follow Retry-After, as the official SDKs do; a neighbour that is flooding does not bother.
    """

    port: int
    key: str
    light: bool
    load: Load
    rounds: tuple[Round, ...]
    start_at: float
    seed: int
    retries: int
    rows_path: str
    cpu: int

    def save(self, path: Path) -> None:
        path.write_bytes(orjson.dumps(asdict(self)))

    @classmethod
    def load_from(cls, path: Path) -> "Plan":
        fields = orjson.loads(path.read_bytes())
        fields["load"] = Load(**fields["load"])
        fields["rounds"] = tuple(Round(**each) for each in fields["rounds"])
        return cls(**fields)

    def calls(self) -> list[Call]:
        """Returns the calls in order of time."""
        planned = list(self.rounds)
        return list(
            (light_calls if self.light else neighbour_calls)(planned, self.load, seed=self.seed)
        )


class Attempt:
    """A call and its progress."""

    __slots__ = ("answers", "call", "intended_at", "sent_at")

    def __init__(self, call: Call, intended_at: float) -> None:
        self.call = call
        self.intended_at = intended_at
        self.sent_at = 0.0
        self.answers = 0


class Connection:
    """A keep-alive connection with at most one call under way."""

    __slots__ = ("attempt", "received", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=2.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.attempt: Attempt | None = None
        self.received = b""


class Generator:
    """Sends a plan and keeps a row of every call."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._alarm = Alarm()
        self._epoll = select.epoll()
        self._epoll.register(self._alarm.fileno(), select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._idle: list[Connection] = []
        self._retries: list[tuple[float, int, Attempt]] = []
        self._head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: relay\r\nauthorization: Bearer {plan.key}\r\n"
            "content-type: application/json\r\ncontent-length: "
        ).encode()
        self.rows: list[rows.Row] = []
        self.dropped = 0

    def run(self) -> None:
        """Runs the plan and returns when every call has its row."""
        calls = self._plan.calls()
        calls.reverse()
        # when a neighbour stops, its calls under way are aborted
        stops = [] if self._plan.light else [each.end for each in self._plan.rounds if each.beside]
        stops.reverse()
        end = self._plan.rounds[-1].end + GRACE_SECONDS
        while calls or self._busy() or stops:
            now = time.monotonic() - self._plan.start_at
            if now > end:
                break
            due = [queue[-1].at for queue in (calls,) if queue]
            due += stops[-1:] + [at for at, _, _ in self._retries[:1]] + [end]
            self._wait(self._plan.start_at + min(due))
            now = time.monotonic() - self._plan.start_at
            while stops and stops[-1] <= now:
                stops.pop()
                self._cut_off()
            while calls and calls[-1].at <= now:
                call = calls.pop()
                self._send(Attempt(call, self._plan.start_at + call.at))
            while self._retries and self._retries[0][0] <= now:
                self._send(heappop(self._retries)[2])
        self._cut_off()

    def _busy(self) -> bool:
        return bool(self._retries) or len(self._idle) < len(self._connections)

    def _wait(self, until: float) -> None:
        self._alarm.set(int(until * NANOSECONDS))
        for descriptor, _ in self._epoll.poll():
            if descriptor == self._alarm.fileno():
                self._alarm.acknowledge()
            else:
                self._receive(self._connections[descriptor])

    def _send(self, attempt: Attempt) -> None:
        connection = self._connection()
        if connection is None:
            self.dropped += 1
            self._keep(attempt, time.monotonic(), status=0)
            return
        body = orjson.dumps(
            {
                "model": places.MODEL,
                "messages": [{"role": "user", "content": PROMPT}],
                "max_tokens": 16,
                "user": f"s{attempt.call.provider_seconds:.6f}",
            }
        )
        connection.attempt = attempt
        connection.received = b""
        now = time.monotonic()
        if not attempt.answers:
            attempt.sent_at = now
        try:
            connection.socket.send(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        except OSError:
            self._lost(connection)

    def _connection(self) -> Connection | None:
        if self._idle:
            return self._idle.pop()
        if len(self._connections) >= MOST_CONNECTIONS:
            return None
        connection = Connection(self._plan.port)
        self._connections[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket.fileno(), select.EPOLLIN)
        return connection

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._lost(connection)
            return
        connection.received += data
        answer = connection.received
        head_end = answer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _CONTENT_LENGTH.search(answer, 0, head_end + 2)
        assert length is not None, answer[:head_end]
        if len(answer) >= head_end + 4 + int(length[1]):
            self._answered(connection, answer, head_end)

    def _answered(self, connection: Connection, answer: bytes, head_end: int) -> None:
        now = time.monotonic()
        attempt, connection.attempt = connection.attempt, None
        assert attempt is not None, answer
        attempt.answers += 1
        status = int(answer[9:12])
        if b"\r\nconnection: close" in answer[:head_end].lower():
            self._close(connection)
        else:
            self._idle.append(connection)
        if status in RETRYABLE and attempt.answers <= self._plan.retries:
            told = _RETRY_AFTER.search(answer, 0, head_end + 2)
            at = now - self._plan.start_at + (int(told[1]) if told else 1.0)
            heappush(self._retries, (at, id(attempt), attempt))
            return
        self._keep(attempt, now, status=status, body=answer[head_end:])

    def _lost(self, connection: Connection) -> None:
        attempt, connection.attempt = connection.attempt, None
        if attempt is None:
            self._idle.remove(connection)
        else:
            self._keep(attempt, time.monotonic(), status=0)
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        del self._connections[connection.socket.fileno()]
        connection.socket.close()

    def _cut_off(self) -> None:
        for connection in list(self._connections.values()):
            if connection.attempt is not None:
                self._lost(connection)

    def _keep(self, attempt: Attempt, now: float, *, status: int, body: bytes = b"") -> None:
        times = _PROVIDER_TIMES.search(body)
        provider_seconds = (int(times[2]) - int(times[1])) / NANOSECONDS if times else 0.0
        self.rows.append(
            rows.Row(
                attempt.intended_at,
                attempt.sent_at,
                now,
                provider_seconds,
                status,
                attempt.answers,
                attempt.call.round,
            )
        )


def main(arguments: Iterable[str]) -> int:
    """Runs a plan."""
    (path,) = arguments
    plan = Plan.load_from(Path(path))
    places.pin(0, plan.cpu, places.CLOCK if plan.light else places.LOAD)
    generator = Generator(plan)
    # a garbage collection would delay calls; nothing here makes cycles
    gc.disable()
    generator.run()
    rows.write(Path(plan.rows_path), generator.rows)
    sys.stdout.write(orjson.dumps({"dropped": generator.dropped}).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
