"""The budget of calls to the API server: who makes too many waits, and nobody else."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time, running_clock

from relay_operator.reconcile.fleet.api_budget import ApiBudget
from relay_operator.reconcile.fleet.metered_api_server import MeteredApiServer
from relay_operator.reconcile.work_queue import PLATFORM, WORKING_AT, Key, Urgency, WorkQueue

NOISY, QUIET = "relay-noisy", "relay-quiet"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_budget(clock: Clock, *, calls: float = 100, of_tenant: float = 10) -> ApiBudget:
    return ApiBudget(calls_per_second=calls, calls_per_second_of_tenant=of_tenant, clock=clock)


def test_a_tenant_has_a_burst_and_then_its_rate() -> None:
    clock = Clock()
    budget = a_budget(clock)
    for _ in range(100):
        budget.spend(NOISY)
    assert budget.wait_seconds_of(NOISY, Urgency.NORMAL) == 0
    budget.spend(NOISY)
    assert budget.wait_seconds_of(NOISY, Urgency.NORMAL) == pytest.approx(0.1)
    assert budget.wait_seconds_of(QUIET, Urgency.NORMAL) == 0
    clock.now += 0.1
    assert budget.wait_seconds_of(NOISY, Urgency.NORMAL) == pytest.approx(0, abs=1e-6)


def test_what_takes_traffic_away_has_as_much_again_and_what_is_immediate_never_waits() -> None:
    budget = a_budget(Clock())
    for _ in range(201):
        budget.spend(NOISY)
    assert budget.wait_seconds_of(NOISY, Urgency.URGENT) == pytest.approx(0.1)
    assert budget.wait_seconds_of(NOISY, Urgency.NORMAL) == pytest.approx(10.1)
    assert budget.wait_seconds_of(NOISY, Urgency.IMMEDIATE) == 0


def test_the_background_waits_first_and_the_brake_not_at_all() -> None:
    budget = a_budget(Clock())
    for _ in range(150):
        budget.spend(PLATFORM)
    waits = [budget.wait_seconds(urgency) for urgency in Urgency]
    assert waits == [0, 0, 0, pytest.approx(0.5)]
    for _ in range(100):
        budget.spend(PLATFORM)
    waits = [budget.wait_seconds(urgency) for urgency in Urgency]
    assert waits == [0, 0, pytest.approx(0.5), pytest.approx(1.5)]
    assert budget.wait_seconds_of(PLATFORM, Urgency.NORMAL) == 0


def spend_at(budget: ApiBudget, urgency: Urgency, calls: int, owner: str = PLATFORM) -> None:
    token = WORKING_AT.set(urgency)
    try:
        for _ in range(calls):
            budget.spend(owner)
    finally:
        WORKING_AT.reset(token)


@pytest.mark.parametrize("urgency", [Urgency.IMMEDIATE, Urgency.URGENT])
def test_what_takes_traffic_away_leaves_no_debt_to_changes(urgency: Urgency) -> None:
    budget = a_budget(Clock())
    spend_at(budget, urgency, 10_000)
    assert budget.wait_seconds(Urgency.NORMAL) == 0
    # a burst is there as well, for what was changed meanwhile
    spend_at(budget, Urgency.NORMAL, 100)
    assert budget.wait_seconds(Urgency.NORMAL) == pytest.approx(0, abs=0.02)


def test_a_tenth_of_the_rate_is_left_to_changes_while_traffic_is_taken_away() -> None:
    clock = Clock()
    budget, made = a_budget(clock), 0
    for _ in range(600):
        clock.now += 0.1
        spend_at(budget, Urgency.URGENT, 1000)
        if not budget.wait_seconds(Urgency.NORMAL):
            spend_at(budget, Urgency.NORMAL, 10)
            made += 10
    # ten a second, and what may be spent at once
    assert made == pytest.approx(600 + 100, abs=30)


def test_what_is_immediate_shuts_nothing_else_of_its_tenant_out_for_long() -> None:
    budget = a_budget(Clock())
    spend_at(budget, Urgency.IMMEDIATE, 100_000, NOISY)
    assert budget.wait_seconds_of(NOISY, Urgency.URGENT) == 0
    assert budget.wait_seconds_of(NOISY, Urgency.NORMAL) == pytest.approx(10)


def test_no_limit_is_none() -> None:
    budget = a_budget(Clock(), calls=0, of_tenant=0)
    for _ in range(10_000):
        budget.spend(NOISY)
    assert budget.wait_seconds_of(NOISY, Urgency.BACKGROUND) == 0
    assert budget.wait_seconds(Urgency.BACKGROUND) == 0


@given(st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 3)), max_size=200))
def test_accounts_that_are_paid_are_forgotten(spent: list[tuple[int, float]]) -> None:
    clock = Clock()
    budget = a_budget(clock)
    for owner, seconds in spent:
        clock.now += seconds
        budget.spend(f"relay-{owner}")
    for number in range(4000):
        clock.now += 1
        budget.spend(f"relay-other-{number}")
    assert len(budget._of) <= 1025


class Spent:
    def __init__(self) -> None:
        self.owners: list[str] = []

    def __call__(self, owner: str) -> None:
        self.owners.append(owner)


@in_virtual_time
async def test_every_call_is_counted_for_whom_it_is_made() -> None:
    server, spent = InMemoryApiServer(running_clock()), Spent()
    api: Any = MeteredApiServer(
        server.connect(), spent, operator_namespace="relay-system", is_others=lambda _: False
    )
    about = {"kind": "Tenant", "name": "a", "namespace": None}
    event = {"metadata": {"name": "e", "namespace": "default"}, "involvedObject": about}
    space = {"kind": "Namespace", "metadata": {"name": "relay-a"}}
    config = {"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "relay-a"}}
    server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    await api.create(space)
    created = await api.apply(config)
    await api.create({"kind": "Event", **event})
    await api.get("Secret", "s", namespace="relay-a")
    await api.get("Tenant", "a")
    await api.patch("ConfigMap", "c", {"data": {"a": "b"}}, namespace="relay-a")
    await api.delete("ConfigMap", "c", namespace="relay-a", uid=created["metadata"]["uid"])
    assert spent.owners == ["relay-a"] * 7
    spent.owners.clear()
    await api.get("Secret", "s", namespace="relay-system")
    await api.get("Provider", "p")
    await api.list_metadata("Tenant")
    assert spent.owners == [PLATFORM] * 3


@in_virtual_time
async def test_who_has_spent_too_much_stands_aside_and_the_others_go_on() -> None:
    budget = ApiBudget(calls_per_second=0, calls_per_second_of_tenant=10, clock=running_clock())
    queue = WorkQueue(budget=budget)
    for _ in range(120):
        budget.spend(NOISY)
    noisy, quiet = Key("Tenant", "", "noisy"), Key("Tenant", "", "quiet")
    queue.add(noisy)
    queue.add(quiet)
    assert await queue.take() == quiet
    # coalesced, and delayed, but never dropped
    for _ in range(50):
        queue.add(noisy)
    begun = running_clock().now
    assert await queue.take() == noisy
    assert running_clock().now - begun == pytest.approx(2.0, abs=0.02)
    queue.done(noisy)
    queue.done(quiet)
    assert len(queue) == 0


@in_virtual_time
async def test_a_brake_overtakes_what_stands_aside() -> None:
    budget = ApiBudget(calls_per_second=0, calls_per_second_of_tenant=10, clock=running_clock())
    queue = WorkQueue(budget=budget)
    for _ in range(120):
        budget.spend(NOISY)
    noisy = Key("RelayRoute", NOISY, "chat")
    queue.add(noisy)
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    queue.add(noisy, Urgency.URGENT)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert waiting.done()


@in_virtual_time
async def test_all_together_make_no_more_calls_than_the_budget_in_all() -> None:
    budget = ApiBudget(calls_per_second=100, calls_per_second_of_tenant=0, clock=running_clock())
    queue = WorkQueue(budget=budget)
    for number in range(500):
        queue.add(Key("Tenant", "", f"t{number}"))
    begun = running_clock().now
    for _ in range(500):
        key = await queue.take()
        for _ in range(10):
            budget.spend(key.owner)
        queue.done(key)
    # five thousand calls, two hundred of them at once
    assert running_clock().now - begun == pytest.approx(48, abs=1)


@in_virtual_time
async def test_a_tenant_that_changes_all_the_time_delays_nobody_but_itself() -> None:
    stage = Stage()
    stage.tenant("noisy")
    for number in range(3):
        stage.tenant(f"quiet-{number}")
    life = await stage.operator()
    await stage.settle()
    for number, tenant in enumerate(("noisy", "quiet-0", "quiet-1", "quiet-2")):
        stage.pod(f"{tenant}-pod", tenant=tenant, ip=f"10.0.1.{number}")
    await stage.settle(20)

    def calls_of(tenant: str) -> int:
        return sum(
            write.key[1] == f"relay-{tenant}" or write.key[2] == tenant for write in life.api.writes
        )

    before = calls_of("noisy")
    for turn in range(800):
        stage.tenant("noisy", queue={"concurrency": 1 + turn % 2})
        await stage.settle(0.01)
        if turn % 250 == 200:
            number = turn // 250 % 3
            stage.tenant(f"quiet-{number}", queue={"concurrency": 2 + turn % 7})
            # the watch tells within 0.05 s
            await stage.settle(0.07)
            told = stage.status("Tenant", f"quiet-{number}")["observedGeneration"]
            assert (
                told == stage.server.stored("Tenant", f"quiet-{number}")["metadata"]["generation"]
            )
    # what it may make at once, and fifty a second after that
    assert life.api.reads + len(life.api.writes) - before < 500 + 9 * 50 + 200
    await stage.settle(30)
    stored = stage.server.stored("Tenant", "noisy")
    assert stored["status"]["observedGeneration"] == stored["metadata"]["generation"]
    await life.end()


@in_virtual_time
async def test_looks_at_secrets_run_up_no_debt_however_many_they_are() -> None:
    stage = Stage()
    for number in range(40):
        stage.tenant(f"t{number}")
    life = await stage.operator()
    await stage.settle(30)
    await life.end()
    # less than the looks alone would make: 80 in half a minute
    stage.calls_per_second = 2
    again = await stage.operator()
    await stage.settle(600)
    # changes wait for calls of changes, and not for a debt that grows for ever
    assert again.queue.spare_seconds() < 5
    await again.end()


@in_virtual_time
async def test_a_storm_of_urgent_work_makes_no_change_wait_afterwards() -> None:
    budget = ApiBudget(calls_per_second=100, calls_per_second_of_tenant=0, clock=running_clock())
    queue = WorkQueue(budget=budget)
    for number in range(300):
        queue.add(Key("RelayRoute", f"relay-t{number}", "chat"), Urgency.URGENT)
    begun = running_clock().now
    for _ in range(300):
        key = await queue.take()
        spend_at(budget, Urgency.URGENT, 20, key.owner)
        queue.done(key)
    queue.add(Key("Tenant", "", "quiet"))
    assert await queue.take() == Key("Tenant", "", "quiet")
    assert running_clock().now - begun < 0.1
