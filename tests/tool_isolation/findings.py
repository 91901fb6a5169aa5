"""What a row of the suite found: what held, what broke, and what was left out and why."""

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How a row ended."""

    HELD = "held"
    BROKEN = "broken"
    NOT_APPLICABLE = "not applicable"


@dataclass(slots=True)
class Findings:
    """Collects what the checks of a row found. A row none of whose checks could be made is not applicable."""

    held: int = 0
    broken: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> bool:
        """Counts a check, or notes what is wrong; returns whether it held."""
        if holds:
            self.held += 1
        elif otherwise not in self.broken:
            self.broken.append(otherwise)
        return holds

    def leave_out(self, why: str) -> None:
        """Notes what could not be checked here, and why."""
        if why not in self.left_out:
            self.left_out.append(why)

    @property
    def outcome(self) -> Outcome:
        """Returns how the row ended."""
        if self.broken:
            return Outcome.BROKEN
        return Outcome.HELD if self.held else Outcome.NOT_APPLICABLE
