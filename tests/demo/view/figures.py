"""Figures of both sides of every route, asked of Prometheus in one question."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

RouteKey = tuple[str, str]
"""Namespace and name of a route."""

_BY_SIDE: Final = "namespace, route, side"
_COUNTED: Final = '{job="relays-slo"}[10s]'


def _counted(name: str, by: str = _BY_SIDE) -> str:
    return f"sum by ({by}) (rate(relay_slo_attempts_{name}_total{_COUNTED}))"


def _told(name: str) -> str:
    labels = "namespace, route, metric, test"
    return f'max by ({labels}) (relay_operator_route_{name}{{job="relay-operator"}})'


_BUCKETS: Final = (
    f'sum by ({_BY_SIDE}, le) (rate(relay_time_to_first_token_seconds_bucket{{job="relays"}}[20s]))'
)
_BY_SIGNAL: Final = f"{_BY_SIDE}, signal"
_ASKED: Final = {
    "errors": f"{_counted('failed')} / {_counted('finished')}",
    "slow": f"max by ({_BY_SIDE}) ({_counted('slow', _BY_SIGNAL)} / {_counted('timed', _BY_SIGNAL)})",
    "first_token": f"histogram_quantile(0.9, {_BUCKETS})",
    "evidence": _told("evidence_nats"),
    "needed": _told("evidence_needed_nats"),
    "allowed": _told("allowed_ratio"),
}

QUESTION: Final = " or ".join(
    f'label_replace({expr}, "figure", "{figure}", "", "")' for figure, expr in _ASKED.items()
)
"""One expression; the label figure says which of them a series is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Shares of a side's calls that fail and that are too slow, and the p90 of its time to the first token; None if unknown."""

    errors: float | None = None
    slow: float | None = None
    first_token_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks against the canary by one test, and from where on that convicts."""

    metric: str
    test: str
    found: float
    needed: float
    allowed: float

    @property
    def part(self) -> float:
        """Returns how far it is on the way to a conviction, 1 or more for one."""
        return self.found / self.needed if self.needed else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What Prometheus knows of one route."""

    stable: Side = field(default_factory=Side)
    canary: Side = field(default_factory=Side)
    evidence: Sequence[Evidence] = ()

    @property
    def foremost(self) -> Evidence | None:
        """Returns the test that is nearest to a conviction."""
        return max(self.evidence, key=lambda one: one.part, default=None)

    def allowed(self, *metrics: str) -> float | None:
        """Returns the limit itself of the first of these metrics that has one."""
        found = (one for name in metrics for one in self.evidence if one.metric == name)
        return next((one.allowed for one in found if one.test == "absolute"), None)


def read(answer: Mapping[str, Any]) -> dict[RouteKey, Figures]:
    """Reads the answer to QUESTION, as Prometheus' query API gives it; figures that are no numbers are left out."""
    values: dict[RouteKey, dict[tuple[str, ...], float]] = {}
    for sample in answer.get("data", {}).get("result", ()):
        labels, value = sample["metric"], float(sample["value"][1])
        if value != value:
            # a quotient without calls
            continue
        key = (labels.get("namespace", ""), labels.get("route", ""))
        name = (labels.get("figure", ""), labels.get("side", ""), *_test(labels))
        values.setdefault(key, {})[name] = value
    return {
        key: Figures(
            stable=_side(found, "stable"),
            canary=_side(found, "canary"),
            evidence=tuple(_evidence(found)),
        )
        for key, found in values.items()
    }


def _test(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get("metric", ""), labels.get("test", "")


def _side(found: Mapping[tuple[str, ...], float], side: str) -> Side:
    def of(figure: str) -> float | None:
        return found.get((figure, side, "", ""))

    return Side(errors=of("errors"), slow=of("slow"), first_token_seconds=of("first_token"))


def _evidence(found: Mapping[tuple[str, ...], float]) -> Iterator[Evidence]:
    for (figure, side, metric, test), value in sorted(found.items()):
        if figure == "evidence":
            yield Evidence(
                metric=metric,
                test=test,
                found=value,
                needed=found.get(("needed", side, metric, test), 0.0),
                allowed=found.get(("allowed", side, metric, test), 0.0),
            )
