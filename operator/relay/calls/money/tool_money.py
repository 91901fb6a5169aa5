"""The money of one call of a tool: its price is known before it is sent, and is spent if the server carries it out."""

import time
from typing import Final, final

from relay.budgets.purse import MoneyHold, Shortage, Shortfall
from relay.budgets.spender import Spender
from relay.calls.money.call_money import RETRY_SECONDS
from relay.tools.reading.protocol_errors import ProtocolError
from relay_contract.billing.tool_call import CARRIED_OUT, ToolOutcome
from relay_contract.spending import ToolRate

_PICOS_PER_MICRO: Final = 1_000_000
LIMIT_NAMES: Final = {"budget": "hard budget", "credit": "prepaid credit"}
"""Names, in a record, the rule by which a call that is not covered was refused. No pattern of tools has a space."""
NO_PRICE: Final = "no price"


@final
class ToolMoney:
    """Holds what one call has reserved."""

    __slots__ = ("_hold", "_pays_errors")

    def __init__(self, hold: MoneyHold, rate: ToolRate) -> None:
        self._hold = hold
        self._pays_errors = rate.pays_errors

    def settle(self, outcome: ToolOutcome) -> None:
        """Spends the price of a call that a server has carried out, and gives back that of any other; later ends are none."""
        is_paid = outcome in CARRIED_OUT and (self._pays_errors or outcome != "tool_error")
        self._hold.settle(self._hold.cost if is_paid else 0)


@final
class ToolMoneyRefused:
    """Tells why a call is not reserved, and by which limit; retry_seconds is None where trying again does not help."""

    __slots__ = ("error", "limit", "retry_seconds")

    def __init__(
        self, error: ProtocolError, limit: str, retry_seconds: float | None = None
    ) -> None:
        self.error = error
        self.limit = limit
        self.retry_seconds = retry_seconds


def reserve_tool_money(
    spender: Spender, server: str, tool: str, now: float
) -> ToolMoney | ToolMoneyRefused | None:
    """Reserves what a call costs on every limit of the tenant; None where it costs nothing, or nothing bounds the tenant.

    A call without a price is refused unless the tenant's are served, which count once they have one.
    """
    if not spender.binds or spender.tool_card.is_free(server):
        return None
    wall = time.time_ns() // 1000
    rate = spender.tool_card.rate(server, tool, wall)
    if rate is None or rate.call is None:
        if spender.refuses_unpriced:
            return ToolMoneyRefused(ProtocolError.tool_unpriced, NO_PRICE)
        return None
    if rate.call == 0 or not spender.limits:
        return None
    reserved = spender.purse.reserve(
        spender.limits,
        rate.call * _PICOS_PER_MICRO,
        wall=wall,
        now=now,
        serve_when_away=spender.serve_when_away,
    )
    if isinstance(reserved, Shortfall):
        return _refused(reserved)
    return ToolMoney(reserved, rate)


def _refused(shortfall: Shortfall) -> ToolMoneyRefused:
    limit = LIMIT_NAMES[shortfall.kind]
    match shortfall.reason:
        case Shortage.PENDING:
            return ToolMoneyRefused(ProtocolError.budget_pending, limit, RETRY_SECONDS)
        case Shortage.AWAY:
            return ToolMoneyRefused(ProtocolError.ledger_away, limit)
    is_credit = shortfall.kind == "credit"
    return ToolMoneyRefused(
        ProtocolError.credit_spent if is_credit else ProtocolError.budget_spent, limit
    )
