"""Reads the relays' counters from Prometheus through prometheus-api-client: no hidden retries, a deadline, its own
thread, one family of errors.

What a relay exposes is its tenant's to choose, so an answer is read up to a limit, and a namespace whose series do not
fit is left out alone.
"""

import asyncio
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.adapters import BaseAdapter
from urllib3 import Retry

from relay_operator.cluster.connecting.connection_errors import in_words
from relay_operator.cluster.prometheus.access import Access
from relay_operator.cluster.prometheus.answers import Reader
from relay_operator.cluster.prometheus.query import Labels, range_query
from relay_operator.cluster.prometheus.session import AnswerTooLarge, BoundedSession
from relay_operator.decisions.analysis.evidence import Question
from relay_operator.decisions.analysis.scrapes import Series
from relay_operator.decisions.analysis.shadow_evidence import ShadowQuestion
from relay_operator.errors import MetricsUnavailable

_TIMEOUT_SECONDS = (1.0, 3.0)
_LONGEST_FETCH_SECONDS = 8.0
_MOST_TOGETHER_BYTES = 16 * 1024 * 1024
"""Some 30,000 series with their last samples, as many as a tick asks for; parsed they take six times that."""
_MOST_ALONE_BYTES = 4 * 1024 * 1024
_APART_SECONDS = 60.0
"""A namespace that did not fit is asked for again after this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The series of one fetch. crowded are the namespaces with more of them than can be read."""

    series: tuple[Series, ...]
    crowded: frozenset[str] = frozenset()


class Prometheus:
    """One Prometheus, over HTTP unless another transport is given. A fetch is one query for any number of routes."""

    def __init__(
        self,
        access: Access,
        *,
        labels: Labels | None = None,
        transport: BaseAdapter | None = None,
    ) -> None:
        self._session = BoundedSession(access)
        self._connection = PrometheusConnect(
            url=access.url.rstrip("/"),
            session=self._session,
            retry=Retry(total=0),
            timeout=_TIMEOUT_SECONDS,
        )
        if transport is not None:
            self._session.mount(access.url, transport)
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prometheus")
        self._labels = labels or Labels()
        self._reader = Reader(self._labels)
        self._crowded: dict[str, float] = {}

    async def fetch(self, question: Question | ShadowQuestion) -> Fetched:
        """Returns the samples of the last few scrapes that the question does not know. Raises MetricsUnavailable."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.read, question)

    def read(self, question: Question | ShadowQuestion) -> Fetched:
        """Fetches in the calling thread, which waits for the answer."""
        now = time.monotonic()
        self._crowded = {space: until for space, until in self._crowded.items() if until > now}
        spaces = frozenset(namespace for namespace, _ in question.pods)
        ends = now + _LONGEST_FETCH_SECONDS
        series = self._part(question, spaces - self._crowded.keys(), ends)
        return Fetched(series=tuple(series), crowded=spaces & self._crowded.keys())

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    def _part(
        self, question: Question | ShadowQuestion, spaces: Collection[str], ends: float
    ) -> list[Series]:
        """Asks for these namespaces together; where that is too much for each half, until who is too much stands alone."""
        if not spaces:
            return []
        if time.monotonic() > ends:
            raise MetricsUnavailable(
                f"Prometheus took longer than {_LONGEST_FETCH_SECONDS:g} s for what does not fit into one answer"
            )
        pods = {pod: since for pod, since in question.pods.items() if pod[0] in spaces}
        self._session.most_bytes = _MOST_TOGETHER_BYTES if len(spaces) > 1 else _MOST_ALONE_BYTES
        try:
            return self._ask(replace(question, pods=pods))
        except AnswerTooLarge:
            names = sorted(spaces)
            if len(names) == 1:
                self._crowded[names[0]] = time.monotonic() + _APART_SECONDS
                return []
            half = len(names) // 2
            first = self._part(question, names[:half], ends)
            return first + self._part(question, names[half:], ends)

    def _ask(self, question: Question | ShadowQuestion) -> list[Series]:
        query = range_query(question, self._labels)
        try:
            # Thanos fails instead of leaving out what it cannot reach; others do not know the parameter
            answer = self._connection.custom_query(query, params={"partial_response": "false"})
        except (AnswerTooLarge, MetricsUnavailable):
            raise
        except PrometheusApiClientException as error:
            # its text ends with the whole answer
            status = str(error).partition(" (")[0]
            raise MetricsUnavailable(f"Prometheus did not answer: {status}") from error
        except (requests.RequestException, OSError, ValueError) as error:
            raise MetricsUnavailable(f"Prometheus did not answer: {_why(error)}") from error
        return self._reader.read(answer, question.pods)


def _why(error: OSError | ValueError) -> str:
    """Returns what the operator itself met, such as the missing file of a certificate; of the other side only what happened."""
    is_ours = isinstance(error, OSError) and not isinstance(error, requests.RequestException)
    return str(error) if is_ours else in_words(error)
