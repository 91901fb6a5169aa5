"""How long answers took and how many calls had none, in a form that adds up: counts by steps of time.

Below 8 ms a step is one millisecond, above it an eighth of a power of two, so no time is told more than 12.5 % too long.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from relay_contract.billing.attempt_event import SERVED, AttemptClosed, AttemptOutcome
from relay_ledger.booking.posting import Figures

ANSWER_FIGURES: Final = ("calls", "served", "delivered")
"""calls: first attempts, so calls. served: those whose caller got an answer that the platform need not answer for. delivered: attempts
whose answer, or its beginning, went to the caller; of these the time is told."""
FINE_BITS: Final = 3
MAX_MILLISECONDS: Final = 2**31
_CALLERS_OWN: Final[frozenset[AttemptOutcome]] = frozenset({"ok", "client_error", "cancelled"})
"""An answer, one that says that the call was wrong, and one that the caller did not wait for."""


def time_step(milliseconds: int) -> int:
    """Returns the step of a time; longer ones have higher steps."""
    bounded = min(milliseconds, MAX_MILLISECONDS)
    shift = max(bounded.bit_length() - FINE_BITS - 1, 0)
    return (shift << FINE_BITS) + (bounded >> shift)


def longest_of(step: int) -> int:
    """Returns the time below which all of a step are, in milliseconds."""
    shift = max((step >> FINE_BITS) - 1, 0)
    return (step - (shift << FINE_BITS) + 1) << shift


def percentile(counts: Mapping[int, int], percent: int) -> int | None:
    """Returns a time that so many percent of the answers did not exceed, in milliseconds, by counts of steps; None without answers."""
    needed = -(-sum(counts.values()) * percent // 100)
    for step in sorted(counts):
        needed -= counts[step]
        if needed <= 0 < counts[step]:
            return longest_of(step)
    return None


def answer_figures(closed: AttemptClosed) -> Figures | None:
    """Returns what an attempt adds, None for one that callers have nothing of."""
    if closed.side not in SERVED:
        return None
    return {
        "calls": int(closed.attempt == 1),
        "served": int(closed.delivered and closed.outcome in _CALLERS_OWN),
        "delivered": int(closed.delivered),
    }


def step_of(closed: AttemptClosed) -> int:
    """Returns the step of an attempt's time, from dispatch to its end."""
    return time_step((closed.closed_at - closed.dispatched_at) // 1000)


def failed_calls(figures: Iterable[Figures]) -> tuple[int, int]:
    """Returns how many calls failed, and of how many. A call that goes over the end of the time counts on both sides of it."""
    calls = served = 0
    for one in figures:
        calls, served = calls + one["calls"], served + one["served"]
    return max(calls - served, 0), calls
