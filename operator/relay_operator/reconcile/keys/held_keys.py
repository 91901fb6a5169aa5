"""Keeps what later looks found of tenants' keys, held against what a reconcile that began earlier goes on with."""

from collections.abc import Mapping
from dataclasses import dataclass

Held = Mapping[str, frozenset[str]]
"""The digests that Secrets hold of each key, by its name."""


@dataclass(frozen=True, slots=True)
class _Look:
    ended: int
    held: Held


class HeldKeys:
    """The newest look at each tenant's Secrets past its reconcile.

    A look is ordered by when it began and ended: what was read later is true, whatever is still on its way.
    """

    def __init__(self) -> None:
        self._moment = 0
        self._looks: dict[str, _Look] = {}

    def begin(self) -> int:
        """Returns the moment at which a look at Secrets begins."""
        self._moment += 1
        return self._moment

    def end(self, space: str, held: Held) -> None:
        """Keeps what a look found; a reconcile that began to read before brings nothing else into force."""
        self._looks[space] = _Look(self.begin(), held)

    def newer_than(self, space: str, began: int) -> Held:
        """Returns what was found after a reconcile began to read; empty, and forgotten, if that knows better."""
        look = self._looks.get(space)
        if look is None:
            return {}
        if look.ended > began:
            return look.held
        del self._looks[space]
        return {}

    def forget(self, space: str) -> None:
        """Forgets a tenant that is gone."""
        self._looks.pop(space, None)
