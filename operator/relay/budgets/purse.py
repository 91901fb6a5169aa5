"""Keeps what one worker may spend: slices of the tenant's limits, from which each call is reserved before it is sent."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final, final

from relay.budgets.shared_counters import HELD, SPENT, place


class Shortage(IntEnum):
    """A reason for which a call is not reserved."""

    SPENT = 0
    """Says that what nobody has spent yet does not cover the call."""
    PENDING = 1
    """The ledger has more, and was asked for it."""
    AWAY = 2
    """The ledger does not answer, and what was leased is spent or has ended."""


@final
class Slice:
    """A part of one limit. allowance is all that may be spent of it here; spent and held count from its beginning, in pico-USD.

    until is when the lease ends, as the event loop counts; ends_at is when the limit does, which may become another. left and elsewhere are what the ledger last told: what nobody has leased,
    and what others have. returns counts how often something was given back.
    """

    __slots__ = (
        "_counters",
        "_place",
        "allowance",
        "amount",
        "elsewhere",
        "ends_at",
        "held",
        "kind",
        "left",
        "returns",
        "slot",
        "spent",
        "starts_at",
        "until",
    )

    def __init__(
        self, counters: Any, worker: int, slot: int, *, kind: str, starts_at: int, ends_at: int
    ) -> None:
        self._counters = counters
        self._place = place(worker, slot)
        self.slot: Final = slot
        self.kind: Final = kind
        self.starts_at: Final = starts_at
        self.ends_at = ends_at
        self.allowance = self.amount = self.left = self.elsewhere = 0
        self.spent = self.held = self.returns = 0
        self.until = 0.0
        self._write()

    @property
    def free(self) -> int:
        """Returns what may be reserved."""
        return self.allowance - self.spent - self.held

    def hold(self, cost: int) -> None:
        """Reserves."""
        self.held += cost
        self._write()

    def settle(self, held: int, cost: int) -> None:
        """Ends a reservation by what was spent of it."""
        self.held -= held
        self.spent += cost
        self._write()

    def lower_to(self, allowance: int) -> None:
        """Gives back what is free above this."""
        self.allowance = max(allowance, self.spent + self.held)
        self.returns += 1

    def _write(self) -> None:
        self._counters[self._place + SPENT] = self.spent
        self._counters[self._place + HELD] = self.held


@final
class Shortfall:
    """Tells why a call is not reserved, and of which limit; slice is None where there is none."""

    __slots__ = ("kind", "reason", "slice")

    def __init__(self, reason: Shortage, kind: str, of: Slice | None) -> None:
        self.reason: Final = reason
        self.kind: Final = kind
        self.slice: Final = of


@final
class MoneyHold:
    """Holds what is reserved for one call, on every limit."""

    __slots__ = ("_slices", "cost", "settled")

    def __init__(self, cost: int, slices: list[Slice]) -> None:
        self.cost: Final = cost
        self._slices: Final = slices
        self.settled = False
        for one in slices:
            one.hold(cost)

    def settle(self, cost: int) -> None:
        """Books what the call has cost, once, and gives back the rest."""
        if self.settled:
            return
        self.settled = True
        for one in self._slices:
            one.settle(self.cost, cost)


class Purse:
    """One per worker. away says that the ledger does not answer; shortest is the least that a call needed which did not fit, since
    the last look. watcher is called for each of them.
    """

    __slots__ = ("_counters", "_slices", "_worker", "away", "shortages", "shortest", "watcher")

    def __init__(self, counters: Any, worker: int) -> None:
        self._counters = counters
        self._worker = worker
        self._slices: list[Slice] = []
        # until the first word of the ledger nobody knows whether it answers
        self.away = False
        self.shortages = 0
        self.shortest = 0
        self.watcher: Callable[[], None] | None = None

    def take(
        self,
        slot: int,
        *,
        kind: str,
        starts_at: int,
        ends_at: int,
        allowance: int,
        returns: int,
        until: float,
    ) -> Slice:
        """Takes over what the supervisor grants of a limit; a slot that stood for another period begins anew.

        A grant of before something was given back, which the supervisor has not heard of yet, does not count.
        """
        for one in self._slices:
            if one.slot == slot:
                if (one.kind, one.starts_at) == (kind, starts_at):
                    if returns == one.returns:
                        one.allowance = max(one.allowance, allowance)
                    one.until = until
                    one.ends_at = ends_at
                    return one
                self._slices.remove(one)
                break
        new = Slice(
            self._counters,
            self._worker,
            slot,
            kind=kind,
            starts_at=starts_at,
            ends_at=ends_at,
        )
        new.allowance = allowance
        new.returns = returns
        new.until = until
        self._slices.append(new)
        return new

    def slice_of(self, slot: int) -> Slice | None:
        """Finds what stands in a slot."""
        for one in self._slices:
            if one.slot == slot:
                return one
        return None

    def reserve(
        self, kinds: tuple[str, ...], cost: int, *, wall: int, now: float, serve_when_away: bool
    ) -> MoneyHold | Shortfall:
        """Reserves a call's cost on each of these limits, or on none; wall is microseconds since 1970."""
        held: list[Slice] = []
        for kind in kinds:
            one = self._current(kind, wall)
            if one is not None and now < one.until and one.free >= cost:
                held.append(one)
                continue
            shortage = self._shortage(one, cost, now)
            if self.away and serve_when_away:
                # what is spent beyond the slice is told to the ledger once it answers
                if one is not None:
                    held.append(one)
                continue
            self.shortages += 1
            self.shortest = min(self.shortest, cost) if self.shortest else cost
            if self.watcher is not None:
                self.watcher()
            return Shortfall(shortage, kind, one)
        return MoneyHold(cost, held)

    def take_shortest(self) -> int:
        """Returns what a call needed that did not fit since the last look, 0 if none did."""
        shortest, self.shortest = self.shortest, 0
        return shortest

    def _current(self, kind: str, wall: int) -> Slice | None:
        """Finds the slice of a moment: of several the one whose lease lasts longest, since the ledger renews those that hold alone."""
        found: Slice | None = None
        for one in self._slices:
            if (
                one.kind == kind
                and one.starts_at <= wall < one.ends_at
                and (found is None or one.until > found.until)
            ):
                found = one
        return found

    def _shortage(self, one: Slice | None, cost: int, now: float) -> Shortage:
        if one is None or now >= one.until:
            return Shortage.AWAY if self.away else Shortage.PENDING
        if cost > one.free + one.left + one.elsewhere:
            return Shortage.SPENT
        return Shortage.AWAY if self.away else Shortage.PENDING
