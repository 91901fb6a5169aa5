"""How many canaries of the whole platform may be raised at once, and whose turn is next.

A canary takes a place with its first weight and gives it back when nothing more is to happen by itself: promoted, rolled
back, frozen, or settled at its destination. One that cannot rise, because its spec is not in force, or that is only
remembered from an earlier life of the operator, keeps its place or its turn for a while. Only raising waits for a place;
lowering and rolling back never do.
"""

from bisect import bisect_left
from collections import Counter
from typing import Final

from relay_operator.decisions.analysis.scrapes import RouteKey

NO_LIMIT: Final = 0
HEARD_OF_SECONDS: Final = 60.0
FIRST_IN_LINE: Final = 20
"""So many are told their place in line again when it changes; the others at their next look."""


class Budget:
    """Places of canaries, by route, and the line of those that wait. most 0 sets no limit.

    In line the tenants take turns: a tenant with a canary being raised comes after those without, and within a tenant, and
    among tenants with as many, the first comes first. A tenant is its namespace.
    """

    def __init__(self, most: int = NO_LIMIT) -> None:
        self.most = most
        self._placed: set[RouteKey] = set()
        self._waiting: dict[RouteKey, float] = {}
        self._unheard: dict[RouteKey, float] = {}
        self._is_news = False
        self._line: list[tuple[int, float, RouteKey]] | None = []
        self._places_in_line: dict[RouteKey, int] = {}

    def place(self, key: RouteKey) -> None:
        """Gives a canary that has weight a place, also beyond the limit: it had it before."""
        self._unheard.pop(key, None)
        if self.most and (key not in self._placed or key in self._waiting):
            self._waiting.pop(key, None)
            self._placed.add(key)
            self._line_changed()

    def recall(self, key: RouteKey, since: float, *, now: float) -> None:
        """Puts a canary in line as an earlier life of the operator did. One that is not heard of soon keeps nobody waiting."""
        if self.most:
            self._waiting[key] = since
            self._line = None
            self.doubt(key, now=now)

    def doubt(self, key: RouteKey, *, now: float) -> None:
        """Lets a canary that cannot rise keep its place, in force or in line, for no longer than a while."""
        if key in self._placed or key in self._waiting:
            self._unheard.setdefault(key, now + HEARD_OF_SECONDS)

    def hear(self, key: RouteKey) -> None:
        """Takes the doubt from a canary that goes on."""
        self._unheard.pop(key, None)

    def expire(self, now: float) -> None:
        """Takes back the places, in force and in line, of those that have been in doubt for a while."""
        for gone in [one for one, until in self._unheard.items() if until <= now]:
            # its tenant is broken, or its spec is refused
            self.leave(gone)

    def go_on_by_another_clock(self, ahead_seconds: float) -> None:
        """Moves all times with a clock that was set by so much."""
        for kept in (self._waiting, self._unheard):
            kept.update({key: at + ahead_seconds for key, at in kept.items()})
        self._line = None

    def wait(self, key: RouteKey, since: float) -> None:
        """Puts a canary in line; it keeps its turn by the moment (seconds since the epoch) at which it began to wait."""
        self._unheard.pop(key, None)
        if self.most and key not in self._waiting:
            self._placed.discard(key)
            self._waiting[key] = since
            self._line_changed()

    def leave(self, key: RouteKey) -> None:
        """Takes back the place, in force or in line, of a canary that is not to be raised now."""
        if key in self._placed or key in self._waiting:
            self._placed.discard(key)
            self._waiting.pop(key, None)
            self._unheard.pop(key, None)
            self._line_changed()

    def has_place(self, key: RouteKey) -> bool:
        """Tells whether nothing keeps the canary from being raised."""
        return not self.most or key in self._placed

    def why_not(self, key: RouteKey, *, since: float, now: float) -> str:
        """Says what a canary waits for that would be raised; nothing where it may be."""
        if self.has_place(key):
            return ""
        self.expire(now)
        before = self._before(key, since)
        if before < self._free:
            return ""
        others = f"{before} canaries are" if before != 1 else "1 canary is"
        return (
            f"as many canaries as the platform allows at once ({self.most}) are being raised, and {others} before "
            "it in line"
        )

    def taken_news(self) -> list[RouteKey]:
        """Returns, once, those at the front of the line whose turn or place in it may have changed."""
        is_news, self._is_news = self._is_news, False
        return [key for _, _, key in self._in_order()[:FIRST_IN_LINE]] if is_news else []

    def is_behind(self, key: RouteKey) -> bool:
        """Tells whether a canary in line has to wait for others to leave before it is its turn."""
        return key in self._waiting and self._before(key, self._waiting[key]) >= self._free

    @property
    def is_empty(self) -> bool:
        """Tells whether no canary has a place or waits for one, and nobody is to be told of it."""
        return not (self._placed or self._waiting or self._unheard or self._is_news)

    @property
    def _free(self) -> int:
        return self.most - len(self._placed)

    def _line_changed(self) -> None:
        self._line, self._is_news = None, True

    def _before(self, key: RouteKey, since: float) -> int:
        """Counts those that go before a canary which waits, or would wait, since then."""
        line = self._in_order()
        if key in self._waiting:
            return self._places_in_line[key]
        # those of its tenant that came later only move behind it
        earlier = sum(
            (at, one) < (since, key) for one, at in self._waiting.items() if one[0] == key[0]
        )
        placed = sum(namespace == key[0] for namespace, _ in self._placed)
        return bisect_left(line, (placed + earlier, since, key))

    def _in_order(self) -> list[tuple[int, float, RouteKey]]:
        """Returns the line, sorted once until it changes: all in it ask for their place again and again."""
        if self._line is None:
            taken = Counter(namespace for namespace, _ in self._placed)
            turns: list[tuple[int, float, RouteKey]] = []
            for since, key in sorted((since, key) for key, since in self._waiting.items()):
                turns.append((taken[key[0]], since, key))
                taken[key[0]] += 1
            self._line = sorted(turns)
            self._places_in_line = {key: place for place, (_, _, key) in enumerate(self._line)}
        return self._line
