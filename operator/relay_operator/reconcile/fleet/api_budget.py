"""The budget of calls to the API server: in all, and for each tenant.

A call is never held up, which would hold a worker: it is counted when it is made, and who has made too many has to wait until
the next piece of its work is begun. So one tenant that changes all the time delays itself alone, and whatever happens to the
fleet, the API server is asked no more than this for long. Nothing is dropped, and what takes traffic away does not wait for
others. However many calls that makes, no more than nine tenths of the rate is counted to the charge of the others: the rest is
left to changes that somebody makes meanwhile, and no debt is there afterwards.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from relay_operator.reconcile.work_queue import PLATFORM, WORKING_AT, Urgency

NO_LIMIT: Final = 0.0
BURST_SECONDS_OF_TENANT: Final = 10.0
"""A Tenant is made with some eighty calls, and a burst of changes of its routes takes a few each."""
_BURST_SECONDS: Final = 2.0
_URGENT_SHARE: Final = 0.9
_URGENT_BURST_SECONDS: Final = 1.0
_BURSTS_OF_URGENT: Final = 2
_FORGETTING: Final = 1024
_CLOCK_RESOLUTION_SECONDS: Final = 1e-6


@dataclass(slots=True)
class _Account:
    """Generic cell rate algorithm (ITU-T I.371): paid_at is when what was spent is paid for, in seconds of the clock."""

    seconds_each: float
    paid_at: float = 0.0

    def spend(self, now: float, *, longest_debt_seconds: float = math.inf) -> None:
        """Counts a call, unless that is a longer debt than this."""
        paid_at = max(self.paid_at, now) + self.seconds_each
        self.paid_at = max(self.paid_at, min(paid_at, now + longest_debt_seconds))

    def wait_seconds(self, tolerance: float, now: float) -> float:
        wait = self.paid_at - tolerance - now
        return wait if wait > _CLOCK_RESOLUTION_SECONDS and self.seconds_each else 0.0


@dataclass(slots=True, kw_only=True)
class ApiBudget:
    """Rates are in calls a second; NO_LIMIT sets none. Work for no tenant in particular counts in all alone."""

    calls_per_second: float
    calls_per_second_of_tenant: float
    clock: Callable[[], float]
    _all: _Account = field(init=False)
    _urgent: _Account = field(init=False)
    _of: dict[str, _Account] = field(default_factory=dict)
    _forget_at: int = _FORGETTING

    def __post_init__(self) -> None:
        self._all = _Account(_seconds_each(self.calls_per_second))
        self._urgent = _Account(_seconds_each(_URGENT_SHARE * self.calls_per_second))

    def spend(self, owner: str) -> None:
        """Counts one call of the work under way for a tenant, by its namespace, or for the platform."""
        now, urgency = self.clock(), WORKING_AT.get()
        if urgency >= Urgency.NORMAL:
            self._all.spend(now)
        elif not self._urgent.wait_seconds(_URGENT_BURST_SECONDS, now):
            self._urgent.spend(now)
            self._all.spend(now)
        if owner == PLATFORM or not self.calls_per_second_of_tenant:
            return
        account = self._of.get(owner)
        if account is None:
            self._forget_paid(now)
            account = self._of[owner] = _Account(_seconds_each(self.calls_per_second_of_tenant))
        is_immediate = urgency is Urgency.IMMEDIATE
        # what never waits is not to shut out what does
        most = _BURSTS_OF_URGENT * BURST_SECONDS_OF_TENANT if is_immediate else math.inf
        account.spend(now, longest_debt_seconds=most)

    def wait_seconds(self, urgency: Urgency) -> float:
        """Returns how long work of this urgency has to wait because of what all have spent.

        Work of the background leaves half of what may be spent at once to changes that somebody made.
        """
        if urgency < Urgency.NORMAL:
            return 0.0
        part = 1.0 if urgency is Urgency.NORMAL else 0.5
        return self._all.wait_seconds(part * _BURST_SECONDS, self.clock())

    def wait_seconds_of(self, owner: str, urgency: Urgency) -> float:
        """Returns how long work for a tenant has to wait because of what that tenant has spent.

        What takes traffic away waits only if there was as much of that again.
        """
        account = self._of.get(owner)
        if account is None or urgency is Urgency.IMMEDIATE:
            return 0.0
        bursts = _BURSTS_OF_URGENT if urgency is Urgency.URGENT else 1
        return account.wait_seconds(bursts * BURST_SECONDS_OF_TENANT, self.clock())

    def _forget_paid(self, now: float) -> None:
        """Drops the accounts that owe nothing, at a cost of a few steps for each that was opened."""
        if len(self._of) >= self._forget_at:
            self._of = {owner: one for owner, one in self._of.items() if one.paid_at > now}
            self._forget_at = max(2 * len(self._of), _FORGETTING)


def _seconds_each(calls_per_second: float) -> float:
    return 1 / calls_per_second if calls_per_second else 0.0
