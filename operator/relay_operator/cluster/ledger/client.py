"""Asks the ledger, under the operator's token."""

from http import HTTPStatus
from typing import Any, Final

import httpx

from relay_contract.billing.price_book import BOOKS_PATH, STANDING_PATH
from relay_operator.cluster.connecting.connection_errors import in_words
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.decisions.ledger import standing
from relay_operator.decisions.ledger.standing import Standing
from relay_operator.errors import LedgerUnavailable

_SECONDS: Final = 20.0
"""A large book is read, compared and committed."""
_MOST_ANSWER_BYTES: Final = 16 * 1024 * 1024


class LedgerClient:
    """Opens a connection for each question: there are few, and the ledger may be another pod at the next."""

    def __init__(self, url: str, keys: KeyFile) -> None:
        self._url = url
        self._keys = keys

    async def put_book(self, content: bytes) -> Standing:
        """Gives the ledger a book; returns what is in force then. Raises LedgerUnavailable."""
        return await self._ask("PUT", BOOKS_PATH, content)

    async def standing(self) -> Standing:
        """Asks how things stand. Raises LedgerUnavailable."""
        return await self._ask("GET", STANDING_PATH)

    async def _ask(self, method: str, path: str, content: bytes | None = None) -> Standing:
        keys = self._keys.keys()
        if keys is None:
            raise LedgerUnavailable("the key of its tokens is not known (Secret of ledger.keys)")
        headers = {"Authorization": f"Bearer {keys.operator_token()}"}
        try:
            async with (
                httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as client,
                client.stream(
                    method, f"{self._url}{path}", content=content, headers=headers
                ) as answer,
            ):
                body = await _read(answer)
                return _told(answer.status_code, body, answer)
        except httpx.HTTPError as error:
            raise LedgerUnavailable(f"it does not answer: {in_words(error)}") from error


async def _read(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > _MOST_ANSWER_BYTES:
            raise LedgerUnavailable("its answer is longer than any")
    return bytes(body)


def _told(status: int, body: bytes, answer: httpx.Response) -> Standing:
    try:
        told: Any = httpx.Response(status, content=body).json()
        if status == HTTPStatus.OK:
            return standing.read(told)
        why = f"{told['error']['message']}"[:500]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerUnavailable(f"it answers {status}, which is no answer of a ledger") from error
    raise LedgerUnavailable(f"it answers {status}: {why}")
