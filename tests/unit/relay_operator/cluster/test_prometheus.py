"""Prometheus' adapter: two queries a fetch, samples with their own times, one family of errors."""

import io
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import urllib3
from requests.adapters import BaseAdapter

from relay_operator.cluster.prometheus import Prometheus
from relay_operator.decisions.analysis.evidence import Series
from relay_operator.errors import MetricsUnavailable


class InProcess(BaseAdapter):
    """Sends requests to a function."""

    def __init__(self, answer: Callable[[str], tuple[int, str]]) -> None:
        super().__init__()
        self.queries: list[str] = []
        self._answer = answer

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        query = parse_qs(urlsplit(request.url or "").query)["query"][0]
        self.queries.append(query)
        response = requests.Response()
        response.status_code, text = self._answer(query)
        response.raw = urllib3.HTTPResponse(io.BytesIO(text.encode()), preload_content=False)
        response.url = request.url or ""
        response.request = request
        return response

    def close(self) -> None:
        """Nothing is open."""


def vector(*series: dict[str, Any]) -> tuple[int, str]:
    return 200, json.dumps({"status": "success", "data": {"result": list(series)}})


async def fetched(answer: Callable[[str], tuple[int, str]]) -> tuple[tuple[Series, ...], InProcess]:
    transport = InProcess(answer)
    prometheus = Prometheus("http://prometheus.test", lookback_seconds=12, transport=transport)
    try:
        return (await prometheus.fetch({"relay-a"})).series, transport
    finally:
        prometheus.close()


async def test_a_fetch_is_two_queries_over_the_last_scrapes() -> None:
    _, transport = await fetched(lambda _: vector())
    assert len(transport.queries) == 2
    assert all(query.endswith("[12s]") for query in transport.queries)
    assert any("relay_slo_attempts_" in query for query in transport.queries)
    assert any("process_start_time_seconds" in query for query in transport.queries)


async def test_samples_keep_their_own_times_and_what_is_no_number_is_left_out() -> None:
    counter = {"metric": {"__name__": "x"}, "values": [[10.0, "1"], [12.0, "NaN"], [14.0, "3"]]}
    stale = {"metric": {"__name__": "y"}, "values": [[10.0, "+Inf"]]}
    empty = {"metric": {"__name__": "z"}}

    def answer(query: str) -> tuple[int, str]:
        return vector() if "process_start" in query else vector(counter, stale, empty)

    series, _ = await fetched(answer)
    assert series == (Series(labels={"__name__": "x"}, samples=((10.0, 1.0), (14.0, 3.0))),)


@pytest.mark.parametrize(
    "answer",
    [(503, "busy"), (400, "bad query"), (200, "no json"), (200, "{}")],
    ids=["busy", "refused", "no JSON", "no data"],
)
async def test_an_answer_that_cannot_be_used_is_no_evidence(answer: tuple[int, str]) -> None:
    with pytest.raises(MetricsUnavailable, match="Prometheus did not answer"):
        await fetched(lambda _: answer)


async def test_a_prometheus_that_is_away_is_asked_once_and_no_evidence() -> None:
    asked: list[str] = []

    def away(query: str) -> tuple[int, str]:
        asked.append(query)
        raise requests.ConnectionError("refused")

    with pytest.raises(MetricsUnavailable, match="ConnectionError"):
        await fetched(away)
    assert len(asked) == len(set(asked))


def a_flood(namespaces: str) -> tuple[int, str]:
    """Answers for a quiet namespace and one that floods, as far as the query asks for them."""
    quiet = {"metric": {"namespace": "relay-quiet"}, "values": [[10.0, "1"]]}
    loud = {"metric": {"namespace": "relay-loud", "x": "y" * 10_000_000}, "values": [[10.0, "1"]]}
    return vector(
        *([quiet] if "quiet" in namespaces else []), *([loud] if "loud" in namespaces else [])
    )


async def test_a_namespace_that_floods_is_left_out_alone() -> None:
    transport = InProcess(lambda query: vector() if "process_start" in query else a_flood(query))
    prometheus = Prometheus("http://prometheus.test", lookback_seconds=12, transport=transport)
    for _ in range(2):
        fetched_ = await prometheus.fetch({"relay-quiet", "relay-loud"})
        assert {one.labels["namespace"] for one in fetched_.series} == {"relay-quiet"}
        assert fetched_.crowded == {"relay-loud"}
    prometheus.close()
    # the flood was asked for together, then alone, and then no more
    assert sum("loud" in query for query in transport.queries) == 2


async def test_an_endless_answer_is_read_up_to_a_limit() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read1(self, amount: int = -1) -> bytes:
            self.given += amount
            return b" " * amount

        read = read1

    answers: list[Endless] = []

    class Hostile(InProcess):
        def send(self, *args: Any, **kwargs: Any) -> requests.Response:
            response = super().send(*args, **kwargs)
            answers.append(Endless())
            response.raw = urllib3.HTTPResponse(answers[-1], preload_content=False)
            return response

    transport = Hostile(lambda _: vector())
    prometheus = Prometheus("http://prometheus.test", lookback_seconds=12, transport=transport)
    fetched_ = await prometheus.fetch({"relay-a"})
    prometheus.close()
    assert fetched_.series == ()
    assert fetched_.crowded == {"relay-a"}
    assert sum(endless.given for endless in answers) < 16 * 1024 * 1024


async def test_only_the_namespaces_of_active_canaries_are_asked_for() -> None:
    _, transport = await fetched(lambda _: vector())
    assert all('namespace=~"relay-a"' in query for query in transport.queries)


@pytest.mark.parametrize("value", ["1e300", "-1", "NaN", "+Inf"])
async def test_what_no_counter_can_be_is_no_sample(value: str) -> None:
    series, _ = await fetched(lambda _: vector({"metric": {}, "values": [[10.0, value]]}))
    assert series == ()


@pytest.mark.parametrize("entry", [1, [], {"values": [[1]]}, {"values": [[1, "x"]]}, {"values": 5}])
async def test_what_is_no_series_is_no_evidence(entry: Any) -> None:
    with pytest.raises(MetricsUnavailable, match="something else"):
        await fetched(lambda _: vector(entry))
