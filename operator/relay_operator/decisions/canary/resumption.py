"""Goes on with a canary that an earlier life of the operator began: from status, and from what the relays obey."""

from dataclasses import replace

from relay_contract import document
from relay_operator.decisions.analysis.verdict import Outcome
from relay_operator.decisions.canary import machine
from relay_operator.decisions.canary.run import Run
from relay_operator.decisions.canary.state import Decision, Phase, State
from relay_operator.decisions.canary.stays import is_to_be_retried
from relay_operator.decisions.route_status import Progress
from relay_operator.names import Reason

_REPEATED_SECONDS = 600.0
"""Moves this young are announced again after a restart. Their Events then still exist, under names that follow from
the move, so the API server drops every repetition (an Event lives one hour by default)."""


def resume(
    run: Run,
    progress: Progress,
    in_force: document.Route | None,
    now: float,
    *,
    ahead_seconds: float = 0.0,
) -> None:
    """Brings a new run to where status says that it was, or to the weight that the relays obey where they differ.

    ahead_seconds is by how much our clock is ahead of the one that status was written by.
    """
    progress = _by_another_clock(progress, ahead_seconds, now)
    run.state, run.history = progress.state, progress.history
    run.remembered = progress.remembered
    run.probes = progress.probes
    run.recall_copies(progress.shadow)
    run.held_until = now if progress.is_held else progress.held_until
    # a breach acts when it is measured; one that is only remembered must not move traffic
    decided = run.state.phase is Phase.ROLLED_BACK or run.state.is_frozen_by_breach
    if progress.verdict.outcome is not Outcome.BREACHED or decided:
        run.verdict, run.measured_at = progress.verdict, progress.measured_at
        run.told, run.told_at = progress.verdict, progress.measured_at
    run.unannounced = tuple(
        move for move in run.history if now - ahead_seconds - move.at <= _REPEATED_SECONDS
    )
    if in_force is None:
        return
    if in_force.canary is None:
        if run.state.weight_percent > 0:
            leave(run)
        return
    if run.plan.percent == 0 == in_force.canary_percent:
        # the spec asked for that; the next decision says so
        return
    is_another = in_force.canary.fingerprint != run.state.fingerprint
    # what is probed has begun anew
    is_another |= in_force.preflight is not None
    if is_another and run.state.weight_percent > 0:
        leave(run)
        return
    if run.state.phase is Phase.ROLLED_BACK and not is_to_be_retried(run.state, run.plan, now):
        # relays may not have been told: a document could not be stored, and status could
        return
    _correct(run, in_force.canary.fingerprint, in_force.canary_percent, now)


def _by_another_clock(progress: Progress, ahead_seconds: float, now: float) -> Progress:
    """Returns what status tells by a clock that is so far ahead of the one that it was told by; nothing of it is later than now."""
    shadow = progress.shadow
    if shadow is not None:
        started_at = min(shadow.started_at + ahead_seconds, now)
        shadow = replace(shadow, started_at=started_at)
    return replace(
        progress,
        state=progress.state.by_another_clock(ahead_seconds, now=now),
        measured_at=min(_moved(progress.measured_at, ahead_seconds), now),
        held_until=min(_moved(progress.held_until, ahead_seconds), now),
        shadow=shadow,
    )


def go_on_by_another_clock(run: Run, ahead_seconds: float, now: float) -> None:
    """Moves all times of a run with a clock that was set by so much: what has been waited for until now counts.

    Moves that were told keep the time that they were told with, by which their Events are named.
    """
    run.state = run.state.by_another_clock(ahead_seconds, now=now)
    run.unmeasurable_since += ahead_seconds
    run.incident_at += ahead_seconds
    run.probed_at += ahead_seconds
    run.held_since += ahead_seconds
    run.told_shadow_at += ahead_seconds
    run.measured_at = _moved(run.measured_at, ahead_seconds)
    run.told_at = _moved(run.told_at, ahead_seconds)
    run.held_until = _moved(run.held_until, ahead_seconds)
    if run.trial is not None:
        run.trial.started_at += ahead_seconds
    if run.told_shadow is not None:
        started_at = run.told_shadow.started_at + ahead_seconds
        run.told_shadow = replace(run.told_shadow, started_at=started_at)


def _moved(at: float, seconds: float) -> float:
    """Moves a time, of which 0 says that there is none."""
    return at + seconds if at else at


def obey_lower(run: Run, in_force: document.Route, now: float) -> bool:
    """Brings a run down to the weight that relays had in force before it learned of that; True when it was above."""
    if in_force.canary is None or in_force.canary_percent >= run.state.weight_percent:
        return False
    return _correct(run, in_force.canary.fingerprint, in_force.canary_percent, now)


def _correct(run: Run, fingerprint_in_force: str, weight_in_force: int, now: float) -> bool:
    correction = machine.resumed(
        run.state,
        fingerprint_in_force=fingerprint_in_force,
        weight_in_force=weight_in_force,
        now=now,
    )
    if correction is None:
        return False
    run.state = correction.state
    # the step that status tells of is another one
    run.remembered, run.probes = "", None
    run.record(correction, now)
    _settle(run, now)
    return True


def leave(run: Run) -> None:
    """Forgets the position of a canary that is not in force any more: its weight must not come back by a restart."""
    run.forget_verdict()
    run.state = State(run=run.state.run, rolled_back=run.state.rolled_back)


def adopt_started(run: Run, in_force: document.Route | None, now: float) -> None:
    """Takes over the canary of the spec with the weight that it has already: it is not probed once more."""
    if in_force is None or in_force.canary is None or not run.plan.percent:
        return
    known, weight = run.state.fingerprint, in_force.canary_percent
    if in_force.canary.fingerprint == run.plan.fingerprint:
        adopt(run, in_force, now)
    if run.state.fingerprint != known:
        message = f"canary started at {weight} %; the operator stopped before it recorded that"
        run.record(Decision(state=run.state, reason=Reason.STARTED, message=message), now)
        _settle(run, now)


def _settle(run: Run, now: float) -> None:
    """Lets the run wait as the next look would have it, which is no move of its own."""
    settled = machine.next_state(run.state, run.look(now), plan=run.plan).state
    if machine.is_settling(run.state, settled):
        run.state = settled


def adopt(run: Run, in_force: document.Route, now: float) -> None:
    """Takes over a canary that the relays serve and status does not know."""
    side, weight = in_force.canary, in_force.canary_percent
    if side is not None and weight > 0 and run.state.fingerprint != side.fingerprint:
        run.forget_verdict()
        run.state = State(
            phase=Phase.HOLDING,
            weight_percent=weight,
            fingerprint=side.fingerprint,
            step_index=1,
            step_started_at=now,
            run=run.state.run + 1,
            rolled_back=run.state.rolled_back,
        )
