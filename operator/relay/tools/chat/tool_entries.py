"""Reads lists of tools as callers write them, each entry by every name that a reader might find in it."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from relay.tools.reading.edits import edited, without_items
from relay.tools.reading.json_text import Bounds, UnreadableJson, items_at, text_of, value_in
from relay.tools.reading.lookalikes import looks_like_one_of

TOOL_BOUNDS: Final = Bounds(size=512 * 1024, depth=64, brackets=32 * 1024)
"""Of all tools of one call."""
_RUN_BY_CALLER: Final = ("function", "custom")
"""Types of tools that a provider only names to the caller. Any other runs at the provider, or where the provider calls it."""
_DECIDING_KEYS: Final = frozenset({"type", "name", "function", "custom"})
_OF_A_TOOL: Final = frozenset(
    {
        *("type", "name", "title", "description", "function", "custom"),
        *("parameters", "input_schema", "output_schema", "strict", "format", "annotations"),
        *("cache_control", "defer_loading", "eager_input_streaming", "input_examples", "examples"),
    }
)
"""Keys of an entry that its caller runs. Any other may be a second tool in it (`google_search`, `functionDeclarations`, `server_url`)."""
_OF_AN_INNER_TOOL: Final = _OF_A_TOOL - {"function", "custom"}
_MAX_LABEL_CHARACTERS: Final = 64


class UncheckableTools(Exception):
    """Readers could find other tools in the call than this one."""


class ToolList:
    """A list without what is denied: its text, how many entries are left, and what the others call themselves."""

    __slots__ = ("denied", "left", "text")

    def __init__(self, text: bytes, left: int, denied: tuple[str, ...]) -> None:
        self.text = text
        self.left = left
        self.denied = denied


def read_list(raw: bytes, is_permitted: Callable[[object], bool]) -> ToolList:
    """Reads a list; raises UncheckableTools for what is none, or holds a key twice."""
    try:
        text = text_of(raw, TOOL_BOUNDS)
        items, _ = items_at(text, 0)
    except UnreadableJson as error:
        raise UncheckableTools from error
    is_denied = [not is_permitted(item.value) for item in items]
    denied = [label(item.value) for item, drops in zip(items, is_denied, strict=True) if drops]
    if denied:
        text = edited(text, without_items(items, is_denied))
    return ToolList(text.encode(), len(items) - len(denied), tuple(denied))


def read_value(raw: bytes) -> Any:
    """Decodes a value that names tools; raises UncheckableTools."""
    try:
        return value_in(text_of(raw, TOOL_BOUNDS))
    except UnreadableJson as error:
        raise UncheckableTools from error


def names_of(entry: object) -> list[Any] | None:
    """Returns the names under which a tool may be known; None for one that its provider runs. Raises UncheckableTools.

    The Responses API has the name beside the type, chat completions one level deeper, and a provider may read either.
    """
    if not isinstance(entry, dict):
        return None
    _check_keys(entry)
    # a type that is null is none that a reader need take for a function
    kind = entry.get("type", "function")
    if not _OF_A_TOOL.issuperset(entry) or kind not in _RUN_BY_CALLER:
        return None
    names = [entry["name"]] if "name" in entry else []
    for inner in (entry[key] for key in _RUN_BY_CALLER if key in entry):
        if not isinstance(inner, dict):
            return None
        _check_keys(inner)
        if not _OF_AN_INNER_TOOL.issuperset(inner):
            return None
        names.append(inner.get("name"))
    return names if names and all(isinstance(name, str) for name in names) else None


def _check_keys(keys: Iterable[str]) -> None:
    """Refuses keys that a careless reader takes for those that decide."""
    if looks_like_one_of(_DECIDING_KEYS, (key for key in keys if key not in _DECIDING_KEYS)):
        raise UncheckableTools


def label(entry: object) -> str:
    """Returns what an entry calls itself, for its caller to recognise it; visible ASCII without commas."""
    if isinstance(entry, dict):
        for holder in (entry.get("function"), entry.get("custom"), entry):
            name = holder.get("name") if isinstance(holder, dict) else None
            if isinstance(name, str) and name:
                return printable(name)
        kind = entry.get("type")
        if isinstance(kind, str) and kind:
            return printable(kind)
    return "unnamed"


def printable(name: str) -> str:
    """Returns the name as it may stand in a list in a header field."""
    return "".join(
        sign if "!" <= sign <= "~" and sign != "," else "?" for sign in name[:_MAX_LABEL_CHARACTERS]
    )
