"""Routes the calls of one tenant. Pure: the clock is an argument, random points come from a function that is handed in."""

from collections.abc import Callable, Mapping
from typing import Final

from relay.dialect.request_body import CallBody
from relay.dialect.session_key import session_key
from relay.routing.canary_breakers import CanaryBreakers
from relay.routing.cool_downs import CoolDowns
from relay.routing.routes import Routed, Target, creator, find_route, takes_canary
from relay.routing.sessions import session_point
from relay.routing.snapshot import RoutePlan, Snapshot

REMEMBERED_ROUTES: Final = 10_000
"""Pairs of model and task; tasks are the callers' own words, so the memory needs a bound."""


class Router:
    """Routing of one tenant with all that it remembers; outlives every document.

    draw returns a random number, 0 <= number < 1.
    """

    __slots__ = ("_draw", "_remembered", "_snapshot", "breakers", "cool_downs")

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._snapshot: Snapshot | None = None
        self._remembered: dict[tuple[str, str | None], Routed] = {}
        self.breakers = CanaryBreakers()
        self.cool_downs = CoolDowns()

    def install(self, snapshot: Snapshot) -> None:
        """Puts the snapshot in force for routes that are looked up from now on."""
        if self._snapshot is not None:
            self.cool_downs.install(snapshot.upstreams, self._snapshot.upstreams)
        self._snapshot = snapshot
        self._remembered = {}
        self.breakers.install(snapshot.plans)

    def routed(self, snapshot: Snapshot, model: str, task: str | None) -> Routed | None:
        """Finds the model's route under the snapshot; remembers it for the one in force."""
        if snapshot is not self._snapshot or model not in snapshot.known_models:
            return find_route(snapshot, model, task)
        name = (model, task)
        routed = self._remembered.get(name)
        if routed is None:
            routed = find_route(snapshot, model, task)
            if routed is not None and len(self._remembered) < REMEMBERED_ROUTES:
                self._remembered[name] = routed
        return routed

    def targets(
        self, routed: Routed, body: CallBody, fields: Mapping[bytes, bytes]
    ) -> tuple[Target, ...]:
        """Returns the targets that the call's session tries, in order; fields are the header fields of the call.

        A call that continues a stored response has one: nobody else could continue it.
        """
        if body.continues_response:
            previous = body.previous_response_id()
            if previous is not None:
                return (creator(routed, previous),)
        plan = routed.plan
        if body.names_conversation and plan.canary_percent < 100:
            # no call through a relay makes one: it was stored by the stable of a time without a canary, or by no relay
            return routed.stable[:1]
        if plan.canary is None or plan.canary_percent == 0 or not routed.canary:
            return routed.stable
        if plan.canary_percent == 100:
            return routed.canary
        key = session_key(body, fields.get(b"x-session-id"))
        point = 100 * self._draw() if key is None else session_point(key, seed=plan.session_seed)
        return routed.canary if takes_canary(routed, point=point) else routed.stable

    def open_targets(
        self, plan: RoutePlan, targets: tuple[Target, ...], now: float
    ) -> tuple[Target, ...]:
        """Returns the targets without a canary whose breaker is open, and from the first one on that does not cool down:
        nothing is to be waited for on their behalf.

        The only target stays: it stores what the call continues, or nobody else serves it.
        """
        first = targets[0].destination
        if (
            len(targets) == 1
            or first.label != "canary"
            or not self.breakers.blocks(plan.name, first.fingerprint, now)
        ):
            return self.cool_downs.passable(targets, now)
        return self.cool_downs.passable(targets[1:], now)

    def pass_breaker(
        self, plan: RoutePlan, targets: tuple[Target, ...], now: float
    ) -> tuple[Target, ...]:
        """Takes a call that is about to be sent past who cools down, and through the breaker of a canary that comes first.

        Returns the targets that are left to it.
        """
        targets = self.cool_downs.passable(targets, now)
        first = targets[0].destination
        if first.label != "canary" or len(targets) == 1:
            return targets
        if self.breakers.try_pass(plan.name, first.fingerprint, now):
            return targets
        return self.cool_downs.passable(targets[1:], now)

    def note_unsent(self, plan: RoutePlan, target: Target) -> None:
        """Notes that a call which was let through to this target is not sent; where it was to be the probe, the next caller probes."""
        side = target.destination
        if side.label == "canary":
            probe = self.breakers.probing(plan.name, side.fingerprint)
            self.breakers.cancelled(plan.name, side.fingerprint, probe=probe)
