"""Reads the relays' counters from Prometheus through prometheus-api-client: no hidden retries, a deadline, its own
threads, one family of errors.

What a relay exposes is its tenant's to choose, so an answer is read up to a limit, and a namespace whose series do not
fit is left out alone.
"""

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.adapters import BaseAdapter
from urllib3 import Retry

from relay_operator.decisions.analysis.evidence import Series
from relay_operator.errors import MetricsUnavailable

_COUNTERS = "relay_slo_attempts_(finished|failed|throttled|refused|slow|timed)_total|relay_slo_breaker_failed_probes"
_START = "process_start_time_seconds"
_TIMEOUT_SECONDS = (1.0, 3.0)
_LONGEST_ANSWER_SECONDS = 5.0
_MOST_TOGETHER_BYTES = 8 * 1024 * 1024
"""Some 15,000 series with their last samples; parsed they take ten times that."""
_MOST_ALONE_BYTES = 2 * 1024 * 1024
_APART_SECONDS = 60.0
"""A namespace that did not fit is asked for again after this, the others alone until then."""
_LARGEST_COUNT = 2.0**53
"""Beyond this a counter cannot count one more."""


class _AnswerTooLarge(requests.RequestException):
    """An answer exceeded its limit and was not read to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The series of one fetch. crowded are the namespaces with more of them than can be read."""

    series: tuple[Series, ...]
    crowded: frozenset[str] = frozenset()


class _BoundedSession(requests.Session):
    """Reads answers up to a limit of size and time, as the other side sends them: never unpacked."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.headers["Accept-Encoding"] = "identity"
        self.most_bytes = _MOST_TOGETHER_BYTES

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        most_bytes = self.most_bytes
        response = super().send(request, **(kwargs | {"stream": True}))
        ends = time.monotonic() + _LONGEST_ANSWER_SECONDS
        body = bytearray()
        # in pieces as they arrive; requests' own iteration waits until a piece is full
        while piece := response.raw.read1(64 * 1024, decode_content=False):
            body += piece
            if len(body) > most_bytes:
                response.close()
                raise _AnswerTooLarge(f"more than {most_bytes} bytes")
            if time.monotonic() > ends:
                response.close()
                raise requests.Timeout(f"longer than {_LONGEST_ANSWER_SECONDS:g} s")
        response._content = bytes(body)
        return response


class Prometheus:
    """One Prometheus, over HTTP unless another transport is given. A fetch is two queries for any number of routes."""

    def __init__(
        self, url: str, *, lookback_seconds: float, transport: BaseAdapter | None = None
    ) -> None:
        self._session = _BoundedSession()
        self._connection = PrometheusConnect(
            url=url, session=self._session, retry=Retry(total=0), timeout=_TIMEOUT_SECONDS
        )
        if transport is not None:
            self._session.mount(url, transport)
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prometheus")
        self._lookback = max(int(lookback_seconds), 1)
        self._apart_until = 0.0
        self._crowded: dict[str, float] = {}

    async def fetch(self, namespaces: Iterable[str]) -> Fetched:
        """Returns the raw samples of the last few scrapes of the relays in these namespaces.

        A range selector in an instant query gives samples with their own times, so a dead target cannot look
        alive through Prometheus' five-minute look-back. Raises MetricsUnavailable.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._fetch, frozenset(namespaces))

    def _fetch(self, namespaces: frozenset[str]) -> Fetched:
        now = time.monotonic()
        self._crowded = {space: until for space, until in self._crowded.items() if until > now}
        wanted = namespaces - self._crowded.keys()
        series: list[Series] = []
        if now >= self._apart_until:
            try:
                series = self._series(wanted, most_bytes=_MOST_TOGETHER_BYTES)
                return Fetched(series=tuple(series), crowded=namespaces & self._crowded.keys())
            except _AnswerTooLarge:
                self._apart_until = now + _APART_SECONDS
        for namespace in sorted(wanted):
            try:
                series += self._series({namespace}, most_bytes=_MOST_ALONE_BYTES)
            except _AnswerTooLarge:
                self._crowded[namespace] = now + _APART_SECONDS
        if self._crowded:
            # the others fit together without it
            self._apart_until = 0.0
        return Fetched(series=tuple(series), crowded=namespaces & self._crowded.keys())

    def _series(self, namespaces: Iterable[str], *, most_bytes: int) -> list[Series]:
        spaces = "|".join(sorted(namespaces))
        if not spaces:
            return []
        self._session.most_bytes = most_bytes
        within = f'namespace=~"{spaces}"'
        counters = f'{{__name__=~"{_COUNTERS}",{within}}}[{self._lookback}s]'
        starts = f'{_START}{{relay_operator_scrape="slo",{within}}}[{self._lookback}s]'
        return [*_parse(self._ask(counters)), *_parse(self._ask(starts))]

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, query: str) -> list[dict[str, Any]]:
        try:
            answer: list[dict[str, Any]] = self._connection.custom_query(query)
        except _AnswerTooLarge:
            raise
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
    try:
        return [series for entry in answer if (series := _one(entry)).samples]
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise MetricsUnavailable(
            f"Prometheus answered something else than series: {type(error).__name__}"
        ) from error


def _one(entry: dict[str, Any]) -> Series:
    pairs = ((float(at), float(value)) for at, value in entry.get("values", ()))
    # what a counter cannot be, not a number included, is no sample
    samples = tuple((at, value) for at, value in pairs if 0 <= value <= _LARGEST_COUNT)
    return Series(labels=dict(entry["metric"]), samples=samples)
