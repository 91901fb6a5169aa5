"""The cases: healthy canaries, bursts, incidents that both sides share, and canaries that are bad from the start or later.

Stable has 19 times the canary's calls unless said, and fails as the canary does before its fault.
"""

from typing import Final

from tests.simulation.relay_operator.judgement.streams import Bursts, Calls, Case

_HOUR: Final = 3600.0
_GOOD: Final = 0.001
_ONSET: Final = 600.0


def healthy(failing: float, per_second: float) -> Case:
    """A canary that fails as often as stable does, all of the time within the limit."""
    return Case(
        name=f"healthy, {100 * failing:g} % fail, {per_second:g}/s, 1 h",
        canary=Calls(per_second=per_second, failing=failing),
        stable=Calls(per_second=19 * per_second, failing=failing),
        seconds=_HOUR,
        tick_seconds=1.0,
    )


def bursty(
    per_second: float,
    every_seconds: float,
    *,
    stable_every: float | None,
    failing: float = 0.0,
    at_random: bool = False,
) -> Case:
    """Bursts of ten failures within a second; stable_every None leaves stable clean."""
    sides = "both sides" if stable_every else "canary alone"
    times = "at random about" if at_random else "every"
    bursts = None
    if stable_every:
        bursts = Bursts(every_seconds=stable_every, at_random=at_random)
    return Case(
        name=f"bursts of 10 {times} {every_seconds:g} s, {sides}, else {100 * failing:g} % fail, {per_second:g}/s, 1 h",
        canary=Calls(
            per_second=per_second,
            failing=failing,
            bursts=Bursts(every_seconds=every_seconds, at_random=at_random),
        ),
        stable=Calls(per_second=19 * per_second, failing=failing, bursts=bursts),
        seconds=_HOUR,
        tick_seconds=1.0,
    )


def shared(
    failing: float, incident: float, per_second: float, stable_per_second: float, later: float
) -> Case:
    """An incident of five minutes on both sides; stable shows it so many seconds later (or earlier)."""
    when = "later" if later > 0 else "earlier"
    end = _ONSET + 300
    return Case(
        name=f"shared incident {100 * failing:g} -> {100 * incident:g} %, {per_second:g}/s + {stable_per_second:g}/s, stable {abs(later):g} s {when}",
        canary=Calls(per_second=per_second, failing=failing, levels=((_ONSET, end, incident),)),
        stable=Calls(
            per_second=stable_per_second,
            failing=failing,
            levels=((_ONSET + later, end + later, incident),),
        ),
        seconds=end + 120,
    )


def bad(failing: float, per_second: float, seconds: float, *, late: bool = False) -> Case:
    """A canary that fails more than the limit, from the start or after ten good minutes."""
    begins = _ONSET if late else 0.0
    when = "after 10 min" if late else "from the start"
    return Case(
        name=f"{100 * failing:g} % fail {when}, {per_second:g}/s",
        canary=Calls(
            per_second=per_second, failing=_GOOD, levels=((begins, begins + seconds, failing),)
        ),
        stable=Calls(per_second=19 * per_second, failing=_GOOD),
        seconds=begins + seconds,
        onset=begins,
    )


def stable_bad(failing: float, per_second: float, seconds: float) -> Case:
    """A stable side that fails alone after ten good minutes."""
    end = _ONSET + seconds
    return Case(
        name=f"{100 * failing:g} % of stable fail after 10 min, {per_second:g}/s + {19 * per_second:g}/s",
        canary=Calls(per_second=per_second, failing=_GOOD),
        stable=Calls(per_second=19 * per_second, failing=_GOOD, levels=((_ONSET, end, failing),)),
        seconds=end,
        onset=_ONSET,
    )


ONE_SESSION: Final = Case(
    name="one session: 30 failures in 3 s, else 0.1 % fail, 20/s",
    canary=Calls(
        per_second=20,
        failing=_GOOD,
        bursts=Bursts(every_seconds=_ONSET, failures=30, within_seconds=3),
    ),
    stable=Calls(per_second=380, failing=_GOOD),
    seconds=_ONSET,
)
INDEPENDENT: Final = (
    healthy(0.001, 5),
    healthy(0.005, 5),
    healthy(0.005, 20),
    *(healthy(0.009, rate) for rate in (1.0, 5.0, 20.0, 100.0)),
)
AT_THE_LIMIT: Final = (healthy(0.01, 20),)
CLUSTERED: Final = (
    bursty(5, 600, stable_every=None),
    bursty(20, 600, stable_every=None),
    bursty(5, 1200, stable_every=1200 / 19),
    bursty(20, 300, stable_every=300 / 19),
    bursty(5, 1500, stable_every=1500 / 19, failing=0.001, at_random=True),
    bursty(20, 300, stable_every=300 / 19, failing=0.005, at_random=True),
    ONE_SESSION,
)
SHARED: Final = tuple(
    shared(failing, incident, canary, stable, later)
    for failing, incident in ((0.001, 0.02), (0.005, 0.1))
    for canary, stable in ((1.0, 19.0), (20.0, 380.0), (20.0, 20.0))
    for later in (2.0, -2.0)
    if canary != stable or later > 0
)
FOUND: Final = (
    *(bad(failing, 1, seconds) for failing, seconds in ((1.0, 120.0), (0.2, 300.0), (0.05, 1800.0), (0.02, _HOUR))),
    *(bad(failing, 20, seconds) for failing, seconds in ((1.0, 120.0), (0.2, 120.0), (0.05, 300.0), (0.02, 900.0))),
    *(bad(failing, 1, seconds, late=True) for failing, seconds in ((1.0, 120.0), (0.2, 300.0))),
    *(bad(failing, 20, seconds, late=True) for failing, seconds in ((1.0, 120.0), (0.2, 120.0), (0.05, 300.0), (0.02, 900.0))),
)  # fmt: skip
