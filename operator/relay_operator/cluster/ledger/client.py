"""Asks the ledger, under the operator's token."""

import json
from http import HTTPStatus
from typing import Any

from relay_contract.billing.price_book import BOOKS_PATH, STANDING_PATH
from relay_operator.cluster.ledger.connection import LedgerConnection
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.decisions.ledger import standing
from relay_operator.decisions.ledger.standing import Standing
from relay_operator.errors import LedgerUnavailable


class LedgerClient:
    """Gives the ledger its book of prices, and asks how things stand."""

    def __init__(self, url: str, keys: KeyFile) -> None:
        self._ledger = LedgerConnection(url, keys)

    async def put_book(self, content: bytes) -> Standing:
        """Gives the ledger a book; returns what is in force then. Raises LedgerUnavailable."""
        return await self._ask("PUT", BOOKS_PATH, content)

    async def standing(self) -> Standing:
        """Asks how things stand. Raises LedgerUnavailable."""
        return await self._ask("GET", STANDING_PATH)

    async def _ask(self, method: str, path: str, content: bytes | None = None) -> Standing:
        return _told(*await self._ledger.exchange(method, path, content))


def _told(status: int, body: bytes) -> Standing:
    try:
        told: Any = json.loads(body)
        if status == HTTPStatus.OK:
            return standing.read(told)
        why = f"{told['error']['message']}"[:500]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LedgerUnavailable(f"it answers {status}, which is no answer of a ledger") from error
    raise LedgerUnavailable(f"it answers {status}: {why}")
