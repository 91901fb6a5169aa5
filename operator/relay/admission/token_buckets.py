"""Buckets of a rate, and what a call holds of them until it is settled."""

from bisect import bisect_right
from math import inf
from typing import Final

SECONDS_PER_MINUTE: Final = 60.0
MOST_REMEMBERED: Final = 32
"""How finely a bucket remembers how full it has been while calls are under way."""
MOST_HOLD_SECONDS: Final = 60.0
"""Limits are per minute: calls under way may rely on a minute's refill at most, however long they last."""
HOLD_MEMORY_CALLS: Final = 50
"""How many of the latest calls tell how long a call lasts; none have when a bucket is new, and it is strict."""
ROUNDING: Final = 1e-9
"""Float refills may fall an ulp short of a whole request or token; this fraction of the burst is forgiven."""


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

    def __init__(
        self, reason: str, *, per_minute: int, share: float, burst_seconds: float, now: float
    ) -> None:
        self.reason = reason
        self.tat = now
        self.held = 0
        self.open_holds = 0
        # how long a call is under way as a rule: by then that much more has been refilled
        self.usual_seconds = 0.0
        # how many charges there were, and how little was spent just before some of them: (number, spent), rising
        self.charges = 0
        self._least_spent: list[tuple[int, float]] = []
        self._set(per_minute=per_minute, share=share, burst_seconds=burst_seconds)

    def _set(self, *, per_minute: int, share: float, burst_seconds: float) -> None:
        self.per_minute = per_minute
        self.rate = per_minute * share / SECONDS_PER_MINUTE
        self.burst = max(1.0, self.rate * burst_seconds)

    def spent(self, now: float) -> float:
        """What has not been refilled yet; beyond burst it is debt."""
        return max(0.0, self.tat - now) * self.rate

    def available(self, now: float) -> float:
        """What is left beside the open holds; negative while calls under way or debts take more.

        Holds count as far as they exceed what is refilled until they fall due. Counted in full, they would keep calls
        that last longer than the burst far below the rate: a minute's streams at a third of it.
        """
        pressing = self.held - self.rate * self.usual_seconds
        left = self.burst - self.spent(now)
        return left - pressing if pressing > 0 else left

    def wait_seconds(self, amount: int, now: float) -> float:
        """Seconds until `amount` fits if every open hold is charged in full; 0 when it fits now."""
        # an amount beyond the bucket needs it full and free of holds
        missing = min(amount, self.burst) - self.available(now)
        return missing / self.rate if missing > ROUNDING * self.burst else 0.0

    def charge(self, amount: int, now: float) -> None:
        """That much more is spent."""
        if self.open_holds:
            self._remember(self.spent(now))
        self.charges += 1
        self.tat = max(self.tat, now) + amount / self.rate

    def give_back(self, amount: int, *, charge: int, now: float) -> None:
        """As much is spent as if the charge of that number had been lower by amount.

        What was spent least since then bounds it: a bucket that was full in between would have overflowed.
        """
        first = bisect_right(self._least_spent, (charge, inf))
        later = self._least_spent[first:]
        given = min(float(amount), self.spent(now), *(spent for _, spent in later[:1]))
        self._least_spent[first:] = [(number, spent - given) for number, spent in later]
        self.tat = max(self.tat, now) - given / self.rate

    def open_hold(self, amount: int) -> None:
        """amount is set aside until close_hold."""
        self.held += amount
        self.open_holds += 1

    def close_hold(self, seconds: float) -> None:
        """One call fewer is under way, after so many seconds; what it held has been taken off `held`."""
        seconds = min(seconds, MOST_HOLD_SECONDS)
        self.usual_seconds += (seconds - self.usual_seconds) / HOLD_MEMORY_CALLS
        self.open_holds -= 1
        if not self.open_holds:
            # nobody is left who could be given anything back
            self._least_spent.clear()

    def retune(self, *, per_minute: int, share: float, burst_seconds: float, now: float) -> None:
        """The new figures are in force; what was spent, owed and held stays so.

        Spent burst beyond the new burst is forgiven, or a lowered limit would lock its tenant out; debt is not.
        """
        spent, debt = min(self.spent(now), self.burst), max(0.0, self.spent(now) - self.burst)
        self._set(per_minute=per_minute, share=share, burst_seconds=burst_seconds)
        self.tat = now + (min(spent, self.burst) + debt) / self.rate

    def _remember(self, spent: float) -> None:
        least = self._least_spent
        while least and least[-1][1] >= spent:
            least.pop()
        least.append((self.charges, spent))
        if len(least) > MOST_REMEMBERED:
            # the lower of the two oldest stands for both: calls charged between them are given back less
            least[:2] = [(least[1][0], least[0][1])]


class Hold:
    """A call that was admitted: what it has been charged, and what it holds of the token buckets until settled."""

    __slots__ = (
        "_admitted_at",
        "_buckets",
        "charged_tokens",
        "held_tokens",
        "key",
        "model",
        "settled",
    )

    def __init__(
        self,
        key: str,
        model: str,
        *,
        buckets: tuple[RateLimit, ...],
        input_tokens: int,
        output_tokens: int,
        now: float,
    ) -> None:
        self.key = key
        self.model = model
        self.charged_tokens = input_tokens
        self.held_tokens = output_tokens
        self.settled = False
        self._admitted_at = now
        self._buckets = tuple((bucket, bucket.charges) for bucket in buckets)
        for bucket in buckets:
            bucket.charge(input_tokens, now)
            bucket.open_hold(output_tokens)

    def progress(self, tokens: int, *, now: float) -> None:
        """A running stream has been charged the `tokens` (input and output) it used so far.

        Worth calling every few hundred tokens: what is charged refills while a long stream runs on, what is held
        does not.
        """
        grown = tokens - self.charged_tokens
        if not self.settled and grown > 0:
            self._charge(tokens, release=min(grown, self.held_tokens), now=now)

    def settle(self, tokens: int, *, now: float) -> None:
        """The call has been charged exactly `tokens` and holds nothing; only the first settlement counts."""
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
