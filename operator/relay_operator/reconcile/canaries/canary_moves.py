"""The lane in which a canary's weight reaches the relays: pushed at once in a task of its own; status and Events follow."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from relay_operator.decisions.analysis.scrapes import RouteKey
from relay_operator.decisions.analysis.verdict import Outcome
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.errors import OperatorError
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.work_queue import WORKING_AT, Key, Urgency, WorkQueue

logger = logging.getLogger(__name__)


@contextmanager
def alone(key: RouteKey) -> Iterator[None]:
    """Logs an error of our own with one canary, which does not keep the others from theirs: loops look at those of all tenants."""
    try:
        yield
    except Exception:  # whatever it is, it must not end the lead
        logger.exception("canary not looked at", extra={"route": "/".join(key)})


class CanaryMoves:
    """Decides on a measured canary and distributes what was decided, without waiting for anything."""

    def __init__(
        self,
        *,
        canaries: CanaryRuns,
        publisher: DocumentPublisher,
        queue: WorkQueue,
        clock: Callable[[], float],
    ) -> None:
        self._canaries = canaries
        self._publisher = publisher
        self._queue = queue
        self._clock = clock
        self._moving: set[asyncio.Task[None]] = set()
        self._beginning: set[str] = set()

    def act_alone(self, key: RouteKey, *, told_anew: bool) -> None:
        """Does as act(), alone."""
        with alone(key):
            self.act(key, told_anew=told_anew)

    def act(self, key: RouteKey, *, told_anew: bool) -> None:
        """Decides by the run's verdict. told_anew tells that the verdict is another than before, which status must say."""
        run = self._canaries.runs[key]
        now, lower = self._clock(), self._publisher.taken_over(*key)
        told_anew |= lower is not None and self._canaries.obey_lower(key, lower, now=now)
        stored, before = self._publisher.weight_is_stored(*key), run.state.weight_percent
        moved = self._canaries.decide(key, now=now, stored=stored)
        if moved:
            weight, token = run.state.weight_percent, run.preflight_token
            copies = run.copies_calls
            self._publisher.set_weight(*key, weight, preflight=token, copies=copies)
            self._begin_to_distribute(key[0], Urgency.URGENT if weight < before else Urgency.NORMAL)
        if moved or told_anew:
            self.tell_anew(key)
        self._queue_whose_turn_it_is()

    def take_back_places(self) -> None:
        """Lets others go before those canaries that have kept their place for a while without being able to rise."""
        self._canaries.budget.expire(self._clock())
        self._queue_whose_turn_it_is()

    def tell_anew(self, key: RouteKey) -> None:
        """Has what stands of a canary written into its status."""
        urgent = self._canaries.runs[key].verdict.outcome is Outcome.BREACHED
        queue_key = Key("RelayRoute", *key)
        self._queue.add(queue_key, Urgency.URGENT if urgent else Urgency.NORMAL)

    def _queue_whose_turn_it_is(self) -> None:
        for waiting in self._canaries.budget.taken_news():
            self._queue.add(Key("RelayRoute", *waiting))

    def _begin_to_distribute(self, namespace: str, urgency: Urgency) -> None:
        """Distributes the tenant's document in a task of its own; one for all of its canaries that move at once."""
        if namespace in self._beginning:
            return
        self._beginning.add(namespace)
        task = asyncio.create_task(self._distribute(namespace, urgency))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)

    async def _distribute(self, namespace: str, urgency: Urgency) -> None:
        WORKING_AT.set(urgency)
        # what moves from here on may be too late for this composition
        self._beginning.discard(namespace)
        try:
            await self._publisher.distribute(namespace)
        except OperatorError as error:
            logger.warning(
                "weights pushed to the relays but not stored yet, will retry",
                extra={"namespace": namespace, "why": str(error)},
            )
