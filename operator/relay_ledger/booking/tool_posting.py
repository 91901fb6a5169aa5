"""The posting of a tool call: what the platform pays for it, and what its tenant does. It counts beside attempts, and as none.

A call is paid for once a server has carried it out. What was denied, limited or refused, and the rounds after which a call goes on,
come to nothing and have no posting.
"""

from dataclasses import dataclass
from typing import Final, Literal

from relay_contract.billing.tool_call import (
    CALL_METHOD,
    CARRIED_OUT,
    IN_DOUBT,
    ToolCall,
    ToolOutcome,
)
from relay_ledger.booking.posting import (
    FIGURES,
    FREE,
    UNKNOWN,
    Amount,
    Dimensions,
    Posting,
    amount_of,
    money_figures,
    without_list,
)
from relay_ledger.booking.price_book import PriceBook
from relay_ledger.prices.tool_pricing import ToolUse, price_of_call

TOOL_SIDE: Final = "tool"
"""The side of these postings; provider is then a ToolServer and model one of its tools."""


@dataclass(frozen=True, slots=True)
class BilledCall:
    """What of a record decides what a call costs. tool is the name that the server gives it, revision that of the manifest that granted it."""

    tenant_uid: str
    id: str
    called_at: int
    key_name: str
    server: str
    tool: str
    outcome: ToolOutcome
    revision: str


def billed_call(call: ToolCall) -> BilledCall | None:
    """Returns a call that may cost something; None of a request that no server has carried out, and of what is no tool's."""
    if not may_cost(call.method, call.server, call.outcome):
        return None
    return BilledCall(
        tenant_uid=call.tenant_uid,
        id=call.id,
        called_at=call.called_at,
        key_name=call.key_name,
        server=call.server,
        tool=call.own_name or call.name,
        outcome=call.outcome,
        revision=call.revision,
    )


def may_cost(method: str, server: str, outcome: ToolOutcome) -> bool:
    """Tells whether a request may have been carried out as a call of a tool."""
    return method == CALL_METHOD and bool(server) and outcome in CARRIED_OUT | IN_DOUBT


def tool_posting_of(call: BilledCall, book: PriceBook, *, sequence: int = 1) -> Posting:
    """Books a call by the prices of the moment at which it was sent."""
    is_carried_out = call.outcome in CARRIED_OUT
    cost = _amount(call, book, "tool_cost")
    charge = _amount(call, book, "charge") if is_carried_out else FREE
    held = 0
    if not is_carried_out and cost != FREE:
        # the server may bill it: as much is held as it would cost
        cost, held = UNKNOWN, cost.pico
    return Posting(
        tenant_uid=call.tenant_uid,
        event_id=call.id,
        dispatched_at=call.called_at,
        sequence=sequence,
        kind="usage",
        dimensions=Dimensions(
            route="",
            side=TOOL_SIDE,
            provider=call.server,
            model=call.tool,
            key_name=call.key_name,
            usage_source="none" if is_carried_out else "unknown",
        ),
        cost=cost,
        charge=charge,
        figures={
            **dict.fromkeys(FIGURES, 0),
            "tool_calls": int(is_carried_out),
            **money_figures(cost, charge, held),
        },
        manifest_revision=call.revision,
    )


def _amount(call: BilledCall, book: PriceBook, account: Literal["tool_cost", "charge"]) -> Amount:
    subject = call.tenant_uid if account == "charge" else call.server
    prices = book.price_list(account, subject, call.called_at)
    if prices is None:
        if account == "charge" and not book.is_known(subject):
            return without_list(subject)
        return FREE
    found = price_of_call(
        ToolUse(call.server, call.tool, call.called_at, call.outcome == "tool_error"), prices
    )
    # a list that says nothing of a server's tools gives them away
    return FREE if found is None else amount_of(found)
