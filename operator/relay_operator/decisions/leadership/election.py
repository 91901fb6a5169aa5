"""The election of the one operator that acts, as a state machine without a clock, a network or a task.

Every claim is a write that the API server takes only for the version of the Lease that was read, so of several claims one
wins. A claim is allowed for a version

- that is our own;
- that its holder released, if we know of no later one;
- that has not changed for as long as a lease lasts, by our own clock, since we saw it first;
- that nobody holds, if we were the leader when we read it: the Lease was deleted, or its holder taken out, by hand.

A Lease that is missing is made without a holder, and claimed later like any other: making one is no claim, because nothing
tells how old a request to make it is.

A leader acts for less than a lease lasts, counted from before its claim was sent; who takes over counts from after it saw
that claim's effect. Both count by their own clocks, whose rates may differ by a tenth; no time of another machine has a part in
who leads. From the time that the last holder wrote, a new leader learns by which clock that one wrote statuses.
"""

from dataclasses import dataclass
from typing import Final

from relay_operator.decisions.leadership.lease import MOST_EPOCH, Lease

_FENCE_SHARE: Final = 5 / 6
"""Of the lease, the leader acts for this much. The rest is for clocks that differ, and for bytes that are on their way."""
_RENEW_SHARE: Final = 1 / 6
_POLL_SHARE: Final = 1 / 12


@dataclass(frozen=True, slots=True)
class Look:
    """Read the Lease."""


@dataclass(frozen=True, slots=True)
class Make:
    """Make a Lease without a holder."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Write ourselves as the holder into the Lease, if it has still this version."""

    version: str
    epoch: int


Step = Look | Make | Claim


class Election:
    """Keeps what one process knows of the Lease, and what follows. identity is of this process and of no other, ever.

    Times are seconds of one clock that never goes back and counts while the process is stopped. `until` is the time up to
    which this process is certainly the only leader; `is_lost` that it was the leader and another one may be by now, for good.
    """

    def __init__(self, *, identity: str, lease_seconds: int) -> None:
        self.identity = identity
        self.epoch = 0
        self.until = float("-inf")
        self.is_lost = False
        self._lease_seconds = lease_seconds
        self._known_epoch = 0
        self._seen: Lease | None = None
        self._is_missing = False
        self._version = ""
        self._seen_at = float("-inf")
        self._was_ours_then = False
        self._renewed_at, self._seen_renewed_at, self._renewals = 0.0, float("-inf"), 0
        self._looked_at = float("-inf")
        self._claimed_at = float("-inf")
        self._is_unanswered = False

    @property
    def seen(self) -> Lease | None:
        """Returns the Lease as it was read last; None where nobody knows."""
        return self._seen

    @property
    def patience_seconds(self) -> float:
        """Returns how long to wait for an answer about the Lease: twice before a leader has to stop."""
        return self._lease_seconds * _FENCE_SHARE / 2

    def leads(self, now: float) -> bool:
        """Tells whether no other process can be the leader."""
        return not self.is_lost and now < self.until

    def may_brake(self, now: float) -> bool:
        """Tells whether the lease of the last leader that is known of, which is this one, ran out because nothing answers, and for no
        other cause.
        """
        return self._is_unanswered and not self.is_lost and not self.leads(now)

    def next_step(self, now: float) -> Step:
        """Returns what to do with the Lease when it is time."""
        seen = self._seen
        if self._is_missing:
            return Make(max(self._known_epoch, self.epoch))
        if seen is None:
            return Look()
        if seen.holder == self.identity or self._is_only_unheld(seen):
            return Claim(seen.version, self._kept_epoch(seen))
        if self._is_free(seen) or now >= self._seen_at + self._wait_seconds(seen):
            newest = max(seen.epoch, self._known_epoch, self.epoch)
            return Claim(seen.version, min(newest + 1, MOST_EPOCH))
        return Look()

    def seconds_until_next(self, now: float) -> float:
        """Returns how long to wait before the next step."""
        seen = self._seen
        if seen is None:
            return 0.0
        if seen.holder == self.identity:
            due = self._claimed_at + self._lease_seconds * _RENEW_SHARE
        elif self._is_only_unheld(seen) or self._is_free(seen):
            due = now
        else:
            due = min(
                self._looked_at + self._lease_seconds * _POLL_SHARE,
                self._seen_at + self._wait_seconds(seen),
            )
        return max(due - now, 0.0)

    def clock_ahead_seconds(self, now: float, wall: float) -> float | None:
        """Returns by how much our clock of the time of day, which shows wall, is ahead of the last holder's.

        Who saw a renewal come knows it to a few seconds. None for who saw none: the holder may have stopped to renew long ago.
        """
        return wall - (self._renewed_at + now - self._seen_renewed_at) if self._renewals else None

    def note_epoch(self, epoch: int) -> None:
        """Takes in that a leader of this epoch has been, whatever the Lease says: it may have been deleted or restored."""
        self._known_epoch = max(self._known_epoch, min(epoch, MOST_EPOCH - 1))
        self._is_unanswered = self._is_unanswered and epoch <= self.epoch
        if 0 < self.epoch < self._known_epoch:
            # the next claim raises ours above it
            self._claimed_at = float("-inf")

    def saw(self, lease: Lease | None, *, now: float) -> None:
        """Takes in the Lease as the API server answered just now; None where there is none."""
        self._looked_at = now
        self._is_missing = lease is None
        if lease is None:
            self._seen, self._is_unanswered = None, False
            return
        if self._version != lease.version:
            self._version, self._seen_at, self._was_ours_then = lease.version, now, self.leads(now)
        self._seen = lease
        if lease.holder != self.identity:
            # a Lease that is deleted tells nobody any more which number its holder had
            self._known_epoch = max(self._known_epoch, min(lease.epoch, MOST_EPOCH - 1))
        if lease.renewed_at and lease.renewed_at != self._renewed_at:
            self._renewals += bool(self._renewed_at)
            self._renewed_at, self._seen_renewed_at = lease.renewed_at, now
        self._is_unanswered = self._is_unanswered and lease.holder == self.identity
        is_ours = lease.holder == self.identity or self._is_only_unheld(lease)
        if self.epoch and not is_ours:
            self.stop()

    def claimed(self, lease: Lease, *, started: float, now: float) -> None:
        """Takes in that a claim, sent at `started`, was taken: the Lease is now as answered.

        An answer that comes after the end changes nothing: the Lease may have been given back meanwhile.
        """
        self.saw(lease, now=now)
        if lease.holder == self.identity and not self.is_lost:
            self.epoch = max(self.epoch, lease.epoch)
            self._claimed_at = started
            self.until = started + self._lease_seconds * _FENCE_SHARE
            self._is_unanswered = self._is_unanswered or self.leads(now)

    def failed(self, *, unanswered: bool = False) -> None:
        """Takes in that a step did not succeed, or that nobody knows: only what the Lease is now helps.

        unanswered tells that the API server did not answer, or with an error of its own.
        """
        self._seen, self._is_missing = None, False
        self._is_unanswered = self._is_unanswered and unanswered

    def stop(self) -> None:
        """Ends the lead for good. A Lease that is still ours may be released from now on."""
        self.until, self.is_lost = float("-inf"), True

    def _is_only_unheld(self, lease: Lease) -> bool:
        """Tells of a Lease that nobody holds, and that nobody can have held before, since we were the leader then."""
        is_unheld = not lease.holder and not lease.is_released
        return is_unheld and self.epoch > 0 and self._was_ours_then and not self.is_lost

    def _is_free(self, lease: Lease) -> bool:
        """Tells of a Lease that its holder gave it back, and nobody can have held it since as far as is known: a backup may have brought
        the mark of an earlier one.
        """
        return lease.is_released and lease.epoch >= self._known_epoch

    def _kept_epoch(self, lease: Lease) -> int:
        if not self.epoch:
            # our claim was taken and its answer lost
            return lease.epoch if lease.epoch > self._known_epoch else self._known_epoch + 1
        kept = max(lease.epoch, self.epoch)
        return kept if kept >= self._known_epoch else self._known_epoch + 1

    def _wait_seconds(self, lease: Lease) -> float:
        return max(lease.duration_seconds, float(self._lease_seconds))
