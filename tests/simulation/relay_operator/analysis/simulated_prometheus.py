"""A Prometheus that scrapes simulated pods and answers range queries, served to the operator's adapter as bytes.

It selects series by the matchers of the query as PromQL does, so a query that asks for the wrong thing gets it.
"""

import io
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
import urllib3
from requests.adapters import BaseAdapter
from tests.simulation.relay_operator.analysis.simulated_pods import Pod

EPOCH = 1_780_000_000.0
"""When a run begins, on a Prometheus clock that is right."""
_MATCHER = re.compile(r'(\w+)(=~|=)"((?:[^"\\]|\\.)*)"')
_KEPT_SCRAPES = 16
_REMEMBERED_QUERIES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraping:
    """How one replica scrapes. Seconds; clock is how far its clock is ahead; missing are shares of scrapes.

    A scrape can be read late_seconds after its time. Without start_times it lacks the start times of processes.
    """

    every: float = 2.0
    jitter: float = 0.03
    missing: float = 0.005
    start_times_missing: float = 0.0
    late_seconds: float = 0.06
    clock: float = 0.0


@dataclass(slots=True)
class _Target:
    pod: Pod
    due: float
    prefixes: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    scrapes: deque[tuple[float, float, list[float | None]]] = field(
        default_factory=lambda: deque(maxlen=_KEPT_SCRAPES)
    )


class Replica:
    """One Prometheus: its own phase to each pod, its own clock, its own gaps."""

    def __init__(self, pods: Iterable[Pod], scraping: Scraping, random: Random) -> None:
        self.scraping = scraping
        self._random = random
        self._targets = [_Target(pod, random.random() * scraping.every) for pod in pods]
        self._selected: dict[str, list[list[int]]] = {}

    def next_due(self) -> float:
        """Returns when the next scrape is made."""
        return min(target.due for target in self._targets)

    def scrape_due(self, now: float) -> None:
        """Scrapes the pods whose turn it is."""
        scraping = self.scraping
        for target in self._targets:
            if target.due > now:
                continue
            if self._random.random() >= scraping.missing:
                self._scrape(target, now)
            target.due = now + scraping.every + self._random.gauss(0.0, scraping.jitter)

    def _scrape(self, target: _Target, now: float) -> None:
        page = list(target.pod.counters.page())
        if len(page) != len(target.prefixes):
            target.prefixes = [(labels, _prefix(labels)) for labels, _ in page]
            target.scrapes.clear()
            self._selected.clear()
        values: list[float | None] = [value for _, value in page]
        if self._random.random() < self.scraping.start_times_missing:
            values[0] = None
        stamp = round(EPOCH + now + self.scraping.clock, 3)
        target.scrapes.append((now + self.scraping.late_seconds, stamp, values))

    def scraped(self, pod: str, stamp: float, name: str, **labels: str) -> float:
        """Returns what a scrape found, by its time and the series' labels."""
        wanted = {"__name__": name, **labels}.items()
        [target] = [one for one in self._targets if one.pod.name == pod]
        [index] = [n for n, (found, _) in enumerate(target.prefixes) if wanted <= found.items()]
        [value] = [values[index] for _, at, values in target.scrapes if at == stamp]
        assert value is not None
        return value

    def answer(self, query: str, now: float) -> bytes:
        """Returns the answer to an instant query with a range selector."""
        selector, _, lookback = query.rpartition("[")
        oldest = EPOCH + now + self.scraping.clock - float(lookback.rstrip("s]"))
        found: list[bytes] = []
        for target, chosen in zip(self._targets, self._chosen(selector), strict=True):
            scrapes = [
                (b"[%.3f," % stamp, values)
                for readable, stamp, values in target.scrapes
                if readable <= now and stamp > oldest
            ]
            for index in chosen if scrapes else ():
                pairs = [
                    b'%s"%g"]' % (stamp, value)
                    for stamp, values in scrapes
                    if (value := values[index]) is not None
                ]
                if pairs:
                    found.append(target.prefixes[index][1] + b",".join(pairs) + b"]}")
        return (
            b'{"status":"success","data":{"resultType":"matrix","result":['
            + b",".join(found)
            + b"]}}"
        )

    def _chosen(self, selector: str) -> list[list[int]]:
        chosen = self._selected.get(selector)
        if chosen is None:
            matchers = [
                (
                    name,
                    re.compile(_unquoted(text) if operator == "=~" else re.escape(_unquoted(text))),
                )
                for name, operator, text in _MATCHER.findall(selector)
            ]
            chosen = [
                [n for n, (labels, _) in enumerate(target.prefixes) if _matches(labels, matchers)]
                for target in self._targets
            ]
            if len(self._selected) >= _REMEMBERED_QUERIES:
                self._selected.clear()
            self._selected[selector] = chosen
        return chosen


class SimulatedPrometheus(BaseAdapter):
    """Replicas behind one address: each query goes to any of them. A transport for the operator's adapter.

    problem, while it is set, is the status of every answer.
    """

    def __init__(self, pods: Iterable[Pod], *replicas: Scraping, seed: int = 0) -> None:
        super().__init__()
        self.pods = list(pods)
        self._random = Random(seed)
        self.replicas = [
            Replica(self.pods, scraping, Random(self._random.random()))
            for scraping in replicas or (Scraping(),)
        ]
        self.now = 0.0
        self.problem = 0
        self.queries = 0

    def advance(self, until: float) -> None:
        """Lets pods and scrapes go on until this moment of the run."""
        while True:
            due = min(replica.next_due() for replica in self.replicas)
            if due > until:
                break
            for pod in self.pods:
                pod.advance(due)
            for replica in self.replicas:
                replica.scrape_due(due)
        for pod in self.pods:
            pod.advance(until)
        self.now = until

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        form = urlsplit(request.url or "").query or str(request.body)
        self.queries += 1
        response = requests.Response()
        response.status_code = self.problem or 200
        replica = self._random.choice(self.replicas)
        body = replica.answer(parse_qs(form)["query"][0], self.now)
        response.raw = urllib3.HTTPResponse(io.BytesIO(body), preload_content=False)
        response.url, response.request = request.url or "", request
        return response

    def close(self) -> None:
        """Nothing is open."""


def _prefix(labels: Mapping[str, str]) -> bytes:
    metric = ",".join(f'"{name}":"{value}"' for name, value in labels.items())
    return f'{{"metric":{{{metric}}},"values":['.encode()


def _matches(labels: Mapping[str, str], matchers: list[tuple[str, re.Pattern[str]]]) -> bool:
    return all(pattern.fullmatch(labels.get(name, "")) for name, pattern in matchers)


def _unquoted(text: str) -> str:
    return text.replace("\\\\", "\\").replace('\\"', '"')
