"""Rate-limit buckets, and the holds that calls have on them."""

from dataclasses import dataclass
from typing import Final

from relay.admission.not_admitted import NotAdmittedReason

SECONDS_PER_MINUTE: Final = 60.0
MOST_REMEMBERED: Final = 32
"""Points of its own past level that a bucket keeps while calls are under way."""
MOST_HOLD_SECONDS: Final = 60.0
"""Limits are per minute: calls under way may rely on a minute's refill at most, however long they last."""
HOLD_MEMORY_CALLS: Final = 50
"""A call's usual duration follows about this many of the latest; a new bucket assumes 0, which is strict."""
ROUNDING: Final = 1e-9
"""Refills in floating point may fall an ulp short of a whole request or token; this part of the burst is forgiven."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The part of one limit that this process may spend: `rate` a second, and `burst` at once.

    per_minute is the limit itself, as it is shown to callers.
    """

    per_minute: int
    rate: float
    burst: float


def local_grant(per_minute: int, *, share: float, burst_seconds: float) -> Grant:
    """Grants a fixed share of the limit. Every bucket gets its rate and burst here.

    A grant that changes while the process runs, such as a lease from a shared store, would be made here as well and
    applied with RateLimit.retune: buckets and holds do not know where a grant comes from.
    """
    rate = per_minute * share / SECONDS_PER_MINUTE
    return Grant(per_minute, rate, max(1.0, rate * burst_seconds))


class _Level:
    """Holds what was spent of a bucket before its charge of this number. Changed in place: most charges have one."""

    __slots__ = ("number", "spent")

    def __init__(self, number: int, spent: float) -> None:
        self.number = number
        self.spent = spent


class RateLimit:
    """One GCRA bucket: a theoretical arrival time (tat), and for tokens the holds against it.

    `spent` at `now` is (tat - now) * rate, never below 0: it is never stored, so idle time costs nothing and cannot
    bring the level above burst. A negative level is debt.
    """

    __slots__ = (
        "_least_spent",
        "burst",
        "charges",
        "held",
        "open_holds",
        "per_minute",
        "rate",
        "reason",
        "tat",
        "usual_seconds",
    )

    def __init__(self, reason: NotAdmittedReason, grant: Grant, *, now: float) -> None:
        self.reason = reason
        self.tat = now
        self.held = 0
        self.open_holds = 0
        # how long a call usually lasts: the bucket refills meanwhile
        self.usual_seconds = 0.0
        # number of charges so far, and the level before some of them, ascending in both
        self.charges = 0
        self._least_spent: list[_Level] = []
        self._set(grant)

    def _set(self, grant: Grant) -> None:
        self.per_minute = grant.per_minute
        self.rate = grant.rate
        self.burst = grant.burst

    def spent(self, now: float) -> float:
        """Returns what has not been refilled yet; beyond burst it is debt."""
        return max(0.0, self.tat - now) * self.rate

    def available(self, now: float) -> float:
        """Returns what is left beside the open holds; negative while calls under way or debts take more.

        Holds count as far as they exceed what is refilled until they fall due. Counted in full, they would keep calls
        that last longer than the burst far below the rate: a minute's streams at a third of it.
        """
        pressing = self.held - self.rate * self.usual_seconds
        left = self.burst - self.spent(now)
        return left - pressing if pressing > 0 else left

    def wait_seconds(self, amount: int, now: float) -> float:
        """Returns the seconds until `amount` fits if every open hold is charged in full; 0 when it fits now."""
        # an amount beyond the bucket needs it full and free of holds
        missing = min(amount, self.burst) - self.available(now)
        return missing / self.rate if missing > ROUNDING * self.burst else 0.0

    def charge(self, amount: int, now: float) -> None:
        """Spends the amount."""
        if self.open_holds:
            self._remember(self.spent(now))
        self.charges += 1
        self.tat = max(self.tat, now) + amount / self.rate

    def give_back(self, amount: int, *, charge: int, now: float) -> None:
        """Lowers the level as if charge number `charge` had been lower by amount.

        The lowest level since then bounds it: a bucket that was full in between would have overflowed.
        """
        levels = self._least_spent
        first = len(levels)
        while first > 0 and levels[first - 1].number > charge:
            first -= 1
        given = min(float(amount), self.spent(now))
        if first < len(levels):
            given = min(given, levels[first].spent)
        for place in range(first, len(levels)):
            levels[place].spent -= given
        self.tat = max(self.tat, now) - given / self.rate

    def open_hold(self, amount: int) -> None:
        """Sets the amount aside until close_hold."""
        self.held += amount
        self.open_holds += 1

    def close_hold(self, seconds: float) -> None:
        """Counts one open hold fewer, after so many seconds; its tokens have been taken off `held` before."""
        seconds = min(seconds, MOST_HOLD_SECONDS)
        self.usual_seconds += (seconds - self.usual_seconds) / HOLD_MEMORY_CALLS
        self.open_holds -= 1
        if not self.open_holds:
            # no open hold is left that could be refunded
            self._least_spent.clear()

    def retune(self, grant: Grant, *, now: float) -> None:
        """Applies another grant; what was spent, owed and held stays so.

        Spent burst beyond the new burst is forgiven, or a lowered limit would lock its tenant out; debt is not.
        """
        spent, debt = min(self.spent(now), self.burst), max(0.0, self.spent(now) - self.burst)
        self._set(grant)
        self.tat = now + (min(spent, self.burst) + debt) / self.rate

    def _remember(self, spent: float) -> None:
        levels = self._least_spent
        while len(levels) > 1 and levels[-2].spent >= spent:
            levels.pop()
        if levels and levels[-1].spent >= spent:
            levels[-1].number = self.charges
            levels[-1].spent = spent
            return
        levels.append(_Level(self.charges, spent))
        if len(levels) > MOST_REMEMBERED:
            # keep the lower of the two oldest: calls charged between them are refunded less
            levels[1].spent = levels[0].spent
            del levels[0]


class Hold:
    """The tokens of one admitted call: charged so far, and held in each bucket until it is settled."""

    __slots__ = (
        "_admitted_at",
        "_buckets",
        "charged_tokens",
        "held_tokens",
        "settled",
    )

    def __init__(
        self,
        *,
        buckets: tuple[RateLimit, ...],
        input_tokens: int,
        output_tokens: int,
        now: float,
    ) -> None:
        self.charged_tokens = input_tokens
        self.held_tokens = output_tokens
        self.settled = False
        self._admitted_at = now
        self._buckets = tuple((bucket, bucket.charges) for bucket in buckets)
        for bucket in buckets:
            bucket.charge(input_tokens, now)
            bucket.open_hold(output_tokens)

    def progress(self, tokens: int, *, now: float) -> None:
        """Charges a running stream the `tokens` (input and output) that it used so far.

        Call it every few hundred tokens: what is charged refills while a long stream continues, what is held does not.
        """
        grown = tokens - self.charged_tokens
        if not self.settled and grown > 0:
            self._charge(tokens, release=min(grown, self.held_tokens), now=now)

    def settle(self, tokens: int, *, now: float) -> None:
        """Charges the call exactly `tokens` and ends its hold; only the first settlement counts."""
        if self.settled:
            return
        self.settled = True
        self._charge(tokens, release=self.held_tokens, now=now)
        for bucket, _ in self._buckets:
            bucket.close_hold(now - self._admitted_at)

    def _charge(self, tokens: int, *, release: int, now: float) -> None:
        grown = tokens - self.charged_tokens
        for bucket, charge in self._buckets:
            bucket.held -= release
            if grown >= 0:
                bucket.charge(grown, now)
            else:
                bucket.give_back(-grown, charge=charge, now=now)
        self.charged_tokens = tokens
        self.held_tokens -= release
