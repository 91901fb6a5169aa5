"""Decides on every message of a client: what goes on to which server, what the relay answers, what it refuses.

Nothing here depends on what a server has; the same look-ups are made for a name that is granted, denied or unknown.
"""

import json
from typing import Any, Final

from relay.tools.cursors import Place
from relay.tools.decisions import LISTS, MULTI_ROUND, Decision, Own, Passed, Question, Spread
from relay.tools.methods import Rule, Sender, rule_of
from relay.tools.permissions import Permissions, Permitted
from relay.tools.reading.edits import Edit, edited, replaced, without
from relay.tools.reading.eras import Era
from relay.tools.reading.json_text import found, members_at
from relay.tools.reading.messages import Kind, Message
from relay.tools.reading.mirrored_headers import META_CAPABILITIES
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import OpenedState, StateSeal, binding_of
from relay.tools.subscriptions import filters_by_server


class Gate:
    """The gate for the messages of one caller in one era. call_id is the id of a call that begins with the next message."""

    __slots__ = ("_call_id", "_era", "_permissions", "_seal")

    def __init__(
        self, permissions: Permissions, era: Era, seal: StateSeal, call_id: str = ""
    ) -> None:
        self._call_id = call_id
        self._permissions = permissions
        self._era = era
        self._seal = seal

    def decide(self, message: Message) -> Decision:
        """Returns what becomes of a request or notification."""
        if message.kind is Kind.RESPONSE:
            return self._response()
        rule = rule_of(self._era, Sender.CLIENT, message.kind, message.method)
        match rule:
            case Rule.OWN | Rule.DONE:
                return Own(rule)
            case Rule.LISTED:
                return self._listed(message)
            case Rule.TOOL | Rule.PROMPT | Rule.RESOURCE:
                return self._named(message, rule)
            case Rule.COMPLETION:
                return self._completion(message)
            case Rule.SUBSCRIPTION:
                return self._subscription(message)
            case Rule.PAIRED:
                return self._passed(message, "", [])
            case _:
                return ProtocolError.unknown_method

    def _response(self) -> Decision:
        """A response answers a request of a server's, which only sessions have; who keeps them pairs it."""
        return Own(Rule.PAIRED) if self._era is Era.LEGACY else ProtocolError.invalid_request

    def _listed(self, message: Message) -> Decision:
        servers = self._permissions.servers(LISTS[message.method])
        if not servers:
            return ProtocolError.unknown_method
        if "cursor" not in message.params:
            return self.passed_at(message, Place(servers[0], None))
        cursor = message.params["cursor"]
        if not isinstance(cursor, str):
            return ProtocolError.invalid_params
        place = self._seal.cursors.opened(cursor, self._permissions.revision)
        if place is None or place.server not in servers:
            return ProtocolError.invalid_cursor
        return self.passed_at(message, place)

    def passed_at(self, message: Message, place: Place) -> Passed:
        """Returns a request for a list as it goes on to this place, whichever it names."""
        edits = _cursor_edits(message, place.cursor)
        return self._passed(message, place.server, edits, place=place)

    def _named(self, message: Message, rule: Rule) -> Decision:
        members = message.params_members()
        member = found(members, "uri" if rule is Rule.RESOURCE else "name")
        if member is None or not isinstance(member.value, str):
            return ProtocolError.invalid_params
        permitted = self._permitted(rule, member.value)
        if permitted is None:
            return _UNKNOWN[rule]
        edits = [] if permitted.name == member.value else [replaced(member, permitted.name)]
        # what this relay does not offer a receiver ignores (MCP 2025-11-25, basic/utilities/tasks)
        if self._era is Era.LEGACY or message.method not in MULTI_ROUND:
            edits += without(members, "task", "requestState")
            return self._passed(message, permitted.server, edits, permitted=permitted)
        edits += without(members, "task")
        binding = binding_of(permitted.server, message.method, message.params)
        state = found(members, "requestState")
        if state is not None:
            opened = self._opened(state.value, binding)
            if opened is None:
                return ProtocolError.invalid_params
            self._call_id = opened.call_id
            edits.append(replaced(state, opened.state))
        return self._passed(message, permitted.server, edits, permitted=permitted, binding=binding)

    def _permitted(self, rule: Rule, name: str) -> Permitted | None:
        if rule is Rule.TOOL:
            return self._permissions.tools.get(name)
        if rule is Rule.PROMPT:
            return self._permissions.prompts.get(name)
        return self._permissions.resource(name)

    def _opened(self, state: Any, binding: str) -> OpenedState | None:
        return self._seal.opened(state, binding) if isinstance(state, str) else None

    def _completion(self, message: Message) -> Decision:
        ref = found(message.params_members(), "ref")
        if ref is None or not isinstance(ref.value, dict):
            return ProtocolError.invalid_params
        prompt = ref.value.get("type") == "ref/prompt"
        if not prompt and ref.value.get("type") != "ref/resource":
            return ProtocolError.invalid_params
        name = found(members_at(message.text, ref.start)[0], "name" if prompt else "uri")
        if name is None or not isinstance(name.value, str):
            return ProtocolError.invalid_params
        if prompt:
            permitted = self._permissions.prompts.get(name.value)
        else:
            permitted = self._permissions.template(name.value)
        if permitted is None:
            return _UNKNOWN[Rule.PROMPT if prompt else Rule.RESOURCE]
        edits = [] if permitted.name == name.value else [replaced(name, permitted.name)]
        return self._passed(message, permitted.server, edits, permitted=permitted)

    def _subscription(self, message: Message) -> Decision:
        wanted = found(message.params_members(), "notifications")
        if wanted is None:
            return ProtocolError.invalid_params
        filters = filters_by_server(wanted.value, self._permissions)
        if isinstance(filters, ProtocolError):
            return filters
        if not filters:
            return Own(Rule.SUBSCRIPTION)
        return Spread(
            [
                self._passed(message, server, [replaced(wanted, wanted_there)])
                for server, wanted_there in filters.items()
            ],
            filters,
        )

    def _passed(
        self,
        message: Message,
        server: str,
        edits: list[Edit],
        *,
        permitted: Permitted | None = None,
        binding: str = "",
        place: Place | None = None,
    ) -> Passed:
        text = edited(message.text, edits + _extension_edits(message))
        question = Question(
            message, self._era, server, binding=binding, call_id=self._call_id, place=place
        )
        name = "" if permitted is None else permitted.name
        return Passed(server, text, question, self._permissions.revision, permitted, name)


def still_passes(
    message: Message, passed: Passed, permissions: Permissions, seal: StateSeal
) -> bool:
    """Returns whether a message that passed would do so by these permissions too, to the same server and for the same thing there."""
    if permissions.revision == passed.revision:
        # by the same manifest, which a session may know in part
        return True
    decision = Gate(permissions, passed.question.era, seal).decide(message)
    return (
        isinstance(decision, Passed)
        and decision.server == passed.server
        and decision.name == passed.name
    )


_UNKNOWN: Final = {
    Rule.TOOL: ProtocolError.unknown_tool,
    Rule.PROMPT: ProtocolError.unknown_prompt,
    Rule.RESOURCE: ProtocolError.unknown_resource,
}


def _cursor_edits(message: Message, cursor: str | None) -> list[Edit]:
    """Returns the changes by which a request names this cursor of its server's, None for its first page."""
    members = message.params_members()
    named = found(members, "cursor")
    if named is not None:
        return without(members, "cursor") if cursor is None else [replaced(named, cursor)]
    if cursor is None:
        return []
    added = f'"cursor":{json.dumps(cursor)}'
    if message.params_start < 0:
        end = message.members[-1].end
        return [Edit(end, end, f',"params":{{{added}}}')]
    start = members[0].key_start if members else message.params_start + 1
    return [Edit(start, start, added + ("," if members else ""))]


def _extension_edits(message: Message) -> list[Edit]:
    """Returns the change that takes back the extensions a client offers: with tasks, a server may answer with their ids."""
    meta = message.params.get("_meta")
    capabilities = meta.get(META_CAPABILITIES) if isinstance(meta, dict) else None
    if not isinstance(capabilities, dict) or not capabilities.get("extensions"):
        return []
    start = message.params_start
    end = start
    for key in ("_meta", META_CAPABILITIES, "extensions"):
        member = found(members_at(message.text, start)[0], key)
        assert member is not None
        start, end = member.start, member.end
    return [Edit(start, end, "{}")]
