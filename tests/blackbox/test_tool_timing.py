"""What is denied and what does not exist take the same time."""

import time
from collections.abc import Callable

import pytest
from tests.blackbox.paired_times import MOST_DEVIATIONS, slower_by
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.tool_calls import FINANCE, MCP, SECRET, document
from tests.blackbox.tool_server import ToolServer
from tests.blackbox.wire import Wire, request_bytes
from tests.unit.relay.tools.protocol import raw

PAIRS = 1000
CONTROL_PAIRS = 300
SEEN_ARGUMENT_BYTES = 128 * 1024
"""Of a call that the control has to find slower: the relay decodes them in some milliseconds."""


def call_of(name: str, argument_bytes: int = 0) -> bytes:
    """Returns the request that calls a tool."""
    body = raw("tools/call", name=name, arguments={"n": "x" * argument_bytes})
    fields = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": name,
    }
    return request_bytes("POST", MCP, fields, body)


def deviations(
    relay: Relay, one: Callable[[int], bytes], other: Callable[[int], bytes], *, pairs: int = PAIRS
) -> float:
    """Returns by how many standard deviations the one is the slower of a pair more often than the other."""
    with Wire(relay.port) as wire:

        def seconds(request: bytes) -> float:
            started = time.perf_counter()
            wire.send(request)
            answer = wire.answer()
            taken = time.perf_counter() - started
            assert answer.json()["error"]["code"] == -32602, answer
            return taken

        return slower_by(
            lambda number: seconds(one(number)), lambda number: seconds(other(number)), pairs=pairs
        )


@pytest.mark.timeout(240)
def test_denied_and_unknown_tools_take_the_same_time(
    new_relay: NewRelay, platform: Platform, erp: ToolServer
) -> None:
    # a relay whose connections live as long as the test
    relay = new_relay(connection_age_seconds="3600")
    relay.give_key("tools-erp", SECRET)
    relay.push(document(platform, erp, FINANCE))
    denied = ("pay", "list_secrets")
    unknown = ("yap", "list_tercess")

    def of(names: tuple[str, ...]) -> Callable[[int], bytes]:
        return lambda number: call_of(names[number % len(names)])

    assert abs(deviations(relay, of(denied), of(unknown))) < MOST_DEVIATIONS
    # the control: a difference is seen
    larger = call_of("yap", SEEN_ARGUMENT_BYTES)
    control = deviations(relay, lambda _: larger, of(("pay",)), pairs=CONTROL_PAIRS)
    assert control > MOST_DEVIATIONS
    assert erp.requests == []
