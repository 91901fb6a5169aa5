"""One batch on its way to the ledger, and what the ledger said of it."""

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol, Self

import aiohttp
import orjson

DELIVERY_SECONDS: Final = 30.0
"""From the connection to the answer's last byte; the ledger may be behind other batches of the same tenant."""
MAX_ANSWER_BYTES: Final = 64 * 1024
_MAX_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a batch. status is 0 where the ledger did not answer; quarantined counts lines that it took and did not book."""

    status: int
    message: str = ""
    retry_after_seconds: float = 0.0
    quarantined: int = 0

    @property
    def is_taken(self) -> bool:
        """Returns whether the batch is done with."""
        return self.status == HTTPStatus.OK

    @property
    def is_too_long(self) -> bool:
        """Returns whether the batch has to be divided."""
        return self.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE

    @property
    def is_refused(self) -> bool:
        """Returns whether the ledger will say the same again until somebody changes something."""
        return 400 <= self.status < 500 and not self.is_too_long

    @property
    def label(self) -> str:
        """Returns the answer as the metric names it."""
        return str(self.status) if self.status else "none"


class Ledger(Protocol):
    """Takes batches."""

    async def deliver(self, lines: list[bytes]) -> Answer:
        """Sends the lines as one batch; never raises because of the ledger."""


class LedgerClient:
    """A path of the ledger at an address, shown a token that is read anew for each batch, so that it may be renewed."""

    def __init__(self, url: str, path: str, token_file: Path) -> None:
        self._url = url.rstrip("/") + path
        self._token_file = token_file
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=DELIVERY_SECONDS),
            connector=aiohttp.TCPConnector(limit=1, ttl_dns_cache=10),
            trust_env=False,
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def deliver(self, lines: list[bytes]) -> Answer:
        """Sends the lines as one batch; never raises because of the ledger."""
        try:
            token = self._token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            return Answer(0, f"the token cannot be read: {error}")
        try:
            return await self._post(b"\n".join(lines) + b"\n", token)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(0, f"{type(error).__name__}: {error}"[:_MAX_SHOWN])

    async def _post(self, body: bytes, token: str) -> Answer:
        async with self._session.post(
            self._url,
            data=body,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"},
            allow_redirects=False,
        ) as response:
            text = await response.content.read(MAX_ANSWER_BYTES)
            if response.status == HTTPStatus.OK:
                return Answer(response.status, quarantined=_quarantined(text))
            return Answer(
                response.status,
                text.decode(errors="replace")[:_MAX_SHOWN],
                _seconds(response.headers.get("Retry-After", "")),
            )


def _quarantined(text: bytes) -> int:
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError:
        return 0
    number = answer.get("quarantined") if isinstance(answer, dict) else None
    return number if isinstance(number, int) else 0


def _seconds(value: str) -> float:
    return float(value) if value.isdigit() else 0.0
