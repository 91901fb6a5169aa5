"""Scrapes of relays, put together again from the samples of one answer: what one pod said of one route at one moment.

Every series of a scrape has the scrape's time. Only a whole scrape is news: counters of different moments, or without the
start time of their process, say nothing certain.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from relay_contract.document import SIGNALS, Signal
from relay_contract.shadow import PAIRS

PodName = tuple[str, str]
"""Namespace and name of a relay pod, as the scraper labelled its samples."""
RouteKey = tuple[str, str]
"""Namespace and name of a RelayRoute."""

START_TIME: Final = "process_start_time_seconds"
BREAKER: Final = "relay_slo_breaker_failed_probes"
"""An open breaker alone may come from a burst; one whose probe failed does not."""
COPIES: Final = "relay_slo_shadow_total"
_PREFIX: Final = "relay_slo_attempts_"

ATTEMPTS: Final = (
    "started",
    "finished",
    "failed",
    "cancelled",
    "throttled",
    "refused",
    "truncated",
)
TOKEN_KINDS: Final = ("input", "output")
OPTIONAL: Final = ("reported", *(f"{kind}_tokens" for kind in TOKEN_KINDS), "under_way")
"""Series that relays of an older image do not export, or no objective asks for."""
FIGURES: Final = (
    *ATTEMPTS,
    *(f"{measure}/{signal}" for signal in SIGNALS for measure in ("slow", "timed")),
    *OPTIONAL,
)
"""Series that are read of a side, in the order of `Figures`. All but the last are counters."""

INDEX: Final = {name: index for index, name in enumerate(FIGURES)}
COUNTERS: Final = len(FIGURES) - 1
"""The number of them that are counters."""
TELLING: Final = tuple(
    INDEX[name]
    for name in (
        *("failed", "cancelled", "throttled", "refused"),
        *(f"slow/{signal}" for signal in SIGNALS),
    )
)
"""Those that speak against a side. The others count calls that went well, so far."""
_COLUMNS: Final[dict[tuple[str, str, str], int]] = {
    **{(f"{_PREFIX}{name}_total", "", ""): INDEX[name] for name in (*ATTEMPTS, "reported")},
    **{
        (f"{_PREFIX}{measure}_total", signal, ""): INDEX[f"{measure}/{signal}"]
        for measure in ("slow", "timed")
        for signal in SIGNALS
    },
    **{("relay_slo_tokens_total", "", kind): INDEX[f"{kind}_tokens"] for kind in TOKEN_KINDS},
    (f"{_PREFIX}under_way", "", ""): INDEX["under_way"],
}

Figures = list[float]
"""One side's figures since its process began, in the order of `FIGURES`; 0 where a relay does not export one."""
_Found = list[float | None]


class Identity(NamedTuple):
    """Subject of a time series, read from its labels once. pod is named by labels that the scraper sets.

    column is the index of a side's figure, STARTED or PROBED for what a pod and a canary have, COPIED for shadow copies, whose side
    is the pair and the outcome, OTHER for what is none of ours.
    """

    pod: PodName
    route: RouteKey
    side: str
    fingerprint: str
    column: int


STARTED: Final = -1
PROBED: Final = -2
OTHER: Final = -3
COPIED: Final = -4


def identity_of(pod: PodName, labels: Mapping[str, str]) -> Identity:
    """Returns what a series of a pod is about."""
    name, side = labels.get("__name__", ""), labels.get("side", "")
    if name == START_TIME:
        column = STARTED
    elif name == COPIES:
        column, side = COPIED, copied(labels.get("pair", ""), labels.get("outcome", ""))
    elif name == BREAKER:
        column = PROBED
    else:
        key = (name, labels.get("signal", ""), labels.get("kind", ""))
        column = _COLUMNS.get(key, OTHER)
    route = (pod[0], labels.get("route", ""))
    return Identity(pod, route, side, labels.get("fingerprint", ""), column)


def copied(pair: str, outcome: str) -> str:
    """Names what is counted of shadow copies: a pair that relays compare, and an outcome."""
    return f"{pair}/{outcome}" if pair in PAIRS else ""


class Series(NamedTuple):
    """Raw samples of one time series: (seconds since the epoch, value) pairs in order."""

    identity: Identity
    samples: list[tuple[float, float]]


class Scrape(NamedTuple):
    """Figures of one pod about one route at one moment. breaker counts failed probes, None without one."""

    at: float
    start: float
    stable: Figures
    canary: Figures
    breaker: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The part of a route that is followed: the fingerprints of its sides, the latency signals judged, and tokens or not."""

    stable: str
    canary: str
    signals: frozenset[Signal] = frozenset()
    tokens: bool = False


@lru_cache(maxsize=16)
def _needed(signals: frozenset[Signal]) -> tuple[int, ...]:
    """Returns the indices of the figures without which a scrape is not whole."""
    slow = [f"{name}/{signal}" for signal in signals for name in ("slow", "timed")]
    return tuple(INDEX[name] for name in (*ATTEMPTS, *slow))


@lru_cache(maxsize=16)
def _kept(signals: frozenset[Signal], tokens: bool) -> frozenset[int]:
    """Returns the indices of the figures that are read of a route.

    An answer also has what other routes asked for, as long as they are followed: counters that come and go with them would
    seem to fall.
    """
    of_tokens = [name for name in OPTIONAL if name != "under_way"]
    return frozenset(
        [*_needed(signals), INDEX["under_way"], *(INDEX[name] for name in of_tokens if tokens)]
    )


class _Parts:
    """Parts of the scrapes of one pod about one route, by their times.

    Two targets that say different things of one moment prove nothing: such a moment is contradictory.
    """

    __slots__ = ("breakers", "canary", "contradictory", "stable")

    def __init__(self) -> None:
        self.stable: dict[float, _Found] = {}
        self.canary: dict[float, _Found] = {}
        self.breakers: dict[float, float | None] = {}
        self.contradictory: set[float] = set()

    def take(
        self,
        place: "_Place",
        side: str,
        fingerprint: str,
        column: int,
        samples: list[tuple[float, float]],
    ) -> None:
        """Puts the samples of one series where they belong; copies of a shadow, which no user saw, are on neither side."""
        if side == "canary" and fingerprint == place.canary:
            self._put(self.canary, column, samples)
        elif side == "stable" and fingerprint == place.stable:
            self._put(self.stable, column, samples)
        elif column == PROBED and fingerprint == place.canary:
            _put(self.breakers, samples)

    def _put(
        self, side: dict[float, _Found], column: int, samples: list[tuple[float, float]]
    ) -> None:
        for at, value in samples:
            figures = side.get(at)
            if figures is None:
                figures = side[at] = [None] * len(FIGURES)
            if figures[column] not in (None, value):
                self.contradictory.add(at)
            figures[column] = value


class _Place:
    """A route that series are about: its sides, the figures that are read of it, and what each pod says."""

    __slots__ = ("canary", "kept", "needed", "pods", "stable")

    def __init__(self, subject: Subject) -> None:
        self.stable, self.canary = subject.stable, subject.canary
        self.kept = _kept(subject.signals, subject.tokens) | {PROBED}
        self.needed = _needed(subject.signals)
        self.pods: dict[PodName, _Parts] = {}


class Assembly:
    """Puts the series of one answer together. Series that are about none of the routes, or no counter of ours, are dropped."""

    def __init__(self, subjects: Mapping[RouteKey, Subject]) -> None:
        self._subjects = subjects
        self._places: dict[RouteKey, _Place] = {}
        self._starts: dict[PodName, dict[float, float | None]] = {}

    def add(self, series: Iterable[Series]) -> None:
        """Adds series in any order."""
        places = self._places
        for (pod, key, side, fingerprint, column), samples in series:
            if column == STARTED:
                _put(self._starts.setdefault(pod, {}), samples)
                continue
            place = places.get(key) or self._begin(key)
            if place is None or column not in place.kept:
                continue
            parts = place.pods.get(pod)
            if parts is None:
                parts = place.pods[pod] = _Parts()
            parts.take(place, side, fingerprint, column, samples)

    def _begin(self, key: RouteKey) -> _Place | None:
        subject = self._subjects.get(key)
        if subject is None:
            return None
        place = self._places[key] = _Place(subject)
        return place

    def scrapes(self) -> Iterator[tuple[RouteKey, PodName, list[Scrape]]]:
        """Yields the whole scrapes of each pod about each route, in the order of their times."""
        for key, place in self._places.items():
            for pod, parts in place.pods.items():
                starts = self._starts.get(pod)
                if starts:
                    found = _whole(parts, starts, place.needed)
                    if found:
                        yield key, pod, found


def _put(values: dict[float, float | None], samples: list[tuple[float, float]]) -> None:
    for at, value in samples:
        values[at] = value if values.get(at, value) == value else None


def _whole(
    parts: _Parts, starts: Mapping[float, float | None], needed: tuple[int, ...]
) -> list[Scrape]:
    found = []
    for at in sorted(parts.canary):
        stable, canary, start = parts.stable.get(at), parts.canary[at], starts.get(at)
        if stable is None or start is None or at in parts.contradictory:
            continue
        if None not in [side[index] for side in (stable, canary) for index in needed]:
            breaker = parts.breakers.get(at)
            found.append(Scrape(at, start, _figures(stable), _figures(canary), breaker))
    return found


def _figures(found: _Found) -> Figures:
    return [value or 0.0 for value in found]
