"""What bounds the spending of one tenant in one worker: limits, prices and caps of the document in force, and what sessions have used."""

from relay.budgets.purse import Purse
from relay.budgets.rate_card import RateCard
from relay.budgets.session_caps import SessionUses
from relay.budgets.tool_rate_card import ToolRateCard
from relay_contract.spending import SessionCaps, Spending


class Spender:
    """One per tenant and worker; outlives every document. binds says that calls have to ask it."""

    __slots__ = (
        "binds",
        "caps",
        "card",
        "charges_abandoned",
        "limits",
        "purse",
        "refuses_unpriced",
        "serve_when_away",
        "sessions",
        "tool_card",
    )

    def __init__(self, purse: Purse) -> None:
        self.purse = purse
        self.sessions = SessionUses()
        self.binds = False
        self.limits: tuple[str, ...] = ()
        self.card = RateCard(())
        self.tool_card = ToolRateCard(())
        self.caps: SessionCaps | None = None
        self.serve_when_away = False
        self.refuses_unpriced = False
        self.charges_abandoned = False

    def install(self, spending: Spending | None) -> None:
        """Puts what a document says in force for calls that begin from now on."""
        self.limits = spending.limits if spending is not None else ()
        self.caps = spending.session_caps if spending is not None else None
        self.card = RateCard(spending.rates if spending is not None else ())
        self.tool_card = ToolRateCard(spending.tool_rates if spending is not None else ())
        self.serve_when_away = spending is not None and spending.on_ledger_away == "Serve"
        on_unpriced = spending.on_unpriced if spending is not None else None
        self.refuses_unpriced = on_unpriced == "Refuse" or (
            on_unpriced is None and bool(self.limits)
        )
        self.charges_abandoned = spending is not None and spending.on_abandoned == "Charge"
        self.binds = bool(self.limits) or self.caps is not None or self.refuses_unpriced
