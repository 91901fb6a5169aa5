"""Which routes match what an older one already does, kept up at the cost of what changes."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from relay_operator.decisions.route_acceptance import Age, Claim, Claimant


@dataclass(slots=True)
class Conflicts:
    """The routes of one namespace, and what `route_acceptance.conflicts` says of them."""

    losers: dict[str, str] = field(default_factory=dict)
    _entries: dict[str, Claimant] = field(default_factory=dict)
    _claimants: dict[Claim, set[str]] = field(default_factory=dict)
    _holders: dict[Claim, str] = field(default_factory=dict)

    def known(self) -> tuple[str, ...]:
        """Returns the routes that were taken in."""
        return tuple(self._entries)

    def update(self, changed: Mapping[str, Claimant | None]) -> set[str]:
        """Takes in routes as they are now, None for one that is gone; returns those that lose to another one than before,
        or do not lose any more, or do now.
        """
        before = {name: self.losers.get(name) for name in changed}
        freed = {claim for name in changed for claim in self._withdraw(name)}
        looked_at = [entry for claim in freed for entry in self._claimants_of(claim)]
        for name, entry in changed.items():
            if entry is not None:
                self._enter(name, entry)
                looked_at.append((entry.age, name))
        for name, older in self._decide_all(looked_at):
            before.setdefault(name, older)
        return {name for name, older in before.items() if self.losers.get(name) != older}

    def _decide_all(self, looked_at: list[tuple[Age, str]]) -> Iterator[tuple[str, str | None]]:
        """Decides on these routes and on those that this concerns, the older first; yields each and to which it lost before.

        What is decided of a route can only change what is decided of younger ones.
        """
        heapq.heapify(looked_at)
        done: set[str] = set()
        while looked_at:
            age, name = heapq.heappop(looked_at)
            if name in done:
                continue
            done.add(name)
            yield name, self.losers.get(name)
            for claim in self._decide(name):
                for other in self._claimants_of(claim):
                    if other[0] > age:
                        heapq.heappush(looked_at, other)

    def _enter(self, name: str, entry: Claimant) -> None:
        self._entries[name] = entry
        for claim in entry.claims:
            self._claimants.setdefault(claim, set()).add(name)

    def _withdraw(self, name: str) -> list[Claim]:
        """Takes a route out; returns the claims that it held."""
        entry = self._entries.pop(name, None)
        self.losers.pop(name, None)
        held = []
        for claim in entry.claims if entry is not None else ():
            self._claimants[claim].discard(name)
            if not self._claimants[claim]:
                del self._claimants[claim]
            if self._holders.get(claim) == name:
                del self._holders[claim]
                held.append(claim)
        return held

    def _claimants_of(self, claim: Claim) -> list[tuple[Age, str]]:
        return [(self._entries[name].age, name) for name in self._claimants.get(claim, ())]

    def _decide(self, name: str) -> list[Claim]:
        """Decides whether a route loses; returns the claims that change hands by that."""
        entry = self._entries[name]
        older = next(
            (
                holder
                for claim in entry.claims
                if (holder := self._holders.get(claim)) is not None
                and self._entries[holder].age < entry.age
            ),
            None,
        )
        if older is None:
            self.losers.pop(name, None)
            moved = [claim for claim in entry.claims if self._holders.get(claim) != name]
            self._holders |= dict.fromkeys(moved, name)
        else:
            self.losers[name] = older
            moved = [claim for claim in entry.claims if self._holders.get(claim) == name]
            for claim in moved:
                del self._holders[claim]
        return moved
