"""One question to the ledger, under the operator's token."""

from http import HTTPStatus
from typing import Final

import httpx

from relay_operator.cluster.connecting.connection_errors import in_words
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.errors import LedgerUnavailable

_SECONDS: Final = 20.0


class LedgerConnection:
    """Opens a connection for each question: there are few, and the ledger may be another pod at the next."""

    def __init__(self, url: str, keys: KeyFile) -> None:
        self._url = url
        self._keys = keys

    async def ask(self, method: str, path: str, body: str | None = None) -> bytes:
        """Returns the body of an answer 200. Raises LedgerUnavailable."""
        keys = self._keys.keys()
        if keys is None:
            raise LedgerUnavailable("the key of its tokens is not known (Secret of ledger.keys)")
        headers = {"Authorization": f"Bearer {keys.operator_token()}"}
        try:
            async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as client:
                answer = await client.request(
                    method, f"{self._url}{path}", content=body, headers=headers
                )
        except httpx.HTTPError as error:
            raise LedgerUnavailable(f"it does not answer: {in_words(error)}") from error
        if answer.status_code != HTTPStatus.OK:
            raise LedgerUnavailable(f"it answers {answer.status_code}: {answer.text[:300]}")
        return answer.content
