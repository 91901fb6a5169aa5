"""Reads the relays' counters from Prometheus through prometheus-api-client: no hidden retries, a deadline, its own
threads, one family of errors.
"""

import asyncio
import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.adapters import BaseAdapter
from urllib3 import Retry

from relay_operator.decisions.analysis.evidence import Series
from relay_operator.errors import MetricsUnavailable

_QUERY = (
    '{__name__=~"relay_slo_attempts_(finished|failed|slow|timed)_total|relay_slo_breaker_open"}'
)
_START_QUERY = 'process_start_time_seconds{relay_operator_scrape="slo"}'
_TIMEOUT_SECONDS = (1.0, 3.0)


class Prometheus:
    """One Prometheus, over HTTP unless another transport is given. A fetch is two queries for any number of routes."""

    def __init__(
        self, url: str, *, lookback_seconds: float, transport: BaseAdapter | None = None
    ) -> None:
        session = requests.Session()
        session.trust_env = False
        self._connection = PrometheusConnect(
            url=url, session=session, retry=Retry(total=0), timeout=_TIMEOUT_SECONDS
        )
        if transport is not None:
            session.mount(url, transport)
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="prometheus")
        self._lookback = max(int(lookback_seconds), 1)

    async def fetch(self) -> tuple[Series, ...]:
        """Returns the raw samples of the last few scrapes of every active relay.

        A range selector in an instant query gives samples with their own times, so a dead target cannot look
        alive through Prometheus' five-minute look-back. Raises MetricsUnavailable.
        """
        queries = (f"{_QUERY}[{self._lookback}s]", f"{_START_QUERY}[{self._lookback}s]")
        loop = asyncio.get_running_loop()
        answers = await asyncio.gather(
            *(loop.run_in_executor(self._threads, self._ask, query) for query in queries)
        )
        return tuple(series for answer in answers for series in _parse(answer))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, query: str) -> list[dict[str, Any]]:
        try:
            answer: list[dict[str, Any]] = self._connection.custom_query(query)
        except (
            requests.RequestException,
            PrometheusApiClientException,
            ValueError,
            KeyError,
        ) as error:
            raise MetricsUnavailable(
                f"Prometheus did not answer: {type(error).__name__}"
            ) from error
        return answer


def _parse(answer: Iterable[dict[str, Any]]) -> list[Series]:
    parsed = []
    for entry in answer:
        pairs = ((float(at), float(value)) for at, value in entry.get("values", ()))
        samples = tuple((at, value) for at, value in pairs if math.isfinite(value))
        if samples:
            parsed.append(Series(labels=dict(entry["metric"]), samples=samples))
    return parsed
