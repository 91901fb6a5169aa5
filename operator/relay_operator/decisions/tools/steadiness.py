"""Tells which definitions a server lists now so and now otherwise: each return would be a change for all its tenants.

Two pods of one server behind a Service, of two versions, answer by turns. A definition that changes back is in force again at once, since
a mistake may be taken back; one that goes on changing waits until it has been the same for a while.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

_MOST_CHANGES: Final = 2
"""Of a definition, in the time below: one, and the one that takes it back."""
STEADY_SECONDS: Final = 600.0

Restless = Mapping[tuple[str, str], tuple[str, str]]
"""Digests of those that change too often, by kind and name: as listed last, and before that."""
ALL_REST: Final[Restless] = MappingProxyType({})

_Name = tuple[str, str]


@dataclass(slots=True)
class _History:
    """What a definition was listed as: last, before that; when it changed and when it was listed, in seconds of a steady clock."""

    last: str
    former: str = ""
    seen: float = 0.0
    changes: deque[float] = field(default_factory=lambda: deque(maxlen=_MOST_CHANGES + 1))


class Steadiness:
    """The changes of one server's listed definitions, for as long as they matter."""

    def __init__(self) -> None:
        self._histories: dict[_Name, _History] = {}

    def look(self, found: Mapping[_Name, str], now: float) -> Restless:
        """Takes the digests of what is listed now, and the time; returns those that change too often.

        One that is left out of a list has not changed.
        """
        restless = {}
        histories = {}
        for name, digest in found.items():
            history = self._histories.get(name) or _History(last=digest)
            histories[name], history.seen = history, now
            if digest != history.last:
                history.last, history.former = digest, history.last
                history.changes.append(now)
            while history.changes and history.changes[0] <= now - STEADY_SECONDS:
                history.changes.popleft()
            if len(history.changes) > _MOST_CHANGES:
                restless[name] = (history.last, history.former)
        unlisted = {
            name: history
            for name, history in self._histories.items()
            if name not in histories and now - history.seen < STEADY_SECONDS
        }
        self._histories = histories | unlisted
        return restless
