"""Subscriptions to changes (MCP 2026-07-28, basic/patterns/subscriptions): parts their filter among servers, and holds to it what these say.

What a client gets are the relay's own messages. Nothing of a server's passes but that a list has changed, or which resource has.
"""

import json
from typing import Any, Final

from relay.tools.methods import Rule, Sender, rule_of
from relay.tools.permissions import ListKind, Permissions
from relay.tools.reading.eras import Era
from relay.tools.reading.messages import Kind, Message
from relay.tools.reading.protocol_errors import ProtocolError

MAX_SUBSCRIPTIONS: Final = 64
"""Resources that one subscription names."""
_URIS: Final = "resourceSubscriptions"
_CHANGES: Final = {
    "toolsListChanged": ListKind.TOOLS,
    "promptsListChanged": ListKind.PROMPTS,
    "resourcesListChanged": ListKind.RESOURCES,
}
_KINDS_CHANGED: Final = {
    Rule.TOOLS_CHANGED: ListKind.TOOLS,
    Rule.PROMPTS_CHANGED: ListKind.PROMPTS,
    Rule.RESOURCES_CHANGED: ListKind.RESOURCES,
}
_LIST_CHANGED: Final = {
    ListKind.TOOLS: "notifications/tools/list_changed",
    ListKind.PROMPTS: "notifications/prompts/list_changed",
    ListKind.RESOURCES: "notifications/resources/list_changed",
}
_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
_UPDATED: Final = "notifications/resources/updated"
_META_ID: Final = "io.modelcontextprotocol/subscriptionId"


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


def is_acknowledgement(message: Message) -> bool:
    """Returns whether a server says by it what it will tell of."""
    return message.kind is Kind.NOTIFICATION and message.method == _ACKNOWLEDGED


class Subscription:
    """Holds the changes that one client asked to be told of and that it is granted. filters are by server, id_text is the request's id as it was written.

    That lists change the relay tells itself where a manifest changes; of resources a server has to say that it tells of them.
    """

    __slots__ = ("_id_text", "_kinds", "_uris", "_wanted", "filters")

    def __init__(self, wanted: Any, filters: dict[str, dict[str, Any]], id_text: str) -> None:
        self._wanted = wanted
        self._id_text = id_text
        self.filters = filters
        self._kinds = {
            kind for key, kind in _CHANGES.items() if any(key in one for one in filters.values())
        }
        self._uris: dict[str, str] = {}

    @property
    def is_empty(self) -> bool:
        """True if there is nothing that the client could be told."""
        return not self._kinds and not self._uris

    def honour(self, server: str, message: Message) -> None:
        """Notes of which resources a server will tell, by its acknowledgement."""
        told = message.params.get("notifications")
        uris = told.get(_URIS) if isinstance(told, dict) else None
        for uri in self.filters[server].get(_URIS, ()):
            if isinstance(uris, list) and uri in uris:
                self._uris[uri] = server

    def acknowledgement(self) -> str:
        """Returns what the client is told first: what it will be told of."""
        honoured: dict[str, Any] = {
            key: True for key, kind in _CHANGES.items() if kind in self._kinds
        }
        if self._uris:
            honoured[_URIS] = list(self._uris)
        return self._text(_ACKNOWLEDGED, {"notifications": honoured})

    def told(self, server: str, message: Message, permissions: Permissions) -> str | None:
        """Returns what the client is told of a server's message; None of what it did not ask for, or may not know."""
        rule = rule_of(Era.MODERN, Sender.SERVER, message.kind, message.method)
        kind = _KINDS_CHANGED.get(rule)
        if kind is not None:
            is_asked = kind in self._kinds and server in permissions.servers(kind)
            return self._text(_LIST_CHANGED[kind], {}) if is_asked else None
        uri = message.params.get("uri")
        if rule is not Rule.RESOURCE or not isinstance(uri, str) or self._uris.get(uri) != server:
            return None
        permitted = permissions.resource(uri)
        is_granted = permitted is not None and permitted.server == server
        return self._text(_UPDATED, {"uri": uri}) if is_granted else None

    def changed(self, before: Permissions, after: Permissions) -> list[str]:
        """Returns what the client is told where a manifest is followed by another."""
        return [
            self._text(method, {})
            for kind, method in _LIST_CHANGED.items()
            if kind in self._kinds and (before.servers(kind) or after.servers(kind))
        ]

    def is_the_same_under(self, permissions: Permissions) -> bool:
        """Returns whether the same servers would be asked for the same things under another manifest."""
        return filters_by_server(self._wanted, permissions) == self.filters

    def end(self) -> str:
        """Returns the result, which says that the subscription has ended in order."""
        meta = f'"_meta":{{"{_META_ID}":{self._id_text}}}'
        return (
            f'{{"jsonrpc":"2.0","id":{self._id_text},"result":{{"resultType":"complete",{meta}}}}}'
        )

    def _text(self, method: str, params: dict[str, Any]) -> str:
        """Returns a notification that carries the subscription's id as it was written."""
        rest = json.dumps(params, separators=(",", ":"))[1:-1]
        meta = f'"_meta":{{"{_META_ID}":{self._id_text}}}'
        fields = f"{meta},{rest}" if rest else meta
        return f'{{"jsonrpc":"2.0","method":"{method}","params":{{{fields}}}}}'
