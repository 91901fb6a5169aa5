"""Reports of obstacles by the object that they keep from its goal: in status before a retry, and once as an Event."""

from collections.abc import Awaitable, Container, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.decisions import conditions
from relay_operator.decisions.conditions import Condition
from relay_operator.decisions.route_status import Move
from relay_operator.errors import OperatorError
from relay_operator.names import ConditionType, Reason

_PASSING = frozenset(
    {Reason.PROVISIONING, Reason.WAITING_FOR_PODS, Reason.CERTIFICATE_LOADING, Reason.HELD}
)
"""Reasons of an object that is being brought into force: what follows is told."""
_TOLD_AS_MOVES = frozenset({Reason.ROLLED_BACK, Reason.PREFLIGHT_FAILED})


async def report_and_raise(error: OperatorError, report: Awaitable[None]) -> NoReturn:
    """Writes the report, then raises the error so that the worker retries with backoff.

    A report that fails as well is left to that retry: the first error is the one to log.
    """
    error.is_reported = True
    with suppress(OperatorError):
        await report
    raise error


async def report_status(
    status: StatusWriter,
    announcer: EventRecorder,
    kind: str,
    body: dict[str, Any],
    fields: Mapping[str, Any],
    wanted: Sequence[Condition],
    *,
    on_its_way: Container[Reason],
    now: float,
) -> bool:
    """Posts an Event if Ready changes, then writes the status; True when that took a write. on_its_way are the reasons for which Ready waits a moment.

    The Event comes first: if the operator dies in between, the next life posts it again, under the same name.
    """
    told = status.told(kind, body)
    wanted = conditions.with_grace(wanted, told, on_its_way=on_its_way, now=now)
    await _announce_ready(announcer, kind, body, told, wanted, now)
    return await status.write(kind, body, fields, wanted, now=now)


async def _announce_ready(
    announcer: EventRecorder,
    kind: str,
    body: dict[str, Any],
    told: Mapping[str, Any],
    wanted: Sequence[Condition],
    now: float,
) -> None:
    """Posts that Ready changes, or its reason to one that somebody has to act on.

    What is told like a move of the canary has an Event of its own. The Event's name follows from the change, so that
    whoever else sees the same change posts the same Event.
    """
    ready = next(one for one in wanted if one.type is ConditionType.READY)
    before = conditions.find(told, ConditionType.READY)
    if ready.reason in _TOLD_AS_MOVES or not _is_news(body, told, before, ready, wanted):
        return
    is_ready = ready.status == "True"
    change = Move(
        at=float(int(now)),
        reason=Reason.READY.value if is_ready else ready.reason.value,
        message=ready.message,
        canary_percent=0,
    )
    since = f"{before.get('status')} {before.get('lastTransitionTime')}"
    await announcer.announce_ready(body, kind=kind, change=change, since=since, holds=is_ready)


def _is_news(
    body: dict[str, Any],
    told: Mapping[str, Any],
    before: Mapping[str, Any],
    ready: Condition,
    wanted: Sequence[Condition],
) -> bool:
    if ready.status == "True":
        return before.get("status") != "True"
    if before.get("status") == "True":
        return True
    stalls = any(one.type is ConditionType.STALLED and one.status == "True" for one in wanted)
    if stalls:
        stalled = conditions.find(told, ConditionType.STALLED)
        generation = body["metadata"].get("generation", 1)
        now_told = (stalled.get("reason"), stalled.get("observedGeneration"))
        return now_told != (ready.reason.value, generation)
    return ready.reason not in _PASSING and before.get("reason") != ready.reason.value
