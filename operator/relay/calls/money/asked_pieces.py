"""Reads from a call how many searches of the web and fetched pages its provider may bill.

Sources: Anthropic's reference of `web_search_*` and `web_fetch_*` (`max_uses`), OpenAI's of `web_search` tools, `web_search_options` and
`max_tool_calls`, xAI's of `search_parameters`, Qwen's of `enable_search`, Gemini's of `google_search`, Moonshot's of `$web_search`.
"""

import json
from typing import Any, Final

from relay.dialect.body_fields import Span
from relay.dialect.body_scan import members, string_at
from relay.dialect.json_values import integer_at
from relay.dialect.request_body import CallBody
from relay_contract.billing.token_buckets import MAX_UNITS

UNBOUNDED: Final = 10
"""Taken for a tool whose call sets no bound. No provider tells one of its own."""
_SIGNS: Final = (b"search", b"Search", b"fetch", b"\\u")
"""One of them stands in every call for either; with escapes any name may be spelled otherwise."""
_FIELDS: Final = frozenset({"web_search_options", "search_parameters", "enable_search"})
"""Fields beside `tools` that ask for searches; an empty object asks for them as well."""
_SEARCHES: Final = ("web_search", "google_search", "googleSearch")
"""A tool searches the web if its `type` begins with one of these, or if it has one of them as a key."""
_FETCHES: Final = ("web_fetch",)
"""The same, for tools that fetch pages."""
_OWN: Final = "$web_search"
_TOOLS: Final = "tools"
_BOUND: Final = "max_tool_calls"
_MAX_CHARACTERS: Final = 64


class AskedPieces:
    """Counts the searches of the web and the pages fetched that a provider may bill for one call, at most."""

    __slots__ = ("fetches", "searches")

    def __init__(self, *, searches: int, fetches: int) -> None:
        self.searches = searches
        self.fetches = fetches


NONE_ASKED: Final = AskedPieces(searches=0, fetches=0)
ANY_ASKED: Final = AskedPieces(searches=UNBOUNDED, fetches=UNBOUNDED)


def asked_pieces(body: CallBody) -> AskedPieces:
    """Reads what a body asks for. What cannot be read may be as much as a call without a bound."""
    raw = body.raw
    if not any(sign in raw for sign in _SIGNS):
        return NONE_ASKED
    places = members(raw)
    if places is None:
        return ANY_ASKED
    try:
        return _read(raw, places)
    except ValueError:
        # valid JSON all the same: a number with thousands of digits
        return ANY_ASKED


def _read(raw: bytes, places: tuple[Span, ...]) -> AskedPieces:
    searches = fetches = 0
    bound = MAX_UNITS
    for place in range(0, len(places), 2):
        name, (start, end) = string_at(raw, places[place], _MAX_CHARACTERS), places[place + 1]
        if name == _BOUND:
            asked = integer_at(raw, (start, end))
            bound = bound if asked is None else min(bound, asked)
        elif name in _FIELDS:
            searches += _of_field(json.loads(raw[start:end]))
        elif name == _TOOLS:
            tools = _entries(json.loads(raw[start:end]))
            searches += sum(_uses(tool) for tool in tools if _is_search(tool))
            fetches += sum(_uses(tool) for tool in tools if _is_kind(tool, _FETCHES))
    return AskedPieces(searches=min(searches, bound), fetches=min(fetches, bound))


def _of_field(value: Any) -> int:
    is_off = value in (None, False) or (isinstance(value, dict) and value.get("mode") == "off")
    return 0 if is_off else UNBOUNDED


def _entries(tools: Any) -> list[dict[str, Any]]:
    return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []


def _is_search(tool: dict[str, Any]) -> bool:
    function = tool.get("function")
    is_own = isinstance(function, dict) and function.get("name") == _OWN
    return is_own or _is_kind(tool, _SEARCHES)


def _is_kind(tool: dict[str, Any], names: tuple[str, ...]) -> bool:
    kind = tool.get("type")
    if kind is None:
        return any(key.startswith(names) for key in tool)
    return isinstance(kind, str) and kind.startswith(names)


def _uses(tool: dict[str, Any]) -> int:
    uses = tool.get("max_uses")
    if isinstance(uses, int) and not isinstance(uses, bool) and uses >= 0:
        return uses
    return UNBOUNDED
