"""Leases: what each relay pod may spend of a limit before it asks again. All amounts are pico-USD, all times microseconds.

What is spent and what is leased is never more than the amount, whoever asks, dies or comes late, but for what a pod spent that nobody
has heard of since before its lease ended: that counts when it becomes known, and until then nobody can know it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

PARTS: Final = 2
"""A pod gets at most this part of what is left for each: the others ask in the meantime."""
SMALLEST_PARTS: Final = 16
"""And at least this part, that the first calls find something."""


class OutdatedAsk(Exception):
    """An ask that was overtaken by a later one of the same pod: its numbers are no longer true."""


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of a pod within one limit. granted, reported and booked only count up from the beginning of the period.

    reported is the pod's own word, booked what the ledger has postings of; they are of the same attempts, so that the larger is what
    it has spent as far as is known. What a correction gives back is booked of no pod, which reports nothing.
    """

    granted: int = 0
    reported: int = 0
    booked: int = 0
    until: int = 0
    sequence: int = 0

    @property
    def spent(self) -> int:
        """Returns what the pod has spent for certain; of no pod, where corrections gave something back, it may be less than nothing."""
        return max(self.reported, self.booked) if self.reported else self.booked

    def leased(self, now: int) -> int:
        """Returns what it may still spend."""
        return max(self.granted - self.spent, 0) if now < self.until else 0

    def taken(self, now: int) -> int:
        """Returns what nobody else may have."""
        return self.spent + self.leased(now)


NEW: Final = Account()


@dataclass(frozen=True, slots=True)
class Ask:
    """What a pod says of itself: relay_contract.billing.budget.LeaseAsk. allowance is what it takes for granted."""

    sequence: int
    allowance: int = 0
    spent: int = 0
    held: int = 0
    wanted: int = 0
    least: int = 0
    fresh: bool = False
    release: bool = False


def total_spent(accounts: Iterable[Account]) -> int:
    """Returns what was spent for certain."""
    return sum(account.spent for account in accounts)


def unleased(amount: int, accounts: Iterable[Account], now: int) -> int:
    """Returns what nobody has; below 0 where more was spent than there is."""
    return amount - sum(account.taken(now) for account in accounts)


def grant(
    amount: int, accounts: Mapping[str, Account], pod: str, ask: Ask, *, now: int, until: int
) -> Account:
    """Returns the pod's account after its ask, with a part of what is left; raises OutdatedAsk.

    What calls of the pod under way have reserved stays theirs, also where its lease has ended meanwhile.
    """
    account = accounts.get(pod, NEW)
    if ask.sequence <= account.sequence:
        raise OutdatedAsk
    account = replace(
        account, sequence=ask.sequence, reported=max(account.reported, ask.spent), until=until
    )
    if ask.fresh:
        # nothing is under way in it, and of what it was granted it knows nothing
        kept = account.spent
    elif now < accounts.get(pod, NEW).until:
        kept = max(min(account.granted, ask.allowance), account.spent + ask.held)
    else:
        kept = account.spent + ask.held
    if ask.release:
        return replace(account, granted=account.spent + ask.held)
    others = [one for name, one in accounts.items() if name != pod]
    left = unleased(amount, others, now) - max(kept, account.spent)
    free = max(kept - account.spent - ask.held, 0)
    pods = 1 + sum(one.leased(now) > 0 for one in others)
    more = min(max(_size(left + free, pods, ask) - free, 0), max(left, 0))
    return replace(account, granted=max(kept, account.spent) + more)


def _size(available: int, pods: int, ask: Ask) -> int:
    """Returns how much a pod should have free: what it wants, within bounds that leave the others something to ask for."""
    most = available // (PARTS * pods)
    size = min(max(ask.wanted, available // (SMALLEST_PARTS * pods)), most)
    # a call that fits into what is left is not refused because the parts are small
    return ask.least if size < ask.least <= available else size
