"""One piece of upkeep, whose failure ends nothing but itself."""

from collections.abc import Awaitable

from relay_ledger.ingest.booking_desk import DatabaseAway
from relay_ledger.ingest.ledger_log import LedgerLog


async def ends_well(work: Awaitable[object], log: LedgerLog) -> bool:
    """Does it; returns whether it came to its end. The log has the reason where it did not."""
    try:
        await work
    except DatabaseAway:
        return False
    except Exception as error:  # the entry: what fails today must not end all that comes after
        log.failed(error)
        return False
    return True
