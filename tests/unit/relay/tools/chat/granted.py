"""What chat calls may offer in the tests: read_invoice, list_invoices, list_orders, mail__send and mail__list_invoices."""

import json
from typing import Any

from tests.unit.relay.tools.protocol import PERMISSIONS

from relay.dialect.parameter_removal_pure import members
from relay.tools.chat.chat_policy import ChatPolicy
from relay.tools.chat.offered_tools import Offer, offered

HIDING = ChatPolicy(PERMISSIONS, "Hide")
REFUSING = ChatPolicy(PERMISSIONS, "Refuse")


def function(name: str, **fields: Any) -> dict[str, Any]:
    """A function as chat completions have it."""
    return {"type": "function", "function": {"name": name, "parameters": {}, **fields}}


def flat(name: str) -> dict[str, Any]:
    """The same in the Responses API."""
    return {"type": "function", "name": name, "parameters": {}}


def offer_of(body: dict[str, Any] | str, policy: ChatPolicy = HIDING) -> Offer:
    """What is left of a body."""
    raw = (body if isinstance(body, str) else json.dumps(body)).encode()
    places = members(raw)
    assert places is not None
    return offered(raw, places, policy)
