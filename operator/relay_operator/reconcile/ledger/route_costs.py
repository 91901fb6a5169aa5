"""Asks the ledger what calls of routes cost: often for canaries that a limit of cost holds, seldom for what status tells.

Nothing of traffic waits for it: a ledger that is away leaves what was told, and canaries with a limit wait as their spec says.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from relay_contract.billing.route_costs import RouteAsked, RouteCost, RouteCosts
from relay_operator.decisions.analysis.scrapes import RouteKey
from relay_operator.decisions.canary.run import Run
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.decisions.judgement.means.cost_test import CostFinding
from relay_operator.decisions.ledger import route_cost
from relay_operator.decisions.ledger.cost_evidence import CostEvidence
from relay_operator.decisions.ledger.route_cost import NO_LEDGER, Fields
from relay_operator.errors import LedgerUnavailable
from relay_operator.names import Reason
from relay_operator.reconcile.canaries.canary_moves import CanaryMoves
from relay_operator.reconcile.fleet.turns import in_turns
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 15.0
"""Between looks at canaries with a limit; of the sums of one look a test makes one tick."""
TOLD_SECONDS: Final = 300.0
"""Between two writes of what one route costs, and of what holds its canary in other figures."""
AT_REST_SECONDS: Final = 1800.0
"""Between those of a route without a canary on trial: most of a fleet is one."""
_AWAY_SECONDS: Final = 120.0
"""Until a ledger that does not answer is a reason: a new pod of it takes some."""
_SHOWN_MICROSECONDS: Final = 86_400 * 10**6
_EVIDENCE_MICROSECONDS: Final = 7_200 * 10**6
"""Of each look at a canary with a limit: what is booked later than that after its dispatch is not of the evidence."""
_QUARTER_MICROSECONDS: Final = 900 * 10**6
_TO_COME: Final = frozenset({Reason.TOO_FEW_REQUESTS, Reason.LEDGER_UNAVAILABLE})
"""Reasons of what is not known that time ends; for any other, the spec says what a canary does that is not known to cost too much."""


class Client(Protocol):
    """Asks the ledger."""

    async def costs(self, routes: Sequence[RouteAsked], *, by_quarter: bool = False) -> RouteCosts:
        """Returns what these routes have cost. Raises LedgerUnavailable."""
        ...


class RouteCostNews:
    """What is to be told of routes' costs, by route; shared by the loop that asks and the reconciler that tells."""

    def __init__(self, *, has_ledger: bool) -> None:
        self._has_ledger = has_ledger
        self._told: dict[RouteKey, Fields] = {}

    def of(self, namespace: str, name: str) -> dict[str, Any]:
        """Returns the field of a status that tells it; nothing before the ledger was asked."""
        if not self._has_ledger:
            return {"cost": NO_LEDGER}
        told = self._told.get((namespace, name))
        return {} if told is None else {"cost": told}

    def tell(self, key: RouteKey, fields: Fields) -> None:
        """Keeps what is to be told from now on."""
        self._told[key] = fields

    def keep(self, keys: Iterable[RouteKey]) -> None:
        """Forgets all routes but these."""
        self._told = {key: self._told[key] for key in keys if key in self._told}


class RouteCostWatch:
    """Looks at canaries with a limit at each turn, and at all routes from time to time. client is None without a ledger."""

    def __init__(
        self,
        *,
        client: Client | None,
        news: RouteCostNews,
        canaries: CanaryRuns,
        moves: CanaryMoves,
        watched_state: WatchedState,
        queue: WorkQueue,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._client = client
        self._news = news
        self._canaries = canaries
        self._moves = moves
        self._watched_state = watched_state
        self._queue = queue
        self._clock = clock
        self._wall = wall
        self._evidence: dict[RouteKey, CostEvidence] = {}
        self._found_at: dict[RouteKey, float] = {}
        self._heard_at = clock()
        self._told_at = clock()
        self._all_told_at = clock() - AT_REST_SECONDS + TOLD_SECONDS
        self._away = ""

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # the loop goes on whatever one route has
                logger.exception("costs of routes not looked at, will retry")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Does once what is due."""
        await self._look_at_limits()
        if self._client is None or self._clock() - self._told_at < TOLD_SECONDS:
            return
        self._told_at = self._clock()
        is_turn_of_all = self._clock() - self._all_told_at >= AT_REST_SECONDS
        try:
            await self._tell(self._client, only_on_trial=not is_turn_of_all)
        except LedgerUnavailable as error:
            self._note_away(error)
            return
        if is_turn_of_all:
            self._all_told_at = self._clock()

    async def _look_at_limits(self) -> None:
        limited = {key: run for key, run in self._canaries.on_trial() if _is_limited(run)}
        self._evidence = {key: self._evidence_of(key, run) for key, run in limited.items()}
        self._found_at = {key: at for key, at in self._found_at.items() if key in limited}
        if not limited:
            self._heard_at = self._clock()
            return
        why = await self._ask(limited)
        for key, run in limited.items():
            # a move may have ended it while the ledger was asked
            if self._canaries.runs.get(key) is run and _is_limited(run):
                self._find(key, run, why)

    def _evidence_of(self, key: RouteKey, run: Run) -> CostEvidence:
        kept = self._evidence.get(key)
        named = self._providers(key)
        # a spec that cannot be read names nobody, and the run goes on under the one before
        is_same = kept is not None and named in (kept.providers, ())
        if kept is not None and is_same and kept.token == run.state.run_token:
            return kept
        return CostEvidence(token=run.state.run_token, providers=named)

    async def _ask(self, limited: Mapping[RouteKey, Run]) -> CostFinding | None:
        """Takes in what the ledger tells; returns what is found of all where it tells nothing."""
        if self._client is None:
            return _unknown(Reason.NO_LEDGER, "the platform has no ledger")
        since = int(self._wall() * 10**6) - _EVIDENCE_MICROSECONDS
        uids = {key: uid for key in limited if (uid := self._tenant_uid(key))}
        asked = [_asked(key, uid, since) for key, uid in uids.items()]
        try:
            told = await self._client.costs(asked, by_quarter=True)
        except LedgerUnavailable as error:
            self._note_away(error)
            is_long = self._clock() - self._heard_at >= _AWAY_SECONDS
            return _unknown(Reason.LEDGER_UNAVAILABLE, str(error)) if is_long else None
        self._heard_at, self._away = self._clock(), ""
        by_route = _by_route(told.costs)
        for key, uid in uids.items():
            if (evidence := self._evidence.get(key)) is not None:
                evidence.take(by_route.get((uid, key[1]), []))
        return None

    def _find(self, key: RouteKey, run: Run, why: CostFinding | None) -> None:
        most = run.plan.max_cost_increase_percent
        assert most is not None
        before = run.cost
        found = why or self._evidence[key].finding(most)
        if before is not None and before.is_remembered and found.reason in _TO_COME:
            # a restart raises nothing: it stays until there is evidence again
            return
        is_other = before is None or _gist(before) != _gist(found)
        is_old = self._clock() - self._found_at.get(key, float("-inf")) >= TOLD_SECONDS
        if before is not None and not (is_other or is_old or before.is_remembered):
            return
        run.cost, self._found_at[key] = found, self._clock()
        self._moves.act_alone(key, told_anew=is_other)

    async def _tell(self, client: Client, *, only_on_trial: bool) -> None:
        now = int(self._wall() * 10**6)
        asked: dict[RouteKey, RouteAsked] = {}
        async for key in in_turns(self._keys(only_on_trial)):
            if (one := self._asked_to_tell(key, now)) is not None:
                asked[key] = one
        if not asked:
            return
        told = await client.costs(list(asked.values()))
        by_route = _by_route(told.costs)
        async for key in in_turns(asked):
            one = asked[key]
            self._put(key, by_route.get((one.tenant_uid, key[1]), []), one.since, told.until)
        if not only_on_trial:
            self._news.keep(asked)

    def _keys(self, only_on_trial: bool) -> list[RouteKey]:
        if only_on_trial:
            return [key for key, _ in self._canaries.on_trial()]
        routes, state = self._watched_state.routes, self._watched_state
        return [
            (namespace, one.name)
            for namespace in filter(state.is_our_namespace, routes.namespaces())
            for one in routes.in_namespace(namespace)
        ]

    def _asked_to_tell(self, key: RouteKey, now: int) -> RouteAsked | None:
        """Returns the last day of a route, or its canary's run where that is shorter."""
        uid = self._tenant_uid(key)
        if not uid or self._watched_state.parsed_route(*key) is None:
            return None
        since = max(now - _SHOWN_MICROSECONDS, _run_began(self._canaries.runs.get(key)))
        return _asked(key, uid, since - since % _QUARTER_MICROSECONDS)

    def _put(self, key: RouteKey, costs: list[RouteCost], since: int, until: int) -> None:
        watched = self._watched_state.routes.get(key[1], namespace=key[0])
        named = self._providers(key)
        if watched is None or not named:
            return
        sides = [route_cost.side_of(costs, *one) for one in zip(_SIDES, named, strict=False)]
        canary = sides[1] if len(sides) > 1 else None
        fields = route_cost.to_fields(sides[0], canary, since=since, until=until)
        before = self._news.of(*key).get("cost") or watched.status.get("cost")
        if before and route_cost.is_told(before, fields):
            return
        self._news.tell(key, fields)
        self._queue.add(Key("RelayRoute", *key), Urgency.BACKGROUND)

    def _providers(self, key: RouteKey) -> tuple[str, ...]:
        """Returns whom the sides of a route are at, stable first."""
        route = self._watched_state.parsed_route(*key)
        if route is None:
            return ()
        canary = route.spec.canary
        sides = (route.spec.stable, *([] if canary is None else [canary]))
        return tuple(side.provider for side in sides)

    def _tenant_uid(self, key: RouteKey) -> str:
        name = self._watched_state.tenant_of_namespace(key[0])
        tenant = self._watched_state.tenants.get(name) if name is not None else None
        return tenant.uid if tenant is not None else ""

    def _note_away(self, error: LedgerUnavailable) -> None:
        if str(error) != self._away:
            logger.warning("the ledger tells no costs, will retry", extra={"why": str(error)})
        self._away = str(error)


_SIDES: Final = ("stable", "canary")


def _is_limited(run: Run) -> bool:
    return run.plan.max_cost_increase_percent is not None and run.is_measured


def _gist(found: CostFinding) -> tuple[bool | None, Reason, str]:
    """Returns what makes a finding another one: what is awaited has no figures, whose change is told now and then."""
    awaited = found.message if found.reason is Reason.TOO_FEW_REQUESTS else ""
    return found.holds, found.reason, awaited


def _asked(key: RouteKey, tenant_uid: str, since: int) -> RouteAsked:
    return RouteAsked(tenant_uid=tenant_uid, route=key[1], since=max(since, 0))


def _by_route(costs: Iterable[RouteCost]) -> dict[tuple[str, str], list[RouteCost]]:
    found: dict[tuple[str, str], list[RouteCost]] = {}
    for one in costs:
        found.setdefault((one.tenant_uid, one.route), []).append(one)
    return found


def _run_began(run: Run | None) -> int:
    """Returns when the present run got its first weight, microseconds since 1970; 0 where that is not remembered."""
    if run is None or not run.state.weight_percent:
        return 0
    started = [move.at for move in run.history if move.reason == Reason.STARTED]
    return int(started[-1] * 10**6) if started else 0


def _unknown(reason: Reason, message: str) -> CostFinding:
    return CostFinding(holds=None, reason=reason, message=message)
