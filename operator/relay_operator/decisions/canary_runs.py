"""Plan, state, verdict and weight of every route's canary, decided in one place without waiting.

Decisions are synchronous: between reading the state and setting the weight nothing else runs, so the SLO loop and
the reconcilers may both call.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from relay_contract import document
from relay_contract.preflight import Preflight
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute, fingerprint
from relay_operator.decisions import route_status
from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.analysis.scrapes import RouteKey, Subject
from relay_operator.decisions.analysis.verdict import (
    NOT_MEASURED,
    Objective,
    Outcome,
    Verdict,
)
from relay_operator.decisions.canary import machine
from relay_operator.decisions.canary.budget import Budget
from relay_operator.decisions.canary.plans import objective_of, plan_of
from relay_operator.decisions.canary.probes import combined
from relay_operator.decisions.canary.resumption import (
    adopt,
    adopt_started,
    go_on_by_another_clock,
    leave,
    obey_lower,
    resume,
)
from relay_operator.decisions.canary.run import PASSED, RAISED, Run
from relay_operator.decisions.canary.state import ENDED, Decision, Phase, Plan, State
from relay_operator.decisions.ledger import cost_hold
from relay_operator.decisions.route_status import Progress
from relay_operator.names import Reason

_SETTLING = (Reason.AWAITING_EVIDENCE, Reason.PREFLIGHT)
"""Of decisions that begin to wait: what they wait for is the next move."""
_NOT_STORED = "this weight is not stored yet; it is not raised until the API server has it"


@dataclass(slots=True)
class CanaryRuns:
    """budget says how many canaries may be raised at once, ahead_seconds by how much our clock is ahead of the former leader's.

    What is resumed later was told by others: by the operator whose Tenant it was, or by this one.
    """

    evidence: Evidence
    budget: Budget = field(default_factory=Budget)
    ahead_seconds: Callable[[], float] = lambda: 0.0
    runs: dict[RouteKey, Run] = field(default_factory=dict)
    on_begin: list[Callable[[], None]] = field(default_factory=list)
    """Called whenever something was decided on that is on trial."""
    _names: dict[str, set[str]] = field(default_factory=dict)
    _lively: dict[RouteKey, None] = field(default_factory=dict)
    _inherited: set[RouteKey] = field(default_factory=set)

    def on_trial(self) -> list[tuple[RouteKey, Run]]:
        """Returns the runs of which something is to be found out: by measuring, by probing, or from shadow copies.

        Costs those, and the ones that somebody has decided on since the last call; never all that there are.
        """
        found = [(key, self.runs[key]) for key in self._lively]
        kept = [(key, run) for key, run in found if run.is_on_trial]
        self._lively = dict.fromkeys(key for key, _ in kept)
        return kept

    @property
    def are_at_rest(self) -> bool:
        """Tells whether nothing is on trial, and nobody has a place or waits for one; costs what on_trial() does."""
        is_any = any(self.runs[key].is_on_trial for key in self._lively)
        return not is_any and self.budget.is_empty

    def _note_lively(self, key: RouteKey, run: Run) -> None:
        self._lively[key] = None
        if run.is_on_trial:
            for begin in self.on_begin:
                begin()

    def in_namespace(self, namespace: str) -> list[tuple[RouteKey, Run]]:
        """Returns the runs of a tenant's routes, at the cost of those alone."""
        keys = [(namespace, name) for name in sorted(self._names.get(namespace, ()))]
        return [(key, self.runs[key]) for key in keys]

    def recall(self, key: RouteKey, status: Mapping[str, Any], *, now: float) -> None:
        """Takes from the status that the former leader told, before the first decision of this life, which canaries have a place
        and which are in line.
        """
        progress = route_status.from_status(status).progress
        if progress is None:
            return
        self._inherited.add(key)
        if not self.budget.most:
            return
        state = progress.state.by_another_clock(self.ahead_seconds(), now=now)
        waiting = _is_told(status, Reason.AWAITING_BUDGET)
        if waiting:
            self.budget.recall(key, state.step_started_at, now=now)
        elif state.weight_percent > 0 and state.phase in RAISED:
            self.budget.place(key)
            self.budget.doubt(key, now=now)

    def accept(
        self,
        route: RelayRoute,
        providers: Mapping[str, Provider],
        *,
        in_force: document.Route | None,
        now: float,
    ) -> Run:
        """Brings the route's run under its current spec.

        The first time, resumes it from status and from the route in force.
        """
        key = (route.metadata.namespace, route.metadata.name)
        plan, objective = plan_of(route, providers), objective_of(route)
        stable = route.spec.stable
        stable_fingerprint = fingerprint(
            stable, provider_uid=providers[stable.provider].metadata.uid
        )
        run = self.runs.get(key)
        if run is None:
            run = Run(
                plan=plan, objective=objective, stable_fingerprint=stable_fingerprint, state=State()
            )
            progress = route_status.from_status(route.status).progress
            if progress is not None:
                _recall_passed(run, progress, route.status)
                resume(run, progress, in_force, now, ahead_seconds=self._ahead_seconds(key))
            run.cost = cost_hold.remembered(route.status, run_token=run.state.run_token)
            adopt_started(run, in_force, now)
            self._begin(key, run, progress)
        if run.objective != objective:
            # what was found under other limits raises nothing under these
            run.is_fresh = False
            if run.objective is None or objective is None:
                run.verdict, run.measured_at = NOT_MEASURED, 0.0
                run.judge, run.remembered = None, ""
        run.plan, run.objective, run.stable_fingerprint = plan, objective, stable_fingerprint
        self._note_lively(key, run)
        return run

    def hold(
        self,
        key: RouteKey,
        *,
        status: Mapping[str, Any],
        objective: Objective | None,
        in_force: document.Route,
        percent: int,
        policy: Plan,
        why: str,
        now: float,
    ) -> Run:
        """Brings the run of the canary in force under a spec that is not in force: it may fall, but not rise.

        percent is the highest weight that this spec allows; status, objective and policy are for a run that an earlier life of
        the operator began.
        """
        run = self.runs.get(key)
        if run is None:
            plan = replace(policy, percent=percent)
            stable_fingerprint = in_force.stable.fingerprint
            run = Run(
                plan=plan, objective=objective, stable_fingerprint=stable_fingerprint, state=State()
            )
            progress = route_status.from_status(status).progress
            if progress is not None:
                _recall_passed(run, progress, status)
                resume(run, progress, in_force, now, ahead_seconds=self._ahead_seconds(key))
            run.cost = cost_hold.remembered(status, run_token=run.state.run_token)
            self._begin(key, run, progress)
        adopt(run, in_force, now)
        run.plan = replace(run.plan, fingerprint=run.state.fingerprint, percent=percent, held=why)
        self._note_lively(key, run)
        return run

    def go_on_by_another_clock(self, ahead_seconds: float, *, now: float) -> list[RouteKey]:
        """Moves all times with a clock that was set by so much; returns the routes whose status tells another step by it."""
        self.budget.go_on_by_another_clock(ahead_seconds)
        for run in self.runs.values():
            go_on_by_another_clock(run, ahead_seconds, now)
        return [key for key, run in self.runs.items() if run.state.phase not in ENDED]

    def obey_lower(self, key: RouteKey, in_force: document.Route, *, now: float) -> bool:
        """Brings a run down to a lower weight that relays were found to have in force; True when it was above."""
        run = self.runs.get(key)
        if run is None:
            return False
        was_above = obey_lower(run, in_force, now)
        self._note_lively(key, run)
        return was_above

    def return_to_stable(self, key: RouteKey, *, message: str, now: float) -> None:
        """Ends the run of a canary that lost its weight to another one, which cannot start yet."""
        run = self.runs[key]
        had_weight = run.state.weight_percent > 0
        if had_weight or run.state.phase is Phase.PREFLIGHT:
            leave(run)
        if had_weight:
            decision = Decision(state=run.state, reason=Reason.RETURNED_TO_STABLE, message=message)
            run.record(decision, now)
        self.budget.leave(key)

    def forget(self, key: RouteKey) -> None:
        """Drops the run of a route that is gone."""
        self._drop(key)
        self.budget.leave(key)

    def abandon(self, key: RouteKey, *, now: float) -> None:
        """Drops the run of a route whose tenant is gone, or is not known yet; its place in the budget is taken back after a while."""
        self._drop(key)
        self.budget.doubt(key, now=now)

    def _drop(self, key: RouteKey) -> None:
        self._lively.pop(key, None)
        self._inherited.discard(key)
        if self.runs.pop(key, None) is not None:
            names = self._names[key[0]]
            names.discard(key[1])
            if not names:
                del self._names[key[0]]

    def follow(self, keys: Iterable[RouteKey]) -> None:
        """Follows the counters of these routes and forgets those of all others."""
        self.evidence.follow({key: _subject(self.runs[key]) for key in keys})

    def measure(
        self, key: RouteKey, *, expected_pods: Collection[str], at: float, now: float
    ) -> None:
        """Judges what has come of a followed route and keeps the verdict.

        expected_pods are the names of the pods that serve; at is the moment on the clock that the evidence was read by.
        """
        run = self.runs[key]
        if run.objective is None:
            return
        judge, weight = run.judge_of(run.objective), run.state.weight_percent
        before = self.evidence.before_trouble(key, expected=expected_pods, at=at)
        if before is not None:
            judge.judge(before, asked_percent=weight)
        increments = self.evidence.increments(key, expected=expected_pods, at=at)
        judged = judge.judge(increments, asked_percent=weight)
        impossible = self.evidence.impossible(key)
        proven = judged.outcome is Outcome.BREACHED
        found = _no_evidence(impossible) if impossible and not proven else judged
        run.verdict, run.measured_at = found, float(int(now))
        # health of before the operator's start, or of before a gap, says nothing of what happened since
        run.is_fresh = found.outcome is not Outcome.HEALTHY or judge.has_seen_enough
        run.tolerated_seconds = self.evidence.longest_seconds

    def mark_unmeasurable(self, key: RouteKey, *, message: str, now: float) -> None:
        """Keeps the verdict of a tick without an answer from Prometheus: it holds the weight and never moves it."""
        unavailable = Verdict(
            outcome=Outcome.UNMEASURABLE, reason=Reason.PROMETHEUS_UNAVAILABLE, message=message
        )
        run = self.runs[key]
        run.verdict, run.measured_at, run.is_fresh = unavailable, float(int(now)), True
        self.evidence.look_again(key)

    def take_copies(self, key: RouteKey, counted: Mapping[str, float], seconds: float) -> None:
        """Takes in how shadow copies compared that became visible in so many seconds."""
        self.runs[key].try_copies().take(counted, seconds)

    def mark_copies_unread(self, key: RouteKey, problem: str) -> None:
        """Notes why nothing could be read of shadow copies: the canary waits."""
        self.runs[key].try_copies().problem = problem

    def hear_probes(
        self, key: RouteKey, told: Iterable[Preflight], *, pods: int, now: float
    ) -> bool:
        """Takes what relay pods tell of preflights; True when that is news of the run of this route.

        told are the answers of those that run the document in force, pods is the number of all that serve.
        """
        run = self.runs[key]
        mine = [one for one in told if (one.route, one.token) == (key[1], run.preflight_token)]
        waited = now - run.state.step_started_at
        return run.hear(combined(mine, pods=pods, waited_seconds=waited), now)

    def trip(self, key: RouteKey, *, pods: int, expected_pods: int, now: float) -> bool:
        """Judges the canary by its breakers; True when they condemn it.

        pods are those whose breaker opened and whose probe failed since, so that no burst is taken for a dead canary. It
        takes more than half of those that serve.
        """
        if pods * 2 <= max(expected_pods, 1):
            return False
        message = f"the breakers of {pods} of {expected_pods} relay pods opened, and the call that each let through since failed"
        run = self.runs[key]
        run.verdict = Verdict(
            outcome=Outcome.BREACHED, reason=Reason.BREAKER_TRIPPED, message=message
        )
        run.measured_at = float(int(now))
        return True

    def decide(
        self, key: RouteKey, *, now: float, stored: bool = True, lacking: str | None = None
    ) -> bool:
        """Decides the route's next state; returns True when it moved, which is then recorded.

        stored tells whether the weight in force would survive the operator, lacking what relay pods have to get before the
        canary's first weight (None: what the last look found); until then it does not rise.
        """
        run = self.runs[key]
        before = run.state.weight_percent
        moved = self._decide(key, run, now=now, stored=stored, lacking=lacking)
        self._settle_place(key, run, rose=run.state.weight_percent > before, now=now)
        self._note_lively(key, run)
        return moved

    def is_behind_in_line(self, key: RouteKey) -> bool:
        """Tells whether a canary waits for its turn alone, which has not come: another look would decide the same."""
        standing = self.runs[key].standing
        awaits = standing is not None and standing.reason is Reason.AWAITING_BUDGET
        return awaits and self.budget.is_behind(key)

    def step_aside(self, key: RouteKey, *, now: float) -> None:
        """Takes back the place in the platform's budget of a canary that is not in force; with weight, after a while."""
        run = self.runs.get(key)
        if run is None or run.state.weight_percent == 0:
            self.budget.leave(key)
        else:
            self.budget.doubt(key, now=now)

    def _decide(
        self, key: RouteKey, run: Run, *, now: float, stored: bool, lacking: str | None
    ) -> bool:
        run.lacking = run.lacking if lacking is None else lacking
        why = run.lacking if run.state.weight_percent == 0 else ""
        why = run.plan.held or why or ("" if stored else _NOT_STORED)
        turn = self._turn(key, run, now) if self.budget.most and not why else ""
        plan = replace(run.plan, held=why, turn=turn) if why or turn else run.plan
        look = run.look(now)
        decision = machine.next_state(run.state, look, plan=plan)
        run.standing = decision
        if decision.state == run.state:
            run.tell_once(decision, now)
            return False
        if not decision.state.is_of_the_run_of(run.state):
            run.forget_verdict()
        if decision.state.phase is Phase.SHADOWING and run.state.phase is not Phase.SHADOWING:
            run.forget_copies()
        another_step = decision.state.step_started_at != run.state.step_started_at
        run.state = decision.state
        if another_step and run.is_measured:
            # of a run that is decided the figures stay, since the decision rests on them
            run.begin_step()
        if decision.reason not in _SETTLING and not run.has_told(decision):
            run.record(decision, now)
        # settled and told as every later look would, so that neither state nor status changes once more
        again = machine.next_state(run.state, run.look(now), plan=plan)
        if again.state == run.state or machine.is_settling(run.state, again.state):
            run.state, run.standing = again.state, again
        return True

    def _turn(self, key: RouteKey, run: Run, now: float) -> str:
        if not run.may_rise:
            return ""
        of_this = run.state.fingerprint == run.plan.fingerprint
        since = run.state.step_started_at if of_this else now
        return self.budget.why_not(key, since=since, now=now)

    def _ahead_seconds(self, key: RouteKey) -> float:
        """Returns by how much our clock is ahead of the one that the route's status was told by, as far as that is known."""
        return self.ahead_seconds() if key in self._inherited else 0.0

    def _begin(self, key: RouteKey, run: Run, told: Progress | None) -> None:
        """Keeps a run that this life goes on with. A weight that status does not tell of has its place all the same."""
        self.runs[key] = run
        self._inherited.discard(key)
        self._names.setdefault(key[0], set()).add(key[1])
        before = told.state.weight_percent if told is not None else 0
        if run.state.weight_percent > before and run.state.phase in RAISED:
            self.budget.place(key)

    def _settle_place(self, key: RouteKey, run: Run, *, rose: bool, now: float) -> None:
        if not self.budget.most or run.standing is None:
            return
        run.settle()
        if run.standing.reason is Reason.AWAITING_BUDGET:
            self.budget.wait(key, run.state.step_started_at)
        elif not run.is_risky:
            self.budget.leave(key)
        elif run.plan.held:
            # its spec is not in force, so it may only fall until a person acts
            self.budget.doubt(key, now=now)
        elif rose:
            self.budget.place(key)
        else:
            self.budget.hear(key)


def _recall_passed(run: Run, progress: Progress, status: Mapping[str, Any]) -> None:
    if any(_is_told(status, reason) for reason in PASSED):
        run.told_passed = progress.state.step_token


def _is_told(status: Mapping[str, Any], reason: Reason) -> bool:
    conditions = status.get("conditions") or ()
    return any(
        one.get("type") == "Ready" and one.get("reason") == reason.value for one in conditions
    )


def _subject(run: Run) -> Subject:
    objective = run.objective
    return Subject(
        stable=run.stable_fingerprint,
        canary=run.plan.fingerprint,
        signals=frozenset(latency.signal for latency in objective.latency)
        if objective
        else frozenset(),
        tokens=objective is not None and objective.max_token_drift_percent is not None,
    )


def _no_evidence(why: str) -> Verdict:
    message = f"{why}; figures that cannot be are no evidence"
    return Verdict(outcome=Outcome.UNMEASURABLE, reason=Reason.IMPOSSIBLE_FIGURES, message=message)
