"""Tenants with some of one server's tools, and calls as a client of the stateless era makes them."""

import json
from typing import Any, Protocol

from tests.blackbox.relays import Relay
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.wire import Answer
from tests.unit.relay.tools.protocol import approved, raw, tool

from relay_contract.document import Document
from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.patterns import covers
from relay_contract.tools.tool_server import ToolServer as DocumentedServer

MCP = "/mcp"
SECRET = "erp-upstream-secret-9d1c"
TOOLS = [tool(name) for name in ("read_invoice", "pay", "list_orders", "list_secrets", "stream")]
FINANCE = ("read_invoice", "list_orders", "stream")
MARKETING = ("pay", "list_secrets")


class Reachable(Protocol):
    """A server with an address."""

    @property
    def url(self) -> str: ...


def document(
    platform: Platform, erp: Reachable, granted: tuple[str, ...], **fields: Any
) -> Document:
    """Returns a tenant's document with these tools of the server."""
    grant = Grant(
        server="erp",
        tools=granted,
        tool_definitions=approved(
            *(one for one in TOOLS if any(covers(pattern, one["name"]) for pattern in granted))
        ),
        **fields,
    )
    server = DocumentedServer(name="erp", url=erp.url, key_file="tools-erp")
    return platform.document(tool_servers=(server,), tools=Manifest(grants=(grant,)))


def ask(relay: Relay, body: bytes, *, key: str | None = KEY, **headers: str | None) -> Answer:
    """Posts a message with the headers that repeat it; None leaves one out."""
    try:
        content = json.loads(body)
        name = content["params"].get("name")
        mirrored = {"mcp-method": content["method"], "mcp-name": name}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        mirrored = {}
    fields: dict[str, str | None] = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        **mirrored,
        **{field.replace("_", "-"): value for field, value in headers.items()},
    }
    sent = {field: value for field, value in fields.items() if value is not None}
    return relay.ask("POST", MCP, body=body, key=key, headers=sent)


def call(relay: Relay, name: str, **kwargs: Any) -> Answer:
    return ask(relay, raw("tools/call", name=name, arguments={"n": 1}), **kwargs)


def listed(relay: Relay, **params: Any) -> dict[str, Any]:
    answer = ask(relay, raw("tools/list", **params))
    assert answer.status == 200, answer
    content: dict[str, Any] = answer.json()["result"]
    return content


def code(answer: Answer, status: int) -> int:
    assert answer.status == status, answer
    assert answer.header("content-type") == "application/json"
    found: int = answer.json()["error"]["code"]
    return found
