"""The relay's hot path over transports in memory: bytes in, bytes out, no sockets and no waiting."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.relay.documents import API_KEY

from relay.accounting.logs import WorkerLog
from relay.accounting.slo_counters import SideCounters
from relay.accounting.tool_call_event import ToolCallEvent
from relay.accounting.usage_event import UsageEvent
from relay.admission.admission import Admission
from relay.calls.call_service import CallService
from relay.calls.tenants.tenant_runtime import TenantRuntime
from relay.http.connection_pool import Pool
from relay.http.downstream import ClientConnection
from relay.http.outbox import Outbox
from relay.http.upstream import UpstreamConnection
from relay.routing.snapshot import compile_snapshot
from relay.settings import Settings
from relay_contract.document import Document
from relay_contract.log_lines.repeated_lines import RepeatedLines


class MemoryTransport(asyncio.Transport):
    """Keeps what is written; the test plays the peer."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = self.aborted = self.paused = False

    def write(self, data: "bytes | bytearray | memoryview[int]") -> None:
        self.sent += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0

    def taken(self) -> bytes:
        """What was written since the last call."""
        sent, self.sent = self.sent, b""
        return sent


class KeptLog(WorkerLog):
    """The worker's log without its pipe: lines and usage events stay readable."""

    def __init__(self) -> None:
        self.events: list[UsageEvent] = []
        self.tool_calls: list[ToolCallEvent] = []
        self.lines: list[tuple[str, Mapping[str, Any]]] = []
        self.dropped = 0
        self._level = 0
        self._repeated = RepeatedLines(self._keep)

    def record(self, event: UsageEvent) -> None:
        self.events.append(event)

    def record_tool_call(self, event: ToolCallEvent, *, tenant: str, tenant_uid: str) -> None:
        self.tool_calls.append(event)

    def event(self, level: str, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    def _keep(self, _: str, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((event, fields))


class Peer:
    """One side of the relay as the test plays it."""

    def __init__(self, protocol: ClientConnection | UpstreamConnection, outbox: Outbox) -> None:
        self._outbox = outbox
        self.transport = MemoryTransport()
        self.protocol = protocol
        protocol.connection_made(self.transport)

    def send(self, data: bytes) -> bytes:
        """The relay reads the data; what it answers at once."""
        self.protocol.data_received(data)
        self._outbox.flush()
        return self.transport.taken()

    def hang_up(self, error: Exception | None = None) -> None:
        self.transport.closed = True
        self.protocol.connection_lost(error)
        self._outbox.flush()


class MemoryRelay:
    """A service with a document in force, its clients and its providers' connections."""

    def __init__(self, document: Document | None, directory: Path, **settings: Any) -> None:
        self.log = KeptLog()
        self.settings = Settings(
            tenant_uid="uid-1",
            document_public_keys="",
            upstream_keys_directory=directory,
            **settings,
        )
        self.service = CallService(self.settings, self.log)
        if document is not None:
            self.install(document)

    def install(self, document: Document) -> None:
        self.service.install(compile_snapshot(document, f"digest-{document.generation}"))

    @property
    def tenant(self) -> TenantRuntime:
        """The one tenant that is served."""
        (tenant,) = self.service.tenants.all()
        return tenant

    @property
    def admission(self) -> Admission:
        return self.tenant.admission

    def side(self, label: str, fingerprint: str, *, route: str = "chat") -> SideCounters:
        """The SLO counters of one side."""
        return self.tenant.recorder.slo.side(route, label, fingerprint)

    def pool(self, name: str = "legacy") -> Pool:
        """The provider's connections under the document in force."""
        return self.service.providers.pool(self.tenant.snapshot.upstreams[name].origin)

    def client(self) -> Peer:
        return Peer(ClientConnection(self.service.connections), self.service.outbox)

    def provider(self, name: str = "legacy") -> Peer:
        """An idle connection of the relay to this provider."""
        return self._idle(self.pool(name))

    def tool_server(self, name: str) -> Peer:
        """An idle connection of the relay to this tool server."""
        tools = self.tenant.snapshot.tools
        assert tools is not None
        return self._idle(self.service.providers.pool(tools.upstreams[name].origin))

    def _idle(self, pool: Pool) -> Peer:
        connection = UpstreamConnection(pool)
        peer = Peer(connection, self.service.outbox)
        pool.adopt(connection)
        return peer


def call(
    body: Mapping[str, Any] | bytes | None = None,
    *,
    path: str = "/v1/chat/completions",
    key: str | None = API_KEY,
    headers: str = "",
) -> bytes:
    """A POST with this JSON body."""
    if body is None:
        body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: relay\r\n{authorization}{headers}"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def get(path: str, *, method: str = "GET", headers: str = "", key: str | None = API_KEY) -> bytes:
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    return f"{method} {path} HTTP/1.1\r\nHost: relay\r\n{authorization}{headers}\r\n".encode()


COMPLETION: Mapping[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
}


def reply(
    body: Mapping[str, Any] | bytes = COMPLETION,
    *,
    status: str = "200 OK",
    headers: str = "content-type: application/json\r\n",
) -> bytes:
    """A provider's whole answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\n{headers}content-length: {len(data)}\r\n\r\n"
    return head.encode() + data


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


CONTENT = event({"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]})
USAGE = event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}})
DONE = b"data: [DONE]\n\n"


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def fields(answer: bytes) -> dict[str, str]:
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    pairs = (line.partition(": ") for line in head.split("\r\n")[1:])
    return {name.lower(): value for name, _, value in pairs}


def error(answer: bytes) -> Mapping[str, Any]:
    """The error object of an answer with a content length."""
    return dict(json.loads(answer.partition(b"\r\n\r\n")[2])["error"])


def dechunked(body: bytes) -> bytes:
    """A chunked body put together; what is left over after the last chunk is not looked at."""
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return whole
        whole, body = whole + rest[:length], rest[length + 2 :]
    return whole
