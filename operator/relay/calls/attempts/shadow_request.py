"""Reads of a call whether it leaves, needs or runs something at its provider, and whether it asks for JSON."""

import re
from typing import Any, Final

from relay.dialect.answers.answer_content import decoded
from relay.dialect.endpoints import RESPONSES, Endpoint

_TELLING: Final = re.compile(
    rb'"(?:store|background|conversation|previous_response_id|prompt|item_reference'
    rb"|file_ids?|container(?:_id)?|vector_store_ids|audio|cached_content"
    rb"|encrypted_content|redacted_thinking|reasoning\.encrypted|redactedContent"
    rb"|signature|thought_signature|thoughtSignature"
    rb"|tools|mcp_servers|web_search_options|search_parameters|plugins|data_sources"
    rb'|json_object|json_schema)"'
)
"""Names and values one of which stands in every call that needs a closer look."""
_ESCAPE: Final = b"\\u"
"""With escapes any of them may be spelled otherwise."""
_STORED: Final = frozenset(
    {"file_id", "file_ids", "container", "container_id", "vector_store_ids", "cached_content"}
)
"""Fields of a message, an item or a tool that name what only one provider has."""
_SEALED: Final = frozenset(
    {"encrypted_content", "signature", "thought_signature", "thoughtSignature", "redactedContent"}
)
"""Fields of a model's earlier thoughts that only the provider reads which wrote or signed them; another refuses them."""
_BOUND_TYPES: Final = ("item_reference", "redacted_thinking", "reasoning.encrypted")
"""Types of items and parts that are nothing but one of the two."""
_RUN_BY_CALLER: Final = ("function", "custom")
"""Types of tools that a provider only names to the caller; any other may be run where it is named, with effects."""
_RUNNING: Final = frozenset(
    {"mcp_servers", "web_search_options", "search_parameters", "plugins", "data_sources"}
)
"""Fields outside `tools` by which a provider runs one: servers for tools, searches, plugins, and where to retrieve from."""
_LOOKED_AT: Final = ("messages", "input", "tools", "extra_body")
"""Fields of a call in which something of its provider's may be named, at any place."""
_MAX_DEPTH: Final = 8
"""What a call names stands a few levels deep; deeper is the caller's own data."""
_OWN_DATA: Final = frozenset({"parameters", "arguments", "text", "schema"})
"""Fields whose content is the caller's: a schema with a field `file_id` names no file."""


class ShadowRequest:
    """is_stateful: a copy would store something at the provider, needs what is stored at another, or has tools run again."""

    __slots__ = ("is_stateful", "wants_json")

    def __init__(self, *, is_stateful: bool, wants_json: bool) -> None:
        self.is_stateful = is_stateful
        self.wants_json = wants_json


def read_request(raw: bytes, endpoint: Endpoint) -> ShadowRequest:
    """Reads the body of a call. Decodes it where one of the words stands in it, so this is no work for a caller's path."""
    if _TELLING.search(raw) is None and _ESCAPE not in raw:
        # responses are stored unless a call says that they are not
        return ShadowRequest(is_stateful=endpoint is RESPONSES, wants_json=False)
    document = decoded(raw)
    if not isinstance(document, dict):
        return ShadowRequest(is_stateful=True, wants_json=False)
    return ShadowRequest(
        is_stateful=_is_stateful(document, endpoint), wants_json=_wants_json(document)
    )


def _is_stateful(document: dict[str, Any], endpoint: Endpoint) -> bool:
    if endpoint is RESPONSES:
        if document.get("store") is not False or document.get("background"):
            return True
        if any(document.get(name) for name in ("previous_response_id", "conversation", "prompt")):
            return True
    elif document.get("store"):
        return True
    # a search is asked for by an empty object
    if any(document.get(name) not in (None, False, []) for name in _RUNNING):
        return True
    if _has_tools_run(document):
        return True
    return any(_is_bound(document.get(name), 0) for name in _LOOKED_AT)


def _has_tools_run(holder: dict[str, Any]) -> bool:
    """Returns whether the provider runs one of the tools itself: what a tool does, it would do once more for the copy."""
    tools = holder.get("tools")
    return isinstance(tools, list) and not all(_is_run_by_caller(tool) for tool in tools)


def _is_run_by_caller(tool: object) -> bool:
    if not isinstance(tool, dict):
        return False
    kind = tool.get("type")
    return "function" in tool if kind is None else kind in _RUN_BY_CALLER


def _is_bound(value: object, depth: int) -> bool:
    """Returns whether anything in the value means something at one provider only."""
    if depth == _MAX_DEPTH:
        return False
    if isinstance(value, list):
        return any(_is_bound(item, depth + 1) for item in value)
    if not isinstance(value, dict):
        return False
    # tools may have been found while the conversation went on
    if _is_bound_itself(value) or _has_tools_run(value):
        return True
    return any(_is_bound(item, depth + 1) for name, item in value.items() if name not in _OWN_DATA)


def _is_bound_itself(part: dict[str, Any]) -> bool:
    kind = part.get("type")
    if kind in _BOUND_TYPES:
        return True
    if kind == "reasoning" and part.get("id") and not part.get("content"):
        # all that there is of the thoughts stands at the provider, under this id
        return True
    audio = part.get("audio")
    if isinstance(audio, dict) and audio.get("id"):
        # what was said before, by the name of its recording
        return True
    return any(part.get(name) for name in _STORED) or any(part.get(name) for name in _SEALED)


def _wants_json(document: dict[str, Any]) -> bool:
    text = document.get("text")
    wanted = document.get("response_format", text.get("format") if isinstance(text, dict) else None)
    return isinstance(wanted, dict) and wanted.get("type") in ("json_object", "json_schema")
