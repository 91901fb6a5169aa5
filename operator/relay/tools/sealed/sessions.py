"""Sessions of the era that has them (MCP 2025-11-25, basic/transports, Session Management).

A relay keeps none. The id that a client gets is, sealed, what the relay has to know of the session: which sessions it has at the servers.
Every worker and pod can go on with it, only its time bounds it, and one that was sealed for another tenant or key does not open.
"""

import json
from typing import Final, NamedTuple

from relay.tools.sealed.sealing import key_for, opened_text, sealed_text

LIFETIME_SECONDS: Final = 24 * 60 * 60
MAX_SESSION_CHARACTERS: Final = 8192
"""Of the id that a client sends in a header."""
MAX_SERVER_SESSION_CHARACTERS: Final = 1024
_KEY_PURPOSE: Final = b"relay session id v2"


class ServerSession(NamedTuple):
    """A session at one server: the id by which it knows it, empty if it keeps none, and the revision that it speaks."""

    server: str
    id: str
    version: str
    has_logging: bool


class Session:
    """A client's session. servers are those that could be reached when it began, of all that were granted then."""

    __slots__ = ("granted", "servers", "version")

    def __init__(
        self, *, version: str, granted: tuple[str, ...], servers: tuple[ServerSession, ...]
    ) -> None:
        self.version = version
        self.granted = granted
        self.servers = servers

    def place(self, server: str) -> int:
        """Returns the server's place among those of the session; -1 of one that could not be reached."""
        for place, one in enumerate(self.servers):
            if one.server == server:
                return place
        return -1


class SessionSeal:
    """Seals and opens sessions for one caller at one moment (AES-GCM, NIST SP 800-38D).

    secret is known to all relay pods of the tenant and to no caller; while it is empty, nothing is sealed and nothing opens.
    caller names the tenant and its API key, not its secret, which may be rotated; now is in seconds since 1970.
    """

    __slots__ = ("_caller", "_key", "_now")

    def __init__(self, *, secret: bytes, caller: str, now: float) -> None:
        self._caller = caller.encode()
        self._key = key_for(_KEY_PURPOSE, secret, self._caller)
        self._now = int(now)

    def sealed(self, session: Session, nonce: bytes) -> str | None:
        """Returns the client's session id; None without a secret, and where it would be too long. No nonce is used twice."""
        if not self._key:
            return None
        content = [
            self._now + LIFETIME_SECONDS,
            session.version,
            list(session.granted),
            [list(one) for one in session.servers],
        ]
        plain = json.dumps(content, separators=(",", ":")).encode()
        text = sealed_text(self._key, plain, self._caller, nonce)
        return text if len(text) <= MAX_SESSION_CHARACTERS else None

    def opened(self, sealed: str) -> Session | None:
        """Returns the session; None for an id that was not sealed for this caller, or is too old."""
        if len(sealed) > MAX_SESSION_CHARACTERS:
            return None
        plain = opened_text(self._key, sealed, self._caller)
        if plain is None:
            return None
        expiry, version, granted, servers = json.loads(plain)
        if self._now >= expiry:
            return None
        return Session(
            version=version,
            granted=tuple(granted),
            servers=tuple(ServerSession(*one) for one in servers),
        )


def is_session_id(text: str) -> bool:
    """Returns whether a server may name a session so: visible ASCII."""
    return (
        len(text) <= MAX_SERVER_SESSION_CHARACTERS
        and text.isascii()
        and text.isprintable()
        and " " not in text
    )
