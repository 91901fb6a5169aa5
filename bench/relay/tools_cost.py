"""Measures the CPU time that a tool manifest costs a chat call: the relay with one of 20 tools beside the same relay without.

A program of its own (`python -m bench.relay --tools`), since it runs on what is measured: the relay with its hot path compiled, over transports in
memory, as the unit tests have it. Bursts of both take turns and the shortest counts, so that other work of the machine takes no part in it.
"""

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
from tests.unit.relay.documents import document
from tests.unit.relay.memory import STREAM_HEAD, Peer, call, chunk, reply
from tests.unit.relay.tools.protocol import approved, tool

from relay.accounting.logs import WorkerLog
from relay.calls.call_service import CallService
from relay.http.downstream import ClientConnection
from relay.http.upstream import UpstreamConnection
from relay.routing.snapshot import compile_snapshot
from relay.settings import Settings
from relay_contract.document import Document
from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.tool_server import ToolServer

CALLS: Final = 100
"""Of a burst; a tenth of it of streams."""
BURSTS: Final = 20
PIECES: Final = 100
"""Of words or arguments, in a stream."""
NAMES: Final = tuple(f"look_up_part_{number}" for number in range(20))
_PARAMETERS: Final = {
    "type": "object",
    "properties": {
        name: {"type": "string", "description": "What to look for, as the catalogue has it."}
        for name in ("part", "supplier", "since", "until")
    },
}
TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Looks a part up in the catalogue and returns what is known of it. " * 3,
            "parameters": _PARAMETERS,
        },
    }
    for name in NAMES
]
"""As chat calls offer them."""
BODY: Final[Mapping[str, Any]] = {
    "model": "gpt-4.1",
    "messages": [{"role": "user", "content": "Which parts are late, and why? " * 25}],
}


def main() -> None:
    """Prints the least time of a call of each kind, in microseconds without a manifest, and the ratio with one."""
    gc.disable()
    asyncio.run(_measure())


async def _measure() -> None:
    found: list[str] = []
    with _relays() as (without, with_manifest):
        for name, request, answer in _kinds():
            bursts = [
                (_burst(without, request, answer), _burst(with_manifest, request, answer))
                for _ in range(BURSTS)
            ]
            free, held = (min(times) for times in zip(*bursts, strict=True))
            found.append(f"{name}_us={free:.1f} {name}_ratio={held / free:.3f}")
    sys.stdout.write(f"tools: {' '.join(found)}\n")


class _Relay:
    """A relay in memory; that of the unit tests keeps its log in a class that a compiled one cannot be extended by."""

    def __init__(self, document: Document, directory: Path) -> None:
        settings = Settings(
            tenant_uid="uid-1", document_public_keys="", upstream_keys_directory=directory
        )
        loop = asyncio.get_running_loop()
        log = WorkerLog(level="error", pod="bench", process="worker", usage=False, loop=loop)
        self.service = CallService(settings, log)
        self.service.install(compile_snapshot(document, "digest"))

    def client(self) -> Peer:
        """Returns a client on a connection of its own."""
        return Peer(ClientConnection(self.service.connections), self.service.outbox)

    def provider(self) -> Peer:
        """Returns the provider on an idle connection of the relay's."""
        (tenant,) = self.service.tenants.all()
        pool = self.service.providers.pool(tenant.snapshot.upstreams["legacy"].origin)
        connection = UpstreamConnection(pool)
        peer = Peer(connection, self.service.outbox)
        pool.adopt(connection)
        return peer


@contextmanager
def _relays() -> Iterator[tuple[_Relay, _Relay]]:
    grant = Grant(
        server="parts",
        tools=("look_up_*",),
        tool_definitions=approved(*(tool(name) for name in NAMES)),
    )
    granted = document(
        tools=Manifest(grants=(grant,)),
        tool_servers=(ToolServer(name="parts", url="http://parts.test/mcp"),),
    )
    with tempfile.TemporaryDirectory(prefix="bench-tools.") as name:
        yield _Relay(document(), Path(name)), _Relay(granted, Path(name))


def _kinds() -> Iterator[tuple[str, bytes, list[bytes]]]:
    """Returns a name, a request and the reads of its answer for each kind of call."""
    words = _completion({"role": "assistant", "content": "The parts of June are late. " * 20})
    called = {"id": "call_1", "type": "function", "function": _function('{"part":"7"}')}
    calling = _completion({"role": "assistant", "content": None, "tool_calls": [called]})
    offering = {**BODY, "tools": TOOLS}
    streamed = call({**offering, "stream": True})
    yield "plain", call(BODY), [words]
    yield "offering", call(offering), [words]
    yield "calling", call(offering), [calling]
    yield "words", streamed, _stream([{"content": "late "}] * PIECES)
    first = {"index": 0, "id": "call_1", "function": _function("")}
    rest = {"index": 0, "function": {"arguments": '"7'}}
    yield (
        "arguments",
        streamed,
        _stream([{"tool_calls": [one]} for one in (first, *[rest] * PIECES)]),
    )


def _function(arguments: str) -> dict[str, str]:
    return {"name": NAMES[3], "arguments": arguments}


def _completion(message: Mapping[str, Any]) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 900, "completion_tokens": 90, "total_tokens": 990}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4.1"}
    return reply(orjson.dumps({**answer, "choices": [choice], "usage": usage}))


def _stream(deltas: list[dict[str, Any]]) -> list[bytes]:
    events = [_event(delta, None) for delta in deltas] + [_event({}, "stop"), b"data: [DONE]\n\n"]
    return [STREAM_HEAD, *map(chunk, events), b"0\r\n\r\n"]


def _event(delta: Mapping[str, Any], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    shell = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1"}
    return b"data: " + orjson.dumps({**shell, "choices": [choice]}) + b"\n\n"


def _burst(relay: _Relay, request: bytes, answer: list[bytes]) -> float:
    """Makes calls on one connection; returns the microseconds of processor time that each took."""
    calls = CALLS if len(answer) == 1 else CALLS // 10
    client, upstream = relay.client(), relay.provider()
    started = time.process_time()
    for _ in range(calls):
        client.send(request)
        for read in answer:
            upstream.send(read)
        assert client.transport.taken().startswith(b"HTTP/1.1 200 ")
        upstream.transport.taken()
    took = time.process_time() - started
    client.hang_up()
    upstream.hang_up()
    return took / calls * 1e6


if __name__ == "__main__":
    main()
