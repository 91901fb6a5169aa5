"""Messages between supervisor and workers: JSON, each after its length, over a socket pair.

to a worker    document {digest, payload}   metrics {id}   keys {id}   tripped {tenant_uid, route, fingerprint}   drain {}
               provider_probe {id, provider, stream}
               serve {name, certificate, key}   preflight_duty {on, passed: [tenant_uid, route, token]}
               money {away, rows}   money_back {slot, starts_at}   lease {id, body}
               tool_verdict {id, call, verdict: [finding, [status, text, seconds] or null, call_id, wait_seconds]}
               kept_call {by, what, call, said}
to supervisor  listening {name}   in_force {digest, generation}   metrics {id, report}   tripped {tenant_uid, route, fingerprint}
               refused {digest, message}   keys {id, missing}   provider_probe {id, probe}
               breakers {open: [tenant_uid, route, fingerprint, failed_probes]}
               quota_use {rows: [provider, level]}
               preflights {digest, rows: [tenant_uid, route, token, state, reason, message]}
               money_short {least}   money_returned {slot, starts_at, allowance}   lease {id, status, body}
               tool_claim {id, claim}   tool_ended {id, call, how, answer}   tool_left {id}
               kept_call {to, what, call, said}
"""

import asyncio
import contextlib
import os
import struct
from collections.abc import Callable
from typing import Any, Final, cast

import orjson

_LENGTH: Final = struct.Struct(">I")
_READ_BYTES: Final = 64 * 1024

Message = dict[str, Any]


class WorkerChannel(asyncio.Protocol):
    """One end. `received` gets each message, `lost` is called once when the other end is gone."""

    def __init__(self, received: Callable[[Message], None], lost: Callable[[], None]) -> None:
        self._received = received
        self._lost = lost
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, not a subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            self._received(orjson.loads(message))

    def take_rest(self) -> None:
        """Takes in at once what the other end had sent before it was gone."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        descriptor = transport.get_extra_info("socket").fileno()
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while data := os.read(descriptor, _READ_BYTES):
                self.data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._lost()

    def send(self, kind: str, **fields: Any) -> None:
        """Sends a message; it is lost if the other end is."""
        if self._transport is not None and not self._transport.is_closing():
            data = orjson.dumps({"kind": kind, **fields})
            self._transport.write(_LENGTH.pack(len(data)) + data)

    def close(self) -> None:
        """Closes this end."""
        if self._transport is not None:
            self._transport.close()
