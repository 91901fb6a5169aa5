"""Forms in which a tenant's budget comes to the ledger, and its relays lease parts of it.

A relay pod spends what it has leased without asking anybody. All amounts are whole pico-USD. What a pod tells and is told is cumulative for a
period: a message that is repeated, late or lost changes nothing that the next one does not put right.
"""

import hashlib
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from relay_contract.billing.attempt_event import Identifier, Microseconds, PicoUsd
from relay_contract.document import Name, Part

LEASES_PATH: Final = "/v1/leases"
BUDGETS_PATH: Final = "/v1/budgets"
UNDELIVERED_OF: Final = "undeliveredOf"
"""Asks, at BUDGETS_PATH, for undelivered_of too, which earlier operators do not know."""
ALERTS_TOLD_PATH: Final = "/v1/budgets/told"
LEASE_SECONDS: Final = 60
"""From an answer on, by the ledger's clock. The pod takes its end from before it asked: it ends there first."""
MAX_LEASE_BYTES: Final = 16 * 1024
MAX_ALERT_PERCENT: Final = 1000
MAX_ALERTS: Final = 8
MAX_BUDGETS: Final = 1000
"""Of one message of the operator."""

LimitKind = Literal["budget", "credit"]
BudgetPeriod = Literal["Day", "Month"]
Percent = Annotated[int, Field(ge=1, le=MAX_ALERT_PERCENT)]


class BudgetTerms(Part):
    """What a tenant may spend in a period of its zone. A hard one refuses calls, a soft one warns."""

    amount_pico: Annotated[PicoUsd, Field(gt=0)]
    period: BudgetPeriod
    hard: bool
    alert_at_percent: Annotated[tuple[Percent, ...], Field(max_length=MAX_ALERTS)] = ()


class CreditTerms(Part):
    """Calls are served from what was paid in advance alone; a warning each time that less than an amount is left."""

    alert_below_pico: Annotated[tuple[PicoUsd, ...], Field(max_length=MAX_ALERTS)] = ()


class TenantBudget(Part):
    """All that holds for one tenant; without budget and credit nothing does. zone is that of the contract."""

    tenant_uid: Identifier
    tenant: Name
    zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    budget: BudgetTerms | None = None
    credit: CreditTerms | None = None


class Budgets(Part):
    """A message of the operator: these tenants' budgets are as follows, those of others stay."""

    tenants: Annotated[tuple[TenantBudget, ...], Field(max_length=MAX_BUDGETS)]


class BudgetsTaken(Part):
    """The ledger's answer: how many it did not have so, and whose it cannot use, by UID, with the reason. What it has of those stays."""

    changed: int
    refused: dict[str, str] = Field(default_factory=dict)


class LeaseAsk(Part):
    """What a pod has of one limit. allowance is all that it may spend in the period, as far as it knows; spent is what it has,
    held what calls under way have reserved.

    wanted is what it would like to have free, least the most that one call needs which did not fit (0: none).
    """

    kind: LimitKind
    starts_at: Microseconds
    allowance: PicoUsd
    spent: PicoUsd
    held: PicoUsd
    wanted: PicoUsd = 0
    least: PicoUsd = 0


class LeaseRequest(Part):
    """A pod's message. sequence grows with each; fresh says that the pod has just begun and knows of nothing.

    With release it gives back what is free: it is about to end.
    """

    pod: Name
    sequence: Annotated[int, Field(ge=1, le=2**63 - 1)]
    fresh: bool = False
    release: bool = False
    limits: Annotated[tuple[LeaseAsk, ...], Field(max_length=4)] = ()

    @model_validator(mode="after")
    def _names_each_limit_once(self) -> Self:
        if len({(one.kind, one.starts_at) for one in self.limits}) < len(self.limits):
            raise ValueError("a limit stands twice in it")
        return self


class Lease(Part):
    """A part of one limit. allowance is all that the pod may spend from starts_at to ends_at; base what the ledger knows that it
    has spent there, which a fresh pod goes on from.

    left is what no pod has leased, elsewhere what others have and have not spent.
    """

    kind: LimitKind
    starts_at: Microseconds
    ends_at: Microseconds
    amount: PicoUsd
    allowance: PicoUsd
    base: PicoUsd
    left: PicoUsd
    elsewhere: PicoUsd


class LeaseAnswer(Part):
    """The ledger's answer: hard limits that hold now, or soon. None: nothing bounds what the tenant spends."""

    seconds: Annotated[int, Field(ge=1, le=3600)]
    leases: Annotated[tuple[Lease, ...], Field(max_length=4)] = ()


class Alert(Part):
    """A threshold that was crossed, once for its limit, period, amount and value.

    threshold is a percentage of a budget, or an amount in pico-USD below which credit has gone.
    """

    kind: LimitKind
    starts_at: Microseconds
    ends_at: Microseconds
    amount: PicoUsd
    threshold: PicoUsd
    spent: int
    crossed_at: Microseconds


def alert_id(tenant_uid: str, alert: Alert) -> str:
    """Returns what tells an alert from every other: whoever tells it, and however often, tells it under the same id."""
    told = f"{tenant_uid}\0{alert.kind}\0{alert.starts_at}\0{alert.amount}\0{alert.threshold}"
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def alert_message_id(tenant_uid: str, alert: Alert) -> str:
    """Returns the id of the webhook's message about an alert."""
    return f"msg_{alert_id(tenant_uid, alert)}"


class BudgetStanding(Part):
    """A limit as it stands, of one tenant. alerts are those that nobody was told of yet."""

    tenant_uid: Identifier
    kind: LimitKind
    starts_at: Microseconds
    ends_at: Microseconds
    amount: PicoUsd
    hard: bool
    spent: int
    leased: PicoUsd


class BudgetStandings(Part):
    """The answer to the operator. undelivered counts alerts that are given up and that nobody has sent again, undelivered_of those
    of each tenant that was asked for and has any.
    """

    standings: tuple[BudgetStanding, ...] = ()
    alerts: tuple["TenantAlert", ...] = ()
    undelivered: Annotated[int, Field(ge=0)] = 0
    undelivered_of: dict[Identifier, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)


class TenantAlert(Part):
    """An alert, and whose it is."""

    tenant_uid: Identifier
    alert: Alert


class AlertsTold(Part):
    """The operator's word that these were delivered, and that those of failed were tried for as long as a message is."""

    alerts: Annotated[tuple[TenantAlert, ...], Field(max_length=MAX_BUDGETS)]
    failed: Annotated[tuple[TenantAlert, ...], Field(max_length=MAX_BUDGETS)] = ()


BudgetStandings.model_rebuild()
