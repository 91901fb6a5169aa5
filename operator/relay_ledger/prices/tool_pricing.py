"""The price of a tool call: of the prices that hold when it is sent and cover its tool, the most specific one."""

from dataclasses import dataclass

from relay_contract.tools.patterns import STAR, covers
from relay_ledger.money.amounts import PICOS_PER_MICRO
from relay_ledger.prices.price_list import NO_ENTRY, PriceList, ToolPrice
from relay_ledger.prices.pricing import Priced, Unpriced, WithoutPrice


@dataclass(frozen=True, slots=True)
class ToolUse:
    """Describes what is priced: a call that a server has carried out, when it was sent (microseconds since 1970), and whether the
    tool said that it failed. tool is the name that the server gives it.
    """

    server: str
    tool: str
    called_at: int
    is_error: bool = False


def price_of_call(use: ToolUse, prices: PriceList) -> Priced | Unpriced | None:
    """Prices a call by a list; None where the list has no price for any tool of the server, nor one for every server.

    A list that names tools of a server, or has a price for every server, is meant to price them all: what it does not cover is
    unpriced.
    """
    concerning = [one for one in prices.tools if one.server in ("", use.server)]
    if not concerning:
        return None
    covering = [one for one in concerning if covers(one.pattern, use.tool)]
    held = [one for one in covering if one.is_in_force(use.called_at)]
    if not held:
        reason: WithoutPrice = "time" if covering else "tool"
        return Unpriced(reason, f"{use.server}/{use.tool}", prices.version)
    price = max(held, key=_specificity)
    if use.is_error and not price.pays_errors:
        return Priced(0, prices.version, NO_ENTRY)
    return Priced(price.call * PICOS_PER_MICRO, prices.version, price.place)


def _specificity(price: ToolPrice) -> tuple[bool, bool, int]:
    """Orders prices that cover one tool: of its server before of every one, a name before patterns, a longer pattern before a shorter."""
    return bool(price.server), not price.pattern.endswith(STAR), len(price.pattern)
