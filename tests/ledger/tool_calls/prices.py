"""Prices of tools for the suite: what they cost at the server erp, and what uid-a pays."""

from tests.ledger.conftest import RETAIL, Books

from relay_contract.billing.tool_call import ToolCall
from relay_ledger.booking.price_book import Assignment
from relay_ledger.store.batch_booking import Receipt
from relay_ledger.store.tool_calls.tool_call_store import ToolCallStore

COSTS_OF_ERP = """
name: tools..erp
currency: USD
entries: []
tools:
- {tools: ["*"], until: '2026-09-22', perCall: '0.001'}
- {tools: ["*"], from: '2026-09-22', perCall: '0.002'}
- {tools: [flaky], perCall: '0.004', toolErrors: Free}
"""
RETAIL_OF_TOOLS = f"""{RETAIL}
tools:
- {{server: erp, tools: ["read_*"], perCall: '0.005'}}
- {{server: erp, tools: [flaky], perCall: '0.000001', toolErrors: Free}}
"""


def sell_tools(books: Books, retail: str = RETAIL_OF_TOOLS, costs: str = COSTS_OF_ERP) -> None:
    """Puts prices of tools into force, for all time."""
    books.store.load(retail, now=2)
    books.store.load(costs, now=2)
    books.store.assign(Assignment("tool_cost", "erp", 0, "tools..erp"), now=2)


def book(books: Books, *calls: ToolCall, now: int) -> Receipt:
    """Books calls of one tenant."""
    store = ToolCallStore(books.engine)
    return store.book(calls[0].tenant_uid, calls, books.prices, now=now)
