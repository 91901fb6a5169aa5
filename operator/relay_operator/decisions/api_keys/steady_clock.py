"""A clock for deadlines of days, which a wrong clock of the machine neither ends early nor puts off."""

from collections.abc import Callable
from typing import Final

_SLEW_SECONDS: Final = 1.0
"""Between two looks; what differs by less is a clock that is being corrected gently."""
_TRUST_SECONDS: Final = 3600.0
"""A wrong clock is found and set right within this; one that was set right stays."""


class SteadyClock:
    """Seconds since the epoch. A step of the machine's clock is followed once it has stood for an hour.

    So a clock that is wrong for less does nothing to a key. An operator that starts anew trusts the clock that it finds.
    """

    def __init__(self, *, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset: float | None = None
        self._stepped: tuple[float, float] | None = None

    def __call__(self) -> float:
        """Returns the time."""
        elapsed = self._monotonic()
        offset = self._wall() - elapsed
        if (
            self._offset is None
            or abs(offset - self._offset) < _SLEW_SECONDS
            or self._has_stood(offset, elapsed)
        ):
            self._offset, self._stepped = offset, None
        return self._offset + elapsed

    def _has_stood(self, offset: float, elapsed: float) -> bool:
        """Tells whether the machine's clock has been off by that much for long."""
        if self._stepped is None or abs(offset - self._stepped[0]) >= _SLEW_SECONDS:
            self._stepped = offset, elapsed
        return elapsed - self._stepped[1] >= _TRUST_SECONDS
