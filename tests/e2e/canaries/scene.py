"""One route with its own canary provider and its own traffic, as a story acts on it and looks at it."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.canaries import objects
from tests.e2e.canaries.playing import Until
from tests.e2e.canaries.timeline import Move, Seen
from tests.e2e.canaries.world import World

SECONDS = 90.0
"""For what takes some seconds on a quiet machine."""
STABLE = "steady"
"""The provider that all stories share as their stable side, and that none spoils."""


@dataclass(slots=True)
class Scene:
    """The route is called like the story, and so are its model and its canary's provider."""

    world: World
    name: str
    tenant: str = "plays"
    figures: list[str] = field(default_factory=list)
    lost_before: int = 0

    @property
    def namespace(self) -> str:
        return f"relay-{self.tenant}"

    # -- acting -------------------------------------------------------------------------------------------------------

    def spec(self, *, stable: str = STABLE, **more: Any) -> dict[str, Any]:
        """Returns a spec that sends the story's calls to stable; more is laid over it."""
        return {"match": {"models": [self.name]}, "stable": {"provider": stable}} | more

    def canary(self, *, percent: int = 100, step: int = 50, every: str = "1h", **more: Any) -> Any:
        """Returns the spec of the story's own canary, which stays at its first step unless told otherwise."""
        progression = {"stepPercent": step, "every": every, "minRequests": 10}
        return {"provider": self.name, "percent": percent, "progression": progression} | more

    def apply(self, spec: dict[str, Any], *, name: str = "") -> None:
        """Writes the route."""
        self.world.apply(objects.route(name or self.name, self.namespace, spec))

    def patch(self, **spec: Any) -> None:
        """Changes fields of the spec; None removes one."""
        patch = json.dumps({"spec": spec})
        self._kubectl("patch", "relayroute", self.name, "--type=merge", "-p", patch)

    def annotate(self, name: str, value: str) -> None:
        """Sets an annotation, as a person does who has read the Ready condition."""
        written = f"relay-operator.dev/{name}={value}"
        self._kubectl("annotate", "--overwrite", "relayroute", self.name, written)

    def behave(self, **behaviour: Any) -> None:
        """Changes how the canary's provider answers."""
        self.world.fleet.behave(self.name, **behaviour)

    def heal(self) -> None:
        """Makes the canary's provider as it was at first."""
        self.world.fleet.heal(self.name)

    def _kubectl(self, *arguments: str) -> str:
        return self.world.cluster.kubectl(*arguments, "-n", self.namespace)

    # -- looking ------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.world.timeline.route(self.namespace, self.name).get(
            "status", {}
        )
        return found

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))

    @property
    def weight(self) -> int:
        return int(self.status.get("weights", {}).get("canaryPercent", 0))

    @property
    def verdict(self) -> str:
        return str(self.status.get("analysis", {}).get("verdict", ""))

    @property
    def verdict_reason(self) -> str:
        return str(self.status.get("analysis", {}).get("reason", ""))

    @property
    def cause(self) -> str:
        return str(self.status.get("cause", ""))

    @property
    def history(self) -> list[dict[str, Any]]:
        return list(self.status.get("history", []))

    @property
    def run_token(self) -> str:
        return f"{self.status['canaryFingerprint']}/{self.status['run']}"

    def condition(self, kind: str) -> dict[str, Any]:
        """Returns a condition; empty while there is none."""
        for one in self.status.get("conditions", []):
            if one["type"] == kind:
                found: dict[str, Any] = one
                return found
        return {}

    def is_looked_at(self) -> bool:
        """Tells whether the status is about the spec as it is now."""
        route = self.world.timeline.route(self.namespace, self.name)
        return (
            bool(route) and self.status.get("observedGeneration") == route["metadata"]["generation"]
        )

    def seen(self, *, since: float) -> list[Seen]:
        """Returns the phases and weights that the route went through since then, the one of then first."""
        everything = self.world.timeline.seen(self.namespace, self.name)
        before = [one for one in everything if one.at < since]
        return [*before[-1:], *(one for one in everything if one.at >= since)]

    def moves(self, *, since: float) -> list[Move]:
        """Returns the decisions that the route has told of since then."""
        return self.world.timeline.moves(self.namespace, self.name, since=since)

    def event_reasons(self) -> set[str]:
        """Returns the reasons of the route's Events."""
        events = json.loads(self._kubectl("get", "events.events.k8s.io", "-o", "json"))["items"]
        return {one["reason"] for one in events if one["regarding"]["name"] == self.name}

    def calls(self) -> dict[str, Any]:
        """Returns the counts of the story's application."""
        return self.world.crowd.totals()[self.name]

    def lost(self) -> int:
        """Returns how many calls were answered with an error or not at all since forget_losses()."""
        calls = self.calls()
        return int(calls["failed"] + calls["dropped"]) - self.lost_before

    def forget_losses(self) -> None:
        """Begins to count lost calls: the application called before the route was there."""
        self.lost_before = 0
        self.lost_before = self.lost()

    def served(self, provider: str = "") -> int:
        """Returns how many calls a provider got, the canary's if none is named."""
        return self.world.fleet.requests(provider or self.name)

    def told(self) -> str:
        """Returns what the status and the application say, for messages."""
        ready = self.condition("Ready")
        analysis = self.status.get("analysis", {})
        return (
            f"{self.phase} {self.weight} %, {analysis.get('verdict')}/{analysis.get('reason')}: "
            f"{analysis.get('message')}; Ready {ready.get('status')}/{ready.get('reason')}: {ready.get('message')}; "
            f"calls: {self.world.crowd.totals().get(self.name)}"
        )

    # -- waiting ------------------------------------------------------------------------------------------------------

    def until(self, what: str, good: Any, *, seconds: float = SECONDS) -> Until:
        """Waits for something that the story looks at itself."""
        return Until(what, good, seconds, self.told)

    def reaches(self, phase: str, *, seconds: float = SECONDS) -> Until:
        """Waits for a phase, in a status that knows the present spec."""
        return self.until(
            f"phase {phase}", lambda: self.is_looked_at() and self.phase == phase, seconds=seconds
        )

    def has_reached(self, phase: str, *, seconds: float = SECONDS) -> Until:
        """Waits for a phase that may be over when the story is looked at next: dozens are looked at in turn."""
        return self.until(
            f"phase {phase} at any time",
            lambda: any(one.phase == phase for one in self.seen(since=0.0)),
            seconds=seconds,
        )

    def weighs(self, weight: int, *, seconds: float = SECONDS) -> Until:
        """Waits for at least this weight."""
        return self.until(f"{weight} %", lambda: self.weight >= weight, seconds=seconds)

    def is_healthy(self, *, seconds: float = SECONDS) -> Until:
        """Waits until the canary has traffic and is found healthy."""
        return self.until(
            "a healthy canary with traffic",
            lambda: self.is_looked_at() and self.weight > 0 and self.verdict == "Healthy",
            seconds=seconds,
        )

    def passes(self, seconds: float) -> Until:
        """Waits for some time."""
        due = time.monotonic() + seconds
        return self.until(f"{seconds:g} s", lambda: time.monotonic() >= due, seconds=seconds + 60)
