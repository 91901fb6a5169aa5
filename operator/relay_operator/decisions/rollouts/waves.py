"""Waves: a change that many objects need reaches a few of them at a time, and stops at the first that does not take it.

Pure, and without memory: from one judgement per object follows which of them may begin now. Whoever asks again, after a
restart as well, gets the same answer for the same judgements. What the objects and the change are is the caller's.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Judgement(Enum):
    """Names how an object stands to the change.

    DONE needs nothing of this wave: it has the change and works, or is to have none.
    WAITING does not have the change, and works.
    MOVING has the change and does not work yet.
    STUCK has the change and will not work by itself.
    OVERTAKEN got an earlier change and does not work yet; the present one is to replace it.
    AILING does not have the change and did not work before, which is no fault of any change.
    """

    DONE = "done"
    WAITING = "waiting"
    MOVING = "moving"
    STUCK = "stuck"
    OVERTAKEN = "overtaken"
    AILING = "ailing"


@dataclass(frozen=True, slots=True)
class Member:
    """An object of the wave. Names are unique; they also give the order."""

    name: str
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Tells who may begin now, in order; who has begun and does not work yet; and by whom the wave is stopped."""

    begin: tuple[str, ...] = ()
    in_flight: frozenset[str] = frozenset()
    stopped_by: tuple[str, ...] = ()


def next_of(members: Iterable[Member], *, most: int) -> Wave:
    """Decides who begins, so that no more than `most` that worked before are in flight at any time.

    Objects that an earlier change of this kind has left not working come first: they keep their places, and prove the
    new change or not. One that did not work for another reason comes last, takes no place, and proves nothing.
    """
    if most < 1:
        raise ValueError("a wave that lets nobody begin would never end")
    groups: dict[Judgement, list[str]] = {one: [] for one in Judgement}
    for member in members:
        groups[member.judgement].append(member.name)
    stuck = tuple(sorted(groups[Judgement.STUCK]))
    overtaken = tuple(sorted(groups[Judgement.OVERTAKEN]))
    in_flight = frozenset((*groups[Judgement.MOVING], *stuck, *overtaken))
    begin = overtaken
    if not stuck:
        begin += _further(groups, most - len(in_flight), is_idle=not in_flight, most=most)
    return Wave(begin=begin, in_flight=in_flight, stopped_by=stuck)


def _further(
    groups: dict[Judgement, list[str]], places: int, *, is_idle: bool, most: int
) -> tuple[str, ...]:
    waiting = groups[Judgement.WAITING]
    if waiting:
        return tuple(heapq.nsmallest(places, waiting)) if places > 0 else ()
    # proven by everyone who can prove it
    return tuple(heapq.nsmallest(most, groups[Judgement.AILING])) if is_idle else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Holds what is seen of one object. works tells whether it does what it should with what it has; has_change whether that
    is the present change; by_wave whether it has what it has from a wave; is_stuck whether it will not work by itself.
    """

    has_change: bool
    works: bool
    by_wave: bool
    is_stuck: bool = False


def judge(facts: Facts) -> Judgement:
    """Judges an object by what is seen of it now."""
    match (facts.has_change, facts.works, facts.by_wave):
        case (True, True, _) | (True, _, False):
            return Judgement.DONE
        case (True, False, True):
            return Judgement.STUCK if facts.is_stuck else Judgement.MOVING
        case (False, True, _):
            return Judgement.WAITING
        case (False, False, by_wave):
            return Judgement.OVERTAKEN if by_wave else Judgement.AILING
    raise AssertionError(facts)
