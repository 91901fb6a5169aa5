"""Parts the filter of a subscription among the servers that it concerns (MCP 2026-07-28, basic/patterns/subscriptions)."""

from typing import Any, Final

from relay.tools.permissions import ListKind, Permissions
from relay.tools.reading.protocol_errors import ProtocolError

MAX_SUBSCRIPTIONS: Final = 64
"""Resources that one subscription names."""
_URIS: Final = "resourceSubscriptions"
_CHANGES: Final = {
    "toolsListChanged": ListKind.TOOLS,
    "promptsListChanged": ListKind.PROMPTS,
    "resourcesListChanged": ListKind.RESOURCES,
}


def filters_by_server(
    wanted: Any, permissions: Permissions
) -> dict[str, dict[str, Any]] | ProtocolError:
    """Returns the filter for each server, or why there is none.

    Types of notifications that the protocol does not name are left out, as a server leaves out those that it does not support.
    """
    if not isinstance(wanted, dict):
        return ProtocolError.invalid_params
    filters: dict[str, dict[str, Any]] = {}
    error = _add_resources(filters, wanted.get(_URIS, []), permissions)
    if error is not None:
        return error
    for key, kind in _CHANGES.items():
        flag = wanted.get(key, False)
        if not isinstance(flag, bool):
            return ProtocolError.invalid_params
        for server in permissions.servers(kind) if flag else ():
            filters.setdefault(server, {})[key] = True
    return filters


def _add_resources(
    filters: dict[str, dict[str, Any]], uris: Any, permissions: Permissions
) -> ProtocolError | None:
    if not isinstance(uris, list) or len(uris) > MAX_SUBSCRIPTIONS:
        return ProtocolError.invalid_params
    for uri in uris:
        if not isinstance(uri, str):
            return ProtocolError.invalid_params
        permitted = permissions.resource(uri)
        if permitted is None:
            return ProtocolError.unknown_resource
        filters.setdefault(permitted.server, {}).setdefault(_URIS, []).append(uri)
    return None
