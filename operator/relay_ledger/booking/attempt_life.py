"""Decides what becomes of an attempt when records of it come, in whatever order.

An attempt is in flight from the record that opens it to the one that closes it. The ledger sweeps one of which nobody is heard
again; if its end comes after all, that is what counts. `opened + unopened = closed + swept + in flight` holds after every step.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Final, Literal

LedgerPhase = Literal["opened", "closed", "swept"]
"""swept: closed by the ledger itself."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers of attempts, or their changes."""

    opened: int = 0
    closed: int = 0
    swept: int = 0
    unopened: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.opened + other.opened,
            self.closed + other.closed,
            self.swept + other.swept,
            self.unopened + other.unopened,
        )

    @property
    def in_flight(self) -> int:
        """Returns how many attempts are opened and not closed, if nothing was lost."""
        return self.opened + self.unopened - self.closed - self.swept


NONE: Final = Tally()


def _counted(phases: Set[LedgerPhase]) -> Tally:
    opened, closed = "opened" in phases, "closed" in phases
    return Tally(
        opened=int(opened),
        closed=int(closed),
        swept=int("swept" in phases and not closed),
        unopened=int((closed or "swept" in phases) and not opened),
    )


@dataclass(frozen=True, slots=True)
class Change:
    """The difference that new records make: to the tally, and to what is in flight (1, 0 or -1)."""

    tally: Tally
    in_flight: int


def change_of(known: Set[LedgerPhase], new: Iterable[LedgerPhase]) -> Change:
    """Returns what new phases of an attempt change, of which those were known."""
    before, after = _counted(known), _counted({*known, *new})
    tally = Tally(
        after.opened - before.opened,
        after.closed - before.closed,
        after.swept - before.swept,
        after.unopened - before.unopened,
    )
    return Change(tally, after.in_flight - before.in_flight)
