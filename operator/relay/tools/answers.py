"""Holds what a server says to what was asked of it: answers, and messages on the way to them."""

import json
from typing import Any, Final, Literal

from relay.tools.decisions import MULTI_ROUND, Question
from relay.tools.list_filter import InvalidList, Page, filtered
from relay.tools.methods import Rule, Sender, rule_of
from relay.tools.permissions import ListKind, Permissions
from relay.tools.reading.edits import edited, replaced
from relay.tools.reading.eras import Era
from relay.tools.reading.json_text import Member, members_at
from relay.tools.reading.messages import Kind, Message
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal

SaidOutcome = Literal["ok", "tool_error", "protocol_error", "input_required"]
_INPUT_METHODS: Final = frozenset({"elicitation/create", "sampling/createMessage", "roots/list"})
"""What a server may ask a client for inside a result (MCP 2026-07-28, basic/patterns/mrtr, InputRequests)."""
_CHANGED: Final = {
    Rule.TOOLS_CHANGED: ListKind.TOOLS,
    Rule.PROMPTS_CHANGED: ListKind.PROMPTS,
    Rule.RESOURCES_CHANGED: ListKind.RESOURCES,
}


def answer_text(
    message: Message, question: Question, permissions: Permissions, seal: StateSeal
) -> str | Page | ProtocolError:
    """Returns the answer as the client gets it, of a list the page, or what it gets instead."""
    if message.kind is not Kind.RESPONSE or not _answers(message, question):
        return ProtocolError.invalid_answer
    result = message.member("result")
    if result is None:
        return message.text
    kind = _result_type(result, question.era)
    if kind == "input_required" and question.method in MULTI_ROUND:
        return _asking_for_input(message, result, question, seal)
    if kind != "complete":
        return ProtocolError.invalid_answer
    if question.list_kind is None:
        return message.text
    try:
        return filtered(message.text, result, question, permissions, seal.cursors)
    except InvalidList:
        return ProtocolError.invalid_answer


def said_outcome(message: Message, era: Era) -> SaidOutcome:
    """Returns how a request ended by the answer to it."""
    result = message.member("result")
    if result is None:
        return "protocol_error"
    if _result_type(result, era) == "input_required":
        return "input_required"
    return "tool_error" if result.value.get("isError") is True else "ok"


def may_pass(message: Message, era: Era, server: str, permissions: Permissions) -> bool:
    """Returns whether a request or notification of a server goes on to the tenant's client."""
    rule = rule_of(era, Sender.SERVER, message.kind, message.method)
    if rule is Rule.RESOURCE:
        uri = message.params.get("uri")
        permitted = permissions.resource(uri) if isinstance(uri, str) else None
        return permitted is not None and permitted.server == server
    changed = _CHANGED.get(rule)
    if changed is not None:
        return server in permissions.servers(changed)
    return rule is Rule.PAIRED


def bare_text(message: Message, era: Era) -> str | None:
    """Returns what a client is told of a change at a server; None of any other message, which stays as its server wrote it.

    That a list has changed, or which resource has, is all of it: the rest would be of everybody's entries.
    """
    rule = rule_of(era, Sender.SERVER, message.kind, message.method)
    if rule in _CHANGED:
        return json.dumps({"jsonrpc": "2.0", "method": message.method}, separators=(",", ":"))
    if rule is not Rule.RESOURCE:
        return None
    params = {"uri": message.params.get("uri")}
    content = {"jsonrpc": "2.0", "method": message.method, "params": params}
    return json.dumps(content, separators=(",", ":"))


def _answers(message: Message, question: Question) -> bool:
    """Compares types too: 1 and "1" are two ids."""
    return type(message.id) is type(question.id) and message.id == question.id


def _result_type(result: Member, era: Era) -> Any:
    if era is Era.LEGACY:
        return "complete"
    return result.value.get("resultType", "complete")


def _asking_for_input(
    message: Message, result: Member, question: Question, seal: StateSeal
) -> str | ProtocolError:
    inputs = result.value.get("inputRequests", {})
    if not isinstance(inputs, dict) or not all(map(_is_input_request, inputs.values())):
        return ProtocolError.invalid_answer
    members, _ = members_at(message.text, result.start)
    for member in members:
        if member.key == "requestState":
            if not isinstance(member.value, str):
                return ProtocolError.invalid_answer
            sealed = seal.sealed(member.value, question.binding, question.call_id)
            if sealed is None:
                return ProtocolError.invalid_answer
            return edited(message.text, [replaced(member, sealed)])
    return message.text


def _is_input_request(request: Any) -> bool:
    return isinstance(request, dict) and request.get("method") in _INPUT_METHODS
