"""The canary of one route while it is in use: its plan, its position, its tests, and what status was told of them."""

import math
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Final

from relay_operator.decisions.analysis.verdict import NOT_MEASURED, Objective, Outcome, Verdict
from relay_operator.decisions.canary import machine
from relay_operator.decisions.canary.copies import Shadowed, Trial
from relay_operator.decisions.canary.look import Look
from relay_operator.decisions.canary.probes import Probes
from relay_operator.decisions.canary.state import BEFORE_WEIGHT, ENDED, Decision, Phase, Plan, State
from relay_operator.decisions.judgement import memory
from relay_operator.decisions.judgement.means.cost_test import CostFinding
from relay_operator.decisions.judgement.route_judge import RouteJudge
from relay_operator.decisions.route_status import Move, Progress
from relay_operator.names import Reason

EVIDENCE_SECONDS: Final = 30.0
"""Figures in status are at least this old before newer ones of the same outcome replace them."""
_HISTORY_LENGTH: Final = 10
_TOLD: Final = frozenset(
    {
        Reason.THROTTLED,
        Reason.AWAITING_BUDGET,
        Reason.PREFLIGHT_FAILED,
        Reason.SHADOW_DIFFERS,
        Reason.COST_HIGHER,
        Reason.COST_UNKNOWN,
    }
)
"""Reasons for staying that are told like a move, once."""
RAISED: Final = (Phase.PROGRESSING, Phase.HOLDING, Phase.BAKING)
COSTS: Final = frozenset({Reason.COST_HIGHER, Reason.COST_UNKNOWN})
"""Reasons for staying of a canary that costs too much, or of which that is not known."""
_HOLDS: Final = COSTS | {Reason.PAUSED, Reason.AWAITING_BUDGET}
"""Reasons for staying that are none of what a step has to show."""
PASSED: Final = COSTS | {Reason.AWAITING_APPROVAL, Reason.AWAITING_BUDGET}
"""Reasons for staying of a step that is passed: what it was passed on must not be lost, or a restart would take that back."""
_BRIEF_SECONDS: Final = 10.0
"""What is still to be read after a start holds for a moment, as a spec that is not in force does: that is not told."""
_BY_HAND: Final = COSTS | {
    Reason.AWAITING_APPROVAL,
    Reason.AWAITING_BUDGET,
    Reason.NO_ANALYSIS,
    Reason.STEP_DEADLINE,
    Reason.UNMEASURABLE,
}
"""Reasons for which nothing moves, for long or until a person acts."""
_MOST_CHARACTERS: Final = 1024
"""Of a message in the history; an Event takes no more either."""


@dataclass(slots=True)
class Run:
    """The canary of one route while it is in use.

    measured_at is seconds since the epoch, 0 before the first measurement; standing is the decision about the present
    state, None before the first. told is the verdict as status has it, measured at told_at. judge holds the tests, remembered
    what status keeps of them. probes are what relay pods tell of the preflight, since probed_at; lacking says
    what pods have to get before the first weight. trial holds what shadow copies have shown, of which told_shadow is in status
    since told_shadow_at. held_until is the last moment at which the run was held by a person, a spec that is not in force, or the
    platform's budget; held_since is when a spec was first seen not to be in force. told_passed names the step that status tells
    to be passed, with what it was passed on. cost is what the ledger's figures say of it, None before it was asked.
    unseen_seconds is for how long of the step nothing was measured, beyond the tolerated_seconds that go by between looks.
    """

    plan: Plan
    objective: Objective | None
    stable_fingerprint: str
    state: State
    verdict: Verdict = NOT_MEASURED
    measured_at: float = 0.0
    standing: Decision | None = None
    told: Verdict = NOT_MEASURED
    told_at: float = 0.0
    judge: RouteJudge | None = None
    remembered: str = ""
    history: tuple[Move, ...] = ()
    unannounced: tuple[Move, ...] = ()
    unmeasurable_since: float = math.inf
    incident_at: float = -math.inf
    is_fresh: bool = False
    has_settled: bool = False
    probes: Probes | None = None
    probed_at: float = -math.inf
    lacking: str = ""
    trial: Trial | None = None
    told_shadow: Shadowed | None = None
    told_shadow_at: float = -math.inf
    held_until: float = 0.0
    held_since: float = math.inf
    told_passed: str = ""
    cost: CostFinding | None = None
    unseen_seconds: float = 0.0
    tolerated_seconds: float = 0.0

    def look(self, now: float) -> Look:
        """Returns what the run shows now; a restart of the operator begins its waits anew."""
        unmeasurable = self.verdict.outcome is Outcome.UNMEASURABLE
        if not unmeasurable or not self.is_measured:
            self.unmeasurable_since = math.inf
        elif self.unmeasurable_since > now:
            self.unmeasurable_since = now
        # an incident of which nothing is seen any more is not over
        unseen = self.state.phase is Phase.FROZEN and (unmeasurable or not self.is_fresh)
        together = self.verdict.reason is Reason.SHARED_INCIDENT
        alone = self.verdict.stable_exceeds and self.plan.on_stable_breach != "Continue"
        if unseen or together or alone:
            self.incident_at = now
        self._note_hold(now)
        self._note_unseen(now)
        return Look(
            verdict=self.verdict,
            now=now,
            step_requests=self.step_requests,
            unmeasurable_seconds=max(now - self.unmeasurable_since, 0.0),
            quiet_seconds=now - self.incident_at,
            is_fresh=self.is_fresh,
            probes=self.probes,
            shadow=self.trial.shown if self.trial is not None else None,
            held_until=self.held_until,
            unseen_seconds=self.unseen_seconds,
            told_passed=self._is_told_passed,
            cost=self.cost,
        )

    def _note_unseen(self, now: float) -> None:
        seen = self.judge.measured_seconds if self.judge is not None else math.inf
        lasted = now - self.state.step_started_at
        self.unseen_seconds = max(lasted - seen - self.tolerated_seconds, 0.0)

    @property
    def _is_told_passed(self) -> bool:
        return self.told_passed == self.state.step_token

    def _note_hold(self, now: float) -> None:
        long_enough = now - self.held_since >= _BRIEF_SECONDS
        if long_enough or self._waits_for_others:
            self.held_until = now
        self.held_since = min(self.held_since, now) if self.plan.held else math.inf

    @property
    def is_held(self) -> bool:
        """Tells whether the run waits for something else than what it has to show."""
        return self.state.phase not in ENDED and (bool(self.plan.held) or self._waits_for_others)

    @property
    def _waits_for_others(self) -> bool:
        """Tells whether the step has shown what it has to, or is not asked to."""
        is_passed = self.standing is not None and self.standing.is_passed
        return self.plan.paused or is_passed or self._stands_by(_HOLDS)

    def _stands_by(self, reasons: Set[Reason]) -> bool:
        return self.standing is not None and self.standing.reason in reasons

    @property
    def may_rise(self) -> bool:
        """Tells whether the platform's budget could keep the canary from rising at the next look."""
        plan, state = self.plan, self.state
        stays = plan.paused or plan.held or state.phase in (Phase.FROZEN, Phase.PROMOTED)
        return not stays and (
            state.weight_percent < plan.percent or state.fingerprint != plan.fingerprint
        )

    @property
    def is_risky(self) -> bool:
        """Tells whether the canary takes a place in the platform's budget: it has weight, and more is to come by itself.

        What waits for a person keeps nobody else waiting.
        """
        if self.state.weight_percent == 0 or self.state.phase not in RAISED:
            return False
        reason = self.standing.reason if self.standing is not None else None
        return not self.has_settled and reason not in _BY_HAND

    def settle(self) -> None:
        """Notes that the canary has shown at its destination what a step has to show; a bad minute later changes nothing."""
        at_destination = (
            self.standing is not None and self.standing.reason is Reason.DESTINATION_REACHED
        )
        enough = self.step_requests >= self.plan.min_requests
        passed = self.is_fresh and self.verdict.outcome is Outcome.HEALTHY and enough
        if at_destination and passed:
            self.has_settled = True

    @property
    def preflight_token(self) -> str | None:
        """Returns the token under which relay pods are to probe the canary; None while they are not to."""
        is_due = self.state.phase is Phase.PREFLIGHT
        is_due = is_due and self.state.fingerprint == self.plan.fingerprint
        return self.state.run_token if is_due else None

    @property
    def is_shadowed(self) -> bool:
        """Tells whether the run waits for what shadow copies show."""
        is_due = self.state.phase is Phase.SHADOWING and self.plan.shadow is not None
        return is_due and self.state.fingerprint == self.plan.fingerprint

    @property
    def is_on_trial(self) -> bool:
        """Tells whether anything is to be found out of the run."""
        return self.is_measured or self.is_shadowed or self.preflight_token is not None

    @property
    def copies_calls(self) -> bool:
        """Tells whether calls may be copied to the canary: with a phase for that in it and with weight, at no other time."""
        if self.plan.shadow is None:
            return True
        is_of_this = self.state.fingerprint == self.plan.fingerprint
        has_begun = self.state.phase is Phase.SHADOWING or self.state.weight_percent > 0
        return is_of_this and has_begun

    def try_copies(self) -> Trial:
        """Returns what the copies of the run have shown, under the present limit of failed calls."""
        limit = self.objective.max_error_percent if self.objective is not None else None
        if self.trial is None:
            self.trial = Trial(started_at=self.state.step_started_at, limit_percent=limit)
        self.trial.hold_to(limit)
        return self.trial

    @property
    def has_cost_limit(self) -> bool:
        """Tells whether the run goes on under a limit of cost."""
        return self.plan.max_cost_increase_percent is not None and self.state.phase not in ENDED

    @property
    def has_passed(self) -> bool:
        """Tells whether a relay pod has passed the preflight."""
        return self.probes is not None and self.probes.passed

    def hear(self, probes: Probes, now: float) -> bool:
        """Takes what relay pods tell of the preflight; True when that is news.

        A failure is told until a probe passes, and another one not sooner than it is told a verdict: a pod may fail in
        two ways in turn.
        """
        known = self.probes
        if known is not None and known.failure and not probes.passed:
            too_soon = now - self.probed_at < EVIDENCE_SECONDS and known.is_fresh
            if not probes.failure or too_soon:
                probes = replace(known, is_fresh=known.is_fresh or probes.is_fresh)
        if probes == known:
            return False
        if known is not None and known.failure and probes.failure not in ("", known.failure):
            self._announce_failure(probes, now)
        self.probes, self.probed_at = probes, now
        return True

    def _announce_failure(self, probes: Probes, now: float) -> None:
        """Lets an Event tell of another failure than the last. It is no move, so the history is left alone."""
        message = (
            f"the preflight of the canary fails otherwise now: {probes.failure}: {probes.message}"
        )
        move = Move(
            at=float(int(now)),
            reason=Reason.PREFLIGHT_FAILED.value,
            message=message,
            canary_percent=0,
        )
        self.unannounced = (*self.unannounced, move)

    @property
    def is_measured(self) -> bool:
        """Tells whether the SLO loop judges the canary: it has traffic and an objective, and its run is undecided.

        While another canary waits to start, nothing is judged: a decision would start it too early.
        """
        return (
            self.objective is not None
            and self.state.weight_percent > 0
            and self.state.phase not in (Phase.PROMOTED, Phase.ROLLED_BACK)
            and not self.state.is_frozen_by_breach
            and self.state.fingerprint == self.plan.fingerprint
        )

    @property
    def progress(self) -> Progress:
        """Returns the part of the run that status keeps."""
        was_held = self.held_until > self.state.step_started_at and self.state.phase not in ENDED
        return Progress(
            state=self.state,
            verdict=self.told,
            measured_at=self.told_at,
            history=self.history,
            remembered=self.remembered,
            probes=self.probes if self.state.phase is Phase.PREFLIGHT else None,
            shadow=self.told_shadow,
            is_held=self.is_held,
            held_until=0.0 if self.is_held or not was_held else self.held_until,
        )

    @property
    def step_requests(self) -> float:
        """Returns how many of the canary's calls were answered, well or badly, since the step began."""
        return self.judge.answered if self.judge is not None else 0.0

    def judge_of(self, objective: Objective) -> RouteJudge:
        """Returns the tests of the run; under other limits, those that go on have what they had."""
        if self.judge is None or self.judge.objective != objective:
            judge = RouteJudge(objective)
            if self.judge is not None:
                memory.restore(judge, memory.to_text(self.judge))
            elif self.remembered:
                memory.restore(judge, self.remembered)
                # what status has is as old as that at most
                judge.measured_seconds += EVIDENCE_SECONDS
            self.judge = judge
        return self.judge

    def begin_step(self) -> None:
        """Begins to count anew what a step needs; the tests go on."""
        self.has_settled = False
        if self.judge is not None:
            self.judge.begin_step()
            self.remembered = memory.to_text(self.judge)

    def tell(self, now: float) -> None:
        """Takes the newest verdict into status if its outcome changed, the step is passed, or the one there is EVIDENCE_SECONDS old.

        What copies have shown is taken as seldom, and once their phase is over.
        """
        is_old = now - self.told_shadow_at >= EVIDENCE_SECONDS
        if self.trial is not None and (is_old or not self.is_shadowed):
            self.told_shadow, self.told_shadow_at = self.trial.shown, now
        is_passed = self._stands_by(PASSED) and not self._is_told_passed
        if is_passed:
            self.told_passed = self.state.step_token
        is_due = is_passed or now - self.told_at >= EVIDENCE_SECONDS
        if is_due or self.told.gist != self.verdict.gist:
            self.told, self.told_at = self.verdict, self.measured_at
            if self.judge is not None:
                self.told = replace(self.verdict, metrics=self.judge.rows())
                self.remembered = memory.to_text(self.judge)

    @property
    def told_decision(self) -> Decision:
        """Returns the standing decision in the words of the verdict that status has."""
        assert self.standing is not None
        if self.state.phase in BEFORE_WEIGHT or self.standing.is_passed:
            return self.standing
        look = Look(
            verdict=self.told,
            now=self.state.step_started_at,
            unseen_seconds=self.unseen_seconds,
            told_passed=self._is_told_passed,
            cost=self.cost,
        )
        told = machine.next_state(self.state, look, plan=self.plan)
        return told if told.state == self.state else self.standing

    def forget_verdict(self) -> None:
        """Drops what was measured, because another run begins."""
        self.verdict, self.measured_at = NOT_MEASURED, 0.0
        self.told, self.told_at = NOT_MEASURED, 0.0
        self.judge, self.remembered = None, ""
        self.cost = None
        self.probes, self.probed_at = None, -math.inf
        self.forget_copies()
        self.unmeasurable_since, self.incident_at, self.is_fresh = math.inf, -math.inf, False

    def recall_copies(self, shown: Shadowed | None) -> None:
        """Goes on with what status has of shadow copies; the test of those that failed begins anew."""
        if shown is not None:
            self.trial = Trial(
                started_at=shown.started_at, limit_percent=None, counts=dict(shown.counts)
            )
            self.told_shadow = shown

    def forget_copies(self) -> None:
        """Drops what shadow copies have shown, because they begin anew."""
        self.trial = self.told_shadow = None
        self.told_shadow_at = -math.inf

    def tell_once(self, decision: Decision, now: float) -> None:
        """Records why the weight stays, although nothing moved, where a person is to hear of it."""
        if decision.reason in _TOLD and not self.has_told(decision):
            self.record(decision, now)

    def has_told(self, decision: Decision) -> bool:
        """Tells whether the last move was the same: the run only waited for something else in between."""
        last = self.history[-1] if self.history else None
        weight = decision.state.weight_percent
        if decision.reason in _TOLD and last is not None:
            # the same with newer figures
            return (last.reason, last.canary_percent) == (decision.reason.value, weight)
        return last is not None and (last.reason, last.message, last.canary_percent) == (
            decision.reason.value,
            decision.message[:_MOST_CHARACTERS],
            weight,
        )

    def record(self, decision: Decision, now: float) -> None:
        """Adds a move to the history and to those that no Event has told yet."""
        move = Move(
            at=float(int(now)),
            reason=decision.reason.value,
            message=decision.message[:_MOST_CHARACTERS],
            canary_percent=decision.state.weight_percent,
            certified=decision.certified,
        )
        self.history = (*self.history, move)[-_HISTORY_LENGTH:]
        self.unannounced = (*self.unannounced, move)
