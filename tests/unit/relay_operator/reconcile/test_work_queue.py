"""The keyed queue: nothing lost, nothing twice at once, urgent first."""

import asyncio

import uvloop
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.reconcile.fleet.api_budget import ApiBudget
from relay_operator.reconcile.work_queue import WORKING_AT, Key, Urgency, WorkQueue

A, B, C = (Key("Tenant", "", name) for name in "abc")


async def taken(queue: WorkQueue) -> Key | None:
    """What take() gives at once, None when it waits."""
    try:
        async with asyncio.timeout(0.01):
            return await queue.take()
    except TimeoutError:
        return None


async def test_repeats_are_coalesced() -> None:
    queue = WorkQueue()
    for _ in range(5):
        queue.add(A)
    assert [await taken(queue), await taken(queue)] == [A, None]


async def test_a_key_is_never_worked_on_twice_at_once_and_never_lost() -> None:
    queue = WorkQueue()
    queue.add(A)
    assert await taken(queue) == A
    queue.add(A)
    assert await taken(queue) is None
    queue.done(A)
    assert await taken(queue) == A


async def test_urgent_keys_overtake_a_long_line() -> None:
    queue = WorkQueue()
    for number in range(1000):
        queue.add(Key("Tenant", "", f"t{number}"))
    queue.add(A, Urgency.URGENT)
    assert await taken(queue) == A


async def test_a_waiting_key_can_become_urgent_and_is_still_worked_on_once() -> None:
    queue = WorkQueue()
    queue.add(B)
    queue.add(A)
    queue.add(A, Urgency.URGENT)
    assert [await taken(queue) for _ in range(3)] == [A, B, None]


async def test_an_urgent_key_does_not_become_slow_again() -> None:
    queue = WorkQueue()
    queue.add(B)
    queue.add(A, Urgency.URGENT)
    queue.add(A)
    assert await taken(queue) == A


async def test_urgency_given_while_running_is_kept() -> None:
    queue = WorkQueue()
    queue.add(A)
    await taken(queue)
    queue.add(B)
    queue.add(A, Urgency.URGENT)
    queue.done(A)
    assert await taken(queue) == A


async def test_a_failed_key_comes_back_later_and_a_fresh_event_ends_its_wait() -> None:
    queue = WorkQueue()
    for _ in range(6):
        queue.add(A)
        assert await taken(queue) == A
        queue.done(A, failed=True)
    assert await taken(queue) is None
    queue.add(A)
    assert await taken(queue) == A


@in_virtual_time
async def test_a_key_that_fails_for_days_keeps_coming_back() -> None:
    queue = WorkQueue()
    queue.add(A)
    for _ in range(2000):
        key = await queue.take()
        queue.done(key, failed=True)
    assert await queue.take() == A


@in_virtual_time
async def test_an_urgent_key_that_fails_is_urgent_when_it_comes_back() -> None:
    queue = WorkQueue()
    queue.add(A, Urgency.URGENT)
    queue.done(await queue.take(), failed=True)
    assert await queue.take(Urgency.URGENT) == A


def routes(namespace: str, count: int) -> list[Key]:
    return [Key("RelayRoute", namespace, f"r{number}") for number in range(count)]


async def test_owners_take_turns_however_many_keys_each_has() -> None:
    queue = WorkQueue()
    for key in (*routes("relay-a", 400), *routes("relay-b", 2)):
        queue.add(key)
    queue.add(Key("Tenant", "", "c"))
    turns = []
    for _ in range(6):
        key = await queue.take()
        queue.done(key)
        turns.append(key.owner)
    assert turns == ["relay-a", "relay-b", "relay-c", "relay-a", "relay-b", "relay-a"]


async def test_one_owner_holds_no_more_than_its_part_of_the_workers() -> None:
    queue = WorkQueue()
    for key in (Key("Tenant", "", "a"), *routes("relay-a", 10)):
        queue.add(key)
    held = [await queue.take(), await queue.take()]
    assert await taken(queue) is None
    queue.add(C)
    assert await taken(queue) == C
    # its own brake still finds a place
    brake = Key("RelayRoute", "relay-a", "brake")
    queue.add(brake, Urgency.URGENT)
    assert await taken(queue) == brake
    assert await taken(queue) is None
    queue.done(held[0])
    queue.done(brake)
    assert await taken(queue) == Key("RelayRoute", "relay-a", "r1")


async def test_tool_servers_that_are_slow_keep_neither_each_other_nor_providers_waiting() -> None:
    queue = WorkQueue()
    servers = [Key("ToolServer", "", f"slow-{number}") for number in range(4)]
    for key in (*servers, Key("Provider", "", "openai")):
        queue.add(key)
    assert {await taken(queue) for _ in range(5)} == {*servers, Key("Provider", "", "openai")}


async def test_a_worker_for_urgent_keys_takes_no_other() -> None:
    queue = WorkQueue()
    queue.add(A)
    urgent = asyncio.create_task(queue.take(Urgency.URGENT))
    await asyncio.sleep(0)
    assert not urgent.done()
    queue.add(B, Urgency.URGENT)
    assert await asyncio.wait_for(urgent, timeout=5) == B
    assert await taken(queue) == A


async def test_a_worker_that_waits_for_an_owner_is_woken_when_its_key_is_done() -> None:
    queue = WorkQueue()
    for key in routes("relay-a", 3):
        queue.add(key)
    first, _ = await queue.take(), await queue.take()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.done(first)
    assert await asyncio.wait_for(waiting, timeout=5) == Key("RelayRoute", "relay-a", "r2")


async def test_an_earlier_appointment_wins_over_a_later_one() -> None:
    queue = WorkQueue()
    queue.add_after(A, 3600)
    queue.add_after(A, 0.0)
    queue.add_after(B, 3600)
    assert [await taken(queue), await taken(queue)] == [A, None]


async def test_a_worker_that_waits_is_woken_by_an_appointment() -> None:
    queue = WorkQueue()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add_after(C, 0.001)
    assert await asyncio.wait_for(waiting, timeout=5) == C


async def test_every_waiting_worker_gets_its_key() -> None:
    queue = WorkQueue()
    workers = [asyncio.create_task(queue.take()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in (A, B, C):
        queue.add(key)
    got = await asyncio.wait_for(asyncio.gather(*workers), timeout=5)
    assert {key.name for key in got} == {"a", "b", "c"}


@in_virtual_time
async def test_a_key_that_is_due_within_the_clocks_resolution_is_due() -> None:
    queue = WorkQueue()
    waiting = [asyncio.create_task(queue.take()) for _ in range(3)]
    await asyncio.sleep(0)
    # timers fire by then, and while anything else is ready, time stands still
    queue.add_after(Key("Tenant", "", "finance"), 5e-7)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert [task.done() for task in waiting].count(True) == 1
    for task in waiting:
        task.cancel()


async def test_what_nobody_waits_for_yields_to_everything_else() -> None:
    queue = WorkQueue()
    for number in range(1000):
        queue.add(Key("Tenant", "", f"t{number}"), Urgency.BACKGROUND)
    queue.add(A)
    assert await taken(queue) == A
    # an event makes it somebody's
    queue.add(Key("Tenant", "", "t999"))
    assert await taken(queue) == Key("Tenant", "", "t999")


async def test_the_background_leaves_half_of_the_places_to_changes() -> None:
    queue = WorkQueue(places=4)
    for number in range(10):
        queue.add(Key("Tenant", "", f"t{number}"), Urgency.BACKGROUND)
    assert [await taken(queue) is not None for _ in range(3)] == [True, True, False]
    for key in (A, B, C):
        queue.add(key)
    assert [await taken(queue) for _ in range(3)] == [A, B, None]
    queue.done(A)
    assert await taken(queue) == C


async def test_a_full_house_has_places_for_what_takes_traffic_away() -> None:
    queue = WorkQueue(places=2)
    for key in (A, B):
        queue.add(key)
    assert [await taken(queue), await taken(queue)] == [A, B]
    urgent = [Key("Tenant", "", f"u{number}") for number in range(3)]
    for key in urgent:
        queue.add(key, Urgency.URGENT)
    assert [await taken(queue) for _ in range(3)] == [*urgent[:2], None]
    queue.add(Key("Withdrawal", "", "z"), Urgency.IMMEDIATE)
    assert await taken(queue) == Key("Withdrawal", "", "z")


async def test_one_that_waits_for_long_gives_its_place_to_another() -> None:
    queue = WorkQueue(places=1)
    for key in (A, B):
        queue.add(key)
    assert [await taken(queue), await taken(queue)] == [A, None]
    assert queue.let_go_on(A)
    assert await taken(queue) == B
    queue.add(A)
    queue.done(A)
    # it is still one place
    assert await taken(queue) is None
    queue.done(B)
    assert await taken(queue) == A


async def test_no_more_than_some_go_on_without_a_place() -> None:
    queue = WorkQueue(places=8)
    goes_on = []
    for number in range(100):
        queue.add(Key("Tenant", "", f"t{number}"))
        key = await taken(queue)
        goes_on.append(key is not None and queue.let_go_on(key))
    assert goes_on.count(True) == 64
    # those that take traffic away have some more
    queue.add(A, Urgency.URGENT)
    assert await taken(queue) == A
    assert queue.let_go_on(A)


async def test_what_failed_comes_after_what_was_not_tried_yet() -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.done(await queue.take(), failed=True)
    waiting = asyncio.create_task(queue.take(Urgency.NORMAL))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    queue.add(B)
    assert await asyncio.wait_for(waiting, timeout=5) == B
    assert await asyncio.wait_for(queue.take(), timeout=5) == A


async def test_what_follows_from_work_of_the_background_is_no_more_urgent() -> None:
    queue = WorkQueue()
    WORKING_AT.set(Urgency.BACKGROUND)
    queue.add(A)
    queue.add(B, Urgency.URGENT)
    WORKING_AT.set(Urgency.NORMAL)
    queue.add(C)
    assert [await taken(queue) for _ in range(3)] == [B, C, A]


@in_virtual_time
async def test_appointments_that_were_replaced_are_forgotten() -> None:
    queue = WorkQueue()
    for _ in range(1000):
        queue.add_after(A, 600)
        queue.add_after(A, 0.001)
        queue.done(await queue.take())
    # whatever this is kept in, an appointment that stands no more is no part of it for long
    queue.add_after(A, 600)
    assert len(queue._later) <= 66


@in_virtual_time
async def test_one_event_wakes_one_worker() -> None:
    queue = WorkQueue(places=50)
    woken = 0

    async def worker() -> None:
        nonlocal woken
        while True:
            key = await queue.take()
            woken += 1
            queue.done(key)

    workers = [asyncio.create_task(worker()) for _ in range(50)]
    await asyncio.sleep(1)
    turns, pop = 0, queue._pop

    def counted(slowest: Urgency) -> Key | None:
        nonlocal turns
        turns += 1
        return pop(slowest)

    queue._pop = counted  # type: ignore[method-assign]
    for number in range(20):
        queue.add(Key("Tenant", "", f"t{number}"))
        await asyncio.sleep(1)
    assert woken == 20
    # one look for the key, and one after it
    assert turns <= 40
    for one in workers:
        one.cancel()


@in_virtual_time
async def test_a_worker_that_is_cancelled_with_a_key_on_its_way_loses_none() -> None:
    queue = WorkQueue()
    first, second = (asyncio.create_task(queue.take()) for _ in range(2))
    await asyncio.sleep(1)
    queue.add(A)
    first.cancel()
    assert await second == A


async def take_and_give_back(queue: WorkQueue) -> Key:
    key = await queue.take()
    queue.done(key)
    return key


def test_an_appointment_that_has_come_is_kept_by_the_loop_that_the_operator_runs_on() -> None:
    async def story() -> None:
        queue = WorkQueue()
        for index in range(20):
            queue.add_after(Key("Tenant", "", f"tenant-{index}"), 0)
        found = await asyncio.gather(*(take_and_give_back(queue) for _ in range(20)))
        assert len(set(found)) == 20

    uvloop.run(asyncio.wait_for(story(), 10))


async def test_a_worker_that_takes_what_another_was_woken_for_wakes_it_for_the_rest() -> None:
    """Both keys come in one turn of the loop: the worker woken for the first takes the second, which is more urgent."""
    queue = WorkQueue(places=4)
    taken_by: dict[str, Urgency] = {}

    async def work(slowest: Urgency) -> None:
        taken_by[(await queue.take(slowest)).name] = slowest
        await asyncio.Event().wait()

    workers = [
        asyncio.create_task(work(slowest))
        for slowest in (*[Urgency.BACKGROUND] * 3, Urgency.URGENT, Urgency.IMMEDIATE)
    ]
    await asyncio.sleep(0)
    queue.add(Key("RelayRoute", "relay-a", "lowered"), Urgency.URGENT)
    queue.add(Key("KeySecrets", "", "b"), Urgency.IMMEDIATE)
    queue.add(Key("Tenant", "", "c"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert taken_by.keys() == {"lowered", "b", "c"}
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


@in_virtual_time
async def test_the_background_has_its_turn_although_changes_take_all_calls_that_there_are() -> None:
    loop = asyncio.get_running_loop()
    budget = ApiBudget(calls_per_second=500, calls_per_second_of_tenant=50, clock=loop.time)
    queue = WorkQueue(places=4, budget=budget)
    queue.begin()
    begun: list[float] = []

    async def work() -> None:
        while True:
            key = await queue.take()
            if key.name == "resynced":
                begun.append(loop.time())
            for _ in range(10):
                budget.spend(key.owner)
                await asyncio.sleep(0.002)
            queue.done(key)
            if key.name != "resynced":
                queue.add(key)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    for number in range(24):
        queue.add(Key("Tenant", "", f"changing-{number}"))
    await asyncio.sleep(15)
    since = loop.time()
    queue.add(Key("Tenant", "", "resynced"), Urgency.BACKGROUND)
    await asyncio.sleep(40)
    assert [time - since < 35 for time in begun] == [True]
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
