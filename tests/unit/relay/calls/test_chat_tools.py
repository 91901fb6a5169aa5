"""Chat calls of a tenant with a manifest, through the whole relay in memory: what is not granted reaches neither side."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.relay.documents import BACKUP, CANARY, STABLE, provider
from tests.unit.relay.memory import (
    COMPLETION,
    CONTENT,
    DONE,
    STREAM_HEAD,
    MemoryRelay,
    Peer,
    call,
    chunk,
    dechunked,
    error,
    event,
    fields,
    reply,
    status,
)
from tests.unit.relay.tools.chat.granted import flat, function
from tests.unit.relay.tools.protocol import ERP, MAIL

from relay_contract.document import RetryOn, Route
from relay_contract.tools.manifest import Manifest, OnDenied
from relay_contract.tools.tool_server import ToolServer

Make = Callable[..., MemoryRelay]
BODY = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = BODY | {"stream": True, "stream_options": {"include_usage": True}}
RESPONSES = "/v1/responses"


def granting(relay_with: Make, on_denied: OnDenied = "Hide", **changes: Any) -> MemoryRelay:
    """A relay whose tenant has a manifest."""
    servers = tuple(
        ToolServer(name=name, url=f"http://{name}.test/mcp") for name in ("erp", "mail")
    )
    manifest = Manifest(grants=(ERP, MAIL), on_denied=on_denied)
    return relay_with(tools=manifest, tool_servers=servers, **changes)


@pytest.fixture
def granted(relay_with: Make) -> MemoryRelay:
    return granting(relay_with)


def sent(upstream: Peer) -> dict[str, Any]:
    """The body that the provider got."""
    body: dict[str, Any] = json.loads(upstream.transport.taken().partition(b"\r\n\r\n")[2])
    return body


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def calling(name: str, arguments: str = "{}") -> dict[str, Any]:
    """A completion that calls a tool."""
    called = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [called]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return {**COMPLETION, "choices": [choice]}


def call_event(name: str, arguments: str = "") -> bytes:
    called = {"index": 0, "id": "c", "function": {"name": name, "arguments": arguments}}
    return event({"choices": [{"index": 0, "delta": {"tool_calls": [called]}}]})


async def test_without_a_manifest_nothing_changes(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    body = BODY | {"tools": [function("pay"), {"type": "web_search"}], "tool_choice": "required"}
    client.send(call(body))
    assert sent(upstream) == body
    upstream.send(reply(calling("pay")))
    answer = client.transport.taken()
    assert json.loads(body_of(answer)) == calling("pay")
    assert "x-relay-hidden-tools" not in fields(answer)


async def test_hidden_tools_are_taken_out_and_told_in_a_header(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    tools = [function("pay"), function("read_invoice"), {"type": "mcp", "server_url": "https://x"}]
    client.send(call(BODY | {"tools": tools, "web_search_options": {}}))
    assert sent(upstream) == BODY | {"tools": [function("read_invoice")]}
    upstream.send(reply(calling("read_invoice")))
    answer = client.transport.taken()
    assert status(answer) == 200
    assert fields(answer)["x-relay-hidden-tools"] == "pay, mcp, web_search_options"
    assert json.loads(body_of(answer)) == calling("read_invoice")


async def test_the_header_stands_on_streams_and_on_errors_too(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(STREAMED | {"tools": [function("pay")]}))
    assert sent(upstream) == STREAMED
    upstream.send(STREAM_HEAD + chunk(CONTENT) + chunk(DONE) + b"0\r\n\r\n")
    answer = client.transport.taken()
    assert fields(answer)["x-relay-hidden-tools"] == "pay"
    assert dechunked(body_of(answer)) == CONTENT + DONE
    client.send(call(BODY | {"tools": [function("pay")]}))
    upstream.send(reply({"error": {"message": "no", "type": "x"}}, status="400 Bad Request"))
    assert fields(client.transport.taken())["x-relay-hidden-tools"] == "pay"
    client.send(call(BODY))
    upstream.send(reply(headers="x-relay-hidden-tools: said by the provider\r\n"))
    assert "x-relay-hidden-tools" not in fields(client.transport.taken())


async def test_many_hidden_tools_are_counted(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(BODY | {"tools": [function(f"t{number}") for number in range(20)]}))
    upstream.send(reply())
    told = fields(client.transport.taken())["x-relay-hidden-tools"]
    assert told.startswith("t0, t1, ")
    assert told.endswith("t15, and 4 more")


@pytest.mark.parametrize("path", ["/v1/chat/completions", RESPONSES])
async def test_refused_tools_are_400_and_no_provider_is_asked(relay_with: Make, path: str) -> None:
    relay = granting(relay_with, "Refuse")
    client, upstream = relay.client(), relay.provider()
    answer = client.send(call(BODY | {"tools": [flat("read_invoice"), flat("pay")]}, path=path))
    assert status(answer) == 400
    assert error(answer) == {
        "message": "`tools` asks for tools that this tenant may not use: pay.",
        "type": "invalid_request_error",
        "param": "tools",
        "code": "tool_not_permitted",
    }
    unknown = client.send(call(BODY | {"tools": [flat("read_invoice"), flat("zzz")]}, path=path))
    assert error(unknown)["message"] == error(answer)["message"].replace("pay", "zzz")
    assert upstream.transport.taken() == b""


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "pay"}}}, "tool_not_permitted"),
        ({"tools": [function("pay")], "tool_choice": "required"}, "tool_not_permitted"),
        ({"prompt": {"id": "pmpt_1"}}, "tool_not_permitted"),
        ({"input": [{"type": "additional_tools", "tools": [flat("pay")]}]}, "tool_not_permitted"),
        ({"extra_body": {"tools": [flat("pay")]}}, "tool_not_permitted"),
        ({"Tools": [function("pay")]}, "invalid_tools"),
        ({f"x{number}": 1 for number in range(128)}, "invalid_tools"),
    ],
)
async def test_what_cannot_be_taken_out_is_refused(
    granted: MemoryRelay, extra: dict[str, Any], code: str
) -> None:
    client, upstream = granted.client(), granted.provider()
    answer = client.send(call(BODY | extra))
    assert (status(answer), error(answer)["code"]) == (400, code)
    assert upstream.transport.taken() == b""


async def test_earlier_messages_of_tools_stay(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    called = calling("pay")["choices"][0]["message"]
    body = BODY | {"messages": [called, {"role": "tool", "tool_call_id": "c", "content": "x"}]}
    client.send(call(body))
    assert sent(upstream) == body


async def test_a_call_of_what_is_not_granted_is_refused_and_paid(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(BODY))
    upstream.send(reply(calling("pay", '{"amount": 5}')))
    answer = client.transport.taken()
    assert (status(answer), error(answer)["code"]) == (502, "tool_not_permitted")
    assert fields(answer)["x-should-retry"] == "false"
    assert b"amount" not in answer
    (booked,) = granted.log.events
    assert (booked.outcome, booked.charged_tokens) == ("invalid", 13)
    assert not upstream.transport.closed
    client.send(call(BODY))
    upstream.send(reply())
    assert status(client.transport.taken()) == 200


async def test_a_call_of_what_is_not_granted_is_made_nowhere_else(relay_with: Make) -> None:
    retrying = provider("legacy", retry_on=RetryOn(failures=("InvalidAnswer",)))
    relay = granting(
        relay_with,
        providers=(retrying, provider("backup")),
        routes=(Route(name="chat", stable=STABLE, fallback=(BACKUP,)),),
    )
    client, upstream, backup = relay.client(), relay.provider(), relay.provider("backup")
    client.send(call(BODY))
    upstream.send(reply(calling("pay")))
    assert status(client.transport.taken()) == 502
    assert backup.transport.taken() == b""


async def test_a_stream_that_calls_it_first_is_refused_as_a_whole(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(STREAMED))
    upstream.send(STREAM_HEAD + chunk(call_event("pay", "{")))
    answer = client.transport.taken()
    assert (status(answer), error(answer)["code"]) == (502, "tool_not_permitted")
    assert upstream.transport.closed
    assert granted.log.events[0].outcome == "invalid"


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_stream_ends_with_an_error_before_the_first_argument(
    granted: MemoryRelay, size: int
) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(STREAMED))
    upstream.send(STREAM_HEAD + chunk(CONTENT))
    events = call_event("read_invoice") + call_event("pay", "secret") + CONTENT + DONE
    for at in range(0, len(events), size):
        if not upstream.transport.closed:
            upstream.send(chunk(events[at : at + size]))
    assert upstream.transport.closed
    # CONTENT came alone; what follows may not come alone
    text = dechunked(body_of(client.transport.taken()))
    told = text.removeprefix(CONTENT + call_event("read_invoice")).strip()
    assert b"secret" not in text
    assert b'"pay"' not in text
    assert json.loads(told.removeprefix(b"data: "))["error"]["code"] == "tool_not_permitted"
    (booked,) = granted.log.events
    assert (booked.outcome, booked.estimated) == ("invalid", True)


async def test_a_response_ends_with_an_error_of_its_own_api(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(STREAMED | {"input": "hi"}, path=RESPONSES))
    words = {"type": "response.output_text.delta", "delta": "hi", "sequence_number": 3}
    upstream.send(STREAM_HEAD + chunk(event(words)))
    item = {"type": "web_search_call", "id": "w"}
    added = {"type": "response.output_item.added", "item": item, "sequence_number": 4}
    upstream.send(chunk(event(added)))
    text = dechunked(body_of(client.transport.taken())).removeprefix(event(words))
    assert text.startswith(b"event: error\ndata: ")
    told = json.loads(text.partition(b"data: ")[2])
    assert (told["type"], told["code"]) == ("error", "tool_not_permitted")


async def test_a_large_document_waits_until_it_is_whole(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    large = json.dumps({**COMPLETION, "x": "y" * 200_000}).encode()
    client.send(call(BODY))
    upstream.send(reply(large)[:150_000])
    assert client.transport.taken() == b""
    upstream.send(reply(large)[150_000:])
    answer = client.transport.taken()
    assert body_of(answer) == large
    calls = json.dumps({**calling("pay"), "x": "y" * 200_000}).encode()
    client.send(call(BODY))
    upstream.send(reply(calls)[:150_000])
    upstream.send(reply(calls)[150_000:])
    answer = client.transport.taken()
    assert (status(answer), b"yyy" in answer) == (502, False)


@pytest.mark.parametrize(
    "head",
    [
        "content-type: application/json\r\ncontent-encoding: gzip\r\n",
        "content-type: application/x-ndjson\r\n",
    ],
)
async def test_what_cannot_be_read_is_not_passed_on(granted: MemoryRelay, head: str) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(STREAMED))
    upstream.send(reply(b'{"tool_calls":[{"function":{"name":"pay"}}]}', headers=head))
    answer = client.transport.taken()
    assert (status(answer), b"pay" in answer) == (502, False)


@pytest.mark.parametrize("manifest", [True, False])
@pytest.mark.parametrize("path", ["/v1/chat/completions", RESPONSES])
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>The tool_calls of mcp are down for maintenance</body></html>",
        b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"pay"',
        b'["tool_calls"]',
        b'"tool"',
    ],
)
async def test_what_is_no_answer_has_the_same_error_with_a_manifest_as_without(
    relay_with: Make, manifest: bool, path: str, streamed: bool, body: bytes
) -> None:
    relay = granting(relay_with) if manifest else relay_with()
    client, upstream = relay.client(), relay.provider()
    client.send(call(BODY | {"input": "hi", "stream": streamed}, path=path))
    upstream.send(reply(body, headers="content-type: text/html\r\n"))
    answer = client.transport.taken()
    assert (status(answer), error(answer)["code"]) == (502, "upstream_invalid")
    assert b"pay" not in answer


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"<html>tool_calls</html>", "upstream_invalid"), (None, "tool_not_permitted")],
)
async def test_what_is_compressed_is_refused_for_what_it_is(
    granted: MemoryRelay, body: bytes | None, code: str
) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(BODY))
    content = json.dumps(COMPLETION).encode() if body is None else body
    head = "content-type: application/json\r\ncontent-encoding: gzip\r\n"
    upstream.send(reply(gzip.compress(content), headers=head))
    answer = client.transport.taken()
    assert (status(answer), error(answer)["code"]) == (502, code)


async def test_a_large_answer_that_only_says_tool_passes(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    large = json.dumps({**COMPLETION, "x": "mcp_call tool" * 100_000}).encode()
    client.send(call(BODY))
    upstream.send(reply(large))
    answer = client.transport.taken()
    assert (status(answer), body_of(answer) == large) == (200, True)


async def test_a_document_under_the_name_of_a_stream_is_no_way_around(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    client.send(call(BODY))
    upstream.send(reply(calling("pay"), headers="content-type: text/event-stream\r\n"))
    answer = client.transport.taken()
    assert (status(answer), b"pay" in answer) == (502, False)
    client.send(call(STREAMED))
    upstream.send(reply(calling("pay"), headers="content-type: text/event-stream\r\n"))
    answer = client.transport.taken()
    assert (status(answer), b"pay" in answer) == (502, False)


async def test_other_endpoints_answer_as_ever(granted: MemoryRelay) -> None:
    client, upstream = granted.client(), granted.provider()
    vectors = {"data": [{"embedding": [0.5], "index": 0}], "usage": {"prompt_tokens": 1}}
    client.send(call({"model": "gpt-4.1", "input": "tool"}, path="/v1/embeddings"))
    upstream.send(reply(vectors))
    assert json.loads(body_of(client.transport.taken())) == vectors


async def test_an_answer_whose_id_is_marked_is_marked_after_it_was_checked(
    relay_with: Make,
) -> None:
    routes = (Route(name="chat", stable=STABLE, canary=CANARY, canary_percent=100),)
    relay = granting(relay_with, routes=routes)
    client, upstream = relay.client(), relay.provider("holysheep")
    client.send(call({"model": "gpt-4.1", "input": "hi"}, path=RESPONSES))
    item = {"type": "function_call", "name": "read_invoice", "arguments": "{}"}
    upstream.send(reply({"id": "resp_1", "object": "response", "output": [item]}))
    answer = client.transport.taken()
    found = json.loads(dechunked(body_of(answer)))
    assert found["output"] == [item]
    assert found["id"] != "resp_1"
