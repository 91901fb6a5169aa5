"""Keeps the Lease: reads it, claims it, renews it, and gives it back at the end."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Gauge

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.leadership.fence import boot_seconds
from relay_operator.cluster.leadership.heartbeat import Heartbeat
from relay_operator.decisions.leadership import lease as leases
from relay_operator.decisions.leadership.election import Claim, Election, Look, Make, Step
from relay_operator.decisions.leadership.lease import Lease
from relay_operator.errors import ApiServerRefused, Conflict, OperatorError, Unavailable

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.25
"""After a step that did not succeed."""
_RELEASE_SECONDS = 2.0
_STAND_BACK_SHARE: Final = 1 / 6
"""Of the lease: others look at it twice meanwhile (decisions/leadership/election.py)."""
_SAME_CLOCK_SECONDS: Final = 5.0
"""A renewal tells when it was sent, and is seen or stored up to some seconds later."""
_TOLD_SECONDS: Final = 1e-6
"""Times in a Lease have microseconds."""

_LEADER: Final = Gauge(
    "relay_operator_leader",
    "1 while this operator is certainly the leader, the one that acts; shard is empty for the main ones",
    ["shard"],
)
_EPOCH: Final = Gauge(
    "relay_operator_leader_epoch",
    "Number of this leader, higher than all before of its shard; 0 for a standby",
    ["shard"],
)
_FAILURES: Final = Counter(
    "relay_operator_lease_failures_total", "Reads and writes of the Lease that failed"
)


class Elector:
    """One life of the operator, from standby to the loss of the lead. Its `won` and `lost` are set once.

    It is the fence of everything that this life sends. identity names this life and no other, shard the Tenants that
    it leads; clock never goes back, wall
    is for what people read in the Lease. clock_ahead_seconds is by how much wall is ahead of the former leader's, once this one leads.
    """

    def __init__(
        self,
        api: ApiServer,
        *,
        namespace: str,
        identity: str,
        lease_seconds: int,
        shard: str = "",
        clock: Callable[[], float] = boot_seconds,
        wall: Callable[[], float] = time.time,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._lease_seconds = lease_seconds
        self._lease = names.leader_lease(shard)
        self._clock = clock
        self._wall = wall
        self._election = Election(identity=identity, lease_seconds=lease_seconds)
        self._heartbeat = heartbeat or Heartbeat()
        self._is_braking = False
        self._hurry = asyncio.Event()
        self._acquired = self._renewed = 0.0
        self.clock_ahead_seconds = 0.0
        self.won, self.lost = asyncio.Event(), asyncio.Event()
        _LEADER.labels(shard).set_function(lambda: float(self.rest_seconds() > 0))
        _EPOCH.labels(shard).set_function(
            lambda: float(self.epoch if self.rest_seconds() > 0 else 0)
        )

    @property
    def epoch(self) -> int:
        return self._election.epoch

    def rest_seconds(self) -> float:
        return self._election.until - self._clock()

    def may_brake(self) -> bool:
        """Tells whether the lead ended for no other cause than that the API server does not answer, and this process has run ever since:
        it may take weight away then, and do nothing else.
        """
        return self._election.may_brake(self._clock()) and self._heartbeat.is_steady()

    def note_epoch(self, epoch: int) -> None:
        """Takes in that a leader of this epoch has been, which our signature on something of it proved."""
        if epoch > self._election.epoch:
            self._election.note_epoch(epoch)
            self._hurry.set()

    async def run(self, *, stands_back: bool = False) -> None:
        """Stands by, leads, and ends once the lead is lost.

        stands_back lets others be first where nobody leads: who has just given the lead back has everything to list anew, and
        the cause of that may still be there.
        """
        beating = asyncio.create_task(self._heartbeat.run(), name="heartbeat")
        try:
            if stands_back:
                await asyncio.sleep(self._lease_seconds * _STAND_BACK_SHARE)
            while not self._election.is_lost:
                self._hurry.clear()
                await self._take_step()
                wait = self._election.seconds_until_next(self._clock())
                if wait > 0:
                    await self._wait(wait)
        finally:
            beating.cancel()
        logger.warning("lead lost, another operator may act", extra={"epoch": self.epoch})
        self.lost.set()

    async def end(self) -> None:
        """Acts no more, and gives the Lease back if it is ours."""
        was_leading = self._election.leads(self._clock())
        self._election.stop()
        self.lost.set()
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._release(tries_again=was_leading)
        except (OperatorError, TimeoutError) as error:
            if was_leading:
                logger.warning(
                    "lease not released, the next leader waits for its end",
                    extra={"why": str(error) or "no answer in time"},
                )

    async def _take_step(self) -> None:
        started = self._clock()
        step = self._election.next_step(started)
        try:
            async with asyncio.timeout(self._election.patience_seconds):
                lease = await self._perform(step)
        except (OperatorError, TimeoutError) as error:
            self._election.failed(unanswered=isinstance(error, Unavailable | TimeoutError))
            self._log_brake()
            if not isinstance(error, Conflict):
                _FAILURES.inc()
                self._log_failure(step, error)
            await asyncio.sleep(_PAUSE_SECONDS * random.uniform(0.5, 1.5))
            return
        if isinstance(step, Claim) and lease is not None:
            self._election.claimed(lease, started=started, now=self._clock())
            if self._election.leads(self._clock()):
                self._heartbeat.begin()
            self._log_brake()
            self._note_won()
        else:
            self._election.saw(lease, now=self._clock())

    def _note_won(self) -> None:
        if not self.won.is_set() and self._election.leads(self._clock()):
            logger.info("leading", extra={"epoch": self.epoch})
            self.won.set()

    def _log_brake(self) -> None:
        may_brake = self.may_brake()
        if may_brake and not self._is_braking:
            logger.warning(
                "lease ran out and the API server does not answer: weight is taken from canaries that break a limit, nothing else is done",
                extra={"epoch": self.epoch},
            )
        self._is_braking = may_brake

    def _log_failure(self, step: Step, error: Exception) -> None:
        level = logging.WARNING if self.won.is_set() else logging.INFO
        fields = {"step": type(step).__name__, "why": str(error) or type(error).__name__}
        if isinstance(error, ApiServerRefused) and error.status != 404:
            level = logging.ERROR
        logger.log(level, "lease not read or written, will retry", extra=fields)

    async def _perform(self, step: Step) -> Lease | None:
        match step:
            case Look():
                return await self._look()
            case Make(epoch):
                made = leases.unheld(name=self._lease, namespace=self._namespace, epoch=epoch)
                return leases.read(await self._api.create(made))
            case Claim(version, epoch):
                return await self._claim(version, epoch)

    async def _look(self) -> Lease | None:
        found = await self._api.get("Lease", self._lease, namespace=self._namespace)
        return None if found is None else leases.read(found)

    async def _claim(self, version: str, epoch: int) -> Lease:
        wall, former, ahead = self._wall(), self._election.seen, None
        is_first = not self._election.epoch
        if is_first:
            self._acquired = wall
            ahead = self._election.clock_ahead_seconds(self._clock(), wall)
        # a write that changes nothing would leave the version as it is, and the standby in wait of a change
        is_same = abs(wall - self._renewed) < _TOLD_SECONDS
        self._renewed = self._renewed + _TOLD_SECONDS if is_same else wall
        patch = leases.claim(
            version=version,
            holder=self._election.identity,
            epoch=epoch,
            lease_seconds=self._lease_seconds,
            now=self._renewed,
            acquired=self._acquired,
        )
        claimed = leases.read(
            await self._api.patch("Lease", self._lease, patch, namespace=self._namespace)
        )
        if is_first:
            told = leases.clock_ahead_seconds(former, claimed) if ahead is None else ahead
            self.clock_ahead_seconds = told if abs(told) >= _SAME_CLOCK_SECONDS else 0.0
        return claimed

    async def _release(self, *, tries_again: bool) -> None:
        """Gives the Lease back if it is ours; a renewal that was on its way may come first, and then it is tried again at once.

        tries_again tells to wait for an API server that does not answer, too.
        """
        while True:
            try:
                lease = await self._look()
                if lease is None or lease.holder != self._election.identity:
                    return
                patch = leases.release(version=lease.version, epoch=lease.epoch)
                await self._api.patch("Lease", self._lease, patch, namespace=self._namespace)
            except Conflict:
                await asyncio.sleep(0)
            except Unavailable:
                if not tries_again:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return
