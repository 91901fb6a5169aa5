"""How a session begins (MCP 2025-11-25, basic/lifecycle): the relay greets the servers for a client, and answers it in their place."""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from relay.tools.discovery import result_body
from relay.tools.permissions import ListKind, Permissions
from relay.tools.reading.eras import ERAS, Era
from relay.tools.reading.messages import Kind, Message

GREETING_ID: Final = "initialize"
_CLIENT_CAPABILITIES: Final = ("roots", "sampling", "elicitation")
"""Those whose messages pass. With tasks or extensions a server could speak of what the relay cannot check."""
_NEWEST: Final = next(version for version, era in ERAS.items() if era is Era.LEGACY)


class Greeting(NamedTuple):
    """What a server said of itself: the revision that it speaks and its capabilities."""

    version: str
    capabilities: dict[str, Any]


def version_for(params: Mapping[str, Any]) -> str:
    """Returns the revision in which servers are greeted: the one that the client asks for, if it is one with sessions."""
    asked = params.get("protocolVersion")
    return asked if isinstance(asked, str) and ERAS.get(asked) is Era.LEGACY else _NEWEST


def greeting_text(params: Mapping[str, Any]) -> str | None:
    """Returns the request that greets a server for a client that greeted so; None where the client's is none."""
    capabilities, client = params.get("capabilities"), params.get("clientInfo")
    if not isinstance(capabilities, dict) or not isinstance(client, dict):
        return None
    offered = {key: capabilities[key] for key in _CLIENT_CAPABILITIES if key in capabilities}
    content = {
        "jsonrpc": "2.0",
        "id": GREETING_ID,
        "method": "initialize",
        "params": {
            "protocolVersion": version_for(params),
            "capabilities": offered,
            "clientInfo": client,
        },
    }
    return json.dumps(content, separators=(",", ":"))


def greeting_of(message: Message) -> Greeting | None:
    """Returns what a server answered; None if that is no answer to a greeting, or of a revision without sessions."""
    result = message.member("result")
    if message.kind is not Kind.RESPONSE or message.id != GREETING_ID or result is None:
        return None
    version, capabilities = result.value.get("protocolVersion"), result.value.get("capabilities")
    if not isinstance(version, str) or ERAS.get(version) is not Era.LEGACY:
        return None
    return Greeting(version, capabilities) if isinstance(capabilities, dict) else None


def common_version(greetings: Mapping[str, Greeting]) -> str:
    """Returns the revision of a session with these servers: the oldest that one of them speaks."""
    return min(greeting.version for greeting in greetings.values())


def initialized_body(
    id_text: str, permissions: Permissions, greetings: Mapping[str, Greeting], release: str
) -> bytes:
    """Returns the answer to the client. It tells what the manifest has and the servers can do, and names none of them."""
    result = {
        "protocolVersion": common_version(greetings),
        "capabilities": _capabilities(permissions, greetings),
        "serverInfo": {"name": "relay", "version": release},
    }
    return result_body(id_text, result)


def _capabilities(
    permissions: Permissions, greetings: Mapping[str, Greeting]
) -> dict[str, dict[str, bool]]:
    told: dict[str, dict[str, bool]] = {}
    for kind in (ListKind.TOOLS, ListKind.PROMPTS, ListKind.RESOURCES):
        of_kind = [greetings[one] for one in permissions.servers(kind) if one in greetings]
        if of_kind:
            # the relay tells of changes itself: a manifest may change
            told[kind.value] = {"listChanged": True}
        if kind is ListKind.RESOURCES and any(map(_takes_subscriptions, of_kind)):
            told[kind.value]["subscribe"] = True
        if kind is not ListKind.TOOLS and any("completions" in one.capabilities for one in of_kind):
            told["completions"] = {}
    if any("logging" in one.capabilities for one in greetings.values()):
        told["logging"] = {}
    return told


def _takes_subscriptions(greeting: Greeting) -> bool:
    resources = greeting.capabilities.get("resources")
    return isinstance(resources, dict) and resources.get("subscribe") is True
