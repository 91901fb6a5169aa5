"""Binds the state that a server has a client carry from one round of a call to the next (MCP 2026-07-28, basic/patterns/mrtr).

It carries the id of the call, which is one call in the books however many rounds it takes. What comes back could be another's, or another call's, or old: it is opened only for the caller and the call that it was sealed
for, within its time. How a server protects its own state is its affair.
"""

import hashlib
import hmac
import json
from typing import Any, Final, NamedTuple

LIFETIME_SECONDS: Final = 600
_SEPARATOR: Final = "."
_NOT_BOUND: Final = frozenset({"_meta", "inputResponses", "requestState"})
"""Parameters that change from round to round."""
_KEY_PURPOSE: Final = b"relay request state v1"


class OpenedState(NamedTuple):
    """A server's state, and the id of the call that it belongs to."""

    state: str
    call_id: str


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

    def sealed(self, state: str, binding: str, call_id: str) -> str | None:
        """Returns what the client gets instead of a server's state; None without a secret. The id is letters and digits."""
        if not self._has_secret:
            return None
        expiry = str(self._now + LIFETIME_SECONDS)
        mac = self._mac(expiry, call_id, binding, state)
        return _SEPARATOR.join((expiry, mac, call_id, state))

    def opened(self, sealed: str, binding: str) -> OpenedState | None:
        """Returns the server's state; None for one that was not sealed for this caller and binding, or is too old."""
        expiry, _, rest = sealed.partition(_SEPARATOR)
        mac, _, rest = rest.partition(_SEPARATOR)
        call_id, _, state = rest.partition(_SEPARATOR)
        expected = self._mac(expiry, call_id, binding, state)
        if not hmac.compare_digest(mac.encode("utf-8", "replace"), expected.encode()):
            return None
        is_open = self._has_secret and self._now < int(expiry)
        return OpenedState(state, call_id) if is_open else None

    def _mac(self, expiry: str, call_id: str, binding: str, state: str) -> str:
        parts = json.dumps([self._caller, expiry, call_id, binding, state]).encode()
        return hmac.new(self._key, parts, hashlib.sha256).hexdigest()


def binding_of(server: str, method: str, params: dict[str, Any]) -> str:
    """Returns what a state is bound to: the server, the method and everything that is asked of it."""
    bound = {key: value for key, value in params.items() if key not in _NOT_BOUND}
    text = json.dumps([server, method, bound], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
