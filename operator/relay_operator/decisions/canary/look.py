"""What one decision about a canary rests on."""

import math
from dataclasses import dataclass

from relay_operator.decisions.analysis.verdict import Verdict
from relay_operator.decisions.canary.copies import Shadowed
from relay_operator.decisions.canary.probes import Probes
from relay_operator.decisions.judgement.means.cost_test import CostFinding


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Holds the facts that one decision about a running canary rests on.

    step_requests is the number of canary calls since the step began, unmeasurable_seconds how long nothing could be
    measured, quiet_seconds how long ago both sides failed together. is_fresh tells that the verdict was measured in this
    life of the operator: one that is only remembered raises, promotes and ends nothing. probes is what relay pods tell of
    the run's preflight, None before they were asked; shadow is what its shadow copies have shown, None before any. held_until is
    the last moment (seconds since the epoch) at which the run was held by something else than what it has to show: a deadline
    counts from there. unseen_seconds is for how long of the step nothing was measured: its least time does not run then. told_passed tells that status has the step as passed. cost is what is known of the canary's cost, None before the
    ledger was asked.
    """

    verdict: Verdict
    now: float
    step_requests: float = 0.0
    unmeasurable_seconds: float = 0.0
    quiet_seconds: float = math.inf
    is_fresh: bool = True
    probes: Probes | None = None
    shadow: Shadowed | None = None
    held_until: float = 0.0
    unseen_seconds: float = 0.0
    told_passed: bool = False
    cost: CostFinding | None = None
