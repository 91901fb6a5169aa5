"""Concludes from the measured differences whether the goal is met, and writes the line for machines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bench.isolation.intervals import Difference

GOAL_SECONDS: Final = 0.003
"""The most that a neighbour at ten times the load may add to a light caller's p99."""

Verdict = Literal["met", "missed", "open"]


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one case, in added latency: beside a flood, or beside a neighbour with odd bodies; or of a control."""

    added: Difference
    control: bool
    bodies: bool = False


def verdict(found: Sequence[Found]) -> Verdict:
    """Returns whether the goal is met beside a flood.

    open: the interval holds the goal. The machine's own pauses widen it, since they hit rounds of both kinds.
    """
    floods = [each.added for each in found if not each.control and not each.bodies]
    if max(added.upper for added in floods) <= GOAL_SECONDS:
        return "met"
    return "missed" if max(added.lower for added in floods) > GOAL_SECONDS else "open"


def last_line(found: Sequence[Found]) -> str:
    """Returns the line for machines: the worse of the cases of each kind, and the smaller of their controls."""
    return f"isolation: {_figures(found, bodies=False)} {_figures(found, bodies=True)}"


def _figures(found: Sequence[Found], *, bodies: bool) -> str:
    prefix = "bodies_" if bodies else ""
    kind = [each for each in found if each.bodies == bodies]
    worst = max((each.added for each in kind if not each.control), key=lambda added: added.upper)
    control = min(each.added.delta for each in kind if each.control)
    return (
        f"{prefix}delta_p99_ms={worst.delta * 1000:.2f} {prefix}upper95_ms={worst.upper * 1000:.2f} "
        f"{prefix}control_delta_p99_ms={control * 1000:.2f}"
    )
