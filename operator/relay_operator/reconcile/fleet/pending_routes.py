"""Routes that wait for something which others bring: a Provider to be read, its key to reach the relay pods.

Whoever brings it queues them. They look again all the same, the more seldom the longer they have waited: what is missing for
long, for a thousand routes at once, must not be asked for by all of them four times a second.
"""

from typing import Final

_SHORTEST_SECONDS: Final = 0.25
_LONGEST_SECONDS: Final = 30.0
_SHARE: Final = 0.1
"""Of the time that a route has waited: it is late by no more than that."""

Route = tuple[str, str]


class PendingRoutes:
    def __init__(self) -> None:
        self._since: dict[Route, tuple[str, float]] = {}

    def pause_seconds(self, route: Route, what: str, *, now: float) -> float:
        """Returns when a route is to look again for what it waits for; now is seconds of a clock that nobody sets."""
        known = self._since.get(route)
        if known is None or known[0] != what:
            self._since[route] = what, now
            return _SHORTEST_SECONDS
        return min(max(_SHORTEST_SECONDS, _SHARE * (now - known[1])), _LONGEST_SECONDS)

    def forget(self, route: Route) -> None:
        """Drops what is known of a route that waits no more, or is gone."""
        self._since.pop(route, None)
