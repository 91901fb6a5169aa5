"""Seals the state that a server has a client carry from one round of a call to the next (MCP 2026-07-28, basic/patterns/mrtr).

It carries the id of the call, which is one call in the books however many rounds it takes. What comes back could be another's, or another call's, or old: it is opened only for the caller and the call that it was sealed
for, within its time. Nobody but the relay can read it: servers write of what they work on there.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from relay.tools.cursors import CursorSeal
from relay.tools.sealed.sealing import key_for, opened_text, sealed_text

LIFETIME_SECONDS: Final = 600
_NOT_BOUND: Final = frozenset({"_meta", "inputResponses", "requestState"})
"""Parameters that change from round to round."""
_KEY_PURPOSE: Final = b"relay request state v2"


class OpenedState(NamedTuple):
    """A server's state, and the id of the call that it belongs to."""

    state: str
    call_id: str


class StateSeal:
    """Seals and opens states for one caller at one moment. cursors does the same for places in lists.

    secret is known to all relay pods of the tenant and to no caller; while it is empty, no state is sealed and none opens.
    caller names the tenant and its API key; now is in seconds since 1970. new_nonce returns a random one with each call.
    """

    __slots__ = ("_caller", "_key", "_new_nonce", "_now", "cursors")

    def __init__(
        self, *, secret: bytes, caller: str, now: float, new_nonce: Callable[[], bytes]
    ) -> None:
        self._key = key_for(_KEY_PURPOSE, secret, caller.encode())
        self._caller = caller
        self._new_nonce = new_nonce
        self._now = int(now)
        self.cursors = CursorSeal(secret=secret, caller=caller, new_nonce=new_nonce)

    def sealed(self, state: str, binding: str, call_id: str) -> str | None:
        """Returns what the client gets instead of a server's state; None without a secret."""
        if not self._key:
            return None
        content = json.dumps([self._now + LIFETIME_SECONDS, call_id, state]).encode()
        return sealed_text(self._key, content, self._bound(binding), self._new_nonce())

    def opened(self, sealed: str, binding: str) -> OpenedState | None:
        """Returns the server's state; None for one that was not sealed for this caller and binding, or is too old."""
        plain = opened_text(self._key, sealed, self._bound(binding))
        if plain is None:
            return None
        expiry, call_id, state = json.loads(plain)
        return OpenedState(state, call_id) if self._now < expiry else None

    def _bound(self, binding: str) -> bytes:
        return json.dumps([self._caller, binding]).encode()


def binding_of(server: str, method: str, params: dict[str, Any]) -> str:
    """Returns what a state is bound to: the server, the method and everything that is asked of it."""
    bound = {key: value for key, value in params.items() if key not in _NOT_BOUND}
    text = json.dumps([server, method, bound], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
