"""What keeps an object from its goal, told by that object: in status before a retry, and once as an Event."""

from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import Any, NoReturn

from relay_operator.cluster.events import EventRecorder
from relay_operator.decisions import conditions
from relay_operator.decisions.conditions import Condition
from relay_operator.decisions.route_status import Move
from relay_operator.errors import OperatorError
from relay_operator.names import ConditionType, Reason


async def report_and_raise(error: OperatorError, report: Awaitable[None]) -> NoReturn:
    """Writes the report, then raises the error so that the worker retries with backoff.

    A report that fails as well is left to that retry: the first error is the one to log.
    """
    with suppress(OperatorError):
        await report
        error.is_told = True
    raise error


async def announce_stalled(
    announcer: EventRecorder,
    kind: str,
    body: dict[str, Any],
    wanted: Iterable[Condition],
    *,
    now: float,
) -> None:
    """Posts that a person has to act on the object, if that is new to its status; to be called before status says so.

    A rollback is a move of the canary, which has an Event of its own.
    """
    stalled = next((one for one in wanted if one.type is ConditionType.STALLED), None)
    if stalled is None or stalled.status != "True" or stalled.reason is Reason.ROLLED_BACK:
        return
    told = conditions.find(body["status"], ConditionType.STALLED)
    generation = body["metadata"].get("generation", 1)
    if (told.get("reason"), told.get("observedGeneration")) == (stalled.reason.value, generation):
        return
    ready = conditions.find(body["status"], ConditionType.READY)
    refusal = Move(
        at=float(int(now)),
        reason=stalled.reason.value,
        message=stalled.message,
        canary_percent=0,
    )
    since = f"{ready.get('reason')} {ready.get('lastTransitionTime')}"
    await announcer.announce_refusal(body, kind=kind, refusal=refusal, since=since)
