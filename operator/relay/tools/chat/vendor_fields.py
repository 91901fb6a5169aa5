"""Finds, beside the lists of tools, what gives a model a tool: fields of vendors, and whatever they hold.

Vendors have names of their own for it, in any spelling and at any depth: `enable_search` and `search_options` (Qwen),
`enable_enhancement` (Hunyuan), `web_search_options`, `search_parameters` (xAI), `plugins` (OpenRouter), `extra_body.google.tools`
(Gemini), `parameters.tools` (DashScope), `data_sources` (Azure), `vector_store_ids` (LiteLLM), `container` (Anthropic), `agent_id` (Mistral).
No list of them is ever whole, so what counts is the words in a field's name.
"""

import re
from enum import Enum
from typing import Any, Final

from relay.tools.chat.tool_entries import TOOL_BOUNDS, UncheckableTools, read_value
from relay.tools.reading.lookalikes import MAX_KEY_CHARACTERS, folded, looks_like_one_of

MAX_SIGNS: Final = 8 * 1024
"""In keys that are not in ASCII; relay.tools.reading.lookalikes says what they cost."""


class Use(Enum):
    """What a field is by its name."""

    PLAIN = "plain"
    RUNS = "runs"
    """A provider may run a tool for it; without it the call is the same without that tool."""
    STORED = "stored"
    """It names something that is stored at the provider and may bring tools; without it the call is another one."""


_RUNNING: Final = re.compile(
    "tool|function|search|plugin|mcp|connector|brows|crawl|retriev|grounding|interpreter|codeexec|computeruse|sandbox|container"
    "|skill|urlcontext|webfetch|webaccess|internet|online|enhancement|knowledge|datasource|vectorstore|workflow|compound"
    "|integration|serverurl"
)
"""Words of names folded to letters and digits."""
_STORED: Final = re.compile("agent|assistantid|botid|preset|cachedcontent|^models$|^prompt$")
"""Of `models` the provider takes one where it will, and some names of models bring a search (`:online`)."""
_PLAIN: Final = frozenset(
    {
        *("maxtoolcalls", "paralleltoolcalls", "usebeamsearch", "beamsearch"),
        *("useragent", "toolcallid", "toolstream"),
    }
)
"""Names with such a word that give no tool."""
_TAKES_AWAY: Final = "disable"
"""How the names begin that take a tool away."""
_KINDS: Final = frozenset({"type", "kind", "mode"})
"""Keys whose values are names."""
_DATA: Final = frozenset(
    {
        *("schema", "jsonschema", "responseschema", "responsejsonschema", "guidedjson"),
        *("structuredoutputs", "logitbias"),
        *("documents", "metadata", "labels", "prediction", "contextmanagement"),
    }
)
"""Names of what is the caller's own data, or describes an answer: its keys are nobody's parameters."""
_IN_MESSAGES: Final = re.compile(
    rb'"(?=[tfpcm])(?:tool(?:s|\xc5\xbf)|function(?:s|\xc5\xbf)|plugin(?:s|\xc5\xbf)|connector(?:s|\xc5\xbf)|mcp_?server(?:s|\xc5\xbf)'
    rb'|tool_?config|function_?declaration(?:s|\xc5\xbf))"[ \t\r\n]*:',
    re.IGNORECASE,
)
"""Keys of messages that offer tools there. A quote inside a text has a backslash before it, so nothing else is written so."""
_OFFERS: Final = frozenset(
    {
        *("tools", "functions", "plugins", "connectors"),
        *("mcpservers", "toolconfig", "functiondeclarations"),
    }
)
_ESCAPED_LETTER: Final = re.compile(rb"\\u(?:00[4-7][0-9a-f]|0000|017f|212a)", re.IGNORECASE)
"""Letters that no encoder escapes, and what some readers take for one or for the end of a key."""


class VendorFields:
    """Reads the fields of one call; all together they may be so large, and have so many signs beyond ASCII in their keys."""

    __slots__ = ("_bytes_left", "_signs_left")

    def __init__(self) -> None:
        self._bytes_left = TOOL_BOUNDS.size
        self._signs_left = MAX_SIGNS

    def use_of(self, key: str) -> Use:
        """Returns what a field is by its name; raises UncheckableTools for one that is longer than any."""
        return _use_of(self._folded(key))

    def tool_inside(self, key: str, raw: bytes) -> str:
        """Returns where in the value of a field something gives a model a tool, as a path; empty if nothing does.

        Raises UncheckableTools for values that are too large, or have a key twice.
        """
        name = self._folded(key)
        if name in _DATA or not raw.startswith((b"{", b"[", b'"')):
            return ""
        if raw.startswith(b'"') and name not in _KINDS:
            return ""
        self._bytes_left -= len(raw)
        if self._bytes_left < 0:
            raise UncheckableTools
        return self._found_in(name, read_value(raw), key)

    def _found_in(self, name: str, value: Any, path: str) -> str:
        if isinstance(value, str):
            is_plain = name not in _KINDS or self.use_of(value) is Use.PLAIN
            return "" if is_plain else path
        if isinstance(value, list):
            for one in value:
                found = self._found_in(name, one, path)
                if found:
                    return found
        elif isinstance(value, dict):
            for key, one in value.items():
                found = self._found_at(key, one, f"{path}.{key}")
                if found:
                    return found
        return ""

    def _found_at(self, key: str, value: Any, path: str) -> str:
        if is_absent(value):
            return ""
        name = self._folded(key)
        if _use_of(name) is not Use.PLAIN:
            return path
        return "" if name in _DATA else self._found_in(name, value, path)

    def _folded(self, key: str) -> str:
        if len(key) > MAX_KEY_CHARACTERS:
            raise UncheckableTools
        if not key.isascii():
            self._signs_left -= len(key)
            if self._signs_left < 0:
                raise UncheckableTools
        return folded(key)


def _use_of(name: str) -> Use:
    if name in _PLAIN or name.startswith(_TAKES_AWAY):
        return Use.PLAIN
    if _STORED.search(name) is not None:
        return Use.STORED
    return Use.PLAIN if _RUNNING.search(name) is None else Use.RUNS


def is_absent(value: Any) -> bool:
    """Returns whether a value says that there is nothing; an empty object asks for a search as well."""
    return value is None or value is False or value == [] or value == ""


def offers_in_messages(raw: bytes, start: int, end: int) -> bool:
    """Returns whether messages that stand there in a body offer tools of their own; raises UncheckableTools."""
    if _IN_MESSAGES.search(raw, start, end) is not None:
        return True
    is_escaped = raw.find(b"\\u", start, end) >= 0
    if not is_escaped or _ESCAPED_LETTER.search(raw, start, end) is None:
        return False
    # rare: what the escapes spell may be a text as well
    return _offers(read_value(raw[start:end]))


def _offers(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_offers, value))
    if not isinstance(value, dict):
        return False
    return looks_like_one_of(_OFFERS, value) or any(map(_offers, value.values()))
