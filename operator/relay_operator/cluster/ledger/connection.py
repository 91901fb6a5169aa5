"""One question to the ledger, under the operator's token.

Whoever has taken the ledger over can answer anything. So an answer is bounded as a whole, in time and in size, before it is read.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import httpx

from relay_operator.cluster.connecting.connection_errors import in_words
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.cluster.relays import NO_ANSWER, drop_location
from relay_operator.errors import LedgerUnavailable

MOST_ANSWER_BYTES: Final = 16 * 1024 * 1024
_SECONDS: Final = 20.0
"""Without a byte: a large book is read, compared and committed."""
_WHOLE_SECONDS: Final = 60.0
"""Of a question and its answer."""
_MOST_TOLD_CHARACTERS: Final = 300


class LedgerConnection:
    """Opens a connection for each question, over TCP unless a way to another transport is given: there are few, and the ledger may
    be another pod at the next.
    """

    def __init__(
        self,
        url: str,
        keys: KeyFile,
        *,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        self._url = url
        self._keys = keys
        self._transport = transport

    async def ask(self, method: str, path: str, body: str | None = None) -> bytes:
        """Returns the body of an answer 200. Raises LedgerUnavailable."""
        status, answer = await self.exchange(method, path, body)
        if status != HTTPStatus.OK:
            told = answer[: 4 * _MOST_TOLD_CHARACTERS].decode(errors="replace")
            raise LedgerUnavailable(f"it answers {status}: {told[:_MOST_TOLD_CHARACTERS]}")
        return answer

    async def exchange(
        self, method: str, path: str, body: str | bytes | None = None
    ) -> tuple[int, bytes]:
        """Returns status and body of the answer. Raises LedgerUnavailable where there is none, or a longer one than any."""
        keys = self._keys.keys()
        if keys is None:
            raise LedgerUnavailable("the key of its tokens is not known (Secret of ledger.keys)")
        headers = {
            "Authorization": f"Bearer {keys.operator_token()}",
            # one that is compressed could become a thousand times as large
            "Accept-Encoding": "identity",
        }
        try:
            async with (
                asyncio.timeout(_WHOLE_SECONDS),
                httpx.AsyncClient(
                    transport=self._transport() if self._transport is not None else None,
                    timeout=_SECONDS,
                    trust_env=False,
                    event_hooks={"response": [drop_location]},
                ) as client,
                client.stream(
                    method, f"{self._url}{path}", content=body, headers=headers
                ) as answer,
            ):
                return answer.status_code, await _read(answer)
        except TimeoutError as error:
            raise LedgerUnavailable(f"no whole answer within {_WHOLE_SECONDS:g} s") from error
        except NO_ANSWER as error:
            raise LedgerUnavailable(f"it does not answer: {in_words(error)}") from error


async def _read(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_raw():
        body += part
        if len(body) > MOST_ANSWER_BYTES:
            raise LedgerUnavailable("its answer is longer than any")
    return bytes(body)
