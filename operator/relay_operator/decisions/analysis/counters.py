"""Increases of counters, computed from samples; robust against restarts, gaps and faulty samples."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class CounterHistory:
    """The recent samples of one counter of one process.

    incarnation is the process's start time: only when it changes may the counter have begun again; any other step
    backwards is a faulty sample and ignored.
    """

    keep_seconds: float
    incarnation: float = 0.0
    samples: deque[tuple[float, float]] = field(default_factory=deque)
    carried: float = 0.0

    def observe(self, at: float, value: float, *, incarnation: float) -> None:
        """Adds one sample (at in seconds since the epoch). Samples out of order are ignored."""
        if self.samples and at <= self.samples[-1][0]:
            return
        if incarnation != self.incarnation and self.samples:
            # what the old process counted stays counted; the new one begins at zero
            self.carried = self.samples[-1][1]
        self.incarnation = incarnation
        total = self.carried + value
        if self.samples and total < self.samples[-1][1]:
            return
        self.samples.append((at, total))
        while len(self.samples) > 2 and self.samples[1][0] <= at - self.keep_seconds:
            self.samples.popleft()

    def increase_since(self, moment: float) -> float:
        """Computes what was counted after the moment, from the last sample before it (else from the first known)."""
        if not self.samples:
            return 0.0
        base = self.samples[0][1]
        for at, total in self.samples:
            if at > moment:
                break
            base = total
        return self.samples[-1][1] - base

    @property
    def newest(self) -> float:
        """Returns the time of the newest sample, 0 before the first."""
        return self.samples[-1][0] if self.samples else 0.0
