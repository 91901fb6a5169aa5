"""A provider with limits: so many calls at a time, the others wait; so many a second, the others get 429.

Run as a process of its own: `python -m bench.isolation.provider PORT '{"slots": 60}'`. A call says in its body how long
the provider takes once it has begun ("user": "s0.125"); the answer says when it began and when it ended, so that all
else can be separated from the provider's own time.
"""

import gc
import re
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

import orjson
from bench.isolation import places
from bench.isolation.alarm import NANOSECONDS, Alarm

UNLIMITED: Final = 1_000_000

_SERVICE: Final = re.compile(rb'"user":"s([0-9.]+)"')
_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_REFUSAL: Final = (
    b'{"error":{"message":"Rate limit reached.","type":"requests","param":null,'
    b'"code":"rate_limit_exceeded"}}'
)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The provider's limits: slots calls at once, then first in first out; calls_per_second with burst_calls at once."""

    slots: int = UNLIMITED
    calls_per_second: float = UNLIMITED
    burst_calls: float = UNLIMITED


class Connection:
    """A relay's connection; at most one call at a time."""

    __slots__ = ("began_ns", "open", "received", "served", "service_ns", "socket")

    def __init__(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = accepted
        self.received = b""
        self.service_ns = 0
        self.began_ns = 0
        self.served = False
        self.open = True


class Provider:
    """Serves until killed."""

    def __init__(self, port: int, capacity: Capacity) -> None:
        self._capacity = capacity
        self._tokens = capacity.burst_calls
        self._refilled_at = time.monotonic()
        self._busy = 0
        self._waiting: deque[Connection] = deque()
        self._ends: list[tuple[int, int, Connection]] = []
        self._sequence = 0
        self._alarm = Alarm()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listener.setblocking(False)
        self._connections: dict[int, Connection] = {}
        self._epoll = select.epoll()
        for readable in (self._alarm, self._listener):
            self._epoll.register(readable.fileno(), select.EPOLLIN)

    def serve(self) -> None:
        while True:
            for descriptor, _ in self._epoll.poll():
                if descriptor == self._alarm.fileno():
                    self._alarm.acknowledge()
                elif descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor in self._connections:
                    self._receive(self._connections[descriptor])
            self._finish_due()
            self._begin_waiting()
            if self._ends:
                self._alarm.set(self._ends[0][0])

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except BlockingIOError:
            return
        self._connections[accepted.fileno()] = Connection(accepted)
        self._epoll.register(accepted.fileno(), select.EPOLLIN)

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.received += data
        call = connection.received
        head_end = call.find(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(call, 0, head_end + 2) if head_end >= 0 else None
        if length is None or len(call) < head_end + 4 + int(length[1]):
            return
        connection.received = b""
        if not self._within_rate():
            self._answer(connection, b"429 Too Many Requests\r\nretry-after: 1", _REFUSAL)
            return
        service = _SERVICE.search(call, head_end)
        connection.service_ns = int(float(service[1]) * NANOSECONDS) if service else 0
        self._waiting.append(connection)

    def _within_rate(self) -> bool:
        now = time.monotonic()
        refilled = (now - self._refilled_at) * self._capacity.calls_per_second
        self._refilled_at = now
        self._tokens = min(self._capacity.burst_calls, self._tokens + refilled)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _begin_waiting(self) -> None:
        while self._waiting and self._busy < self._capacity.slots:
            connection = self._waiting.popleft()
            if not connection.open:
                continue
            self._busy += 1
            connection.served = True
            connection.began_ns = time.monotonic_ns()
            self._sequence += 1
            ends = connection.began_ns + connection.service_ns
            heappush(self._ends, (ends, self._sequence, connection))

    def _finish_due(self) -> None:
        now = time.monotonic_ns()
        while self._ends and self._ends[0][0] <= now:
            connection = heappop(self._ends)[2]
            if connection.served:
                self._leave(connection)
                self._answer(connection, b"200 OK", _completion(connection.began_ns))

    def _leave(self, connection: Connection) -> None:
        if connection.served:
            connection.served = False
            self._busy -= 1

    def _answer(self, connection: Connection, status: bytes, body: bytes) -> None:
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        try:
            connection.socket.send(head % (status, len(body)) + body)
        except OSError:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        """Closes a connection; frees the slot of a call whose caller left."""
        connection.open = False
        self._leave(connection)
        self._connections.pop(connection.socket.fileno(), None)
        connection.socket.close()


def _completion(began_ns: int) -> bytes:
    return orjson.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1700000000,
            "model": places.MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Nothing was felt."},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 200, "completion_tokens": 16, "total_tokens": 216},
            "system_fingerprint": f"{began_ns} {time.monotonic_ns()}",
        }
    )


def main(arguments: Iterable[str]) -> int:
    """Serves on the port of 127.0.0.1 until killed."""
    port, capacity = arguments
    places.pin(0, places.OTHER_CPU, places.MEASURED)
    provider = Provider(int(port), Capacity(**orjson.loads(capacity)))
    gc.disable()
    provider.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
