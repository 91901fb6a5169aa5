"""A worker's end: takes slices over, tells of what lacks, gives back, and sends the pod's messages to the ledger."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from relay.budgets.purse import Purse
from relay.process.money.lease_client import LeaseClient
from relay.process.worker_channel import Message

TOLD_SECONDS: Final = 0.05
"""A worker that lacks money for many calls tells of it once in so long."""


class WorkerMoney:
    """One per worker; send is the channel to the supervisor."""

    def __init__(self, purse: Purse, client: LeaseClient | None, send: Callable[..., None]) -> None:
        self._purse = purse
        self._client = client
        self._send = send
        self._told_at = float("-inf")
        self._asks: set[asyncio.Task[None]] = set()
        purse.watcher = self._lacking

    def take_in(self, message: Message) -> None:
        """Takes in a message of the supervisor."""
        match message["kind"]:
            case "money":
                self._take(message)
            case "money_back":
                self._give_back(message["slot"], message["starts_at"])
            case "lease":
                task = asyncio.get_running_loop().create_task(self._lease(message))
                self._asks.add(task)
                task.add_done_callback(self._asks.discard)

    def tick(self) -> None:
        """Tells what was not told at once; call it every second."""
        if self._purse.shortest:
            self._lacking()

    async def close(self) -> None:
        """Ends what is under way."""
        for task in list(self._asks):
            task.cancel()
        await asyncio.gather(*self._asks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    def _take(self, message: Message) -> None:
        self._purse.away = message["away"]
        for row in message["rows"]:
            one = self._purse.take(
                row["slot"],
                kind=row["kind"],
                starts_at=row["starts_at"],
                ends_at=row["ends_at"],
                allowance=row["allowance"],
                returns=row["returns"],
                until=row["until"],
            )
            one.amount, one.left, one.elsewhere = row["amount"], row["left"], row["elsewhere"]

    def _give_back(self, slot: int, starts_at: int) -> None:
        one = self._purse.slice_of(slot)
        if one is not None and one.starts_at == starts_at:
            one.lower_to(0)
            self._send("money_returned", slot=slot, starts_at=starts_at, allowance=one.allowance)

    def _lacking(self) -> None:
        now = time.monotonic()
        if now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            self._send("money_short", least=self._purse.take_shortest())

    async def _lease(self, message: Message) -> None:
        status, body = 0, "no ledger"
        if self._client is not None:
            status, body = await self._client.send(message["body"])
        self._send("lease", id=message["id"], status=status, body=body)
