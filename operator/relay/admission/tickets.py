"""The flows that share a queue's seats, and the states of their requests."""

from dataclasses import dataclass
from enum import StrEnum


class TicketState(StrEnum):
    """QUEUED -> RUNNING -> DONE, or CANCELLED from either, or QUEUED -> EXPIRED or DISPLACED."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DISPLACED = "displaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The unit of fairness: one API key of one tenant.

    weight is the flow's part of a contended pool; guaranteed_seats are kept free for it while it does not use them.
    A pool that several tenants share hands out weights so that a tenant's flows together weigh what the tenant does;
    otherwise more keys would buy a bigger share.
    """

    tenant: str
    key: str
    weight: int = 1
    guaranteed_seats: int = 0
