"""Binds the state that a server has a client carry from one round of a call to the next (MCP 2026-07-28, basic/patterns/mrtr).

What comes back could be another's, or another call's, or old: it is opened only for the caller and the call that it was sealed
for, within its time. How a server protects its own state is its affair.
"""

import hashlib
import hmac
import json
from typing import Any, Final

LIFETIME_SECONDS: Final = 600
_SEPARATOR: Final = "."
_NOT_BOUND: Final = frozenset({"_meta", "inputResponses", "requestState"})
"""Parameters that change from round to round."""
_KEY_PURPOSE: Final = b"relay request state v1"


class StateSeal:
    """Seals and opens states for one caller at one moment.

    secret is known to all relay pods of the tenant and to no caller; while it is empty, nothing is sealed and nothing opens.
    caller names the tenant and its API key; now is in seconds since 1970.
    """

    __slots__ = ("_caller", "_has_secret", "_key", "_now")

    def __init__(self, *, secret: bytes, caller: str, now: float) -> None:
        self._has_secret = bool(secret)
        self._key = hmac.new(secret, _KEY_PURPOSE, hashlib.sha256).digest()
        self._caller = caller
        self._now = int(now)

    def sealed(self, state: str, binding: str) -> str | None:
        """Returns what the client gets instead of a server's state; None without a secret."""
        if not self._has_secret:
            return None
        expiry = str(self._now + LIFETIME_SECONDS)
        return _SEPARATOR.join((expiry, self._mac(expiry, binding, state), state))

    def opened(self, sealed: str, binding: str) -> str | None:
        """Returns the server's state; None for one that was not sealed for this caller and binding, or is too old."""
        expiry, _, rest = sealed.partition(_SEPARATOR)
        mac, _, state = rest.partition(_SEPARATOR)
        expected = self._mac(expiry, binding, state)
        if not hmac.compare_digest(mac.encode("utf-8", "replace"), expected.encode()):
            return None
        return state if self._has_secret and self._now < int(expiry) else None

    def _mac(self, expiry: str, binding: str, state: str) -> str:
        parts = json.dumps([self._caller, expiry, binding, state]).encode()
        return hmac.new(self._key, parts, hashlib.sha256).hexdigest()


def binding_of(server: str, method: str, params: dict[str, Any]) -> str:
    """Returns what a state is bound to: the server, the method and everything that is asked of it."""
    bound = {key: value for key, value in params.items() if key not in _NOT_BOUND}
    text = json.dumps([server, method, bound], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
