"""Speaks with the control ports of the simulators, each through a forwarded port."""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

SECONDS = 60.0
"""A machine that has much else to do answers late, and a question that fails ends all stories."""


def _ask(port: int, method: str, path: str, body: str = "") -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", method=method, data=body.encode() or None
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The simulated providers."""

    port: int

    def behave(self, name: str, **behaviour: Any) -> None:
        """Changes how a provider answers from now on."""
        _ask(self.port, "PUT", f"/{name}/behaviour", json.dumps(behaviour))

    def heal(self, name: str) -> None:
        """Makes a provider as it was at first, and its counts zero."""
        _ask(self.port, "POST", f"/{name}/reset")

    def requests(self, name: str) -> int:
        """Returns how many calls a provider got; lists of models, by which relays probe it, are none."""
        by_endpoint = self.stats(name)["by_endpoint"]
        return sum(count for endpoint, count in by_endpoint.items() if endpoint)

    def stats(self, name: str) -> dict[str, Any]:
        """Returns a provider's counts since it was healed last."""
        found: dict[str, Any] = _ask(self.port, "GET", f"/{name}/stats")
        return found


@dataclass(frozen=True, slots=True)
class Crowd:
    """The tenants' applications."""

    port: int

    def set_lanes(self, lanes: dict[str, dict[str, Any]]) -> None:
        """Says who calls from now on."""
        _ask(self.port, "PUT", "/lanes", json.dumps(lanes))

    def totals(self) -> dict[str, dict[str, Any]]:
        """Returns the counts of each lane."""
        found: dict[str, dict[str, Any]] = _ask(self.port, "GET", "/totals")["lanes"]
        return found


@dataclass(frozen=True, slots=True)
class SpoiltPrometheus:
    """What stands between the operator and Prometheus."""

    port: int

    def fail(self, fault: str) -> None:
        """Puts a fault in force; `none` ends it."""
        _ask(self.port, "PUT", "/fault", fault)
