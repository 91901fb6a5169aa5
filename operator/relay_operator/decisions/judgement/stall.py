"""Finds a canary whose attempts start and do not end. No counter of ended attempts can tell that.

How long an attempt may take follows from how long they take: eight times the mean of the side where they take longer, and twice
the longest time in which none of several ended, within bounds. A canary of which none has ended yet gets more, and so do calls that
began together: they are one caller's, and of one kind. Calls may take an hour: a Provider's firstByteTimeout allows as much.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from typing import Final

from relay_operator.decisions.analysis.increments import Increments
from relay_operator.decisions.judgement.pace import Pace

FEWEST_ATTEMPTS: Final = 5.0
LEAST_SECONDS: Final = 12.0
LEAST_SECONDS_UNKNOWN: Final = 30.0
"""For a canary of which it is not known how long its attempts take, or which is silent for that long as a rule."""
FEWEST_KNOWN: Final = 8.0
"""So many calls that ended say how long calls take: that five others all outlast them by chance is rarer than once in a thousand."""
FEWEST_MOMENTS: Final = 3
"""Calls that began at fewer moments, those that were under way before taken for one, are of one caller."""
RESIDENCES: Final = 8.0
"""An attempt is overdue after this many times as long as they usually take."""
LONGEST_TIMES: Final = 2.0
"""So many times the longest time in which none of several attempts ended is more than chance."""
ENOUGH_SECONDS: Final = 300.0
LONG_RESIDENCES: Final = 3.0
"""After so long, or this many times as long as attempts usually take, several of them are overdue all the same."""
MOST_SECONDS: Final = 3600.0
_NATS: Final = log(1000)
_STEP_SECONDS: Final = 2.0
_NEAR_SECONDS: Final = 320.0
_FAR_STEP_SECONDS: Final = 20.0
"""Between starts that are further back than the near ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalled:
    """Attempts older than the time that had begun and not finished when none had for as long."""

    attempts: float
    seconds: float


@dataclass(frozen=True, slots=True)
class _Mark:
    at: float
    started: float
    stable_started: float


class StallWatch:
    """The starts of the last hour, with their times; begins anew with each life of the operator.

    known_seconds is how long the canary's attempts took when that was last known, and before that for how long stable's are under way
    at least, 0 where nothing is known: it stays known through hours without any, and status keeps it.
    """

    __slots__ = (
        "_began_at",
        "_canary_ended",
        "_canary_left",
        "_canary_pace",
        "_far_marks",
        "_finished_at",
        "_half_ended",
        "_left",
        "_left_over",
        "_marks",
        "_now",
        "_open_at_finish",
        "_shows_levels",
        "_stable_cancelled",
        "_stable_ended",
        "_stable_finished",
        "_stable_pace",
        "_stable_started",
        "_started",
        "_started_at_finish",
        "_under_way",
        "known_seconds",
    )

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque()
        self._far_marks: deque[_Mark] = deque()
        self._canary_pace, self._stable_pace = Pace(), Pace()
        self._started = self._stable_started = self._stable_ended = 0.0
        self._canary_ended = self._canary_left = 0.0
        # relays of older images do not say what is under way
        self._under_way, self._shows_levels = 0.0, False
        # since the canary last finished an attempt, or may have without being seen
        self._now = self._finished_at = 0.0
        self._started_at_finish = self._open_at_finish = 0.0
        self._stable_finished = self._stable_cancelled = self._left = 0.0
        # under way before the first tick: of an earlier run, which is not this one's fault
        self._left_over = self._began_at = 0.0
        # so many of stable's have ended once half of those have that were under way then
        self._half_ended = 0.0
        self.known_seconds = 0.0

    def tick(self, increments: Increments) -> Stalled | None:
        """Takes in a tick; returns what is stalled."""
        canary, stable, now = increments.canary, increments.stable, increments.now
        if now < self._now - LEAST_SECONDS:
            self._forget_times()
        self._started += canary.started
        self._stable_started += stable.started
        self._stable_ended += stable.finished + stable.cancelled
        self._canary_ended += canary.finished
        self._canary_left += canary.cancelled
        self._under_way = canary.under_way
        self._shows_levels |= canary.under_way > 0
        if not self._finished_at:
            self._began_at = now
            self._left_over = canary.under_way
            # too few say nothing
            enough = stable.under_way >= FEWEST_ATTEMPTS
            self._half_ended = self._stable_ended + stable.under_way / 2 if enough else 0.0
        self._left_over = min(self._left_over, canary.under_way)
        self._take_pace(increments)
        if canary.finished > 0 or not self._finished_at or self._was_unseen(increments):
            self._finished_at = now
            self._started_at_finish = self._started
            self._open_at_finish = canary.under_way - self._left_over
            self._stable_finished = self._stable_cancelled = self._left = 0.0
        else:
            self._left += canary.cancelled
        self._now = max(now, self._now)
        self._stable_finished += stable.finished
        self._stable_cancelled += stable.cancelled
        self._mark(now)
        return self._judge(now)

    def _forget_times(self) -> None:
        """Begins to wait anew: Prometheus' clock was set back, and what was marked by it lies ahead."""
        self._marks.clear()
        self._far_marks.clear()
        self._now = self._finished_at = 0.0

    def _was_unseen(self, increments: Increments) -> bool:
        """Tells whether attempts may have finished that nobody counted: in a gap of the scrapes, or on a pod without any."""
        is_gap = increments.seconds <= 0 and increments.now > self._now
        return is_gap or increments.fresh_pods < increments.expected_pods

    def _take_pace(self, increments: Increments) -> None:
        canary, stable = increments.canary, increments.stable
        for pace, side in ((self._canary_pace, canary), (self._stable_pace, stable)):
            # those that their clients left tell how patient these are, and may have hung
            pace.tick(increments.seconds, ended=side.finished, under_way=side.under_way)
        mean = self._canary_pace.mean
        if mean is not None:
            self.known_seconds = mean
        elif self._is_stable_slow:
            self.known_seconds = max(self.known_seconds, increments.now - self._began_at)

    @property
    def _is_stable_slow(self) -> bool:
        """Tells whether most of stable's attempts that were under way before the first tick are so still.

        A canary that gets all calls in one step has no other measure: stable begins none any more.
        """
        return self._stable_ended < self._half_ended

    def _mark(self, now: float) -> None:
        marks, far = self._marks, self._far_marks
        if marks and now - marks[-1].at < _STEP_SECONDS:
            return
        marks.append(_Mark(now, self._started, self._stable_started))
        while marks[0].at < now - _NEAR_SECONDS:
            mark = marks.popleft()
            if not far or mark.at - far[-1].at >= _FAR_STEP_SECONDS:
                far.append(mark)
        while far and far[0].at < now - MOST_SECONDS - _FAR_STEP_SECONDS:
            far.popleft()

    def _marks_back(self) -> Iterator[_Mark]:
        """Goes through the marks from the newest on."""
        yield from reversed(self._marks)
        yield from reversed(self._far_marks)

    def _judge(self, now: float) -> Stalled | None:
        if now - self._finished_at < LEAST_SECONDS:
            return None
        seconds = self._patience(now)
        old = self._mark_before(now - seconds)
        if old is None or self._overdue(old) < FEWEST_ATTEMPTS:
            return None
        if seconds < ENOUGH_SECONDS and self._moments(old) < FEWEST_MOMENTS:
            seconds = ENOUGH_SECONDS
            old = self._mark_before(now - seconds)
        attempts = self._overdue(old) if old is not None else 0.0
        if attempts < FEWEST_ATTEMPTS or not self._stable_finishes(attempts):
            return None
        return Stalled(attempts=attempts, seconds=seconds)

    def _mark_before(self, overdue: float) -> _Mark | None:
        """Returns the last mark before a time; None if an attempt has finished since."""
        if self._finished_at > overdue:
            return None
        return next((mark for mark in self._marks_back() if mark.at <= overdue), None)

    def _overdue(self, old: _Mark) -> float:
        """Counts the attempts that had begun by a mark and have not finished."""
        attempts = self._open_at_finish + max(old.started - self._started_at_finish, 0.0)
        if self._shows_levels:
            # those of a process that died, or of a pod that is gone, are neither under way nor left
            attempts = min(attempts, self._under_way - self._left_over + self._left)
        return attempts

    def _moments(self, until: _Mark) -> int:
        """Counts the moments at which calls began that are under way, up to a mark."""
        found = int(self._open_at_finish > 0)
        after: _Mark | None = None
        for mark in self._marks_back():
            if after is not None and after.at <= until.at:
                found += after.started > max(mark.started, self._started_at_finish)
            if mark.started <= self._started_at_finish:
                break
            after = mark
        return found

    def _patience(self, now: float) -> float:
        """Returns after how long an attempt is overdue."""
        canary, stable = self._canary_pace, self._stable_pace
        if self._is_nothing_known:
            # relays end what takes longer than a Provider may, and nobody has to wait for that
            return ENOUGH_SECONDS if self._canary_left >= FEWEST_ATTEMPTS else MOST_SECONDS
        # few calls end seldom: that none did for some seconds says nothing then
        least = min(max(LEAST_SECONDS, canary.silence(_NATS)), LEAST_SECONDS_UNKNOWN)
        if canary.mean is None:
            least = LEAST_SECONDS_UNKNOWN
        of_stable = self._residence(now) if stable.mean is None else stable.mean
        usual = max(of_stable, self.known_seconds)
        longest = max(canary.longest, stable.longest)
        seconds = max(least, RESIDENCES * usual, LONGEST_TIMES * longest)
        return min(seconds, max(ENOUGH_SECONDS, LONG_RESIDENCES * usual), MOST_SECONDS)

    @property
    def _is_nothing_known(self) -> bool:
        """Tells whether there is no measure of how long calls of the route take."""
        means = self._canary_pace.mean, self._stable_pace.mean
        few = self._canary_ended + self._stable_ended < FEWEST_KNOWN
        return few and means == (None, None) and self.known_seconds <= 0

    def _residence(self, now: float) -> float:
        """Returns how long stable's attempts take: since when as many had started as have ended (Little's ladder)."""
        for mark in self._marks_back():
            if mark.stable_started <= self._stable_ended:
                return now - mark.at
        return MOST_SECONDS

    def _stable_finishes(self, attempts: float) -> bool:
        """Tells whether so many attempts of stable would hardly all be left by their clients; also without any calls of it."""
        ended = self._stable_finished + self._stable_cancelled
        if ended <= 0:
            return self._stable_started <= self._stable_ended
        left = (self._stable_cancelled + 0.5) / (ended + 1)
        return -attempts * log(left) >= _NATS
