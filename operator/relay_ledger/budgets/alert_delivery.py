"""Tells how an alert of a budget or of credit was delivered, or until when that is tried."""

from dataclasses import dataclass
from typing import Final, Literal

from relay_contract.billing.budget import Alert
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.zones import SECOND

TRIED_FOR: Final = 3 * 24 * 3600 * SECOND
"""Microseconds. An alert that fails so long after it was crossed, or sent again, is given up; until then it is told anew."""
DeliveryState = Literal["delivered", "pending", "dead", "dismissed"]
"""dead: given up, and nobody has sent it again. dismissed: dead, and the platform has said that nobody is to be sent it any more."""


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert, and what was done about it. Times are microseconds since 1970, 0 for what was not done."""

    alert: Alert
    told_at: int
    given_up_at: int
    sent_again_at: int

    @property
    def state(self) -> DeliveryState:
        """Returns how far its delivery has come."""
        if self.given_up_at:
            return "dismissed" if self.told_at else "dead"
        return "delivered" if self.told_at else "pending"

    @property
    def tried_until(self) -> int:
        """Returns when an alert that still fails is given up."""
        return max(self.alert.crossed_at, self.sent_again_at) + TRIED_FOR


def threshold_text(alert: Alert) -> str:
    """Writes what was crossed: a part of a budget, or credit below an amount."""
    return f"{alert.threshold}%" if alert.kind == "budget" else f"below {usd_text(alert.threshold)}"
