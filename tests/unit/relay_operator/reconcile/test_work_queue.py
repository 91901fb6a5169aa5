"""The keyed queue: nothing lost, nothing twice at once, urgent first."""

import asyncio

from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

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
