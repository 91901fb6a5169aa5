"""Keys of a tenant as its Secret holds them -> as it is to hold them now, and when to look again. Pure.

A rotation takes two looks: a key that is due is named first, and replaced once every relay pod knows the one that comes
after it, so that nobody can read a key that is refused. The whole change is one write of the Secret.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from relay_operator.api.tenant import KeyRotation
from relay_operator.decisions.api_keys.requests import PREVIOUS, Requests, token
from relay_operator.decisions.api_keys.stamps import Replaced, Stamp, mark_of
from relay_operator.names import Reason

_CLOCK_ERROR_SECONDS: Final = 60.0
"""Two machines may differ by as much; a stamp that is later is of a clock that was wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The Secret of a tenant's keys: usable entries, why others are none, stamps, and when it was made (seconds).

    One that is_immutable takes no new keys.
    """

    entries: Mapping[str, str] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    made_at: float
    is_there: bool = True
    is_immutable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The keys that the operator makes, by name, and how they are rotated."""

    names: tuple[str, ...]
    rotation: KeyRotation | None = None
    requests: Requests = field(default_factory=Requests)

    @property
    def every_seconds(self) -> float:
        """Returns how old a key becomes; infinite where nothing rotates it."""
        every = self.rotation.every if self.rotation is not None else None
        return math.inf if every is None else every

    @property
    def overlap_seconds(self) -> float:
        """Returns how long a key is accepted after it was replaced from now on."""
        return (self.rotation or KeyRotation()).overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """A key as status tells of it; rotates_at is infinite without a rotation, previous_until 0 without a key before it.

    previous_since is since when that one had been the current one; 0 where nobody knows. replaced_at is since when it is not.
    is_due tells that it is to be replaced as soon as nothing stands in the way.
    """

    name: str
    since: float
    rotates_at: float = math.inf
    previous_until: float = 0.0
    previous_since: float = 0.0
    replaced_at: float = 0.0
    is_due: bool = False

    @property
    def waits_for_overlap(self) -> bool:
        """True while a rotation is due that the key before the current one holds up."""
        return self.is_due and self.previous_until > 0.0

    @property
    def previous_tokens(self) -> frozenset[str]:
        """Returns what names the key before the current one: also what named it while it was the current one."""
        found = {token(self.name + PREVIOUS, self.since)}
        if self.previous_since > 0.0:
            found.add(token(self.name, self.previous_since))
        return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something that was done to a key; identity tells it from every other, also if it is done again after a crash."""

    reason: Reason
    message: str
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The entries and stamps that the Secret is to have. due are the names to replace once pods know their next keys."""

    entries: Mapping[str, str]
    stamps: Mapping[str, Stamp]
    states: tuple[KeyState, ...]
    acts: tuple[Act, ...]

    @property
    def due(self) -> tuple[str, ...]:
        """Names of the keys that can be replaced as soon as every pod knows the next one."""
        return tuple(one.name for one in self.states if one.is_due and not one.waits_for_overlap)

    @property
    def next_at(self) -> float:
        """Returns when something changes by itself, in seconds since the epoch; infinite if nothing does."""
        times = [one.previous_until or math.inf for one in self.states]
        times += [one.rotates_at for one in self.states if not one.is_due]
        return min(times, default=math.inf)


def settle(
    found: Found,
    wanted: Wanted,
    *,
    prepared: Mapping[str, str],
    now: float,
    make: Callable[[], str],
) -> Settled:
    """Decides about every key. prepared are next keys, by name, that every relay pod knows."""
    ledgers = [
        _Ledger(found, wanted, name, now=now, make=make).settled(prepared.get(name))
        for name in wanted.names
    ]
    return Settled(
        entries={name: key for ledger in ledgers for name, key in ledger.entries.items()},
        stamps={ledger.name: ledger.stamp for ledger in ledgers if ledger.stamp is not None},
        states=tuple(ledger.state for ledger in ledgers),
        acts=tuple(act for ledger in ledgers for act in ledger.acts),
    )


class _Ledger:
    """One name: its current key, the one before it, and what is done to them at this look."""

    def __init__(
        self, found: Found, wanted: Wanted, name: str, *, now: float, make: Callable[[], str]
    ) -> None:
        self.name = name
        self.acts: list[Act] = []
        self._found, self._wanted, self._now, self._make = found, wanted, float(int(now)), make
        self._key = found.entries.get(name, "")
        self._before = found.entries.get(name + PREVIOUS, "")
        self.stamp = found.stamps.get(name)
        self._is_due = False

    def settled(self, next_key: str | None) -> "_Ledger":
        self._know_the_key()
        self._know_the_one_before()
        self._revoke()
        self._rotate(next_key)
        return self

    @property
    def entries(self) -> dict[str, str]:
        before = {self.name + PREVIOUS: self._before} if self._before else {}
        return {self.name: self._key} | before

    @property
    def state(self) -> KeyState:
        replaced = self.stamp.previous if self.stamp is not None else None
        return KeyState(
            name=self.name,
            since=self._since,
            rotates_at=self._since + self._wanted.every_seconds,
            previous_until=self._until if self._before else 0.0,
            previous_since=replaced.current_since if self._before and replaced else 0.0,
            replaced_at=replaced.since if self._before and replaced else 0.0,
            is_due=self._is_due,
        )

    @property
    def _since(self) -> float:
        """Since when the key is current: at the earliest since its Secret exists, where nobody stamped it."""
        if self.stamp is not None:
            return self.stamp.since
        return min(self._found.made_at, self._now)

    @property
    def _until(self) -> float:
        replaced = self.stamp.previous if self.stamp is not None else None
        if replaced is None:
            return 0.0
        # whoever changes the overlap means the one that is under way too
        is_asked = self._wanted.rotation is not None
        return replaced.since + (
            self._wanted.overlap_seconds if is_asked else replaced.overlap_seconds
        )

    @property
    def _since_seen(self) -> float:
        """Since when the Secret is what it is, where no stamp tells: now, which is stamped.

        Nothing is stamped in an immutable one, whose entries are those that it was made with.
        """
        return min(self._found.made_at, self._now) if self._found.is_immutable else self._now

    def _know_the_key(self) -> None:
        """Makes a key where there is none, and stamps one that somebody else put there."""
        if not self._key:
            was_there = "was taken out" if self.stamp is not None else ""
            self._make_new(self._found.unusable.get(self.name, was_there))
        elif self.stamp is not None and self.stamp.mark != mark_of(self._key):
            self.stamp = replace(self.stamp, mark=mark_of(self._key), since=self._since_seen)
        elif self.stamp is not None and self._is_of_the_future(self.stamp.since):
            self.stamp = replace(self.stamp, since=self._since_seen)

    def _make_new(self, why: str) -> None:
        since = self._since_now()
        self._key = self._make()
        previous = self.stamp.previous if self.stamp is not None else None
        self.stamp = Stamp(mark_of(self._key), since, previous)
        if why:
            self._tell(
                Reason.KEY_REPLACED,
                f"entry {self.name} of Secret relay-api-keys {why}: a new API key was made in its place",
                token(self.name, self._now),
            )

    def _know_the_one_before(self) -> None:
        """Takes the end of the key before the current one from its stamp; one without gets the whole overlap from now."""
        replaced = self.stamp.previous if self.stamp is not None else None
        if self._before and self._before != self._key:
            mark = mark_of(self._before)
            if replaced is None or replaced.mark != mark or self._is_of_the_future(replaced.since):
                known = self.stamp or Stamp(mark_of(self._key), self._since)
                overlap, current_since = self._wanted.overlap_seconds, self._current_since(mark)
                new = Replaced(mark, self._since_seen, overlap, current_since)
                self.stamp = replace(known, previous=new)
            if self._now < self._until:
                return
            self._tell(
                Reason.KEY_OVERLAP_ENDED,
                f"the API key before the current {self.name} is refused from now on: its overlap is over",
                token(self.name + PREVIOUS, self._since),
            )
        self._forget_the_one_before()

    def _current_since(self, mark: str) -> float:
        """Returns since when the key with that mark was current before this look; 0 where no stamp tells."""
        stamp = self._found.stamps.get(self.name)
        if stamp is None:
            return 0.0
        if stamp.previous is not None and stamp.previous.mark == mark:
            return stamp.previous.current_since
        return stamp.since if stamp.mark == mark else 0.0

    def _forget_the_one_before(self) -> None:
        self._before = ""
        if self.stamp is not None and self.stamp.previous is not None:
            self.stamp = replace(self.stamp, previous=None)

    def _revoke(self) -> None:
        revoke = self._wanted.requests.revoke
        before = token(self.name + PREVIOUS, self._since)
        if self._before and not revoke.isdisjoint(self.state.previous_tokens):
            message = f"the API key before the current {self.name} was revoked on request"
            self._tell(Reason.KEY_REVOKED, message, before)
            self._forget_the_one_before()
        current = token(self.name, self._since)
        if current in revoke:
            message = f"API key {self.name} was revoked on request, and a new one was made"
            self._tell(Reason.KEY_REVOKED, message, current)
            self._make_new("")

    def _rotate(self, next_key: str | None) -> None:
        asked = token(self.name, self._since) in self._wanted.requests.rotate
        self._is_due = asked or self._now >= self._since + self._wanted.every_seconds
        if not self._is_due or self._before or next_key is None:
            return
        overlap = self._wanted.overlap_seconds
        self._tell(
            Reason.KEY_ROTATED,
            f"API key {self.name} was rotated{' on request' if asked else ''}: Secret relay-api-keys has the new one, the "
            f"one before it is accepted for {overlap:.0f} s more",
            token(self.name, self._since),
        )
        since, current_since = self._since_now(), self._since
        self._before, self._key = self._key, next_key
        replaced = Replaced(mark_of(self._before), self._now, overlap, current_since)
        self.stamp = Stamp(mark_of(next_key), since, replaced)
        self._is_due = False

    def _since_now(self) -> float:
        """Returns now as the time of a new key, never that of the one that it replaces: tokens name keys by it."""
        if not self._key or self._since > self._now + _CLOCK_ERROR_SECONDS:
            return self._now
        return max(self._now, self._since + 1.0)

    def _is_of_the_future(self, since: float) -> bool:
        return since > self._now + _CLOCK_ERROR_SECONDS

    def _tell(self, reason: Reason, message: str, identity: str) -> None:
        self.acts.append(Act(reason=reason, message=message, identity=f"{reason} {identity}"))
