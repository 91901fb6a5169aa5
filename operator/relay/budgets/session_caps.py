"""Caps of one session, against agents that loop: calls, tokens and money, counted by each worker for itself.

A session whose connections end at several workers or pods can get as much at each.
"""

from collections import OrderedDict
from typing import Final, Literal

from relay_contract.spending import SessionCaps

REMEMBERED_SESSIONS: Final = 10_000
"""The sessions of the last calls; one that was forgotten begins anew."""
Cap = Literal["", "calls", "tokens", "amount"]


class SessionUse:
    """What a session has used. calls counts those that have begun."""

    __slots__ = ("calls", "pico", "tokens")

    def __init__(self) -> None:
        self.calls = self.tokens = self.pico = 0


class SessionUses:
    """One per tenant and worker; outlives documents."""

    __slots__ = ("_uses",)

    def __init__(self) -> None:
        self._uses: OrderedDict[bytes, SessionUse] = OrderedDict()

    def use(self, session: bytes) -> SessionUse:
        """Returns what the session has used; forgets the one that was quiet for longest where there are too many."""
        use = self._uses.get(session)
        if use is None:
            if len(self._uses) >= REMEMBERED_SESSIONS:
                self._uses.popitem(last=False)
            use = self._uses[session] = SessionUse()
        else:
            self._uses.move_to_end(session)
        return use


def reached(caps: SessionCaps, use: SessionUse) -> Cap:
    """Returns the cap that a session has reached, "" if none."""
    if caps.calls is not None and use.calls >= caps.calls:
        return "calls"
    if caps.tokens is not None and use.tokens >= caps.tokens:
        return "tokens"
    if caps.amount_micro is not None and use.pico >= caps.amount_micro * 1_000_000:
        return "amount"
    return ""
