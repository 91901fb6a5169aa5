"""Models of providers that asked not to be called for a while. Pure: times are monotonic seconds, given by the caller."""

from collections.abc import Mapping
from typing import Final

from relay.routing.routes import Target
from relay.routing.snapshot import Upstream

REMEMBERED: Final = 1000
"""Models are the callers' own words where a catalogue is empty, so the memory needs a bound."""

_Name = tuple[str, str, str]
"""A provider, the side's fingerprint, which outlives no provider, and the model by the provider's name: quotas are per model
with most of them."""


def _name(target: Target) -> _Name:
    return target.provider, target.destination.fingerprint, target.model


class CoolDowns:
    """Who is passed over, in one process, and until when; nobody while every target asks for it."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[_Name, float] = {}

    def install(self, upstreams: Mapping[str, Upstream], former: Mapping[str, Upstream]) -> None:
        """Forgets those whose provider is another one now: a person may have raised its quota."""
        self._until = {
            name: until
            for name, until in self._until.items()
            if name[0] in upstreams
            and name[0] in former
            and upstreams[name[0]].provider == former[name[0]].provider
        }

    @property
    def any(self) -> bool:
        """True if somebody may cool down."""
        return bool(self._until)

    def note(self, target: Target, seconds: float, now: float) -> None:
        """Passes the target over for so long, at most as long as its provider's coolDown says.

        Of two times the later one counts: a provider has several quotas, and one of them may be refilled sooner.
        """
        seconds = min(seconds, target.destination.upstream.cool_down_seconds)
        if seconds <= 0:
            return
        if len(self._until) >= REMEMBERED:
            self._until = {name: until for name, until in self._until.items() if until > now}
        name = _name(target)
        if name in self._until or len(self._until) < REMEMBERED:
            self._until[name] = max(now + seconds, self._until.get(name, 0.0))

    def is_cooling(self, target: Target, now: float) -> bool:
        """Says if the target is to be passed over now."""
        until = self._until.get(_name(target))
        return until is not None and now < until

    def passable(self, targets: tuple[Target, ...], now: float) -> tuple[Target, ...]:
        """Returns the targets from the first one on that does not cool down; all of them where each does."""
        if not self._until or len(targets) == 1:
            return targets
        for index, target in enumerate(targets):
            if not self.is_cooling(target, now):
                return targets[index:] if index else targets
        return targets

    def following(self, targets: tuple[Target, ...], index: int, now: float) -> list[int]:
        """Returns which targets come after this one; all that are left where each of them cools down."""
        left = list(range(index + 1, len(targets)))
        if not self._until:
            return left
        return [place for place in left if not self.is_cooling(targets[place], now)] or left
