"""Answers as Prometheus would about relay pods, from calls that the bench makes up. Each sample is visible at an exact moment.

Runs in the cluster, on the standard library alone.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

LATE_SECONDS: Final = 0.05
"""From the time of a scrape until queries see it."""
_MATCHER: Final = re.compile(r'(\w+)(=~|=)"((?:[^"\\]|\\.)*)"')
_COUNTED: Final = re.compile(r"relay_slo_attempts_(started|finished|failed)_total")
_STARTED: Final = (time.time(), time.monotonic())

RouteKey = tuple[str, str]
"""Namespace and name of a route."""


def clock() -> float:
    """Returns seconds since the epoch, by a clock that nobody sets."""
    wall, monotonic = _STARTED
    return wall + time.monotonic() - monotonic


@dataclass(frozen=True, slots=True)
class Story:
    """The calls of one route from scrape to scrape while its canary turns bad.

    Each step has the canary's calls, those of them that failed, and stable's calls, of which none does. It is told by the
    first pod of the tenant; the others have no calls of the route.
    """

    steps: Sequence[tuple[int, int, int]]

    def counted(self, side: str, figure: str, scrapes: int) -> int:
        """Returns what a counter has risen by after so many scrapes of the story."""
        steps = self.steps[: max(scrapes, 0)]
        if side == "stable":
            return 0 if figure == "failed" else sum(stable for _, _, stable in steps)
        return sum(failed if figure == "failed" else calls for calls, failed, _ in steps)


@dataclass(slots=True)
class _Told:
    """A story that begins with one scrape of its pod, and ends with another."""

    first: int
    last: int | None = None

    def scrapes(self, number: int) -> int:
        """Returns how many scrapes of the story a scrape has seen."""
        return (number if self.last is None else min(number, self.last)) - self.first + 1


@dataclass(slots=True)
class Target:
    """A scraped pod. routes maps a route to the fingerprints of its stable side and its canary."""

    namespace: str
    pod: str
    phase: float
    tells: bool
    routes: Mapping[str, tuple[str, str]]
    heads: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def head(self, route: str, index: int, template: Mapping[str, str]) -> bytes:
        """Returns a series without its samples."""
        found = self.heads.get((route, index))
        if found is None:
            labels = {**template, "namespace": self.namespace, "pod": self.pod}
            if "route" in labels:
                labels["route"] = route
                stable, canary = self.routes[route]
                labels["fingerprint"] = stable if labels.get("side") == "stable" else canary
            metric = ",".join(f'"{name}":"{value}"' for name, value in sorted(labels.items()))
            found = self.heads[route, index] = f'{{"metric":{{{metric}}},"values":['.encode()
        return found


class Responder:
    """Answers range queries about the targets. templates are the series of a page, for any pod and route."""

    def __init__(
        self,
        *,
        targets: Sequence[Target],
        templates: Sequence[Mapping[str, str]],
        story: Story,
        period: float,
    ) -> None:
        self._targets, self._templates = targets, templates
        self._story, self._period = story, period
        self._began = clock()
        self._stories: dict[RouteKey, _Told] = {}
        self._chosen: dict[str, list[int]] = {}
        self._shown: dict[tuple[str, int], float] = {}

    def teller(self, namespace: str) -> Target:
        """Returns the pod of a tenant that has the calls."""
        return next(one for one in self._targets if one.namespace == namespace and one.tells)

    def begin(self, key: RouteKey, *, scrapes_ahead: int) -> int:
        """Begins the story of a route some scrapes from now; returns the number of the first scrape that has of it."""
        first = self._newest(self.teller(key[0]), clock()) + 1 + scrapes_ahead
        self._stories[key] = _Told(first)
        return first

    def end(self, key: RouteKey) -> None:
        """Ends the calls of a route's canary and of its stable side: after a rollback the canary gets none.

        What it did would count against its next run, which would be rolled back before its own story proves anything.
        """
        told = self._stories.get(key)
        if told is not None and told.last is None:
            told.last = self._newest(self.teller(key[0]), clock())

    def visible_at(self, namespace: str, scrape: int) -> float:
        """Returns the moment from which on answers have a scrape of the pod that has the calls."""
        return self._stamp(self.teller(namespace), scrape) + LATE_SECONDS

    def shown_at(self, namespace: str, scrape: int) -> float | None:
        """Returns when an answer had this scrape, or a newer one, for the first time; None before."""
        # queries are answered meanwhile
        shown = list(self._shown.items())
        moments = [at for (space, n), at in shown if space == namespace and n >= scrape]
        return min(moments, default=None)

    def answer(self, form: str) -> bytes:
        """Answers a query, given as the body of a form."""
        selector, _, lookback = parse_qs(form)["query"][0].rpartition("[")
        found = {name: (sign, text) for name, sign, text in _MATCHER.findall(selector)}
        spaces, pods, routes = (_names(found.pop(name)) for name in ("namespace", "pod", "route"))
        chosen, now = self._choose(found), clock()
        bodies = [
            body
            for target in self._targets
            if target.pod in pods and target.namespace in spaces
            for body in self._series(target, chosen, routes, (now, float(lookback.rstrip("s]"))))
        ]
        head = b'{"status":"success","data":{"resultType":"matrix","result":['
        return head + b",".join(bodies) + b"]}}"

    def _choose(self, matchers: Mapping[str, tuple[str, str]]) -> list[int]:
        """Returns which series of a page the matchers select."""
        key = repr(sorted(matchers.items()))
        if key not in self._chosen:
            patterns = {
                name: re.compile(text.replace("\\\\", "\\")) for name, (_, text) in matchers.items()
            }
            self._chosen[key] = [
                index
                for index, labels in enumerate(self._templates)
                if all(one.fullmatch(labels.get(name, "")) for name, one in patterns.items())
            ]
        return self._chosen[key]

    def _series(
        self, target: Target, chosen: Sequence[int], routes: set[str], span: tuple[float, float]
    ) -> list[bytes]:
        now, lookback = span
        newest = self._newest(target, now)
        oldest = max(newest - int(lookback / self._period), 0)
        stamps = [(n, self._stamp(target, n)) for n in range(oldest, newest + 1)]
        stamps = [(n, at) for n, at in stamps if at > now - lookback]
        if not stamps:
            return []
        if target.tells:
            self._shown.setdefault((target.namespace, newest), now)
        still = _values([(at, 0) for _, at in stamps])
        # of another process than that of the setup before: its counts begin at 0
        start = _values([(at, self._began) for _, at in stamps])
        bodies = []
        for index in chosen:
            template = self._templates[index]
            if "route" not in template:
                bodies.append(target.head("", index, template) + start)
                continue
            for route in routes & target.routes.keys():
                told = self._stories.get((target.namespace, route)) if target.tells else None
                values = self._told(told, template, stamps) if told is not None else None
                bodies.append(target.head(route, index, template) + (values or still))
        return bodies

    def _told(
        self,
        told: _Told,
        template: Mapping[str, str],
        stamps: Sequence[tuple[int, float]],
    ) -> bytes | None:
        """Returns the samples of a counter that rises in stories; None for others."""
        counted = _COUNTED.fullmatch(template["__name__"])
        if counted is None:
            return None
        side, figure, story = template["side"], counted[1], self._story
        return _values([(at, story.counted(side, figure, told.scrapes(n))) for n, at in stamps])

    def _newest(self, target: Target, now: float) -> int:
        return int((now - LATE_SECONDS - self._began - target.phase) // self._period)

    def _stamp(self, target: Target, scrape: int) -> float:
        # samples are told in milliseconds
        return round(self._began + target.phase + scrape * self._period, 3)


def _names(matcher: tuple[str, str]) -> set[str]:
    """Returns the alternatives of a matcher; names of the bench's objects hold nothing that means something else."""
    return set(matcher[1].split("|")) - {""}


def _values(pairs: Sequence[tuple[float, Any]]) -> bytes:
    return ",".join(f'[{at:.3f},"{value}"]' for at, value in pairs).encode() + b"]}"
