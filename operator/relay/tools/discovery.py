"""What the relay says of itself in the servers' place: the revisions, and what kinds of things the tenant may use."""

import json
from collections.abc import Sequence
from typing import Any, Final

from relay.tools.list_filter import MAX_TTL_MS
from relay.tools.permissions import ListKind, Permissions

_NAME: Final = "relay"


def discover_body(
    id_text: str, permissions: Permissions, versions: Sequence[str], release: str
) -> bytes:
    """Returns the answer to server/discover (MCP 2026-07-28). versions are those that are served, release is the relay's."""
    result = {
        "resultType": "complete",
        "supportedVersions": list(versions),
        "capabilities": capabilities(permissions),
        "ttlMs": MAX_TTL_MS,
        "cacheScope": "private",
        "_meta": {
            "io.modelcontextprotocol/serverInfo": {"name": _NAME, "version": release},
        },
    }
    return result_body(id_text, result)


def capabilities(permissions: Permissions) -> dict[str, Any]:
    """Returns what the tenant's manifest has, whatever else the servers could do.

    The relay itself tells of changed lists, since a manifest may change; which resources a server tells of is said when one listens.
    """
    kinds = (ListKind.TOOLS, ListKind.PROMPTS, ListKind.RESOURCES)
    granted: dict[str, Any] = {
        kind.value: {"listChanged": True} for kind in kinds if permissions.servers(kind)
    }
    if "resources" in granted:
        granted["resources"]["subscribe"] = True
    if "prompts" in granted or "resources" in granted:
        granted["completions"] = {}
    return granted


def result_body(id_text: str, result: dict[str, Any]) -> bytes:
    """Returns the message that answers a request with this result. id_text is the id as it was written."""
    content = json.dumps(result, separators=(",", ":"))
    return f'{{"jsonrpc":"2.0","id":{id_text},"result":{content}}}'.encode()


def unsupported_version_data(requested: str, versions: Sequence[str]) -> str:
    """Returns `data` of the error that names the revisions that are served."""
    return json.dumps({"supported": list(versions), "requested": requested}, separators=(",", ":"))
