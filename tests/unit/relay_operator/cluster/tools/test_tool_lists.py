"""Lists of tool servers, over real HTTP: of one that speaks the protocol, and of those that mean harm."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.unit.relay_operator.cluster.unix_server import serving

from relay_contract.tools.definitions import definition_digest, resource_digest
from relay_operator.cluster.tools import tool_lists
from relay_operator.cluster.tools.tool_lists import REVISION, Address, Listed, ToolLists
from relay_operator.decisions.tools.definitions import MOST_DEFINITIONS, MOST_RESOURCES
from relay_operator.errors import ToolServerUnusable
from relay_operator.manifests.environment import Upstream
from relay_operator.names import Reason

PUBLIC = Upstream(provider="erp", port=80)
SERVICE = Upstream(provider="erp", port=80, namespace="erp")
CANARY = "planted-words-of-a-server"
Answer = Callable[[dict[str, Any]], Any]


def tool(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "description": f"Does {name}.", "inputSchema": {}, **fields}


def result(body: dict[str, Any], **content: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": body["id"], "result": {"resultType": "complete", **content}}


def unknown(body: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": body["id"], "error": {"code": -32601, "message": CANARY}}


def pages(*listed: list[dict[str, Any]]) -> Answer:
    """Answers tools/list with these pages, and knows no prompts."""

    def answer(body: dict[str, Any]) -> Any:
        if body["method"] != "tools/list":
            return unknown(body)
        number = int(body["params"].get("cursor", 0))
        more = {"nextCursor": str(number + 1)} if number + 1 < len(listed) else {}
        return result(body, tools=listed[number], **more)

    return answer


@contextlib.asynccontextmanager
async def a_server(
    path: Path, handle: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> AsyncIterator[None]:
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", handle)
    async with serving(app, path):
        yield


async def read(
    tmp_path: Path,
    answer: Answer | None = None,
    *,
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None,
    seen: list[web.Request] | None = None,
    **fields: Any,
) -> Listed:
    async def by_answer(request: web.Request) -> web.StreamResponse:
        if seen is not None:
            seen.append(request)
        assert answer is not None
        return web.json_response(answer(await request.json()))

    address: dict[str, Any] = {
        "url": "http://erp.example.com/mcp",
        "upstream": SERVICE,
    } | fields
    async with a_server(tmp_path / "s", handle or by_answer):
        lists = ToolLists(connect=lambda _: aiohttp.UnixConnector(str(tmp_path / "s")), seconds=2.0)
        return await lists.read(Address(**address))


async def failure(tmp_path: Path, answer: Answer | None = None, **how: Any) -> ToolServerUnusable:
    with pytest.raises(ToolServerUnusable) as caught:
        await read(tmp_path, answer, **how)
    assert CANARY not in str(caught.value)
    return caught.value


async def test_all_pages_are_read_and_every_definition_has_the_digest_that_relays_compare(
    tmp_path: Path,
) -> None:
    seen: list[web.Request] = []
    entries = [tool("a", annotations={"x": 1.5}), tool("b"), tool("c", title="é")]
    found = await read(tmp_path, pages(entries[:2], entries[2:]), seen=seen)
    assert found.tools == {one["name"]: definition_digest(one) for one in entries}
    assert found.prompts == {}
    assert found.marks["tool", "a"].keys() == {"name", "description", "inputSchema", "annotations"}
    headers = seen[0].headers
    assert headers["mcp-protocol-version"] == REVISION
    assert (headers["mcp-method"], seen[0].path) == ("tools/list", "/mcp")


async def test_a_credential_goes_into_its_header_and_no_redirect_is_followed(
    tmp_path: Path,
) -> None:
    seen: list[str] = []

    async def redirects(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers["x-key"])
        raise web.HTTPTemporaryRedirect("/elsewhere")

    found = await failure(tmp_path, handle=redirects, header="X-Key", credential="k")
    assert (seen, found.reason) == (["k"], Reason.INVALID_ANSWER)


@pytest.mark.parametrize("begin", ["", "\ufeff"], ids=["bare", "with a mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_stream_may_have_any_line_ends_and_pieces(
    tmp_path: Path, begin: str, end: str, size: int
) -> None:
    async def streams(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        said = json.dumps(result(body, tools=[tool("a")], prompts=[]), indent=1).splitlines()
        lines = [
            "retry: 1",
            "",
            ": hi",
            "event: message",
            *(f"data: {line}" for line in said),
            "",
            "",
        ]
        text = (begin + end.join(lines)).encode()
        for at in range(0, len(text), size):
            await response.write(text[at : at + size])
        return response

    async with a_server(tmp_path / "s", streams):
        lists = ToolLists(connect=lambda _: aiohttp.UnixConnector(str(tmp_path / "s")))
        found = await lists.read(Address(url="http://erp/mcp", upstream=SERVICE))
    assert found.tools.keys() == {"a"}


async def test_an_answer_may_be_a_stream_that_stays_open(tmp_path: Path) -> None:
    async def streams(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
        answer = result(body, tools=[tool("a")], prompts=[])
        for message in (note, answer):
            text = f": hi\r\ndata: {json.dumps(message)}\r\n\r\n".encode()
            for piece in (text[:9], text[9:]):
                await response.write(piece)
        await asyncio.sleep(0.3)
        ended.append(True)
        return response

    ended: list[bool] = []
    async with a_server(tmp_path / "s", streams):
        lists = ToolLists(connect=lambda _: aiohttp.UnixConnector(str(tmp_path / "s")))
        found = await lists.read(Address(url="http://erp/mcp", upstream=SERVICE))
        assert ended == []
    assert found.tools.keys() == {"a"}


async def test_names_that_nothing_can_grant_are_left_out(tmp_path: Path) -> None:
    entries = [tool("a"), tool("b c"), tool("d*"), tool("e" * 200), {"name": 7}, "no tool"]
    found = await read(tmp_path, pages(entries))  # type: ignore[arg-type]
    assert (set(found.tools), found.skipped) == ({"a"}, 5)


class SessionServer:
    """Speaks a revision with sessions alone, and remembers those that are open and what came in them."""

    def __init__(self, revision: str, listed: list[dict[str, Any]]) -> None:
        self.revision = revision
        self.listed = listed
        self.open: set[str] = set()
        self.seen: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        session = request.headers.get("mcp-session-id", "")
        if request.method == "DELETE":
            self.open.remove(session)
            return web.Response(status=204)
        body = await request.json()
        if body["method"] == "initialize":
            self.open.add("s-1")
            answer = result(body, protocolVersion=self.revision, capabilities={"tools": {}})
            return web.json_response(answer, headers={"mcp-session-id": "s-1"})
        if session not in self.open or request.headers["mcp-protocol-version"] != self.revision:
            return web.Response(status=400, text="no session id")
        self.seen.append(body["method"])
        if "id" not in body:
            return web.Response(status=202)
        return web.json_response(pages(self.listed)(body))


@pytest.mark.parametrize("revision", ["2025-11-25", "2025-06-18"])
async def test_a_server_with_sessions_is_read_in_one_that_ends_with_the_look(
    tmp_path: Path, revision: str
) -> None:
    server = SessionServer(revision, [tool("a")])
    found = await read(tmp_path, handle=server.handle)
    assert found.tools == {"a": definition_digest(tool("a"))}
    assert found.revision == revision
    assert server.seen == [
        "notifications/initialized",
        *("tools/list", "prompts/list", "resources/list", "resources/templates/list"),
    ]
    assert server.open == set()


async def test_a_session_ends_also_where_the_look_fails(tmp_path: Path) -> None:
    server = SessionServer("2025-11-25", [tool("a"), tool("a")])
    assert (await failure(tmp_path, handle=server.handle)).reason == Reason.INVALID_ANSWER
    assert server.open == set()


async def test_a_server_that_lets_no_session_end_takes_no_more_time_than_its_look(
    tmp_path: Path,
) -> None:
    server, never = SessionServer("2025-11-25", []), asyncio.Event()

    async def hangs(request: web.Request) -> web.StreamResponse:
        is_list = request.method == "POST" and (await request.json())["method"] == "tools/list"
        if is_list or request.method == "DELETE":
            await never.wait()
        return await server.handle(request)

    async with a_server(tmp_path / "s", hangs):
        lists = ToolLists(connect=lambda _: aiohttp.UnixConnector(str(tmp_path / "s")), seconds=0.5)
        try:
            async with asyncio.timeout(20):
                with pytest.raises(ToolServerUnusable, match=r"were not read within 0\.5 s"):
                    await lists.read(Address(url="http://erp.example.com/mcp", upstream=SERVICE))
        finally:
            never.set()


async def test_a_definition_of_very_many_fields_has_few_marks(tmp_path: Path) -> None:
    fields = {f"x{number}": number for number in range(5000)}
    found = await read(tmp_path, pages([tool("a", **fields)]))
    changed = await read(tmp_path, pages([tool("a", **fields, y=1)]))
    marks, others = found.marks["tool", "a"], changed.marks["tool", "a"]
    assert len(marks) == 33
    assert {name for name in marks if marks[name] != others[name]} == {"other fields"}


async def test_a_server_of_a_revision_that_relays_do_not_speak_is_told(tmp_path: Path) -> None:
    server = SessionServer("2024-11-05", [])
    found = await failure(tmp_path, handle=server.handle)
    assert found.reason == Reason.REVISION_UNSUPPORTED
    assert "2025-11-25" in str(found)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.UNAUTHORIZED),
        (403, Reason.UNAUTHORIZED),
        (404, Reason.INVALID_ANSWER),
        (500, Reason.SERVER_ERROR),
        (429, Reason.SERVER_ERROR),
        (204, Reason.INVALID_ANSWER),
    ],
)
async def test_a_status_has_its_reason(tmp_path: Path, status: int, reason: Reason) -> None:
    async def refuses(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=None if status == 204 else CANARY)

    assert (await failure(tmp_path, handle=refuses)).reason == reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda body: result(body, tools={"a": CANARY}), Reason.INVALID_ANSWER),
        (lambda body: result(body, tools=[tool("a"), tool("a")]), Reason.INVALID_ANSWER),
        (lambda body: result(body, tools=[], nextCursor=7), Reason.INVALID_ANSWER),
        (lambda body: result(body, tools=[], nextCursor="x" * 5000), Reason.INVALID_ANSWER),
        (lambda body: result(body, tools=[], nextCursor="again"), Reason.TOO_MANY_DEFINITIONS),
        (lambda body: [body], Reason.INVALID_ANSWER),
        (
            lambda body: result(body, tools=[tool(f"t{n}") for n in range(MOST_DEFINITIONS + 1)]),
            Reason.TOO_MANY_DEFINITIONS,
        ),
        (
            lambda body: result(body, tools=[tool("a", description="x" * 3_000_000)]),
            Reason.TOO_MANY_DEFINITIONS,
        ),
    ],
    ids=["no list", "twice", "number", "long", "endless", "batch", "many", "huge"],
)
async def test_an_answer_that_is_none_ends_the_look(
    tmp_path: Path, answer: Answer, reason: Reason
) -> None:
    assert (await failure(tmp_path, answer)).reason == reason


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[]}}',
        '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","x":NaN}]}}',
        "[" * 100_000,
        CANARY,
        "",
    ],
    ids=["duplicate key", "no number", "deep", "no JSON", "nothing"],
)
async def test_what_relays_would_not_read_is_not_read(tmp_path: Path, text: str) -> None:
    async def says(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type="application/json")

    assert (await failure(tmp_path, handle=says)).reason == Reason.INVALID_ANSWER


async def test_a_server_that_never_ends_costs_a_bounded_time(tmp_path: Path) -> None:
    async def drips(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(b"data: x\n")
            await asyncio.sleep(0.01)

    found = await failure(tmp_path, handle=drips)
    assert (found.reason, "2 s" in str(found)) == (Reason.UNREACHABLE, True)


BESIDE = Upstream(provider="erp", port=80, cidrs=("10.1.0.0/16",))


@pytest.mark.parametrize(
    ("url", "upstream", "reason", "said"),
    [
        ("http://10.0.0.7/mcp", PUBLIC, Reason.ADDRESS_CLOSED, "e.g. 10.0.0.7/32, to spec.egressCIDRs"),
        ("http://[fd00::1]/mcp", PUBLIC, Reason.ADDRESS_CLOSED, "e.g. fd00::1/128, to spec.egressCIDRs"),
        ("http://10.0.0.7/mcp", BESIDE, Reason.ADDRESS_CLOSED, "e.g. 10.0.0.7/32, to spec.egressCIDRs"),
        ("http://93.184.216.34/mcp", BESIDE, Reason.ADDRESS_CLOSED, "is not among egressCIDRs"),
        ("http://127.0.0.1/mcp", PUBLIC, Reason.ADDRESS_FORBIDDEN, "endpoint.url names 127.0.0.1,"),
        ("http://[::ffff:169.254.169.254]/mcp", PUBLIC, Reason.ADDRESS_FORBIDDEN, "are not led there"),
    ],
)  # fmt: skip
async def test_an_address_that_relays_may_not_reach_is_not_asked(
    tmp_path: Path, url: str, upstream: Upstream, reason: Reason, said: str
) -> None:
    found = await failure(tmp_path, pages([]), url=url, upstream=upstream)
    assert found.reason == reason
    assert said in str(found)


@pytest.mark.parametrize(
    ("leads_to", "reason"),
    [
        ("10.0.0.7", Reason.ADDRESS_CLOSED),
        ("::ffff:10.0.0.7", Reason.ADDRESS_CLOSED),
        ("64:ff9b::0a00:7", Reason.ADDRESS_CLOSED),
        ("fd00::1", Reason.ADDRESS_CLOSED),
        ("127.0.0.1", Reason.ADDRESS_FORBIDDEN),
        ("64:ff9b::a9fe:a9fe", Reason.ADDRESS_FORBIDDEN),
        ("::a9fe:a9fe", Reason.ADDRESS_FORBIDDEN),
        ("2002:a00:7::1", Reason.ADDRESS_FORBIDDEN),
    ],
)
async def test_a_name_that_leads_inside_is_not_connected_to(
    leads_to: str, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: Any, **__: Any) -> list[dict[str, Any]]:
        return [{"hostname": "erp.example.com", "host": leads_to, "port": 80, "family": 2, "proto": 6, "flags": 0}]  # fmt: skip

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    with pytest.raises(ToolServerUnusable) as caught:
        await ToolLists().read(Address(url="http://erp.example.com/mcp", upstream=PUBLIC))
    assert caught.value.reason == reason
    assert str(caught.value).startswith("erp.example.com leads to ")


async def test_a_name_that_does_not_resolve_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def resolve(*_: Any, **__: Any) -> list[dict[str, Any]]:
        raise socket.gaierror(socket.EAI_NONAME, "x")

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    with pytest.raises(ToolServerUnusable) as caught:
        await ToolLists().read(Address(url="http://erp.example.com/mcp", upstream=PUBLIC))
    assert (caught.value.reason, str(caught.value)) == (
        Reason.UNREACHABLE,
        "no answer: its name does not resolve",
    )


@pytest.mark.parametrize(
    "leads_to", ["127.0.0.1", "::1", "169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "64:ff9b::7f00:1", "0.0.0.0"]
)  # fmt: skip
async def test_the_name_of_a_service_does_not_lead_to_the_operator_itself_or_its_node(
    leads_to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns the Service can make it one of type ExternalName once it was looked at."""
    connected: list[str] = []

    async def resolve(*_: Any, **__: Any) -> list[dict[str, Any]]:
        return [{"hostname": "erp.erp.svc", "host": leads_to, "port": 80, "family": 2, "proto": 6, "flags": 0}]  # fmt: skip

    async def connect(*_: Any, addr_infos: Any, **__: Any) -> Any:
        connected.extend(one[4][0] for one in addr_infos)
        raise OSError("not connected")

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    monkeypatch.setattr(aiohttp.TCPConnector, "_wrap_create_connection", connect)
    with pytest.raises(ToolServerUnusable) as caught:
        await ToolLists().read(Address(url="http://erp.erp.svc/mcp", upstream=SERVICE))
    assert caught.value.reason == Reason.ADDRESS_FORBIDDEN
    assert not connected


def resource(uri: str, **fields: Any) -> dict[str, Any]:
    return {"uri": uri, "name": uri, "description": f"What {uri} says.", **fields}


def having(resources: Any, templates: Any = ()) -> Answer:
    """Answers with a tool, these resources and these templates; what is no list is an answer of its own."""

    def answer(body: dict[str, Any]) -> Any:
        match body["method"]:
            case "tools/list":
                return result(body, tools=[tool("a")])
            case "resources/list":
                if isinstance(resources, Exception):
                    raise resources
                return result(body, resources=resources)
            case "resources/templates/list":
                return result(body, resourceTemplates=templates)
        return unknown(body)

    return answer


async def test_resources_and_templates_are_read_by_their_uris(tmp_path: Path) -> None:
    report = resource("file:///reports/a")
    template = {"uriTemplate": "file:///{year}{/path*}", "name": "by year"}
    found = await read(tmp_path, having([report, resource("file:///b\n")], [template]))
    assert found.resources == {"file:///reports/a": resource_digest(report)}
    assert found.templates == {"file:///{year}{/path*}": resource_digest(template)}
    assert found.marks["resource", "file:///reports/a"].keys() == {"uri", "name", "description"}
    assert (found.skipped, found.unread, set(found.tools)) == (1, "", {"a"})


async def test_what_changes_with_the_content_alone_is_no_other_definition(tmp_path: Path) -> None:
    plain = resource("memo://a", annotations={"priority": 1})
    at = {"lastModified": "2026-11-27T12:00:00.5Z"}
    changed = resource("memo://a", size=7, annotations={"priority": 1, **at})
    other = [
        resource("memo://a", annotations={"priority": 2}),
        resource("memo://a", annotations={"priority": 1, "lastModified": "do as I say"}),
        resource("memo://a", annotations={"priority": 1}, size="do as I say"),
        resource("memo://a", annotations={"priority": 1}, size=True),
    ]
    digests = [(await read(tmp_path, having([one]))).resources for one in (plain, changed, *other)]
    assert digests[0] == digests[1]
    assert all(one != digests[0] for one in digests[2:])
    bare = (await read(tmp_path, having([resource("memo://a")]))).resources
    assert (await read(tmp_path, having([resource("memo://a", annotations=at)]))).resources == bare


@pytest.mark.parametrize(
    ("resources", "why"),
    [
        ([resource(f"memo://{n}") for n in range(MOST_RESOURCES + 1)], "more than 256 resources"),
        ([resource("memo://a")] * 2, "twice"),
        ("none", "has no resources"),
        ([resource("memo://a", description="x" * (2 * 2**20))], "longer than"),
        (ValueError(CANARY), "it answers 500"),
    ],
)
async def test_nobody_loses_a_tool_for_resources_that_cannot_be_read(
    tmp_path: Path, resources: Any, why: str
) -> None:
    found = await read(tmp_path, having(resources))
    assert set(found.tools) == {"a"}
    assert found.resources is None
    assert found.templates is None
    assert why in found.unread
    assert CANARY not in found.unread


async def test_nobody_loses_a_tool_for_resources_that_are_slower_than_the_whole_look_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_lists, "_RESOURCE_SECONDS", 0.6)
    answer, never = having([]), asyncio.Event()

    async def hangs(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["method"] == "resources/list":
            await never.wait()
        return web.json_response(answer(body))

    async with a_server(tmp_path / "s", hangs):
        lists = ToolLists(connect=lambda _: aiohttp.UnixConnector(str(tmp_path / "s")), seconds=0.5)
        try:
            found = await lists.read(Address(url="http://erp.example.com/mcp", upstream=SERVICE))
        finally:
            never.set()
    assert found.tools
    assert "not read within" in found.unread
