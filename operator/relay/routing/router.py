"""Routes the calls of one tenant. Pure: the clock is an argument, random points come from a function that is handed in."""

from collections.abc import Callable, Mapping
from typing import Final

from relay.dialect.request_body import CallBody
from relay.dialect.session_key import session_key
from relay.routing.canary_breakers import CanaryBreakers
from relay.routing.routes import Routed, Target, creator, find_route, takes_canary
from relay.routing.sessions import session_point
from relay.routing.snapshot import RoutePlan, Snapshot

REMEMBERED_ROUTES: Final = 10_000
"""Pairs of model and task; tasks are the callers' own words, so the memory needs a bound."""


class Router:
    """Routing of one tenant with all that it remembers; outlives every document.

    draw returns a random number, 0 <= number < 1.
    """

    __slots__ = ("_draw", "_remembered", "_snapshot", "breakers")

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._snapshot: Snapshot | None = None
        self._remembered: dict[tuple[str, str | None], Routed] = {}
        self.breakers = CanaryBreakers()

    def install(self, snapshot: Snapshot) -> None:
        """Puts the snapshot in force for routes that are looked up from now on."""
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
        """Returns the targets without a canary whose breaker is open: nothing is to be waited for on its behalf.

        A canary that is the only target stays: it stores what the call continues.
        """
        first = targets[0].destination
        if (
            len(targets) == 1
            or first.label != "canary"
            or not self.breakers.blocks(plan.name, first.fingerprint, now)
        ):
            return targets
        return targets[1:]

    def pass_breaker(
        self, plan: RoutePlan, targets: tuple[Target, ...], now: float
    ) -> tuple[Target, ...]:
        """Takes the call through the breaker of the canary, its first target; returns the targets that are left to it."""
        canary = targets[0].destination
        passed = self.breakers.try_pass(plan.name, canary.fingerprint, now)
        return targets if passed or len(targets) == 1 else targets[1:]
