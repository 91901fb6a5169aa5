"""The header fields that repeat a body (MCP 2026-07-28, basic/transports/streamable-http, Request Metadata).

The body decides; a field that is missing or says something else refuses the request, since something between may go by it.
"""

import base64
import binascii
import re
from typing import Any, Final

from relay.tools.reading.eras import ERAS, MODERN_VERSION, Era
from relay.tools.reading.messages import Message
from relay.tools.reading.protocol_errors import ProtocolError

META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"

_NAMED_BY: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""The parameter that Mcp-Name repeats, of the methods that have to send it."""
_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_PLAIN: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")


class MirroredHeaders:
    """What a request says in its header; None of a field that is not there, all values of one that stands twice."""

    __slots__ = ("method", "name", "version")

    def __init__(self, *, version: str | None, method: str | None, name: str | None) -> None:
        self.version = version
        self.method = method
        self.name = name


def era_of(message: Message, headers: MirroredHeaders) -> Era | None:
    """Returns the era that a request is to be read in; None for a revision that is not known.

    Only modern requests name their revision in the body. One that names none at all is legacy, as `initialize` is.
    """
    if META_VERSION in _meta(message):
        return Era.MODERN
    return Era.LEGACY if headers.version is None else ERAS.get(headers.version)


def check(message: Message, headers: MirroredHeaders) -> ProtocolError | None:
    """Returns why a request of the modern era is refused: its own metadata, or a field that does not repeat it."""
    meta = _meta(message)
    version = meta.get(META_VERSION)
    if not isinstance(version, str) or not isinstance(meta.get(META_CAPABILITIES), dict):
        return ProtocolError.invalid_params
    if headers.version != version or headers.method != message.method:
        return ProtocolError.header_mismatch
    if version != MODERN_VERSION:
        return ProtocolError.unsupported_version
    key = _NAMED_BY.get(message.method)
    if key is None:
        return None
    name = message.params.get(key)
    if not isinstance(name, str):
        return ProtocolError.invalid_params
    if headers.name is None or decoded(headers.name) != name:
        return ProtocolError.header_mismatch
    return None


def check_given(message: Message, headers: MirroredHeaders) -> ProtocolError | None:
    """Returns why a message is refused that need not have these fields, and whose fields say something else than it does.

    Clients send them in the legacy era as well, and what goes by them does not ask for the era.
    """
    if headers.method is not None and headers.method != message.method:
        return ProtocolError.header_mismatch
    if headers.name is None:
        return None
    holders = (message.params, message.params.get("ref"))
    names = [one.get(key) for one in holders if isinstance(one, dict) for key in ("name", "uri")]
    return None if decoded(headers.name) in filter(None, names) else ProtocolError.header_mismatch


def name_header(message: Message, name: str) -> str | None:
    """Returns Mcp-Name for a message that goes on under this name; None where it has none."""
    return encoded(name) if message.method in _NAMED_BY else None


def encoded(name: str) -> str:
    """Returns a name as the value of a field. A name of text that has no UTF-8 is a ValueError."""
    if _PLAIN.fullmatch(name) is not None and _ENCODED.fullmatch(name) is None:
        return name
    return f"=?base64?{base64.b64encode(name.encode()).decode()}?="


def decoded(value: str) -> str | None:
    """Returns the name that a field's value stands for; None for one that stands for none."""
    found = _ENCODED.fullmatch(value)
    if found is None:
        return value if _PLAIN.fullmatch(value) is not None else None
    try:
        return base64.b64decode(found.group(1), validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _meta(message: Message) -> dict[str, Any]:
    meta = message.params.get("_meta")
    return meta if isinstance(meta, dict) else {}
