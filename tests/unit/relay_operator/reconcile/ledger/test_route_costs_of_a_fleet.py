"""Costs of a whole fleet's routes are taken in a few at a time: the operator's other work goes on in between."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.unit.relay_operator.virtual_time import in_virtual_time, running_clock

from relay_contract.billing.route_costs import RouteAsked, RouteCost, RouteCosts
from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.reconcile.ledger.route_costs import (
    AT_REST_SECONDS,
    RouteCostNews,
    RouteCostWatch,
)
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import WorkQueue

ROUTES = 200


class Ledger:
    """Answers for every route at once."""

    async def costs(self, routes: Sequence[RouteAsked], *, by_quarter: bool = False) -> RouteCosts:
        costs = [
            RouteCost(
                tenant_uid=one.tenant_uid,
                route=one.route,
                side="stable",
                provider="p",
                attempts=10,
                calls=10,
                cost_pico=42 * 10**9,
                unpriced=0,
                unknown=0,
                held_pico=0,
            )
            for one in routes
        ]
        return RouteCosts(until=1, costs=tuple(costs))


def a_fleet() -> WatchedState:
    state = WatchedState()
    for number in range(ROUTES):
        name = f"t{number}"
        state.tenants.store({"metadata": {"name": name, "uid": name}, "spec": {}})
        state.note_owned(f"relay-{name}", True)
        metadata: dict[str, Any] = {"name": "chat", "uid": name, "namespace": f"relay-{name}"}
        state.routes.store({"metadata": metadata, "spec": {"stable": {"provider": "p"}}})
    return state


@in_virtual_time
async def test_the_operators_other_work_goes_on_between_some_routes_and_the_next() -> None:
    clock, news = running_clock(), RouteCostNews(has_ledger=True)
    moves: Any = None  # no canary is on trial
    watch = RouteCostWatch(
        client=Ledger(),
        news=news,
        canaries=CanaryRuns(evidence=Evidence(scrape_seconds=2)),
        moves=moves,
        watched_state=a_fleet(),
        queue=WorkQueue(),
        clock=clock,
        wall=clock,
    )
    clock.now += AT_REST_SECONDS
    looking, turns = asyncio.ensure_future(watch.look()), 0
    while not looking.done():
        turns += 1
        await asyncio.sleep(0)
    await looking
    told = [news.of(f"relay-t{number}", "chat")["cost"]["summary"] for number in range(ROUTES)]
    assert set(told) == {"stable 4.20 USD"}
    assert turns > ROUTES // 50
