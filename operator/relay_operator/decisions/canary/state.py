"""Phases of a canary, the plan that a spec asks for, and the position that status keeps."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal

from relay_operator.names import Reason


class Phase(StrEnum):
    """Names the position of a route's canary.

    In Preflight the relay pods probe the canary, in Shadowing they send it copies of calls, both before it gets any weight.
    Frozen keeps the weight where it is, because both sides fail or because a breach is to stop and not to roll back.
    Baking has all traffic on the canary before it counts as promoted.
    """

    STABLE = "Stable"
    PREFLIGHT = "Preflight"
    SHADOWING = "Shadowing"
    PROGRESSING = "Progressing"
    HOLDING = "Holding"
    PAUSED = "Paused"
    FROZEN = "Frozen"
    BAKING = "Baking"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"


_BEGINNINGS: Final = frozenset({Phase.STABLE, Phase.PREFLIGHT, Phase.PAUSED, Phase.ROLLED_BACK})
"""Where another spec leads: no canary, another one, or one that is refused because it was rolled back not long ago."""

MOVES: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.STABLE: _BEGINNINGS,
    Phase.PREFLIGHT: _BEGINNINGS | {Phase.SHADOWING, Phase.PROGRESSING},
    Phase.SHADOWING: _BEGINNINGS | {Phase.SHADOWING, Phase.PROGRESSING},
    Phase.PROGRESSING: frozenset(Phase),
    Phase.HOLDING: frozenset(Phase),
    Phase.PAUSED: frozenset(Phase),
    Phase.FROZEN: frozenset(Phase) - {Phase.PROMOTED, Phase.BAKING},
    Phase.BAKING: frozenset(Phase),
    Phase.PROMOTED: _BEGINNINGS | {Phase.PROMOTED, Phase.PROGRESSING, Phase.HOLDING},
    Phase.ROLLED_BACK: _BEGINNINGS,
}
"""Where each phase may go; another spec may lead from any phase to a beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPlan:
    """What shadow copies have to show before any weight: for so long, so many compared, and differing no more than that.

    max_difference_percent None only tells how they differ.
    """

    min_seconds: float = 0.0
    min_requests: int = 0
    max_difference_percent: float | None = None


BEFORE_WEIGHT: Final = frozenset({Phase.PREFLIGHT, Phase.SHADOWING})
ENDED: Final = (Phase.STABLE, Phase.PROMOTED, Phase.ROLLED_BACK)
"""Phases in which nothing more happens by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The canary that a spec asks for. fingerprint is empty without one; percent is the target weight, before which shadow asks
    for copies.

    held tells why the weight may not rise; it is empty while it may. turn tells why it is not this canary's turn to be raised,
    by the platform's budget; empty if it is. A step that is not passed within deadline_seconds, and
    a canary that cannot be measured for unmeasurable_seconds, is rolled back or held. max_cost_increase_percent is how much more than stable a call
    may cost, None without a limit. retry and approval are what a person wrote into the annotations of these names.
    """

    fingerprint: str = ""
    percent: int = 0
    step_percent: int = 100
    every_seconds: float = 0.0
    min_requests: int = 50
    guarded: bool = False
    paused: bool = False
    held: str = ""
    turn: str = ""
    bake_seconds: float = 0.0
    needs_approval: bool = False
    deadline_seconds: float = math.inf
    deadline_rolls_back: bool = False
    unmeasurable_seconds: float = math.inf
    unmeasurable_rolls_back: bool = False
    freezes_on_breach: bool = False
    on_stable_breach: Literal["Hold", "Continue", "Evacuate"] = "Hold"
    cool_down_seconds: float = 0.0
    shadow: ShadowPlan | None = None
    max_cost_increase_percent: float | None = None
    holds_on_unknown_cost: bool = True
    retry: str = ""
    approval: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """A canary that was rolled back: when, in seconds since the epoch, and why."""

    fingerprint: str
    at: float
    cause: str
    cause_reason: Reason = Reason.SLO_BREACH


CAUSES: Final = (
    Reason.SLO_BREACH,
    Reason.STEP_DEADLINE,
    Reason.UNMEASURABLE,
    Reason.UNRECORDED,
    Reason.SHARED_INCIDENT,
    Reason.STABLE_UNHEALTHY,
)
"""Reasons for which a canary is rolled back or frozen; by the last two it goes on by itself."""
MOST_ROLLED_BACK: Final = 5
"""Of the canaries that were rolled back last; older ones may be tried again at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The position of a route's canary, kept in status (route_status.py) so that it survives a restart.

    step_started_at is seconds since the epoch; cause tells why a canary was rolled back, or frozen by its own breach,
    and is empty in every other phase; cause_reason is the reason of that move, and of a freeze that ends by itself. run counts the canaries that were begun; rolled_back are the last ones that
    ended so, oldest first.
    """

    phase: Phase = Phase.STABLE
    weight_percent: int = 0
    fingerprint: str = ""
    step_index: int = 0
    step_started_at: float = 0.0
    cause: str = ""
    cause_reason: Reason = Reason.SLO_BREACH
    run: int = 0
    rolled_back: tuple[RolledBack, ...] = ()

    @property
    def is_frozen_by_breach(self) -> bool:
        """Tells whether the weight stays until a person decides; after an incident of both sides it goes on by itself."""
        return self.phase is Phase.FROZEN and self.cause != ""

    @property
    def run_token(self) -> str:
        """Names this run of the canary, so that what a person wrote about another one does not act on it."""
        return f"{self.fingerprint}/{self.run}"

    def is_of_the_run_of(self, other: "State") -> bool:
        """Tells whether both are of one run of one canary: what was measured in it counts for both."""
        return (self.fingerprint, self.run) == (other.fingerprint, other.run)

    @property
    def step_token(self) -> str:
        """Names this step of this run."""
        return f"{self.run_token}/{self.step_index}"

    def by_another_clock(self, ahead_seconds: float, *, now: float) -> "State":
        """Returns the same position by a clock that is so far ahead of the one that it was told by.

        A step has lasted as long as before. When a canary was rolled back is told as a time of day, and stays one; nothing
        is later than now.
        """
        started = self.step_started_at
        if started and self.phase not in ENDED:
            started += ahead_seconds
        return replace(
            self,
            step_started_at=min(started, now),
            rolled_back=tuple(replace(one, at=min(one.at, now)) for one in self.rolled_back),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A state with the reason for it: of the move that led there, or for staying.

    coming says in a few words what can come next, and from when on; due is the moment (seconds since the epoch) at which
    the passing of time alone may change the decision, 0 if it cannot. earliest is the first moment at which the next move
    can come, 0 if none is in sight. certified tells of a passed step whether the canary was shown to keep to its limits on
    it, None of every other decision. is_passed tells of a wait that the step has shown all that its deadline asks for.
    """

    state: State
    reason: Reason
    message: str
    coming: str = ""
    due: float = 0.0
    earliest: float = 0.0
    certified: bool | None = None
    is_passed: bool = False
