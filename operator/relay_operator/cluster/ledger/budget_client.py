"""Gives the ledger tenants' budgets, and asks how they stand, under the operator's token."""

from collections.abc import Sequence
from typing import Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from relay_contract.billing.budget import (
    ALERTS_TOLD_PATH,
    BUDGETS_PATH,
    UNDELIVERED_OF,
    AlertsTold,
    Budgets,
    BudgetsTaken,
    BudgetStanding,
    BudgetStandings,
    TenantAlert,
    TenantBudget,
)
from relay_operator.cluster.ledger.connection import LedgerConnection
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.errors import LedgerUnavailable

_Form = TypeVar("_Form", bound=BaseModel)
_MOST_TENANTS: Final = 100
"""Of one question: their UIDs stand in its address."""


class BudgetClient:
    """Opens a connection for each question, as the client for prices does."""

    def __init__(self, url: str, keys: KeyFile) -> None:
        self._ledger = LedgerConnection(url, keys)

    async def put(self, budgets: Sequence[TenantBudget]) -> dict[str, str]:
        """Puts these tenants' budgets into force; returns whose the ledger cannot use, by UID, with the reason. Raises LedgerUnavailable."""
        refused: dict[str, str] = {}
        for start in range(0, len(budgets), _MOST_TENANTS):
            some = Budgets(tenants=tuple(budgets[start : start + _MOST_TENANTS]))
            body = some.model_dump_json(by_alias=True)
            answer = await self._ledger.ask("PUT", BUDGETS_PATH, body)
            refused |= _read(BudgetsTaken, answer).refused
        return refused

    async def standings(self, tenant_uids: Sequence[str]) -> BudgetStandings:
        """Asks how these tenants stand, and for alerts that nobody was told of. Raises LedgerUnavailable."""
        standings: list[BudgetStanding] = []
        undelivered = 0
        undelivered_of: dict[str, int] = {}
        alerts: dict[TenantAlert, None] = {}
        for start in range(0, max(len(tenant_uids), 1), _MOST_TENANTS):
            some = tenant_uids[start : start + _MOST_TENANTS]
            query = httpx.QueryParams(
                [*(("tenantUid", uid) for uid in some), (UNDELIVERED_OF, "tenant")]
            )
            body = await self._ledger.ask("GET", f"{BUDGETS_PATH}?{query}")
            answer = _read(BudgetStandings, body)
            standings += answer.standings
            alerts |= dict.fromkeys(answer.alerts)
            # each answer counts those of all tenants
            undelivered = answer.undelivered
            undelivered_of |= answer.undelivered_of
        return BudgetStandings(
            standings=tuple(standings),
            alerts=tuple(alerts),
            undelivered=undelivered,
            undelivered_of=undelivered_of,
        )

    async def told(
        self, alerts: Sequence[TenantAlert], *, failed: Sequence[TenantAlert] = ()
    ) -> None:
        """Says that these were delivered, and that others failed. Raises LedgerUnavailable."""
        told = AlertsTold(alerts=tuple(alerts), failed=tuple(failed))
        body = told.model_dump_json(by_alias=True, exclude_defaults=True)
        await self._ledger.ask("POST", ALERTS_TOLD_PATH, body)


def _read(form: type[_Form], body: bytes) -> _Form:
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        raise LedgerUnavailable("it answers what is no answer of a ledger") from error
