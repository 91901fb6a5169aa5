"""Looks that are repeated for as long as an operator leads, whatever one of them meets."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from relay_operator.errors import ApiServerRefused, Conflict, Unavailable


async def look_again(
    look: Callable[[], Awaitable[None]],
    *,
    every_seconds: float,
    logger: logging.Logger,
    failure: str,
) -> NoReturn:
    """Looks until cancelled. failure is what the log says of a look that raised."""
    while True:
        try:
            await look()
        except (ApiServerRefused, Conflict, Unavailable) as error:
            logger.warning(failure, extra={"why": str(error)})
        except Exception:  # the loop goes on whatever one object has
            logger.exception(failure)
        await asyncio.sleep(every_seconds)
