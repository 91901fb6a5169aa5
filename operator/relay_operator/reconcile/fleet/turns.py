"""Goes through a whole fleet without holding up the event loop."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

Item = TypeVar("Item")

AT_ONCE: Final = 50
"""Between two turns of everything else: a few milliseconds."""


async def in_turns(items: Iterable[Item]) -> AsyncIterator[Item]:
    """Yields what there is at the beginning, and lets the operator's other work go on between some and the next."""
    for number, item in enumerate(tuple(items), start=1):
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
        yield item
