"""The status of a RelayRoute, both ways, but for its conditions.

Status is the operator's memory: `from_status(to_status(it)) == it`, so a restarted operator goes on where it stopped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay_contract import document
from relay_operator.decisions import timestamps
from relay_operator.decisions.analysis.verdict import NOT_MEASURED, MetricRow, Outcome, Verdict
from relay_operator.decisions.canary import copies
from relay_operator.decisions.canary.copies import Shadowed
from relay_operator.decisions.canary.probes import Probes
from relay_operator.decisions.canary.state import (
    BEFORE_WEIGHT,
    CAUSES,
    MOST_ROLLED_BACK,
    Phase,
    RolledBack,
    State,
)
from relay_operator.names import Reason

_ROW_TEXTS = ("name", "canary", "stable", "limit", "evidence", "message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A decision that changed the state, as history and Events tell it. at is whole seconds since the epoch.

    certified tells of a passed step whether it was passed with proof, None of every other move.
    """

    at: float
    reason: str
    message: str
    canary_percent: int
    certified: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Position, last verdict and last moves of a route's canary, and the state of its tests.

    measured_at is 0 before the first measurement. probes are those of a preflight that has failed so far, shadow is what shadow
    copies have shown in the run. is_held tells that the run waits for something else than what it has to show, held_until until
    when it last did in this step, 0 if it did not or still does.
    """

    state: State = field(default_factory=State)
    verdict: Verdict = NOT_MEASURED
    measured_at: float = 0.0
    history: tuple[Move, ...] = ()
    remembered: str = ""
    probes: Probes | None = None
    shadow: Shadowed | None = None
    is_held: bool = False
    held_until: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Programmed:
    """Generation of the document, the tenant's relay pods, and those of them that acknowledged it."""

    generation: int
    pods: int
    acknowledged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The sides that calls go to, as provider or provider/model; canary is empty without one."""

    stable: str
    canary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStatus:
    """Fields of the status. progress is None for a route that was never accepted, in_force where none of it serves.

    coming and next_at (seconds since the epoch, 0 if no move is in sight) are told and not read again.
    """

    progress: Progress | None = None
    programmed: Programmed | None = None
    in_force: InForce | None = None
    coming: str = ""
    next_at: float = 0.0


def to_status(status: RouteStatus) -> dict[str, Any]:
    """Lays the status out as the custom resource has it. A field of None is removed, a missing one left alone."""
    fields: dict[str, Any] = {}
    if status.programmed is not None:
        fields["programmed"] = {
            "generation": status.programmed.generation,
            "pods": status.programmed.pods,
            "acknowledged": status.programmed.acknowledged,
        }
    if status.progress is not None:
        fields |= _progress_fields(status.progress, status.next_at)
        fields["next"] = status.coming or None
    sides = status.in_force
    fields["inForce"] = (
        {"stable": sides.stable, "canary": sides.canary} if sides is not None else None
    )
    return fields


def from_status(status: Mapping[str, Any]) -> RouteStatus:
    """Reads a status.

    A value that only a newer version knows is no error: such a phase holds, such a verdict is not measured.
    """
    return RouteStatus(
        progress=_progress(status), programmed=_programmed(status), in_force=_in_force(status)
    )


def _progress_fields(progress: Progress, next_at: float) -> dict[str, Any]:
    state, verdict = progress.state, progress.verdict
    step = {
        "index": state.step_index,
        "startedAt": timestamps.to_precise_text(state.step_started_at),
        "nextAt": timestamps.to_text(next_at) if next_at else None,
        "certified": verdict.certified if progress.measured_at else None,
        "held": progress.is_held or None,
        "heldUntil": timestamps.to_precise_text(progress.held_until)
        if progress.held_until
        else None,
    }
    analysis = {
        "verdict": verdict.outcome.value,
        "reason": verdict.reason.value,
        "message": verdict.message,
        "measuredAt": timestamps.to_text(progress.measured_at),
        "certified": verdict.certified,
        "stable": verdict.stable_finding or None,
        "throttled": verdict.throttled or None,
        "metrics": [_row_fields(row) for row in verdict.metrics],
        "memory": progress.remembered,
    }
    return {
        "phase": state.phase.value,
        "weights": {
            "stablePercent": 100 - state.weight_percent,
            "canaryPercent": state.weight_percent,
        },
        "canaryFingerprint": state.fingerprint,
        "run": state.run,
        "cause": state.cause or None,
        "causeReason": state.cause_reason.value
        if state.cause or state.phase is Phase.FROZEN
        else None,
        "rolledBack": [
            {
                "fingerprint": one.fingerprint,
                "at": timestamps.to_precise_text(one.at),
                "cause": one.cause,
                "reason": one.cause_reason.value,
            }
            for one in state.rolled_back
        ]
        or None,
        "step": step if state.fingerprint else None,
        "preflight": _preflight_fields(progress.probes),
        "shadow": copies.to_fields(progress.shadow),
        "analysis": analysis if progress.measured_at else None,
        "history": [_move_fields(move) for move in progress.history],
    }


def _move_fields(move: Move) -> dict[str, Any]:
    fields = {
        "at": timestamps.to_text(move.at),
        "reason": move.reason,
        "message": move.message,
        "canaryPercent": move.canary_percent,
    }
    return fields if move.certified is None else fields | {"certified": move.certified}


def _preflight_fields(probes: Probes | None) -> dict[str, Any] | None:
    """Lays out a failure alone: that a canary has passed shows in its weight."""
    if probes is None or not probes.failure:
        return None
    return {"reason": probes.failure, "message": probes.message}


def _probes(status: Mapping[str, Any]) -> Probes | None:
    found = status.get("preflight")
    if not found:
        return None
    reason, message = str(found.get("reason", "")), str(found.get("message", ""))
    return Probes(failure=reason, message=message, is_fresh=False) if reason else None


def _row_fields(row: MetricRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "canary": row.canary,
        "stable": row.stable,
        "limit": row.limit,
        "evidence": row.evidence,
        "certified": row.certified,
        "message": row.message,
    }


def _row(entry: Mapping[str, Any]) -> MetricRow:
    texts = {name: str(entry.get(name, "")) for name in _ROW_TEXTS}
    return MetricRow(certified=entry.get("certified") is True, **texts)


def _progress(status: Mapping[str, Any]) -> Progress | None:
    if "phase" not in status:
        return None
    history = tuple(_move(entry) for entry in status.get("history") or ())
    analysis = status.get("analysis") or {}
    verdict = _verdict(analysis)
    step = status.get("step") or {}
    return Progress(
        state=_state(status, history),
        verdict=verdict,
        measured_at=0.0 if verdict is NOT_MEASURED else _seconds(analysis.get("measuredAt")),
        history=history,
        remembered=str(analysis.get("memory") or ""),
        probes=_probes(status),
        shadow=copies.from_fields(status.get("shadow")),
        is_held=step.get("held") is True,
        held_until=_seconds(step.get("heldUntil")),
    )


def is_on_trial(status: Mapping[str, Any]) -> bool:
    """Tells whether a canary has weight that may have to be taken from it, or is about to get some."""
    weights, phase = status.get("weights"), status.get("phase")
    percent = weights.get("canaryPercent") if isinstance(weights, Mapping) else 0
    return phase in BEFORE_WEIGHT or (bool(percent) and phase != Phase.PROMOTED)


def _state(status: Mapping[str, Any], history: tuple[Move, ...]) -> State:
    fingerprint, run = str(status.get("canaryFingerprint", "")), int(status.get("run") or 0)
    rolled_back = tuple(map(_rolled_back, status.get("rolledBack") or ()))[-MOST_ROLLED_BACK:]
    if not fingerprint:
        return State(run=run, rolled_back=rolled_back)
    phase = _phase(str(status.get("phase", "")))
    step = status.get("step") or {}
    # a version that did not tell the cause told it as the last move
    is_back = phase is Phase.ROLLED_BACK
    cause = status.get("cause") or (history[-1].message if is_back and history else "")
    return State(
        phase=phase,
        weight_percent=int(status.get("weights", {}).get("canaryPercent", 0)),
        fingerprint=fingerprint,
        step_index=int(step.get("index", 0)),
        step_started_at=_seconds(step.get("startedAt")),
        cause=str(cause),
        cause_reason=_cause_reason(status.get("causeReason")),
        run=run,
        rolled_back=rolled_back,
    )


def _rolled_back(entry: Mapping[str, Any]) -> RolledBack:
    return RolledBack(
        fingerprint=str(entry.get("fingerprint", "")),
        at=_seconds(entry.get("at")),
        cause=str(entry.get("cause", "")),
        cause_reason=_cause_reason(entry.get("reason")),
    )


def _cause_reason(text: object) -> Reason:
    """Reads why a canary was rolled back or frozen; versions that did not tell knew of breaches alone."""
    return next((one for one in CAUSES if one.value == text), Reason.SLO_BREACH)


def _phase(text: str) -> Phase:
    try:
        return Phase(text)
    except ValueError:
        return Phase.HOLDING


def _move(entry: Mapping[str, Any]) -> Move:
    certified = entry.get("certified")
    return Move(
        at=_seconds(entry.get("at")),
        reason=str(entry.get("reason", "")),
        message=str(entry.get("message", "")),
        canary_percent=int(entry.get("canaryPercent", 0)),
        certified=certified if isinstance(certified, bool) else None,
    )


def _verdict(analysis: Mapping[str, Any]) -> Verdict:
    try:
        return Verdict(
            outcome=Outcome(analysis["verdict"]),
            reason=Reason(analysis["reason"]),
            message=str(analysis["message"]),
            metrics=tuple(_row(entry) for entry in analysis.get("metrics") or ()),
            certified=analysis.get("certified") is True,
            stable_finding=str(analysis.get("stable") or ""),
            throttled=str(analysis.get("throttled") or ""),
        )
    except (KeyError, ValueError):
        return NOT_MEASURED


def _programmed(status: Mapping[str, Any]) -> Programmed | None:
    found = status.get("programmed")
    if not found:
        return None
    return Programmed(
        generation=int(found.get("generation", 0)),
        pods=int(found.get("pods", 0)),
        acknowledged=int(found.get("acknowledged", 0)),
    )


def _in_force(status: Mapping[str, Any]) -> InForce | None:
    found = status.get("inForce")
    if not found:
        return None
    return InForce(stable=str(found.get("stable", "")), canary=str(found.get("canary") or ""))


def in_force(route: document.Route | None) -> InForce | None:
    """Reads the sides from the route as the relays have it."""
    if route is None:
        return None
    return InForce(stable=_side(route.stable), canary=_side(route.canary) if route.canary else "")


def _side(side: document.Side) -> str:
    return f"{side.provider}/{side.model}" if side.model else side.provider


def _seconds(text: str | None) -> float:
    return timestamps.from_text(text) if text else 0.0
