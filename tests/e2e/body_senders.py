"""Runs inside the cluster, on the standard library alone: a neighbour's calls while large bodies of every kind arrive at once.

`python3 - serve` is a provider that reads and drops what it gets. `python3 - send HOST BODIES` prints one JSON line: how
the neighbour's calls and the bodies were answered, and the neighbour's latencies before and meanwhile.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Iterator

PORT = 8080
MIB = 1024 * 1024
BLOCK = 64 * 1024
ALONE_SECONDS = 8.0
EVERY_SECONDS = 0.05
CALL_SECONDS = 60.0
BODY_SECONDS = 100.0
ANSWER = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}'
)
BEGIN = b'{"model":"bulk","messages":[{"role":"user","content":"'
END = b'"}]}'

Text = tuple[bytes, bytes, int, bytes]
"""A beginning, what is repeated, how often, and an end."""


def repeated(begin: bytes, unit: bytes, size: int, end: bytes) -> Text:
    """Returns a text of about that size."""
    return begin, unit, (size - len(begin) - len(end)) // len(unit), end


KINDS: dict[str, Text] = {
    "empty objects": repeated(b'{"model":"bulk","x":[', b"{},", 30 * MIB, b"{}]}"),
    "one emoji": repeated(BEGIN + b"\xf0\x9f\x98\x80", b"a", 20 * MIB, END),
    "chunks of two bytes": repeated(BEGIN, b"a", 4 * MIB, END),
    "model twice": repeated(b'{"model":"bulk","x":"', b"a", 31 * MIB, b'","model":"bulk"}'),
    "nested": repeated(b'{"model":"bulk","x":' + b"[" * 500 + b'"', b"a", 30 * MIB, b'"' + b"]" * 500 + b"}"),
    "many lists": repeated(b'{"model":"bulk","x":[', b"[[[[]]]],", 30 * MIB, b"0]}"),
    "escapes": repeated(b'{"model":"bulk","x":"', b"\\u00e9\\n", 30 * MIB, b'"}'),
}  # fmt: skip


def blocks(text: Text) -> Iterator[bytes]:
    """Yields the text without holding more of it than a block."""
    begin, unit, count, end = text
    many = max(1, BLOCK // len(unit))
    yield begin
    for start in range(0, count, many):
        yield unit * min(many, count - start)
    yield end


def chunked(piece: bytes) -> bytes:
    """Returns the piece in chunks of two bytes."""
    even = len(piece) // 2 * 2
    chunks = b"".join(b"2\r\n%b\r\n" % piece[at : at + 2] for at in range(0, even, 2))
    return chunks + (b"1\r\n%b\r\n" % piece[even:] if piece[even:] else b"")


def request(kind: str, key: str) -> Iterator[bytes]:
    """Yields a request with a body of the kind."""
    text = KINDS[kind]
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: relay\r\nauthorization: Bearer {key}\r\n"
    if kind == "chunks of two bytes":
        yield f"{head}transfer-encoding: chunked\r\n\r\n".encode()
        yield from map(chunked, blocks(text))
        yield b"0\r\n\r\n"
        return
    size = len(text[0]) + len(text[1]) * text[2] + len(text[3])
    yield f"{head}content-length: {size}\r\n\r\n".encode()
    yield from blocks(text)


async def ask(host: str, pieces: Iterator[bytes], seconds: float) -> str:
    """Sends a request and returns the status of its answer, or how the connection ended instead.

    On a plain socket: who is refused while it still sends finds the answer there although it can send no more.
    """
    loop = asyncio.get_running_loop()
    received = b""
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(host, PORT, type=socket.SOCK_STREAM)
            family, kind, _, _, address = found[0]
            with socket.socket(family, kind) as connection:
                connection.setblocking(False)
                await loop.sock_connect(connection, address)
                sending = asyncio.ensure_future(_write(connection, pieces))
                try:
                    while b"\r\n" not in received:
                        data = await loop.sock_recv(connection, BLOCK)
                        if not data:
                            return "closed"
                        received += data
                finally:
                    sending.cancel()
                    await asyncio.wait([sending])
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    return received.split()[1].decode()


async def _write(connection: socket.socket, pieces: Iterator[bytes]) -> None:
    with contextlib.suppress(OSError):
        for piece in pieces:
            await asyncio.get_running_loop().sock_sendall(connection, piece)


def small(key: str) -> bytes:
    """Returns the neighbour's call."""
    body = b'{"model":"gpt-4.1","max_tokens":4,"messages":[{"role":"user","content":"hello"}]}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: relay\r\nconnection: close\r\nauthorization: Bearer {key}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Neighbour:
    """Calls on schedule, whether or not earlier calls were answered."""

    def __init__(self, host: str, key: str) -> None:
        self._host = host
        self._call = small(key)
        self._calls: set[asyncio.Task[None]] = set()
        self.statuses: Counter[str] = Counter()
        self.seconds: list[float] = []

    async def during(self, work: Awaitable[object]) -> dict[str, object]:
        """Calls until the work is done and every call is answered; returns what came of them."""
        self.statuses, self.seconds = Counter(), []
        working = asyncio.ensure_future(work)
        while not working.done() or not self.statuses:
            task = asyncio.create_task(self._one())
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            await asyncio.sleep(EVERY_SECONDS)
        while self._calls:
            await asyncio.wait(self._calls)
        return {"statuses": dict(self.statuses), **self._quantiles()}

    async def _one(self) -> None:
        start = time.monotonic()
        status = await ask(self._host, iter([self._call]), CALL_SECONDS)
        self.statuses[status] += 1
        self.seconds.append(time.monotonic() - start)

    def _quantiles(self) -> dict[str, float]:
        ordered = sorted(self.seconds)
        places = {"p50": 0.5, "p99": 0.99}
        return {name: round(1000 * ordered[int(place * (len(ordered) - 1))], 1) for name, place in places.items()}  # fmt: skip


class Bodies:
    """Sends the bodies from a process of its own, so that making them does not hold up the neighbour."""

    def __init__(self, host: str, bodies: int) -> None:
        self._result, result = os.pipe()
        go, self._go = os.pipe()
        if os.fork():
            os.close(result)
            return
        # the child: waits for its turn, and ends here
        os.read(go, 1)
        with open(result, "w") as pipe:
            json.dump(asyncio.run(self._all(host, bodies)), pipe)
        os._exit(0)

    def send(self) -> dict[str, dict[str, int]]:
        """Has the bodies sent; returns how those of each kind were answered."""
        os.write(self._go, b"!")
        with open(self._result) as pipe:
            answered: dict[str, dict[str, int]] = json.load(pipe)
        return answered

    @staticmethod
    async def _all(host: str, bodies: int) -> dict[str, Counter[str]]:
        key = os.environ["BULK_KEY"]
        kinds = [list(KINDS)[number % len(KINDS)] for number in range(bodies)]
        statuses = await asyncio.gather(
            *(ask(host, request(kind, key), BODY_SECONDS) for kind in kinds)
        )
        answered: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        for kind, status in zip(kinds, statuses, strict=True):
            answered[kind][status] += 1
        return answered


async def send(host: str, bodies: Bodies) -> None:
    """Plays both; prints the figures in milliseconds."""
    neighbour = Neighbour(host, os.environ["NEIGHBOUR_KEY"])
    before = await neighbour.during(asyncio.sleep(ALONE_SECONDS))
    sending = asyncio.ensure_future(asyncio.to_thread(bodies.send))
    during = await neighbour.during(sending)
    print(json.dumps({"before": before, "during": during, "bodies": sending.result()}))


async def serve() -> None:
    """Answers every call, after its body, without looking at it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                left = int(head.partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0] or 0)
                while left:
                    data = await reader.read(min(left, BLOCK))
                    if not data:
                        return
                    left -= len(data)
                fields = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                writer.write(fields % len(ANSWER) + ANSWER)
        writer.close()

    async with await asyncio.start_server(answer, port=PORT) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(
        serve()
        if sys.argv[1] == "serve"
        else send(sys.argv[2], Bodies(sys.argv[2], int(sys.argv[3])))
    )
