"""A server of tools as relays reach it."""

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from relay_contract.part import Name, Part
from relay_contract.tools.manifest import ServerName

SESSION_REVISIONS: Final = ("2025-11-25", "2025-06-18")
"""Revisions of the protocol in which a server speaks in sessions alone, newest first."""


def _is_unset(value: object) -> bool:
    return value is None


def _is_false(value: object) -> bool:
    return value is False


class ToolServer(Part):
    """A server of the platform's that speaks MCP over HTTP. url is its endpoint, whole.

    The credential is the content of key_file, a name below UPSTREAM_KEYS_MOUNT, behind scheme in the field header; None sends
    none. Callers' own credentials never reach it. needs_sessions says that it speaks SESSION_REVISIONS alone.
    """

    name: ServerName
    url: Annotated[
        str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")
    ]
    key_file: Annotated[Name | None, Field(exclude_if=_is_unset)] = None
    header: Name = "Authorization"
    scheme: str = "Bearer"
    headers: dict[str, str] = Field(default_factory=dict)
    ca_bundle: Annotated[str | None, Field(exclude_if=_is_unset)] = None
    needs_sessions: Annotated[bool, Field(exclude_if=_is_false)] = False
