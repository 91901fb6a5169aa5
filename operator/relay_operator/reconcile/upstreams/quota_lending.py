"""Hears from relay pods how much of each Provider's quota they use, and lends what some do not use to those that could use more.

A bounded number of tenants is asked at a time, whatever their number: those that lend or borrow, and the others in turns. What
a pod tells can cost others nothing that they use: its tenant can borrow what the others do not need, or lend its own.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from relay_contract.quota_use import QUOTA_LEVELS, QuotaLevel
from relay_operator import names
from relay_operator.api.provider import Provider
from relay_operator.cluster.relays import Relays, ToldQuotaUse
from relay_operator.decisions.providers.lending import Facts, Loans, next_loans
from relay_operator.reconcile.canaries.pod_questions import PodQuestions
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.fleet.turns import in_turns
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

logger = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
MOST_ASKED: Final = 24
"""Tenants that are asked at a time beside those that lend and borrow."""
LOOK_SECONDS: Final = 15.0
"""For which the same ones are asked where there are more: 5,000 tenants are all heard of within an hour, for some two questions
a second.
"""
SETTLE_LOOK_SECONDS: Final = 3.0
"""Between two looks at all tenants of a Provider, until it is settled."""
SETTLING_SECONDS: Final = 120.0
"""Of a life of the operator, after which nothing that an earlier one lent is in force any more, whatever does not answer."""


class QuotaLending:
    """Lends until cancelled. What is lent is in memory: a new life of the operator begins with parts by weight alone."""

    def __init__(
        self,
        *,
        relays: Relays,
        publisher: DocumentPublisher,
        watched_state: WatchedState,
        queue: WorkQueue,
        clock: Callable[[], float],
    ) -> None:
        self._publisher = publisher
        self._watched_state = watched_state
        self._queue = queue
        self._clock = clock
        self._questions: PodQuestions[ToldQuotaUse] = PodQuestions(
            noun="quota use",
            ask=relays.quota_use,
            answered=self._hear,
            watched_state=watched_state,
            is_followed=self._is_followed,
        )
        self._party: frozenset[str] = frozenset()
        self._are_many = self._is_news = False
        self._turn: Iterator[str] = iter(())
        self._asked: tuple[str, ...] = ()
        self._asked_until = 0.0
        self._settled: set[str] = set()
        self._began = self._settle_at = clock()
        publisher.holds_quota = lambda name: name not in self._settled

    async def run(self) -> None:
        """Looks at every tick who is to lend and to borrow."""
        self._began = self._clock()
        try:
            while True:
                try:
                    await self._tick()
                except Exception:  # whatever one Provider has, lending goes on
                    logger.exception("lending of quotas failed, will retry")
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self._questions.ask_in(())

    async def _tick(self) -> None:
        shared, is_time = self._shared(), self._clock() >= self._settle_at
        if is_time:
            self._settle_at = self._clock() + SETTLE_LOOK_SECONDS
        self._questions.ask_in(map(names.tenant_namespace, self._to_ask(shared)))
        is_news, self._is_news = self._is_news, False
        for provider in shared:
            loans = self._watched_state.claims.loans(provider.metadata.name)
            if provider.metadata.name in self._settled:
                # without loans they begin with what a pod tells
                if is_news or not loans.is_empty:
                    self._lend(provider)
            elif is_time:
                await self._settle(provider)

    def _shared(self) -> list[Provider]:
        """Returns the Providers with a quota that tenants share, or that are not settled yet."""
        return [
            provider
            for name, provider in self._watched_state.providers.valid().items()
            if provider.spec.limits.is_limited
            and (self._is_shared(name) or name not in self._settled)
        ]

    def _is_shared(self, name: str) -> bool:
        claims = self._watched_state.claims
        return len(claims.weights(name)) > 1 or not claims.loans(name).is_empty

    # -- whom to ask -------------------------------------------------------------------------------------------------

    def _to_ask(self, shared: Iterable[Provider]) -> set[str]:
        found = set()
        for provider in shared:
            loans = self._watched_state.claims.loans(provider.metadata.name)
            found |= {*loans.lenders, *loans.borrowers}
        self._party = frozenset(map(names.tenant_namespace, found))
        now = self._clock()
        if now >= self._asked_until:
            self._asked_until = now + LOOK_SECONDS
            self._asked = tuple(self._next_ones(shared))
        return found.union(self._asked)

    def _hear(self, _: str) -> None:
        self._is_news = True

    def _is_followed(self, namespace: str) -> bool:
        """Tells whether every change of a tenant's use is of interest: where all take turns, one answer of the others' is enough."""
        return namespace in self._party or not self._are_many

    def _next_ones(self, shared: Iterable[Provider]) -> set[str]:
        """Returns whose turn it is; one round after the other, over all that have a part in a quota that is shared."""
        found: set[str] = set()
        for _ in range(2):
            for tenant in self._turn:
                found.add(tenant)
                if len(found) == MOST_ASKED:
                    return found
            weights = self._watched_state.claims.weights
            everybody = {one for provider in shared for one in weights(provider.metadata.name)}
            ours = sorted(filter(self._watched_state.is_ours, everybody))
            self._turn, self._are_many = iter(ours), len(ours) > MOST_ASKED
        return found

    def _levels(self, provider: str) -> dict[str, QuotaLevel]:
        """Returns the level of each tenant that has a part and of which every serving pod was heard."""
        parts = self._watched_state.claims.weights(provider)
        found: dict[str, QuotaLevel] = {}
        loans = self._watched_state.claims.loans(provider)
        for tenant in {*self._asked, *loans.lenders, *loans.borrowers} & parts.keys():
            level = self._level(provider, names.tenant_namespace(tenant))
            if level is not None:
                found[tenant] = level
        return found

    def _level(self, provider: str, namespace: str) -> QuotaLevel | None:
        serving = self._questions.serving(namespace)
        told = [one.levels.get(provider) for one in self._questions.answers(serving)]
        known = [one for one in told if one is not None]
        if not known or len(known) < len(serving):
            return None
        return max(known, key=QUOTA_LEVELS.index)

    # -- what to lend ------------------------------------------------------------------------------------------------

    def _lend(self, provider: Provider) -> None:
        name, claims = provider.metadata.name, self._watched_state.claims
        before, weights = claims.loans(name), claims.weights(name)
        after = next_loans(
            before,
            Facts(
                weights=weights,
                levels=self._levels(name),
                took_it=lambda tenant: self._took(provider, tenant),
                now=self._clock(),
            ),
        )
        claims.lend(name, after)
        for tenant in _concerned(before, after) & weights.keys():
            self._publish(name, tenant)
        if (
            len(before.lenders) != len(after.lenders)
            or before.borrowers.keys() != after.borrowers.keys()
        ):
            self._queue.add(Key("Provider", "", name))

    def _publish(self, provider: str, tenant: str) -> None:
        """Brings the tenant's part into its document and pushes it, if it is another; its reconcile stores it."""
        namespace = names.tenant_namespace(tenant)
        publication = self._publisher.publication(namespace)
        if publication is None or not publication.contents.uses(provider):
            return
        self._publisher.refresh_providers(publication, [provider])
        if publication.contents.providers_changed:
            self._publisher.push(namespace)
            self._queue.add(Key("Tenant", "", tenant))

    def _took(self, provider: Provider, tenant: str) -> bool:
        """Tells whether every relay pod of a tenant runs with the part that it is to have now."""
        name, namespace = provider.metadata.name, names.tenant_namespace(tenant)
        publication = self._publisher.publication(namespace)
        if publication is None or publication.document is None:
            return False
        if publication.stored_document is not publication.document:
            # the next life of the operator, and a pod that begins, would go by another part
            return False
        share = self._watched_state.provider_share(name, tenant)
        wanted = self._publisher.limits_of(publication, provider, share=share)
        return all(
            one.limits == wanted
            for one in publication.document.catalogue.providers
            if one.name == name and not one.closed
        ) and all(map(publication.runs_newest, self._watched_state.relay_pods(namespace)))

    # -- what an earlier life of the operator lent -------------------------------------------------------------------

    async def _settle(self, provider: Provider) -> None:
        """Lets nobody have more than it had until nobody has more than its own part by weight any more."""
        name, is_over = provider.metadata.name, self._clock() - self._began >= SETTLING_SECONDS
        tenants = self._watched_state.claims.weights(name)
        if not is_over:
            async for tenant in in_turns(tenants):
                if not self._took(provider, tenant):
                    return
        self._settled.add(name)
        self._is_news = True
        async for tenant in in_turns(tenants):
            publication = self._publisher.publication(names.tenant_namespace(tenant))
            if publication is not None and name in publication.not_to_exceed:
                self._publish(name, tenant)


def _concerned(before: Loans, after: Loans) -> set[str]:
    """Returns the tenants whose documents are to have another part, and those that are not known to have it."""
    lend = before.lenders.keys() ^ after.lenders.keys()
    lend |= {name for name, one in after.lenders.items() if not one.is_certain}
    borrow = {
        name
        for name in before.borrowers.keys() | after.borrowers.keys()
        if _units(before, name) != _units(after, name)
    }
    borrow |= {name for name, one in after.borrowers.items() if one.before != one.units}
    return lend | borrow


def _units(loans: Loans, tenant: str) -> float:
    borrowed = loans.borrowers.get(tenant)
    return borrowed.units if borrowed is not None else 0.0
