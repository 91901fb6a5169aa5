"""Keeps the ledger's book of prices that of the cluster, and tells in status what the ledger says.

One loop, at a pace of its own: nothing of traffic waits for it, and a ledger that is away costs a question now and then.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.ledger.client import LedgerClient
from relay_operator.cluster.metrics.catalogue import UNPRICED_MODELS
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.decisions import conditions
from relay_operator.decisions.ledger import price_conditions
from relay_operator.decisions.ledger.standing import Month, Standing, ToldList
from relay_operator.errors import ApiServerRefused, Conflict, LedgerUnavailable
from relay_operator.names import ConditionType
from relay_operator.reconcile.failure_report import report_status
from relay_operator.reconcile.ledger.book_composer import BookComposer, ComposedBook
from relay_operator.reconcile.ledger.ledger_news import LedgerNews
from relay_operator.reconcile.ledger.price_lists import PriceLists
from relay_operator.reconcile.ledger.repeated_looks import look_again
from relay_operator.reconcile.watched_objects import Watched, WatchedObjects
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

R = TypeVar("R")

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
"""Between looks at what people have written."""
STANDING_SECONDS: Final = 60.0
"""Between questions how things stand; a ledger that has lost its database has its book again after so long."""
_NOT_FOUND: Final = 404
MONTH_SECONDS: Final = 300.0
"""Between two writes of what one tenant has spent."""
_TENANTS_AT_ONCE: Final = 200
"""Between two turns of the event loop."""


class PricePush:
    """Pushes what has changed, asks from time to time, and writes PriceLists' status and Tenants' month."""

    def __init__(
        self,
        *,
        api: ApiServer,
        client: LedgerClient,
        news: LedgerNews,
        watched_state: WatchedState,
        status: StatusWriter,
        announcer: EventRecorder,
        queue: WorkQueue,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._api = api
        self._client = client
        self._news = news
        self._watched_state = watched_state
        self._status = status
        self._announcer = announcer
        self._queue = queue
        self._clock = clock
        self._wall = wall
        self._lists = PriceLists(api)
        self._asked_at = float("-inf")
        self._seen: tuple[Any, ...] = ()
        self._composer = BookComposer()
        self._book = ComposedBook()
        self._away = ""
        self._told: dict[Key, Any] = {}
        self._written: dict[str, tuple[Month | None, float]] = {}

    async def run(self) -> None:
        """Looks until cancelled."""
        await look_again(
            self.look,
            every_seconds=LOOK_SECONDS,
            logger=logger,
            failure="prices not looked at, will retry",
        )

    async def look(self) -> None:
        """Does once what is due. Raises ApiServerRefused, Conflict or Unavailable."""
        await self._lists.look()
        has_changed = await self._compose()
        has_heard = await self._talk()
        if has_changed or has_heard:
            await self._queue_whom_it_concerns()
        if self._watched_state.shards.is_main:
            await self._tell_of_lists()
        if has_heard:
            await self._write_months()

    async def _compose(self) -> bool:
        """Makes the book anew where anything of it may have changed; tells whether that was so."""
        state = self._watched_state
        versions = {
            name: (body["metadata"]["uid"], body["metadata"].get("generation"))
            for name, body in self._lists.bodies.items()
        }
        seen = (
            state.tenants.changes,
            state.providers.changes,
            state.tool_servers.changes,
            versions,
        )
        if seen == self._seen:
            return False
        price_lists = {name: body.get("spec") or {} for name, body in self._lists.bodies.items()}
        self._news.know_lists(price_lists)
        self._book = await self._composer.compose(
            price_lists,
            _shown(state.providers),
            _shown(state.tenants),
            _shown(state.tool_servers),
        )
        self._seen = seen
        return True

    async def _talk(self) -> bool:
        """Pushes the book unless the ledger has it, and asks how things stand when it is time; tells whether it was heard of."""
        is_due = self._clock() - self._asked_at >= STANDING_SECONDS
        try:
            if is_due:
                self._hear(await self._client.standing())
                self._asked_at = self._clock()
            if self._must_push():
                self._hear(await self._client.put_book(self._book.content))
                # whose months they are the ledger knows since then
                self._asked_at = float("-inf")
                self._away = ""
                return True
        except LedgerUnavailable as error:
            if str(error) != self._away:
                logger.warning("the ledger is away, will retry", extra={"why": str(error)})
            self._away = str(error)
            return False
        self._away = ""
        return is_due

    def _must_push(self) -> bool:
        if not self._watched_state.shards.is_main or not self._lists.is_defined:
            return False
        told = self._news.standing
        return told is None or told.book != self._book.digest

    def _hear(self, told: Standing) -> None:
        """Keeps what was told. The answer to a book says nothing of months and models."""
        before = self._news.standing
        if before is not None and not told.is_complete:
            told = replace(before, book=told.book, lists=told.lists, problems=told.problems)
        self._news.standing = told
        if told.book == self._book.digest:
            self._news.taken = self._book
        for account, unpriced in (
            ("cost", told.unpriced_costs),
            ("tool_cost", told.unpriced_tool_costs),
            ("charge", told.unpriced_charges),
        ):
            UNPRICED_MODELS.labels(account).set(sum(map(len, unpriced.values())))

    async def _queue_whom_it_concerns(self) -> None:
        """Has those looked at whose conditions are others now."""
        state, news = self._watched_state, self._news
        now: dict[Key, Any] = {}
        for name, provider in state.providers.valid().items():
            now[Key("Provider", "", name)] = news.of_provider(provider)
        for name, server in state.tool_servers.valid().items():
            now[Key("ToolServer", "", name)] = news.of_tool_server(server)
        for number, (name, tenant) in enumerate(state.tenants.valid().items(), start=1):
            if number % _TENANTS_AT_ONCE == 0:
                await asyncio.sleep(0)
            now[Key("Tenant", "", name)] = news.of_tenant(tenant)
        for key, words in now.items():
            if words != self._told.get(key, []):
                self._queue.add(key, Urgency.BACKGROUND)
        self._told = now

    async def _tell_of_lists(self) -> None:
        for name, body in self._lists.bodies.items():
            if self._news.standing is None and _is_told_in_force(body):
                # an operator that has just begun knows nothing better
                continue
            try:
                await self._tell_of_list(name, body)
            except (ApiServerRefused, Conflict) as error:
                # one that cannot be written keeps no other from its conditions
                logger.warning(
                    "the status of a price list is not written, will retry",
                    extra={"price_list": name, "why": str(error)},
                )

    async def _tell_of_list(self, name: str, body: dict[str, Any]) -> None:
        told = self._told_of(name)
        fields = {"tenants": self._book.counts[name]}
        await report_status(
            self._status,
            self._announcer,
            "PriceList",
            body,
            fields | ({"version": told[0][1].version or None} if told else {}),
            price_conditions.of_price_list(told, self._away),
            on_its_way=(),
            now=self._wall(),
        )

    def _told_of(self, name: str) -> list[tuple[str, ToldList]]:
        """Returns what the ledger has of a list, and of it with its Tenants' percentages; nothing until it has taken all of them."""
        standing = self._news.standing
        taken = self._news.taken.lists
        lists = [name, *sorted(self._book.made_of.get(name, set()) - {name})]
        if standing is None or any(self._book.lists[one] != taken.get(one) for one in lists):
            return []
        return [(one, standing.lists.get(one, ToldList())) for one in lists]

    async def _write_months(self) -> None:
        """Writes what has changed of tenants' months, each tenant's every few minutes at most."""
        told = self._news.standing
        if told is None:
            return
        now = self._clock()
        for name in self._watched_state.our_tenants():
            watched = self._watched_state.tenants.get(name)
            month = told.months.get(watched.uid) if watched is not None else None
            if watched is None or month is None:
                continue
            written, at = self._written.get(watched.uid, (_month_in(watched), float("-inf")))
            if written == month or now - at < MONTH_SECONDS:
                continue
            try:
                is_written = await self._write_month(watched, month)
            except Conflict:
                # the next look has the Tenant as it is by then
                continue
            self._written[watched.uid] = month if is_written else None, now

    async def _write_month(self, watched: Watched[Any], month: Month) -> bool:
        """Writes one month; tells whether that is done. A Tenant whose status the API server refuses keeps nobody else from theirs."""
        billing = {"month": month.month, "spent": month.spent}
        try:
            await self._status.write_beside("Tenant", watched.body, {"billing": billing})
        except ApiServerRefused as error:
            if error.status == _NOT_FOUND:
                return True
            logger.warning(
                "a tenant's month is not written, will retry",
                extra={"tenant": watched.name, "why": str(error)},
            )
            return False
        return True


def _shown(objects: WatchedObjects[R]) -> dict[str, Watched[R]]:
    found = {name: objects.get(name) for name in objects.names()}
    return {name: one for name, one in found.items() if one is not None}


def _is_told_in_force(body: Mapping[str, Any]) -> bool:
    told = conditions.find(body.get("status") or {}, ConditionType.PRICES_IN_FORCE)
    generation = body["metadata"].get("generation", 1)
    return told.get("status") == "True" and told.get("observedGeneration") == generation


def _month_in(watched: Watched[Any]) -> Month | None:
    told = watched.status.get("billing") or {}
    return Month(told["month"], told["spent"]) if told.get("month") and told.get("spent") else None
