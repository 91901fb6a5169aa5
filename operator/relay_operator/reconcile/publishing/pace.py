"""The pace at which the versions of one tenant's document follow each other.

Each version costs as much as the whole document: to compose, to sign, to push to every pod, to store, and to take in
there. Versions of a large document are therefore further apart, so that n routes that change one after the other cost
what n routes cost, and not n documents. What takes traffic away goes first.
"""

from dataclasses import dataclass

_BYTES_A_SECOND = 2 * 1024 * 1024
"""The largest envelope, of 1 MiB, is followed by another one half a second later."""
_NOT_WORTH_WAITING_SECONDS = 0.005
_BRAKES_AT_ONCE = 4
"""Versions that take traffic away and wait for nothing, where the usual pace would have let one pass; more in such a
short time are no emergency, and share the next one.
"""


@dataclass(slots=True)
class Pace:
    """One a tenant (generic cell rate algorithm, ITU-T I.371): free_at is when the past versions are paid for.

    interval is that of the largest version that is not paid for. Versions that were made without waiting add no more than
    keeps one that takes traffic away for one interval, and any other for five. Times are those of the event loop.
    """

    _free_at: float = 0.0
    _interval: float = 0.0

    def wait_seconds(self, now: float, *, takes_away: bool) -> float:
        """Returns how long the next version has to wait; 0 when it may follow now."""
        tolerance = _BRAKES_AT_ONCE * self._interval if takes_away else 0.0
        wait = self._free_at - tolerance - now
        return wait if wait > _NOT_WORTH_WAITING_SECONDS else 0.0

    def spend(self, size: int, now: float) -> None:
        """Takes in that a version of so many bytes was made, whether or not it was its time."""
        interval = size / _BYTES_A_SECOND
        self._interval = max(interval, self._interval) if self._free_at > now else interval
        most = now + (_BRAKES_AT_ONCE + 1) * self._interval
        self._free_at = min(max(self._free_at, now) + interval, most)
