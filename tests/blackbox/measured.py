"""A route of a test's own, whose counters begin at zero, on the simulated providers or on others."""

from typing import Any

from tests.blackbox.relays import Relay
from tests.blackbox.tenant import Platform, route, side
from tests.blackbox.waiting import eventually

from relay_contract.document import Side

COUNTS = ("started", "finished", "cancelled", "failed", "truncated", "throttled", "refused")


class Measured:
    """A route of the test's own, so that its series begin at zero. providers replace the simulated ones."""

    def __init__(
        self, relay: Relay, platform: Platform, *, providers: list[Any] | None = None, **fields: Any
    ) -> None:
        self.relay = relay
        self.stable: Side = side("stable")
        self.canary: Side = side("canary")
        fields.setdefault("canary", self.canary)
        self.route = route(self.stable, **fields)
        known = {} if providers is None else {"providers": providers}
        relay.push(platform.document(routes=[self.route], **known))

    def slo(self, what: str, of: str = "stable", **labels: str) -> float:
        """Returns an SLO counter of a side."""
        return self.relay.slo().total(f"relay_slo_{what}", **self._labels(of), **labels)

    def _labels(self, of: str) -> dict[str, str]:
        fingerprint = (self.stable if of == "stable" else self.canary).fingerprint
        return {"route": self.route.name, "side": of, "fingerprint": fingerprint}

    def settled(self, attempts: int, of: str = "stable") -> None:
        """Waits until that many attempts have finished."""
        eventually(
            lambda: self.slo("attempts_finished_total", of),
            lambda seen: seen == attempts,
            what=f"{attempts} finished attempts",
        )

    def counts(self, of: str = "stable") -> dict[str, float]:
        """Returns the counts of attempts that are not zero, and how many were started."""
        slo, labels = self.relay.slo(), self._labels(of)
        found = {name: slo.total(f"relay_slo_attempts_{name}_total", **labels) for name in COUNTS}
        return {name: count for name, count in found.items() if count or name == "started"}

    def outcomes(self) -> dict[str, float]:
        """Returns how the attempts of the route ended."""
        name = "relay_upstream_attempts_total"
        metrics = self.relay.metrics()
        return {
            labels["outcome"]: metrics.total(name, **labels)
            for labels in metrics.series(name)
            if labels["route"] == self.route.name
        }

    def breaker_open(self) -> float:
        """Returns the gauge of the canary's breaker."""
        labels = {"route": self.route.name, "fingerprint": self.canary.fingerprint}
        return self.relay.slo().total("relay_slo_breaker_open", **labels)


def exactly(**counts: int) -> dict[str, float]:
    """Returns what `Measured.counts` gives when nothing else was counted."""
    return {"started": 0.0, **{name: float(count) for name, count in counts.items() if count}}
