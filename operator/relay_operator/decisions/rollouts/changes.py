"""Changes of one tenant's pod template: whose they are, how their rollout stands, and what its Tenant tells of it."""

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from relay_operator.decisions.conditions import Condition, condition
from relay_operator.decisions.rollouts.deployments import Cause, Rollout
from relay_operator.decisions.rollouts.waves import Facts
from relay_operator.names import ConditionType, Reason

PATIENCE_SECONDS = 30.0
"""Trouble that has lasted this long without a further pod coming up does not pass by itself; if it does, all goes on."""


_STOPPED = (
    "the change of the platform behind it goes to no further tenant meanwhile: mend the cause, or undo the change "
    "(helm rollback)"
)


class Change(Enum):
    """Whose change makes the template another one than the Deployment was given: nobody's, the tenant's, the platform's."""

    NONE = "none"
    TENANT = "tenant"
    PLATFORM = "platform"


def change_of(rollout: Rollout | None, *, template: str, own: str) -> Change:
    """Tells whose change it is. template identifies what is wanted now, own what of the spec shapes it (api/tiers.py)."""
    if rollout is None:
        return Change.TENANT
    if rollout.note.template == template:
        return Change.NONE
    is_edited = bool(own and rollout.note.own) and own != rollout.note.own
    return Change.TENANT if is_edited else Change.PLATFORM


def cause_of(change: Change, rollout: Rollout | None) -> Cause:
    """Returns to whom the rollout counts that makes a change now.

    What a change of the platform has left unproven stays the platform's, also if the tenant edits its spec meanwhile:
    otherwise such an edit would let the change go on to the next tenants.
    """
    match change:
        case Change.PLATFORM:
            return Cause.PLATFORM
        case Change.NONE | Change.TENANT:
            is_unproven = rollout is not None and is_flying(rollout)
            kept = rollout is not None and change is Change.NONE
            return rollout.cause if rollout is not None and (kept or is_unproven) else Cause.TENANT
        case _:
            assert_never(change)


def is_flying(rollout: Rollout) -> bool:
    """Tells whether the platform's change has reached the tenant, and did not prove itself there yet."""
    return rollout.cause is Cause.PLATFORM and not rollout.is_done


def facts_before(rollout: Rollout) -> Facts:
    """Returns what is seen of a tenant whose pods do not have the platform's change."""
    pods, _, available = rollout.progress
    works = rollout.is_done and available >= min(pods, rollout.wanted)
    return Facts(has_change=False, works=works, by_wave=is_flying(rollout))


@dataclass(slots=True)
class Patience:
    """Measures how long a rollout has been in trouble without a further pod coming up. The trouble is kept for its words."""

    progress: tuple[int, int, int] = (-1, -1, -1)
    since: float | None = None
    trouble: str = ""

    def look(self, rollout: Rollout, trouble: str, now: float) -> None:
        """Takes in what is seen of the rollout."""
        if rollout.progress != self.progress:
            self.progress, self.since, self.trouble = rollout.progress, None, ""
        if trouble:
            self.trouble = trouble
            self.since = now if self.since is None else self.since

    def is_over(self, now: float) -> bool:
        return self.since is not None and now - self.since >= PATIENCE_SECONDS

    def seconds_left(self, now: float) -> float:
        """Returns when to look again; 0 for no special time."""
        if self.since is None or self.is_over(now):
            return 0.0
        return self.since + PATIENCE_SECONDS - now


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Tells how the rollout of a tenant's relay stands. A person has to act on one that is stuck alone."""

    reason: Reason
    message: str

    @property
    def is_stuck(self) -> bool:
        return self.reason is Reason.ROLLOUT_STUCK

    @property
    def condition(self) -> Condition:
        holds = self.reason is Reason.ROLLED_OUT
        return condition(ConditionType.ROLLED_OUT, holds, self.reason, self.reason, self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwritten:
    """A Deployment that could not be written: since when, and why as was told last."""

    since: float
    why: str

    def is_for_long(self, now: float) -> bool:
        return now - self.since >= PATIENCE_SECONDS


NOT_SEEN = Finding(reason=Reason.ROLLING_OUT, message="relay pods are being made")


def held(stopped_by: tuple[str, ...], *, most: int) -> Finding:
    """Tells of a tenant that waits for the platform's change."""
    kept = "this tenant's relay pods are as before and serve"
    if not stopped_by:
        message = (
            f"a change of the platform (a tier, the image) rolls the relays of {most} tenants at once; {kept} until it is "
            "their turn"
        )
        return Finding(reason=Reason.AWAITING_TURN, message=message)
    message = (
        f"a change of the platform (a tier, the image) is stopped: with it the relay of tenant {stopped_by[0]} does not "
        f"become available (its condition RolledOut says why); {kept}. It goes on when that relay becomes available; "
        "undo the change if it does not (helm rollback)"
    )
    return Finding(reason=Reason.WAVE_STOPPED, message=message)


def unwritten(why: str, *, is_stuck: bool, is_there: bool, by_platform: bool) -> Finding:
    """Tells of a tenant whose Deployment with the newest pod template could not be written. is_there tells of a former one."""
    message = f"the Deployment with the newest pod template is not written yet: {why}"
    if is_there:
        message += "; the relay pods are as before and serve on"
    if by_platform and is_stuck:
        message += f"; {_STOPPED}"
    return Finding(reason=Reason.ROLLOUT_STUCK if is_stuck else Reason.ROLLING_OUT, message=message)


def under_way(
    rollout: Rollout | None, *, trouble: str, is_stuck: bool, deadline_seconds: int
) -> Finding:
    """Tells of a tenant whose pods have the newest template, or get it."""
    if rollout is None:
        return NOT_SEEN
    pods, updated, _ = rollout.progress
    if rollout.is_done:
        message = "every relay pod is of the newest pod template"
        return Finding(reason=Reason.ROLLED_OUT, message=message)
    if not is_stuck:
        if not pods:
            return NOT_SEEN
        message = f"{updated} of {pods} relay pods are of the newest pod template"
        return Finding(reason=Reason.ROLLING_OUT, message=message)
    why = trouble or f"not within {deadline_seconds} s"
    former = max(pods - updated, 0)
    serve = f"; {former} of the former serve on" if former else ""
    message = f"new relay pods do not become available: {why}{serve}"
    if rollout.cause is Cause.PLATFORM:
        message += f"; {_STOPPED}"
    return Finding(reason=Reason.ROLLOUT_STUCK, message=message)
