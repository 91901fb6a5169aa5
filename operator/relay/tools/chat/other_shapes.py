"""Finds what may call a tool in shapes that are of none of the APIs which the relay speaks.

Gateways pass on what they do not know: a candidate of Gemini's (`functionCall`), a block of Bedrock's (`toolUse`), a whole answer inside an envelope,
the provider's own call beside the one that they made of it. Clients that know the provider read it.
"""

import re
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

_KEYS: Final = re.compile(
    r"(?P<calls>(?:function|tool)[-_]?(?:call|use)s?)|(?P<runs>executable[-_]?code)|(?P<name>(?:tool|function)[-_]?name)",
    re.IGNORECASE,
)
_OPAQUE: Final = frozenset(
    {
        *("arguments", "args", "input", "parameters", "error", "usage", "usageMetadata"),
        *("tools", "functions", "tool_choice", "text", "metadata", "schema", "json_schema"),
    }
)
"""Keys whose values are data of calls, or tell of the request: what looks like a call there is nobody's."""


class Found(NamedTuple):
    """A value that may call a tool, and why: it stands under a key of calls, of what a provider runs or of a tool's name, or says by its type what it is."""

    why: Literal["calls", "runs", "name", "type"]
    value: Any


def may_be_calls(payload: dict[str, Any]) -> Iterator[Found]:
    """Yields whatever inside may call a tool, wherever it stands. Calls come before what is inside them."""
    left: list[Any] = [payload]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield from _under_keys(value)
            inside = [one for key, one in value.items() if key not in _OPAQUE]
        else:
            inside = list(value)
        inside.reverse()
        for one in inside:
            if isinstance(one, dict):
                if isinstance(one.get("type"), str):
                    yield Found("type", one)
                left.append(one)
            elif isinstance(one, list):
                left.append(one)


def _under_keys(value: dict[str, Any]) -> Iterator[Found]:
    for key, one in value.items():
        matched = _KEYS.fullmatch(key) if one and key not in _OPAQUE else None
        if matched is None:
            continue
        if matched["calls"]:
            yield Found("calls", one)
        elif matched["runs"]:
            yield Found("runs", one)
        else:
            yield Found("name", one)
