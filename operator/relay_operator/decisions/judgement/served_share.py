"""Compares the canary's share of the calls with the weight that was asked for. Nothing moves by it: it is told.

Sessions are assigned and calls are counted, and the calls of a session stay together; so a number of calls is taken for
one session, and a deviation counts only after a while.
"""

from typing import Final

from relay_operator.decisions.analysis.verdict import MetricRow
from relay_operator.decisions.judgement.quota import interval
from relay_operator.decisions.judgement.rows import percent

CALLS_OF_A_SESSION: Final = 10.0
FEWEST_SESSIONS: Final = 30.0
LASTING_SECONDS: Final = 120.0
"""Since the weight changed: relays take it within a second, and what was under way then has ended."""
_DEVIATIONS: Final = 3.3
"""Once in a thousand by chance."""
_WHOLE: Final = 100


class ServedShare:
    """The calls of both sides since the step began."""

    __slots__ = ("asked_percent", "canary", "seconds", "stable")

    def __init__(self, asked_percent: int = 0) -> None:
        self.asked_percent = asked_percent
        self.canary = self.stable = self.seconds = 0.0

    def tick(self, seconds: float, *, asked_percent: int, canary: float, stable: float) -> None:
        """Takes in the calls that began in so many seconds. Another weight begins anew."""
        if asked_percent != self.asked_percent:
            self.asked_percent = asked_percent
            self.canary = self.stable = self.seconds = 0.0
        self.seconds += seconds
        self.canary += canary
        self.stable += stable

    @property
    def deviates(self) -> bool:
        """Tells whether the share has been another than the one asked for, and not by chance, for long enough."""
        low, high = self._interval()
        lasting = self.seconds >= LASTING_SECONDS
        enough = self.canary + self.stable >= FEWEST_SESSIONS * CALLS_OF_A_SESSION
        return lasting and enough and not low <= self.asked_percent / _WHOLE <= high

    @property
    def finding(self) -> str:
        """Tells of a lasting deviation; nothing while there is none."""
        if not self.deviates:
            return ""
        low, high = self._interval()
        total = self.canary + self.stable
        return (
            f"the canary serves {percent(self.canary, total)} % of the calls ({100 * low:.3g} to {100 * high:.3g} %), "
            f"and the route asks for {self.asked_percent} %; look for an open breaker, calls that fall back, a provider that says when to come back (429, 503), or few large sessions"
        )

    def row(self) -> MetricRow | None:
        """Describes the share as a row of status; None before there were calls."""
        total = self.canary + self.stable
        if total <= 0 or not 0 < self.asked_percent < _WHOLE:
            return None
        low, high = self._interval()
        return MetricRow(
            name="Share",
            canary=f"{self.canary:.0f} of {total:.0f} ({percent(self.canary, total)} %)",
            stable=f"{self.stable:.0f} of {total:.0f} ({percent(self.stable, total)} %)",
            limit=f"{self.asked_percent} % asked",
            evidence=f"{100 * low:.3g} to {100 * high:.3g} %",
            certified=False,
            message=self.finding
            or f"the canary serves {percent(self.canary, total)} % of the calls, and the route asks for {self.asked_percent} %",
        )

    def _interval(self) -> tuple[float, float]:
        total = self.canary + self.stable
        if total <= 0:
            return 0.0, 1.0
        sessions = max(total / CALLS_OF_A_SESSION, 1.0)
        return interval(sessions * self.canary / total, sessions, deviations=_DEVIATIONS)
