"""Has relay pods of tenants that use a Provider ask it for its list of models, now and then.

The cost is bounded: two pods a Provider and period, whatever the number of its tenants, and a call that no provider bills.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from relay_contract import document
from relay_contract.provider_probe import ProviderProbe
from relay_operator import names
from relay_operator.cluster.relays import Pod, Relays
from relay_operator.decisions.providers import health
from relay_operator.decisions.providers.health import Health
from relay_operator.decisions.providers.replacement import is_another_upstream
from relay_operator.errors import Unavailable
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.watched_objects import Invalid
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

logger = logging.getLogger(__name__)

_TICK_SECONDS: Final = 1.0
_ASKED: Final = 2
"""Tenants that are asked at a time."""
_LOOKED_AT: Final = 8
"""Tenants that are looked at for a pod that can be asked."""
_SOON_SECONDS: Final = 10.0
"""After a change: by then pods have the key and the policy."""
_AGAIN_SECONDS: Final = 25.0
"""While nothing is known, or nothing good: longer than a pod remembers what it found."""
_CONFIRMED_BY: Final = 2
"""Failures in a row before an outage is told: one call may be lost."""
_AT_ONCE: Final = 8
_STREAM_AGAIN_SECONDS: Final = 900.0
"""After a stream that failed: each costs tokens."""
_SAYS_NOTHING: Final = ("NotInUse", "KeyMissing", "Throttled")


@dataclass(slots=True)
class _Record:
    """Holds what is known of one Provider. due is in seconds of the clock; failures are those in a row. stream is what came of
    the last probe with a stream, where the Provider asks for them.
    """

    due: float
    health: Health | None = None
    failures: int = 0
    fingerprint: str = ""
    stream: ProviderProbe | None = None
    stream_due: float = 0.0


class ProviderProbes:
    """Probes until cancelled; with a period of 0 never. What is found is in memory, and in the condition Probed."""

    def __init__(
        self,
        *,
        relays: Relays,
        publisher: DocumentPublisher,
        watched_state: WatchedState,
        queue: WorkQueue,
        period_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._relays = relays
        self._publisher = publisher
        self._watched_state = watched_state
        self._queue = queue
        self._period_seconds = period_seconds
        self._clock = clock
        self._records: dict[str, _Record] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    def health(self, provider: str) -> Health | None:
        """Returns how a Provider fares as far as this life of the operator knows; None where it does not know yet."""
        if not self._period_seconds:
            return health.PROBES_OFF
        if not self._watched_state.claims.weights(provider):
            return health.NOT_IN_USE
        record = self._records.get(provider)
        return record.health if record is not None else None

    def note(self, provider: str, fingerprint: str) -> None:
        """Takes in what a Provider is now, its key included: what was found of another form is probed anew soon."""
        record = self._records.get(provider)
        if record is None:
            self._records[provider] = _Record(
                self._clock() + _SOON_SECONDS, fingerprint=fingerprint
            )
        elif record.fingerprint != fingerprint:
            record.fingerprint = fingerprint
            self._start_anew(record)

    def forget(self, provider: str) -> None:
        """Drops what is known of a Provider that is gone."""
        self._records.pop(provider, None)

    async def run(self) -> None:
        try:
            while self._period_seconds:
                self._begin_due()
                await asyncio.sleep(_TICK_SECONDS)
            await asyncio.Event().wait()
        finally:
            for task in self._running.values():
                task.cancel()

    def _start_anew(self, record: _Record) -> None:
        """Drops what was found of a former form or use; what an earlier life told counts no more either."""
        record.health, record.failures = health.NOT_PROBED, 0
        record.stream, record.stream_due = None, 0.0
        record.due = self._clock() + _SOON_SECONDS

    def _begin_due(self) -> None:
        now = self._clock()
        for name, record in self._records.items():
            if not self._watched_state.claims.weights(name):
                if record.health is not None:
                    self._start_anew(record)
            elif record.due <= now and name not in self._running and len(self._running) < _AT_ONCE:
                self._running[name] = asyncio.create_task(self._probe(name, record))

    async def _probe(self, name: str, record: _Record) -> None:
        fingerprint = record.fingerprint
        try:
            pods = self._pods(name)
            told = await asyncio.gather(*(self._ask(pod, name) for pod in pods))
            found = health.of_probes(filter(None, told))
            if found is not None and not found.is_failing:
                found = await self._with_stream(name, record, found, pods[0])
            # what pods found of a former form says nothing of this one, which is due by itself
            if self._records.get(name) is record and record.fingerprint == fingerprint:
                self._take_in(name, record, found)
        finally:
            del self._running[name]

    async def _with_stream(self, name: str, record: _Record, found: Health, pod: Pod) -> Health:
        """Asks one pod for a stream where that is wanted and due; adds what came of it last."""
        watched = self._watched_state.providers.get(name)
        if watched is None or isinstance(watched.resource, Invalid):
            return found
        wanted = watched.resource.spec.probe_stream
        if wanted is None:
            return found
        if record.stream_due <= self._clock():
            told = await self._ask(pod, name, stream=wanted.model)
            if told is not None and told.outcome not in _SAYS_NOTHING:
                is_good = told.outcome == "Answered"
                pause = wanted.every if is_good else min(wanted.every, _STREAM_AGAIN_SECONDS)
                record.stream, record.stream_due = told, self._clock() + pause
        return health.with_stream(found, record.stream, model=wanted.model)

    async def _ask(self, pod: Pod, provider: str, *, stream: str = "") -> ProviderProbe | None:
        try:
            return await self._relays.probe_provider(pod, provider, stream=stream)
        except Unavailable as error:
            # a relay of an older version does not know the path
            logger.debug("provider not probed", extra={"provider": provider, "why": str(error)})
            return None
        except Exception:  # whatever one pod tells, the others are heard
            logger.exception("probe of a provider failed", extra={"provider": provider})
            return None

    def _take_in(self, name: str, record: _Record, found: Health | None) -> None:
        now = self._clock()
        if found is None:
            record.due = now + _AGAIN_SECONDS
            return
        record.failures = record.failures + 1 if found.is_failing else 0
        is_settled = not found.is_failing
        pause = self._period_seconds * random.uniform(0.9, 1.1) if is_settled else _AGAIN_SECONDS
        record.due = now + min(pause, self._period_seconds)
        if found.is_failing and record.failures < _CONFIRMED_BY:
            return
        if found != record.health:
            record.health = found
            self._queue.add(Key("Provider", "", name))

    def _pods(self, provider: str) -> list[Pod]:
        """Chooses pods that run a document with the Provider, of a few tenants."""
        tenants = list(self._watched_state.claims.weights(provider))
        found: list[Pod] = []
        for tenant in random.sample(tenants, min(len(tenants), _LOOKED_AT)):
            pods = self._askable(names.tenant_namespace(tenant), provider)
            if pods:
                found.append(random.choice(pods))
            if len(found) == _ASKED:
                break
        return found

    def _askable(self, namespace: str, provider: str) -> list[Pod]:
        publication = self._publisher.publication(namespace)
        if publication is None or publication.document is None:
            return []
        listed = publication.document.catalogue.providers
        if not any(
            one.name == provider and not one.closed and not self._is_former(one) for one in listed
        ):
            return []
        pods = self._watched_state.relay_pods(namespace)
        return [
            pod
            for pod in pods
            if pod.ready and not pod.terminating and publication.has_acknowledged(pod)
        ]

    def _is_former(self, part: document.Provider) -> bool:
        """Tells whether relays have what a Provider was before it was deleted and made again."""
        watched = self._watched_state.providers.get(part.name)
        return (
            watched is not None
            and not isinstance(watched.resource, Invalid)
            and is_another_upstream(part, watched.resource)
        )
