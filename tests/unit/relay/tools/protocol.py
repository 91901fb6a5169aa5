"""A tenant with grants at two servers, and messages to try them with."""

import json
import os
from typing import Any

from relay.tools.cursors import Place
from relay.tools.gate import Gate
from relay.tools.permissions import Permissions
from relay.tools.reading.eras import MODERN_VERSION, Era
from relay.tools.reading.messages import CLIENT_BOUNDS, SERVER_BOUNDS, Message, read_message
from relay.tools.request_state import StateSeal
from relay_contract.tools.definitions import Definition, definition_digest
from relay_contract.tools.manifest import Grant, Manifest

META = {
    "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}
NOW = 1_800_000_000.0


def tool(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": f"Does {name}.",
        "inputSchema": {"type": "object"},
        **fields,
    }


def prompt(name: str) -> dict[str, Any]:
    return {"name": name, "description": f"Asks to {name}."}


def approved(*entries: dict[str, Any]) -> tuple[Definition, ...]:
    return tuple(
        Definition(name=entry["name"], digest=definition_digest(entry)) for entry in entries
    )


ERP = Grant(
    server="erp",
    tools=("read_invoice", "list_*"),
    prompts=("summarise",),
    resources=("file:///reports/*", "memo://rates"),
    tool_definitions=approved(tool("read_invoice"), tool("list_invoices"), tool("list_orders")),
    prompt_definitions=approved(prompt("summarise")),
)
MAIL = Grant(
    server="mail",
    prefix="mail__",
    tools=("*",),
    prompts=("*",),
    resources=("mail://inbox/*",),
    tool_definitions=approved(tool("send"), tool("list_invoices")),
    prompt_definitions=approved(prompt("reply")),
)
MANIFEST = Manifest(grants=(ERP, MAIL))
PERMISSIONS = Permissions(MANIFEST, "tenant-a")


def seal(*, caller: str = "production", secret: bytes = b"s", now: float = NOW) -> StateSeal:
    return StateSeal(secret=secret, caller=caller, now=now, new_nonce=lambda: os.urandom(12))


def cursor_to(server: str, cursor: str | None = None, *, by: StateSeal | None = None) -> str:
    """Returns the cursor that leads to a page of a server."""
    found = (by or seal()).cursors.sealed(Place(server, cursor), PERMISSIONS.revision)
    assert found is not None
    return found


def gate(era: Era = Era.MODERN, permissions: Permissions = PERMISSIONS) -> Gate:
    return Gate(permissions, era, seal())


def raw(method: str, *, id: Any = 1, meta: Any = META, **params: Any) -> bytes:  # noqa: A002
    content: dict[str, Any] = {"jsonrpc": "2.0", "id": id, "method": method}
    content["params"] = {**params, "_meta": meta}
    return json.dumps(content).encode()


def message(content: bytes | dict[str, Any]) -> Message:
    """Reads a message that a client may send."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    read = read_message(text, CLIENT_BOUNDS)
    assert isinstance(read, Message), read.error
    return read


def request(method: str, **params: Any) -> Message:
    return message(raw(method, **params))


def answer(content: dict[str, Any] | bytes) -> Message:
    """Reads a message that a server may send."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    read = read_message(text, SERVER_BOUNDS)
    assert isinstance(read, Message), read.error
    return read
