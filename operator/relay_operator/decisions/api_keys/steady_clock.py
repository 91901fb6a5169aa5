"""A clock for deadlines of days, which a wrong clock of the machine does not end early."""

from collections.abc import Callable
from typing import Final

_SLEW_SECONDS: Final = 1.0
"""Between two looks; what runs ahead by less is a clock that is being corrected gently."""
_TRUST_SECONDS: Final = 3600.0
"""A wrong clock is found and set right within this; one that was set right stays."""


class SteadyClock:
    """Seconds since the epoch. A step back is followed at once, one forward once it has stood for an hour.

    A key whose time would end by a step forward keeps it, then; a step back at most lengthens it by as much. An operator that
    starts anew trusts the clock that it finds.
    """

    def __init__(self, *, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset: float | None = None
        self._ahead: tuple[float, float] | None = None

    def __call__(self) -> float:
        """Returns the time."""
        elapsed = self._monotonic()
        offset = self._wall() - elapsed
        if (
            self._offset is None
            or offset - self._offset < _SLEW_SECONDS
            or self._has_stood(offset, elapsed)
        ):
            self._offset, self._ahead = offset, None
        return self._offset + elapsed

    def _has_stood(self, offset: float, elapsed: float) -> bool:
        """Tells whether the machine's clock has been that far ahead for long."""
        if self._ahead is None or abs(offset - self._ahead[0]) >= _SLEW_SECONDS:
            self._ahead = offset, elapsed
        return elapsed - self._ahead[1] >= _TRUST_SECONDS
