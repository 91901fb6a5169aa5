"""Resources, and the methods of the protocol that the SDK leaves to its users."""

import base64
import json
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.types import (
    Completion,
    EmptyResult,
    SetLevelRequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)
from tests.blackbox.mcp_python.conformant.contents import PNG


def add_to(server: MCPServer) -> None:
    """Adds the resources and methods."""
    server.resource("test://static-text")(static_text)
    server.resource("test://static-binary")(static_binary)
    server.resource("test://watched-resource")(watched)
    server.resource("test://template/{id}/data")(templated)
    server.completion()(completed)
    for method, params in (
        ("logging/setLevel", SetLevelRequestParams),
        ("resources/subscribe", SubscribeRequestParams),
        ("resources/unsubscribe", UnsubscribeRequestParams),
    ):
        server._lowlevel_server.add_request_handler(method, params, taken)


def static_text() -> str:
    """Is always the same."""
    return "This is the content of the static text resource."


def static_binary() -> bytes:
    """Is no text."""
    return base64.b64decode(PNG)


def watched() -> str:
    """Can be subscribed to."""
    return "Watched resource content"


def templated(id: str) -> str:  # noqa: A002 - the name is the suite's
    """Is one of many."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


async def completed(ref: Any, argument: Any, context: Any) -> Completion:
    """Knows no completion."""
    return Completion(values=[], total=0, has_more=False)


async def taken(ctx: Any, params: Any) -> EmptyResult:
    """Takes a request, and does nothing."""
    return EmptyResult()
