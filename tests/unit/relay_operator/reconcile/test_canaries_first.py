"""What must not wait is looked at before everything that is at rest: canaries that a former leader began, and who is shut out."""

import asyncio
import random
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.handlers import listing, resources
from relay_operator.handlers.context import Context
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

_TENANTS = 300
CANARY = {"provider": "new", "percent": 50}
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}

on_trial = st.sampled_from(
    [
        {"phase": "Progressing", "weights": {"canaryPercent": 5}},
        {"phase": "Frozen", "weights": {"canaryPercent": 100}},
        {"phase": "Baking", "weights": {"canaryPercent": 100}},
        {"phase": "Shadowing", "weights": {"canaryPercent": 0}},
        {"phase": "Preflight", "weights": {"canaryPercent": 0}},
    ]
)
at_rest = st.sampled_from(
    [
        {},
        {"phase": "Stable", "weights": {"canaryPercent": 0}},
        {"phase": "Promoted", "weights": {"canaryPercent": 100}},
        {"phase": "RolledBack", "weights": {"canaryPercent": 0}},
    ]
)
bodies_seen = {
    "Tenant": resources.tenant_seen,
    "Provider": resources.provider_seen,
    "RelayRoute": resources.route_seen,
}


def body(name: str, *, namespace: str = "", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "uid": f"{namespace}/{name}", "generation": 1}
    if namespace:
        metadata["namespace"] = namespace
    return {"metadata": metadata, **fields}


def a_context() -> Context:
    """Returns what handlers are given."""
    return Context(WatchedState(), WorkQueue(), OwnedObjects(InMemoryApiServer().connect()))


async def taken_first(queue: WorkQueue, most: int) -> list[Key]:
    """Takes what is not immediate, as workers do one after the other."""
    found: list[Key] = []
    while len(found) < most:
        key = await queue.take()
        if key.kind != "Withdrawal":
            found.append(key)
        queue.done(key)
    return found


@settings(max_examples=15, phases=[Phase.explicit, Phase.generate])
@given(
    trials=st.dictionaries(st.integers(0, _TENANTS - 1), on_trial, min_size=1, max_size=5),
    rest=at_rest,
    order=st.permutations(["Tenant", "Provider", "RelayRoute"]),
    seed=st.integers(0, 9),
)
async def test_canaries_are_taken_before_hundreds_of_tenants(
    trials: dict[int, Any], rest: Any, order: list[str], seed: int
) -> None:
    context = a_context()
    queue = context.queue
    spec = {"stable": {"provider": "legacy"}, "canary": {"provider": "new", "percent": 100}}
    shown: dict[str, list[Any]] = {
        "Tenant": [body(f"t{n}", spec={}) for n in range(_TENANTS)],
        "Provider": [
            body(name, spec={"endpoint": {"url": f"https://{name}.example.com/v1"}})
            for name in ("legacy", "new", *(f"p{n}" for n in range(20)))
        ],
        "RelayRoute": [
            body("chat", namespace=f"relay-t{n}", spec=spec, status=trials.get(n, rest))
            for n in range(_TENANTS)
        ],
    }
    for kind in order:
        random.Random(seed).shuffle(shown[kind])
        for one in shown[kind]:
            await bodies_seen[kind](body=one, memo=context, type=None)
    listing.look_at_first(context)
    wanted = {Key("Provider", "", name) for name in ("legacy", "new")}
    wanted |= {Key("Tenant", "", f"t{n}") for n in trials}
    wanted |= {Key("RelayRoute", f"relay-t{n}", "chat") for n in trials}
    assert {*await taken_first(queue, len(wanted))} == wanted


async def test_who_lost_a_provider_by_a_label_while_no_operator_ran_is_taken_first() -> None:
    context, only_eu = a_context(), {"allowedTenants": {"matchLabels": {"region": "eu"}}}
    told = {"observedGeneration": 1}
    for number in range(100):
        # of what labels were, no generation and no status tells
        one: Any = body(f"t{number}", spec={}, status=told)
        one["metadata"]["labels"] = {"region": "us" if number == 70 else "eu"}
        await resources.tenant_seen(body=one, memo=context, type=None)
    spec = {"endpoint": {"url": "https://eu.example.com/v1"}, **only_eu}
    provider: Any = body("eu", spec=spec)
    await resources.provider_seen(body=provider, memo=context, type=None)
    for number in range(100):
        route: Any = body(
            "chat",
            namespace=f"relay-t{number}",
            spec={"stable": {"provider": "eu"}},
            status={**told, "phase": "Stable"},
        )
        await resources.route_seen(body=route, memo=context, type=None)
    listing.look_at_first(context)
    assert await taken_first(context.queue, 1) == [Key("Tenant", "", "t70")]


@in_virtual_time
async def test_a_canary_is_watched_again_before_the_tenants_at_rest_are_looked_at() -> None:
    stage, tried = Stage(), "t30"
    for provider in ("legacy", "new"):
        stage.provider(provider)
    for number in range(40):
        stage.tenant(f"t{number}")
    leader, standby = await stage.operator(), stage.life()
    await standby.stand_by()
    await stage.settle()
    stage.pod(tenant=tried)
    stage.route(tenant=tried, canary=CANARY, analysis=ANALYSIS)
    await stage.settle(10)
    assert stage.relays.weight("relay-1", "chat", namespace=f"relay-{tried}") == 50
    await leader.end()
    standby = stage.life()
    await standby.stand_by()
    ended = record(standby)
    leader.term.is_over = True
    standby.lead(workers=1)
    key = (names.tenant_namespace(tried), "chat")
    while key not in standby.canaries.runs:  # noqa: ASYNC110 - in virtual time
        await asyncio.sleep(0)
    assert standby.canaries.runs[key].is_measured
    rest = {one.name for one in ended if one.kind == "Tenant"} - {tried}
    assert len(rest) <= 2, rest
    await standby.end()


def record(life: Life) -> list[Key]:
    """Returns what the life's queue gives out, in the order in which it ends."""
    ended: list[Key] = []
    done = life.queue.done

    def note(key: Key, *, failed: bool = False) -> None:
        ended.append(key)
        done(key, failed=failed)

    life.queue.done = note  # type: ignore[method-assign]
    return ended


@in_virtual_time
async def test_what_a_canary_waits_for_at_the_start_comes_as_urgent() -> None:
    stage = Stage()
    for provider in ("legacy", "new"):
        stage.provider(provider)
    stage.tenant()
    first = await stage.operator()
    await stage.settle()
    stage.pod()
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle(10)
    await first.end()
    life = stage.life()
    await life.stand_by()
    # its Providers have not been looked at
    await life.workers._tenants.reconcile("finance")
    await life.workers._routes.reconcile("relay-finance", "chat")
    assert life.queue._due[Key("RelayRoute", "relay-finance", "chat")][1] is Urgency.URGENT
    await life.end()
