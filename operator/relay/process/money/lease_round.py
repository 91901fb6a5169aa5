"""Keeps the pod's parts of the tenant's limits: asks the ledger ahead of need, through a worker, and tells the workers.

The supervisor starts no thread and so looks no name up: a worker sends what it is given.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import orjson
from pydantic import ValidationError

from relay.accounting.logs import Log
from relay.process.money.pod_money import PodMoney
from relay.process.worker_channel import Message
from relay_contract.billing.budget import LeaseAnswer

LOOK_SECONDS: Final = 0.1
Ask = Callable[[str], Awaitable[Message]]
Tell = Callable[..., None]
"""Sends a message to a worker by its number, if it listens."""


class LeaseRound:
    """One per pod; wanted says whether the document in force has limits."""

    def __init__(
        self,
        money: PodMoney,
        *,
        ask: Ask,
        tell: Tell,
        workers: Callable[[], list[int]],
        wanted: Callable[[], bool],
        releases: Callable[[], bool],
        log: Log,
    ) -> None:
        self.money = money
        self._ask = ask
        self._tell = tell
        self._workers = workers
        self._wanted = wanted
        self._releases = releases
        self._log = log
        self._told: dict[int, Any] = {}
        self._away = False

    async def run(self) -> None:
        """Goes round until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._wanted() and self._workers():
                await self.look()

    async def look(self) -> None:
        """Asks the ledger if it is time, and tells workers what has changed for them."""
        if self.money.is_due(time.monotonic()):
            await self._renew()
        workers = self._workers()
        self.money.divide(workers)
        away = self.money.away
        if away != self._away:
            self._away = away
            self._log.event("warning" if away else "info", "ledger_away" if away else "ledger_back")
        for number in workers:
            message = {"away": away, "rows": self.money.rows(number)}
            if self._told.get(number) != message:
                self._told[number] = message
                self._tell(number, "money", **message)

    def take_in(self, worker: int, message: Message) -> None:
        """Takes in what a worker tells of its slices."""
        if message["kind"] == "money_short":
            found = self.money.short(worker, message["least"])
            if found is not None:
                richest, limit = found
                self._tell(richest, "money_back", slot=limit.slot, starts_at=limit.lease.starts_at)
        else:
            self.money.returned(worker, message["slot"], message["starts_at"], message["allowance"])

    def ended(self, worker: int) -> None:
        """Takes over what a worker has spent that has ended."""
        self.money.ended(worker)
        self._told.pop(worker, None)

    async def _renew(self) -> None:
        asked_at = time.monotonic()
        request = self.money.request(
            now=asked_at, wall=time.time_ns() // 1000, release=self._releases()
        )
        answer = await self._ask(request.model_dump_json(by_alias=True))
        if answer.get("status") == HTTPStatus.CONFLICT:
            self.money.outdated()
            return
        if answer.get("status") != HTTPStatus.OK:
            self.money.unanswered()
            return
        try:
            leased = LeaseAnswer.model_validate(orjson.loads(answer["body"]))
        except (ValidationError, orjson.JSONDecodeError) as error:
            self._log.repeated("error", "lease_unreadable", message=str(error)[:300])
            self.money.unanswered()
            return
        self.money.answered(leased, asked_at=asked_at, now=time.monotonic())
