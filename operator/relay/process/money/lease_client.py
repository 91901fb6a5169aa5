"""Sends a worker's copy of the pod's messages to the ledger."""

from pathlib import Path
from typing import Final

import aiohttp

from relay.settings import Settings
from relay_contract.billing.budget import LEASES_PATH
from relay_contract.billing.ledger_token import AUTHORIZATION_SCHEME

ANSWER_SECONDS: Final = 3.0
MAX_ANSWER_BYTES: Final = 64 * 1024


class LeaseClient:
    """One per worker, without a connection until the first message."""

    def __init__(self, url: str, token_file: Path) -> None:
        self._url = url.rstrip("/") + LEASES_PATH
        self._token_file = token_file
        self._session: aiohttp.ClientSession | None = None

    async def send(self, body: str) -> tuple[int, str]:
        """Returns the status of the answer and its text; 0 and a reason where there was none."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                trust_env=False,
                auto_decompress=False,
                headers={"Accept-Encoding": "identity"},
            )
        try:
            token = self._token_file.read_text(encoding="ascii").strip()
            async with self._session.post(
                self._url,
                data=body.encode(),
                headers={"Authorization": f"{AUTHORIZATION_SCHEME} {token}"},
                allow_redirects=False,
            ) as response:
                answer = await response.content.read(MAX_ANSWER_BYTES)
                return response.status, answer.decode("utf-8", "replace")
        except (TimeoutError, OSError, ValueError, aiohttp.ClientError) as error:
            return 0, type(error).__name__

    async def close(self) -> None:
        """Closes what is open."""
        if self._session is not None:
            await self._session.close()


def lease_client(settings: Settings) -> LeaseClient | None:
    """Returns the client of the ledger that the settings name, None if they name none."""
    url, token_file = settings.ledger_url, settings.ledger_token_file
    return LeaseClient(url, token_file) if url is not None and token_file is not None else None
