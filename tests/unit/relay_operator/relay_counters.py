"""The SLO counters of a relay's process, as its page has them, and what a scrape makes of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from relay_contract.document import SIGNALS
from relay_contract.shadow import OUTCOMES, PAIRS
from relay_operator.decisions.analysis.scrapes import ATTEMPTS, Series, copied, identity_of

SideName = tuple[str, str, str]
"""Route, side and fingerprint."""
CopiedName = tuple[str, str]
"""Route and the fingerprint of its canary."""
_COUNTED = (*ATTEMPTS, "reported")


@dataclass(slots=True)
class RelayCounters:
    """One process of a relay pod. What it does not count stays 0; start_time None leaves that out of its page."""

    pod: str = "relay-1"
    namespace: str = "relay-finance"
    start_time: float | None = 1000.0
    sides: dict[SideName, dict[str, float]] = field(default_factory=dict)
    copies: dict[CopiedName, dict[str, float]] = field(default_factory=dict)
    breakers: dict[tuple[str, str], float] = field(default_factory=dict)

    def count(self, side: SideName, **figures: float) -> None:
        """Adds to figures of a side; started and finished follow from each other where only one is given."""
        if "started" not in figures:
            figures["started"] = figures.get("finished", 0.0) + figures.get("cancelled", 0.0)
        counts = self.sides.setdefault(side, {})
        for name, value in figures.items():
            counts[name] = counts.get(name, 0.0) + value

    def copy(self, name: CopiedName, *, pair: str = "canary", **outcomes: float) -> None:
        """Adds shadow copies by how they compared."""
        counts = self.copies.setdefault(name, {})
        for outcome, value in outcomes.items():
            counts[copied(pair, outcome)] = counts.get(copied(pair, outcome), 0.0) + value

    def page(self) -> Iterator[tuple[dict[str, str], float]]:
        """Yields the labels of every sample, with those of the scraper, and its value."""
        if self.start_time is not None:
            yield self._labels("process_start_time_seconds"), self.start_time
        for (route, fingerprint), failed_probes in self.breakers.items():
            own = {"route": route, "fingerprint": fingerprint}
            yield self._labels("relay_slo_breaker_failed_probes", **own), failed_probes
        for (route, side, fingerprint), counts in self.sides.items():
            own = {"route": route, "side": side, "fingerprint": fingerprint}
            for name in _COUNTED:
                yield self._labels(f"relay_slo_attempts_{name}_total", **own), counts.get(name, 0.0)
            ended = counts.get("finished", 0.0) + counts.get("cancelled", 0.0)
            level = counts.get("started", 0.0) - ended
            yield self._labels("relay_slo_attempts_under_way", **own), level
            for signal in SIGNALS:
                for name in ("slow", "timed"):
                    labels = self._labels(f"relay_slo_attempts_{name}_total", **own, signal=signal)
                    yield labels, counts.get(f"{name}/{signal}", 0.0)
            for kind in ("input", "output"):
                labels = self._labels("relay_slo_tokens_total", **own, kind=kind)
                yield labels, counts.get(f"{kind}_tokens", 0.0)

        yield from self._copied()

    def _copied(self) -> Iterator[tuple[dict[str, str], float]]:
        for (route, fingerprint), counts in self.copies.items():
            for pair in PAIRS:
                for outcome in OUTCOMES:
                    own = {
                        "route": route,
                        "fingerprint": fingerprint,
                        "pair": pair,
                        "outcome": outcome,
                    }
                    value = counts.get(copied(pair, outcome), 0.0)
                    yield self._labels("relay_slo_shadow_total", **own), value

    def scraped(self, at: float) -> list[Series]:
        """Returns the page as samples of one scrape."""
        pod = (self.namespace, self.pod)
        return [Series(identity_of(pod, labels), [(at, value)]) for labels, value in self.page()]

    def restart(self, start_time: float) -> None:
        """Begins another process: every counter at 0."""
        self.start_time = start_time
        self.sides = {side: {} for side in self.sides}
        self.copies = {name: {} for name in self.copies}

    def _labels(self, name: str, **own: Any) -> dict[str, str]:
        return {
            "__name__": name,
            "namespace": self.namespace,
            "pod": self.pod,
            "job": "relays-slo",
            **own,
        }


def series_of_a_route() -> list[dict[str, str]]:
    """Returns the labels of the series that a page has of one route with a canary; pod, namespace, route and fingerprints are empty."""
    counters = RelayCounters(pod="", namespace="")
    for side in ("stable", "canary"):
        counters.count(("", side, ""))
    counters.breakers["", ""] = 0
    return [labels for labels, _ in counters.page()]
