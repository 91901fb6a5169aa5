"""A pass over a whole fleet lets everything else have its turn, and is not disturbed by what that changes."""

import asyncio

from relay_operator.reconcile.fleet.turns import AT_ONCE, in_turns


async def test_everything_else_has_its_turn_between_some_and_the_next() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    tenants = {f"t{number}": number for number in range(10 * AT_ONCE)}
    working = asyncio.create_task(others())
    seen = []
    async for tenant in in_turns(tenants):
        tenants.pop(tenant)
        seen.append(tenant)
    assert seen == [f"t{number}" for number in range(10 * AT_ONCE)]
    assert turns >= 9
    working.cancel()
