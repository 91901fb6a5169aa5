"""Waves: few at a time, stopped by the first that does not take the change, and the same whoever asks again."""

from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.rollouts import waves
from relay_operator.decisions.rollouts.waves import Facts, Judgement, Member, Wave

JUDGEMENTS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.sampled_from(Judgement), max_size=40
)
MOST = st.integers(min_value=1, max_value=6)


def members(judged: dict[str, Judgement]) -> list[Member]:
    return [Member(name, judgement) for name, judgement in judged.items()]


def named(judged: dict[str, Judgement], *wanted: Judgement) -> set[str]:
    return {name for name, judgement in judged.items() if judgement in wanted}


def test_the_first_begin_in_the_order_of_their_names() -> None:
    waiting = members(dict.fromkeys(("d", "b", "a", "c"), Judgement.WAITING))
    assert waves.next_of(waiting, most=2) == Wave(begin=("a", "b"))


def test_who_is_under_way_keeps_a_place() -> None:
    judged = {"a": Judgement.MOVING, "b": Judgement.WAITING, "c": Judgement.WAITING}
    assert waves.next_of(members(judged), most=2).begin == ("b",)
    assert waves.next_of(members(judged), most=1).begin == ()


def test_one_that_is_stuck_stops_the_wave_and_says_so() -> None:
    judged = {"a": Judgement.STUCK, "b": Judgement.WAITING, "c": Judgement.AILING}
    wave = waves.next_of(members(judged), most=5)
    assert wave.begin == ()
    assert wave.stopped_by == ("a",)


def test_a_newer_change_goes_first_to_those_that_the_last_one_left_behind() -> None:
    judged = {"a": Judgement.WAITING, "y": Judgement.OVERTAKEN, "z": Judgement.OVERTAKEN}
    wave = waves.next_of(members(judged), most=2)
    assert wave.begin == ("y", "z")
    assert wave.in_flight == {"y", "z"}


def test_who_did_not_work_before_comes_last_and_holds_up_nobody() -> None:
    judged = {"a": Judgement.AILING, "b": Judgement.WAITING, "c": Judgement.WAITING}
    assert waves.next_of(members(judged), most=1).begin == ("b",)
    assert (
        waves.next_of(members(judged | {"b": Judgement.DONE, "c": Judgement.MOVING}), most=1).begin
        == ()
    )
    assert waves.next_of(
        members(judged | {"b": Judgement.DONE, "c": Judgement.DONE}), most=1
    ).begin == ("a",)


def test_a_wave_of_nobody_at_a_time_is_refused() -> None:
    with pytest.raises(ValueError, match="never end"):
        waves.next_of([], most=0)


@given(JUDGEMENTS, MOST, st.randoms(use_true_random=False))
def test_the_answer_depends_on_the_judgements_alone(
    judged: dict[str, Judgement], most: int, shuffle: Random
) -> None:
    listed = members(judged)
    answer = waves.next_of(listed, most=most)
    shuffle.shuffle(listed)
    assert waves.next_of(listed, most=most) == answer


@given(JUDGEMENTS, MOST)
def test_no_more_are_in_flight_than_allowed_for_those_that_begin(
    judged: dict[str, Judgement], most: int
) -> None:
    wave = waves.next_of(members(judged), most=most)
    flying = named(judged, Judgement.MOVING, Judgement.STUCK, Judgement.OVERTAKEN)
    assert wave.in_flight == flying
    new = set(wave.begin) - flying
    worked = new & named(judged, Judgement.WAITING)
    assert not worked or len(flying) + len(worked) <= most
    assert len(new) <= most
    assert not (new and wave.stopped_by)
    assert set(wave.stopped_by) == named(judged, Judgement.STUCK)
    assert not named(judged, Judgement.DONE) & set(wave.begin)


@dataclass(frozen=True)
class Thing:
    """An object of a made-up fleet: which version it has, whether that works, and who brought it."""

    version: int = 0
    by_wave: bool = False
    settled: bool = True


class Fleet:
    """Things that take versions; a version of the wave works or not, as the test says."""

    def __init__(self, count: int) -> None:
        self.things = {f"t{number:02}": Thing() for number in range(count)}
        self.wanted = self.released = 0
        self.broken: set[tuple[str, int]] = set()

    def facts(self, name: str) -> Facts:
        thing = self.things[name]
        return Facts(
            has_change=thing.version == self.wanted,
            works=thing.settled,
            by_wave=thing.by_wave,
            is_stuck=not thing.settled and (name, thing.version) in self.broken,
        )

    def wave(self, most: int) -> Wave:
        judged = [Member(name, waves.judge(self.facts(name))) for name in self.things]
        return waves.next_of(judged, most=most)

    def begin(self, name: str) -> None:
        ailing = waves.judge(self.facts(name)) is Judgement.AILING
        self.things[name] = Thing(self.wanted, by_wave=not ailing, settled=False)

    def settle(self, name: str) -> None:
        thing = self.things[name]
        if (name, thing.version) not in self.broken:
            self.things[name] = replace(thing, settled=True)

    def play(self, step: str, number: int, most: int) -> None:
        """Lets one thing happen, to the object with this number where it is about one."""
        name = f"t{number % len(self.things):02}"
        if step in ("release", "broken release"):
            self.released += 1
            self.wanted = self.released
            if step == "broken release":
                self.broken |= {(one, self.released) for one in self.things}
        elif step == "begin":
            begin = self.wave(most).begin
            if begin:
                self.begin(begin[number % len(begin)])
        elif step == "own":
            # by its own spec at once, whatever the wave does; what the wave left unproven stays the wave's
            flies = name in self.harmed()
            self.things[name] = Thing(self.wanted, by_wave=flies, settled=False)
        else:
            self._mend(step, name)

    def _mend(self, step: str, name: str) -> None:
        if step == "settle":
            self.settle(name)
        elif step == "undo":
            self.wanted = max(0, self.wanted - 1)
        else:
            self.broken.clear()

    def harmed(self) -> set[str]:
        """Those that the wave itself left not working."""
        return {name for name, one in self.things.items() if one.by_wave and not one.settled}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["release", "broken release", "undo", "begin", "settle", "own", "repair"]),
        st.integers(min_value=0, max_value=14),
    ),
    max_size=120,
)


@given(MOST, STEPS)
def test_whatever_happens_no_more_than_allowed_are_in_flight(
    most: int, steps: list[tuple[str, int]]
) -> None:
    """Any number of actors may die between a decision and its effect: each step decides anew from what is there."""
    fleet = Fleet(12)
    for step, number in steps:
        fleet.play(step, number, most)
        assert len(fleet.harmed()) <= most


@given(MOST, st.integers(min_value=1, max_value=12))
def test_a_change_that_works_reaches_everyone(most: int, count: int) -> None:
    fleet = Fleet(count)
    fleet.wanted = 1
    for _ in range(count):
        for name in fleet.wave(most).begin:
            fleet.begin(name)
        for name in fleet.things:
            fleet.settle(name)
    assert {one.version for one in fleet.things.values()} == {1}


@given(MOST, st.booleans())
def test_a_change_that_does_not_work_stops_and_goes_on_once_it_is_undone_or_works(
    most: int, undone: bool
) -> None:
    fleet = Fleet(12)
    fleet.wanted = 1
    fleet.broken = {(name, 1) for name in fleet.things}
    for _ in range(20):
        for name in fleet.wave(most).begin:
            fleet.begin(name)
    stopped = fleet.wave(most)
    assert len(fleet.harmed()) == most == len(stopped.stopped_by)
    if undone:
        fleet.wanted = 0
    else:
        fleet.broken.clear()
    for _ in range(20):
        for name in fleet.wave(most).begin:
            fleet.begin(name)
        for name in fleet.things:
            fleet.settle(name)
    assert fleet.harmed() == set()
    assert {one.version for one in fleet.things.values()} == {fleet.wanted}


@pytest.mark.parametrize("has_change", [True, False])
@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("by_wave", [True, False])
@pytest.mark.parametrize("is_stuck", [True, False])
def test_every_state_has_a_judgement(
    has_change: bool, works: bool, by_wave: bool, is_stuck: bool
) -> None:
    facts = Facts(has_change=has_change, works=works, by_wave=by_wave, is_stuck=is_stuck)
    assert isinstance(waves.judge(facts), Judgement)
