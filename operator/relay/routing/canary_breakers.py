"""The breakers of one tenant's canaries in one process."""

from collections.abc import Iterable

from relay.routing.breaker import BreakerState, CanaryBreaker
from relay.routing.snapshot import RoutePlan

CanaryName = tuple[str, str]
"""A canary's route and fingerprint."""


class CanaryBreakers:
    """One breaker per canary in force. Times are monotonic seconds, given by the caller."""

    __slots__ = ("_breakers", "_of_routes", "_tripped", "_weights")

    def __init__(self) -> None:
        self._breakers: dict[CanaryName, CanaryBreaker] = {}
        self._of_routes: dict[str, CanaryBreaker] = {}
        self._tripped: list[CanaryName] = []
        self._weights: dict[CanaryName, int] = {}

    def install(self, plans: Iterable[RoutePlan]) -> None:
        """Keeps a breaker for each canary of these routes; one that stood before keeps its state while its canary has weight.

        A canary that gets weight is tried anew: what failed before says nothing of it. It is so from the moment on at which its
        last weight was taken away: whoever hears of breakers would take what the former run left for news of the next one.
        """
        breakers: dict[CanaryName, CanaryBreaker] = {}
        weights: dict[CanaryName, int] = {}
        for plan in plans:
            if plan.canary is None:
                continue
            name = (plan.name, plan.canary.fingerprint)
            weights[name] = plan.canary_percent
            known = self._breakers.get(name)
            if known is None:
                known = CanaryBreaker(plan.breaker)
            elif not (plan.canary_percent and self._weights.get(name, 0)):
                known = CanaryBreaker(plan.breaker, trips=known.trips)
            known.reconfigure(plan.breaker)
            breakers[name] = known
        self._breakers, self._weights = breakers, weights
        self._of_routes = {route: breaker for (route, _), breaker in breakers.items()}

    def try_pass(self, route: str, fingerprint: str, now: float) -> bool:
        """Lets a call through to the canary, or returns False; the first one after the open time is the probe."""
        breaker = self._breakers.get((route, fingerprint))
        return breaker is None or breaker.try_pass(now)

    def blocks(self, route: str, fingerprint: str, now: float) -> bool:
        """Returns whether the canary's breaker would let no call through now."""
        breaker = self._breakers.get((route, fingerprint))
        return breaker is not None and breaker.blocks(now)

    def probing(self, route: str, fingerprint: str) -> bool:
        """Says if the call that was let through last is a probe."""
        breaker = self._breakers.get((route, fingerprint))
        return breaker is not None and breaker.state is BreakerState.half_open

    def finished(
        self, route: str, fingerprint: str, *, failed: bool, probe: bool, now: float
    ) -> bool:
        """Counts an attempt at a canary that ended; returns True if it tripped the breaker."""
        breaker = self._breakers.get((route, fingerprint))
        if breaker is None or not breaker.finished(failed=failed, probe=probe, now=now):
            return False
        self._tripped.append((route, fingerprint))
        return True

    def stable_finished(self, route: str, *, failed: bool) -> None:
        """Notes how the last attempt at the stable side of a route ended."""
        breaker = self._of_routes.get(route)
        if breaker is not None:
            breaker.stable_fails = failed

    def cancelled(self, route: str, fingerprint: str, *, probe: bool) -> None:
        """Notes an attempt that ended without a verdict; if it was the probe, the next caller probes."""
        breaker = self._breakers.get((route, fingerprint))
        if breaker is not None:
            breaker.cancelled(probe=probe)

    def follow(self, route: str, fingerprint: str, now: float) -> None:
        """Opens the breaker because another process of this pod tripped."""
        breaker = self._breakers.get((route, fingerprint))
        if breaker is not None:
            breaker.follow(now)

    def take_trips(self) -> list[CanaryName]:
        """Hands over the canaries that tripped here since the last call, for the other processes of the pod."""
        tripped, self._tripped = self._tripped, []
        return tripped

    def states(self) -> list[tuple[CanaryName, CanaryBreaker]]:
        """Returns each canary in force with its breaker."""
        return list(self._breakers.items())
