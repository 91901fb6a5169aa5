"""The provider of a fuzzer: plays the script that belongs to a call, and checks that the relay's requests are sound."""

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, cast

import h11
from tests.blackbox.fuzzing.plays import MARKER, PLACEHOLDER, Play, Script

REQUEST_ID: Final = re.compile(rb"\r\nx-request-id: ([^\r]*)\r\n")
HEAD_BYTES: Final = 256 * 1024
SILENCE_SECONDS: Final = 30.0
AHEAD_SECONDS: Final = 0.05
RECEIVE_BYTES: Final = 64 * 1024
SEGMENT_BYTES: Final = 1400
"""As on a network: the kernel sizes the buffers of a sender by its segments, which are 64 KiB on a loopback."""


@dataclass(slots=True)
class FuzzedProvider:
    """Listens on several ports, one per provider of the document. scripts: per play's marker, what its attempts get.

    seen counts the requests whose head has come, by the id that the relay gave them; played the calls that were answered to
    the end, by their marker; faults are the relay's.
    """

    secrets: tuple[str, ...]
    models: frozenset[str]
    seen: Counter[str] = field(default_factory=Counter)
    played: Counter[bytes] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _plays: dict[str, Play] = field(default_factory=dict)
    _attempts: Counter[str] = field(default_factory=Counter)
    _servers: list[asyncio.Server] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def listen(self) -> list[int]:
        """Starts to listen; returns the ports."""
        for secret in self.secrets:
            listener = socket.socket()
            # inherited by its connections: a large body waits at the relay as long as it is not read
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
            listener.bind(("127.0.0.1", 0))
            self._servers.append(
                await asyncio.start_server(self._server(secret), sock=listener, limit=HEAD_BYTES)
            )
        return [server.sockets[0].getsockname()[1] for server in self._servers]

    async def close(self) -> None:
        """Listens no more and ends what it plays."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)

    def prepare(self, plays: list[Play]) -> None:
        """Takes the scripts of these plays and forgets what was seen before."""
        self._plays = {play.marker: play for play in plays}
        self._attempts.clear()
        self.seen.clear()
        self.played.clear()
        self.faults.clear()

    def _server(self, secret: str) -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            # cancelled at the very end, which the server would take for a fault
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._answer(reader, writer, secret):
                    pass
            writer.close()

        return serve

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str
    ) -> bool:
        """Answers one request; returns whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = self._length(head, secret)
        request_id = REQUEST_ID.search(head)
        self.seen[request_id[1].decode() if request_id is not None else ""] += 1
        marker = MARKER.search(head)
        if marker is not None and "early" in self._script(marker[0]):
            return await self._play(self._take(marker[0]), marker[0], reader, writer)
        if marker is not None and "ahead" in self._script(marker[0]):
            return await self._play_ahead(marker[0], length, reader, writer)
        body = await reader.readexactly(length)
        self._check_body(body)
        marker = marker or MARKER.search(body)
        name = marker[0] if marker is not None else b"mk00000000-00"
        return await self._play(self._take(name), name, reader, writer)

    async def _play_ahead(
        self,
        marker: bytes,
        length: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answers before the body is read, and reads it later: nothing but the rest of it may come then."""
        transport = cast(asyncio.Transport, writer.transport)
        transport.pause_reading()
        goes_on = await self._play(self._take(marker), marker, reader, writer)
        await asyncio.sleep(AHEAD_SECONDS)
        transport.resume_reading()
        body = await reader.readexactly(length)
        if others := set(MARKER.findall(body)) - {marker}:
            self.faults.append(f"the relay sent a call of {others} inside the body of {marker!r}")
        return goes_on

    def _script(self, marker: bytes) -> Script:
        """Returns what the next attempt at this call gets."""
        play = self._plays.get(marker[:10].decode())
        if play is None:
            return (b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n",)
        return play.answers[min(self._attempts[play.marker], len(play.answers) - 1)]

    def _take(self, marker: bytes) -> Script:
        script = self._script(marker)
        self._attempts[marker[:10].decode()] += 1
        return script

    async def _play(
        self,
        script: Script,
        marker: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        for step in script:
            if isinstance(step, bytes):
                writer.write(step.replace(PLACEHOLDER, marker))
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif step == "silence":
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(), SILENCE_SECONDS)
                return False
            elif step == "half":
                writer.write_eof()
                await reader.read()
                return False
            elif step == "reset":
                reset(writer)
                return False
            elif step == "close":
                return False
        self.played[marker] += 1
        # an early answer to a body that is still to come: the connection cannot be used again
        return "early" not in script

    # -- what the relay sends --------------------------------------------------------------------------------------

    def _length(self, head: bytes, secret: str) -> int:
        """Checks the head as another implementation reads it; returns the length of the body."""
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        parser.receive_data(head)
        try:
            request = parser.next_event()
        except h11.RemoteProtocolError as error:
            self.faults.append(f"the relay sent a malformed request ({error}): {head!r}")
            return 0
        assert isinstance(request, h11.Request)
        fields = [(name, value) for name, value in request.headers]
        keys = [value for name, value in fields if name == b"authorization"]
        lengths = [
            value for name, value in fields if name in (b"content-length", b"transfer-encoding")
        ]
        if keys != [b"Bearer " + secret.encode()] or len(lengths) != 1:
            self.faults.append(f"the relay sent other keys or framing than its own: {head!r}")
        return int(lengths[0]) if lengths and lengths[0].isdigit() else 0

    def _check_body(self, body: bytes) -> None:
        """Checks that every reader finds the model that the relay has routed."""
        try:
            pairs = json.loads(body, object_pairs_hook=list)
        except (ValueError, RecursionError):
            # the relay does not validate what it passes on
            return
        models = (
            [value for name, value in pairs if name == "model"] if isinstance(pairs, list) else []
        )
        if not models or not all(
            isinstance(value, str) and value in self.models for value in models
        ):
            self.faults.append(f"the relay passed on a body with models {models!r}: {body[:300]!r}")


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection with a TCP reset."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
