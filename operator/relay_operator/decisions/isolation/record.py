"""Keeps what is known of a tenant's isolation over time: which finding is in force, and when the next probe is due."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from relay_operator.decisions import conditions
from relay_operator.decisions.isolation.finding import NOT_PROBED, Finding
from relay_operator.names import ConditionType, Reason

CONFIRM_SECONDS = 2.0
"""A pod can start a moment before the network enforces its policies: one exposure alone is looked at again."""
_EXPOSURES = 2
_RETRY_SECONDS = (10.0, 30.0)
"""Between probes of a tenant that is not isolated: first and longest."""
_UNJUDGED_SECONDS = (1.0, 900.0)
"""Between probes that judge nothing: first and longest."""
_DOUBT_SECONDS = 45.0
"""A tenant that was isolated is told to be so for this long while probes judge nothing: a pod restarts."""
_PATIENCE = 2
"""Probes in a row that judge nothing; after that a new tenant's keys wait for no more."""
_OTHER_PROOFS = 3
"""In a row with which another proof is told: by what each probe finds out in time, what is told would change every other time."""
SETTLE_SECONDS = 0.5
"""From a change of policies to a probe: the network takes a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """finding is the one in force; proven_at is when a probe last judged anything, in this life of the operator, in
    seconds since the epoch; all other times are of a clock that nobody sets.

    exposures are those in a row that are not in force yet, unjudged the probes in a row that judged nothing, the first of
    them at doubted_at, others the proofs in a row that rest on other targets than the one in force. due_at is when the tenant is
    to be probed again.
    """

    finding: Finding = NOT_PROBED
    proven_at: float = 0.0
    exposures: int = 0
    unjudged: int = 0
    doubted_at: float = 0.0
    others: int = 0
    retries: int = 0
    due_at: float = 0.0

    @property
    def is_open(self) -> bool:
        """Tells whether it is still to be found out whether anything can be judged at all."""
        return self.finding.holds is None and self.unjudged < _PATIENCE


def remembered(status: Mapping[str, Any]) -> Record:
    """Returns what an earlier life of the operator found, as the Tenant's status tells it; a probe is due at once."""
    told = conditions.find(status, ConditionType.ISOLATED)
    for holds, text, reason in (
        (True, "True", Reason.PROBED),
        (False, "False", Reason.NOT_ENFORCED),
    ):
        if told.get("status") == text and told.get("reason") == reason.value:
            message = str(told.get("message", ""))
            finding = Finding(holds=holds, reason=reason, message=message)
            return Record(finding=finding)
    return Record()


def after(
    record: Record, found: Finding, *, now: float, period_seconds: float, jitter: float
) -> Record:
    """Returns the record after a probe. jitter, from 0 to 1, keeps tenants from being probed in step."""
    if found.holds is None:
        return _after_nothing(record, found, now)
    if found.holds:
        due_at = now + period_seconds * (0.9 + 0.2 * jitter)
        others = record.others + 1 if record.finding.holds and found != record.finding else 0
        if 0 < others < _OTHER_PROOFS:
            return Record(finding=record.finding, proven_at=now, others=others, due_at=due_at)
        return Record(finding=found, proven_at=now, due_at=due_at)
    if record.finding.holds is not False and record.exposures + 1 < _EXPOSURES:
        return replace(
            record, exposures=record.exposures + 1, unjudged=0, due_at=now + CONFIRM_SECONDS
        )
    # what is told stays as it was first told: the places change with every probe
    kept = record.finding if record.finding.holds is False else found
    due_at = now + _growing(_RETRY_SECONDS, record.retries)
    return Record(finding=kept, proven_at=now, retries=record.retries + 1, due_at=due_at)


def due_soon(record: Record, *, now: float) -> Record:
    """Returns the record of a tenant that is to be probed within a moment."""
    return replace(record, due_at=now + SETTLE_SECONDS)


def anew(record: Record) -> Record:
    """Returns the record after something changed that a finding depends on: pods, or policies."""
    return replace(record, unjudged=0)


def _after_nothing(record: Record, found: Finding, now: float) -> Record:
    """A tenant that was isolated stays so for a while, one that was not stays so until a probe proves otherwise."""
    doubted_at = record.doubted_at or now
    is_fresh = now - doubted_at < _DOUBT_SECONDS
    keeps = record.finding.holds is False or (record.finding.holds is True and is_fresh)
    return replace(
        record,
        finding=record.finding if keeps else found,
        exposures=0,
        unjudged=record.unjudged + 1,
        doubted_at=doubted_at,
        due_at=now + _growing(_UNJUDGED_SECONDS, record.unjudged),
    )


def _growing(seconds: tuple[float, float], times: int) -> float:
    first, longest = seconds
    return float(min(longest, first * 2 ** min(times, 16)))
