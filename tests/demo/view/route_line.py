"""One route as a line of the view: what its status says, beside what Prometheus measures now."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tests.demo.view.figures import Figures, RouteKey

_CALM: Final = frozenset({"", "Stable"})
_INSTANT: Final = re.compile(r" from (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteLine:
    """What the view shows of a route. verdict and coming are empty where there is no canary."""

    namespace: str
    name: str
    stable: str
    canary: str
    phase: str
    weight: int
    target: int
    verdict: str
    coming: str
    figures: Figures

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def is_migrating(self) -> bool:
        """Tells whether there is a canary to show."""
        return self.phase not in _CALM

    @property
    def news(self) -> tuple[str, str, int, str]:
        """Returns what is told anew where lines are only added: another phase, weight or verdict."""
        return self.title, self.phase, self.weight, self.verdict


def line_of(
    route: Mapping[str, Any], figures: Mapping[RouteKey, Figures], now: datetime
) -> RouteLine:
    """Makes the line of a RelayRoute as the API server has it."""
    metadata, spec, status = route["metadata"], route["spec"], route.get("status", {})
    in_force = status.get("inForce") or {}
    key = (metadata["namespace"], metadata["name"])
    phase = str(status.get("phase", ""))
    return RouteLine(
        namespace=metadata["namespace"],
        name=metadata["name"],
        stable=_provider(in_force.get("stable")),
        canary=_provider(in_force.get("canary")),
        phase=phase,
        weight=int(status.get("weights", {}).get("canaryPercent", 0)),
        target=int((spec.get("canary") or {}).get("percent", 0)),
        verdict="" if phase in _CALM else str(status.get("analysis", {}).get("verdict", "")),
        coming=coming(str(status.get("next", "")), now),
        figures=figures.get(key, Figures()),
    )


def coming(text: str, now: datetime) -> str:
    """Writes what comes next with the time until then in place of the moment."""

    def until(found: re.Match[str]) -> str:
        due = datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        seconds = (due - now).total_seconds()
        return f" in {seconds:.0f} s" if seconds >= 1 else " as soon as it has passed"

    return _INSTANT.sub(until, text)


def _provider(side: object) -> str:
    """Returns the provider out of provider/model."""
    return str(side or "").partition("/")[0]


def plain(line: RouteLine) -> str:
    """Writes a line of text, for where there is no terminal to draw on."""
    parts = [f"{line.title}: {line.phase}"]
    if line.is_migrating:
        parts.append(f"canary {line.weight} % of {line.target} %")
    if line.verdict:
        parts.append(line.verdict)
    if line.coming:
        parts.append(f"next: {line.coming}")
    return ", ".join(parts)
