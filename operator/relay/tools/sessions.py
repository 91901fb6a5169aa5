"""Sessions of the era that has them (MCP 2025-11-25, basic/transports, Session Management).

A relay keeps none. The id that a client gets is, sealed, what the relay has to know of the session: which sessions it has at the servers.
Every worker and pod can go on with it, only its time bounds it, and one that was sealed for another tenant or key does not open.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LIFETIME_SECONDS: Final = 24 * 60 * 60
MAX_SESSION_CHARACTERS: Final = 8192
"""Of the id that a client sends in a header."""
MAX_SERVER_SESSION_CHARACTERS: Final = 1024
NONCE_BYTES: Final = 12
"""NIST SP 800-38D, section 8.2."""
MAX_EVENT_ID_CHARACTERS: Final = 4096
"""Of the id of an event that a client sends in a header."""
MAX_SERVER_ID_CHARACTERS: Final = 256
"""Of the id of an event that a server is shown again."""
_KEY_PURPOSE: Final = b"relay session id v1"
_EVENT_PURPOSE: Final = b"relay event id v1"


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
        self._key = hmac.new(secret, _KEY_PURPOSE, hashlib.sha256).digest() if secret else b""
        self._caller = caller.encode()
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
        sealed = nonce + AESGCM(self._key).encrypt(nonce, plain, self._caller)
        text = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        return text if len(text) <= MAX_SESSION_CHARACTERS else None

    def opened(self, sealed: str) -> Session | None:
        """Returns the session; None for an id that was not sealed for this caller, or is too old."""
        if not self._key or len(sealed) > MAX_SESSION_CHARACTERS or not sealed.isascii():
            return None
        try:
            raw = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
            plain = AESGCM(self._key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], self._caller)
        except (binascii.Error, ValueError, InvalidTag):
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


class PositionSeal:
    """Seals and opens how far a session's stream has come at each server, as the id of an event (MCP 2025-11-25, basic/transports, Resumability).

    It is one session's of one caller: in another it opens nothing, and no server is shown an id that it did not give there. secret is that
    of the session's own seal; while it is empty nothing is sealed.
    """

    __slots__ = ("_bound", "_key")

    def __init__(self, *, secret: bytes, caller: str, session: str) -> None:
        self._key = hmac.new(secret, _EVENT_PURPOSE, hashlib.sha256).digest() if secret else b""
        self._bound = json.dumps([caller, session]).encode()

    def sealed(self, positions: Mapping[int, str], nonce: bytes) -> str:
        """Returns the id of an event that was reached with these ids, by the servers' places; empty where there can be none."""
        if not self._key or not positions:
            return ""
        plain = json.dumps(list(positions.items()), separators=(",", ":")).encode()
        sealed = nonce + AESGCM(self._key).encrypt(nonce, plain, self._bound)
        text = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        return text if len(text) <= MAX_EVENT_ID_CHARACTERS else ""

    def opened(self, sealed: str) -> dict[int, str] | None:
        """Returns the servers' ids by their places; None of an id that was not sealed for this session."""
        if not self._key or len(sealed) > MAX_EVENT_ID_CHARACTERS or not sealed.isascii():
            return None
        try:
            raw = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
            plain = AESGCM(self._key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], self._bound)
        except (binascii.Error, ValueError, InvalidTag):
            return None
        return dict(json.loads(plain))


def is_server_id(text: str) -> bool:
    """Returns whether a server may be shown this id again in a header: visible ASCII."""
    return (
        0 < len(text) <= MAX_SERVER_ID_CHARACTERS
        and text.isascii()
        and text.isprintable()
        and " " not in text
    )
