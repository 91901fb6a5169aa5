"""Keys are made, stamped, rotated and revoked as the spec and the annotations ask for, by one clock, in one write each."""

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.api.tenant import KeyRotation
from relay_operator.decisions.api_keys import requests, stamps
from relay_operator.decisions.api_keys.requests import Requests, token
from relay_operator.decisions.api_keys.rotation import Found, Settled, Wanted, settle
from relay_operator.decisions.api_keys.stamps import Replaced, Stamp, mark_of
from relay_operator.decisions.timestamps import from_text, to_text
from relay_operator.names import Reason

HOUR = 3600.0
DAY = 24 * HOUR
MADE = from_text("2026-06-01T00:00:00Z")
MONTHLY = KeyRotation.model_validate({"every": "720h", "overlap": "24h"})


@dataclass
class Keys:
    """A Secret with its stamps, and an operator that looks at it."""

    now: float = MADE
    names: tuple[str, ...] = ("web",)
    rotation: KeyRotation | None = MONTHLY
    found: Found = field(default_factory=lambda: Found(made_at=MADE, is_there=False))
    acts: list[Reason] = field(default_factory=list)
    serial: Any = field(default_factory=itertools.count)

    def look(
        self, *, after: float = 0.0, asked: Requests | None = None, pods_know: bool = True
    ) -> Settled:
        """Looks as the operator does: once, and once more when pods know the next keys."""
        self.now += after
        settled = self._settle(asked, {})
        if settled.due and pods_know:
            prepared = {name: f"next-{next(self.serial)}-{name}" for name in settled.due}
            settled = self._settle(asked, prepared)
        return settled

    def edit(self, **entries: str | None) -> None:
        """Writes the Secret as a person does."""
        named = {name.replace("_", "."): key for name, key in entries.items()}
        kept = {**self.found.entries, **named}
        changed = {name: key for name, key in kept.items() if key is not None}
        self.found = replace(self.found, entries=changed)

    def key(self, entry: str = "web") -> str | None:
        return self.found.entries.get(entry)

    def _settle(self, asked: Requests | None, prepared: Mapping[str, str]) -> Settled:
        settled = settle(
            self.found,
            Wanted(names=self.names, rotation=self.rotation, requests=asked or Requests()),
            prepared=prepared,
            now=self.now,
            make=lambda: f"made-{next(self.serial)}",
        )
        self.acts += [act.reason for act in settled.acts]
        # the annotation is what comes back
        written = stamps.from_text(stamps.to_text(settled.stamps))
        assert written == settled.stamps
        self.found = Found(entries=settled.entries, stamps=written, made_at=MADE)
        return settled


def ask(settled: Settled, name: str = "web", *, previous: bool = False) -> frozenset[str]:
    """Returns the value that status has for the annotation."""
    state = next(one for one in settled.states if one.name == name)
    return frozenset({token(name + (requests.PREVIOUS if previous else ""), state.since)})


def test_a_key_is_made_once_and_kept() -> None:
    keys = Keys(rotation=None)
    keys.look()
    first = keys.key()
    assert keys.look(after=10_000 * DAY).next_at == math.inf
    assert (keys.key(), keys.acts) == (first, [])


def test_a_key_is_rotated_when_its_time_is_over_and_the_one_before_it_is_kept_for_the_overlap() -> (
    None
):
    keys = Keys()
    assert keys.look().next_at == MADE + 720 * HOUR
    first = keys.key()
    keys.look(after=720 * HOUR - 1)
    assert (keys.key(), keys.key("web.previous")) == (first, None)
    settled = keys.look(after=1)
    second = keys.key()
    assert second != first
    assert keys.key("web.previous") == first
    assert settled.next_at == MADE + 720 * HOUR + DAY
    keys.look(after=DAY - 1)
    assert keys.key("web.previous") == first
    settled = keys.look(after=1)
    assert (keys.key(), keys.key("web.previous")) == (second, None)
    assert settled.next_at == MADE + 2 * 720 * HOUR
    assert keys.acts == [Reason.KEY_ROTATED, Reason.KEY_OVERLAP_ENDED]


def test_until_every_pod_knows_the_next_key_nothing_is_replaced() -> None:
    keys = Keys()
    keys.look()
    first = keys.key()
    settled = keys.look(after=720 * HOUR, pods_know=False)
    assert settled.due == ("web",)
    assert (keys.key(), keys.key("web.previous"), keys.acts) == (first, None, [])
    keys.look(after=HOUR)
    assert keys.key("web.previous") == first


def test_an_operator_that_was_away_for_two_periods_rotates_once() -> None:
    keys = Keys()
    keys.look()
    keys.look(after=1500 * HOUR)
    keys.look(after=1)
    assert keys.acts == [Reason.KEY_ROTATED]


def test_a_rotation_on_demand_needs_no_schedule_and_acts_once() -> None:
    keys = Keys(rotation=None)
    asked = Requests(rotate=ask(keys.look()))
    first = keys.key()
    keys.look(after=HOUR, asked=asked)
    second = keys.key()
    assert (second != first, keys.key("web.previous")) == (True, first)
    for _ in range(3):
        keys.look(after=30 * DAY, asked=asked)
    assert keys.key() == second
    assert keys.acts == [Reason.KEY_ROTATED, Reason.KEY_OVERLAP_ENDED]


def test_a_request_in_the_very_second_in_which_the_key_was_made_acts_once() -> None:
    keys = Keys(rotation=None)
    revoke = Requests(revoke=ask(keys.look()))
    keys.look(asked=revoke)
    second = keys.key()
    keys.look(asked=revoke)
    assert keys.key() == second


def test_a_second_rotation_waits_until_the_overlap_is_over() -> None:
    keys = Keys(rotation=None)
    first = ask(keys.look())
    again = ask(keys.look(after=HOUR, asked=Requests(rotate=first)))
    second = keys.key()
    settled = keys.look(after=HOUR, asked=Requests(rotate=again))
    assert settled.states[0].waits_for_overlap
    assert (keys.key(), settled.due) == (second, ())
    keys.look(after=22 * HOUR, asked=Requests(rotate=again))
    assert keys.key() == second
    keys.look(after=HOUR, asked=Requests(rotate=again))
    assert keys.key("web.previous") == second


def test_a_second_rotation_comes_at_once_when_the_key_before_it_is_revoked() -> None:
    keys = Keys(rotation=None)
    settled = keys.look(after=HOUR, asked=Requests(rotate=ask(keys.look())))
    second = keys.key()
    asked = Requests(rotate=ask(settled), revoke=ask(settled, previous=True))
    keys.look(after=HOUR, asked=asked)
    assert keys.key("web.previous") == second
    assert keys.acts == [Reason.KEY_ROTATED, Reason.KEY_REVOKED, Reason.KEY_ROTATED]


def test_a_revoked_key_is_replaced_at_once_and_the_one_before_it_stays() -> None:
    keys = Keys(rotation=None)
    settled = keys.look(after=HOUR, asked=Requests(rotate=ask(keys.look())))
    first, second = keys.key("web.previous"), keys.key()
    keys.look(after=HOUR, asked=Requests(revoke=ask(settled)))
    assert keys.key() not in (first, second)
    assert keys.key("web.previous") == first


def test_the_id_that_a_key_had_revokes_it_as_the_one_before_too_and_no_other() -> None:
    keys = Keys(rotation=None)
    first = ask(keys.look())
    settled = keys.look(after=HOUR, asked=Requests(rotate=first))
    second, again = keys.key(), ask(settled)
    keys.look(after=HOUR, asked=Requests(rotate=first, revoke=first))
    assert (keys.key(), keys.key("web.previous")) == (second, None)
    assert keys.acts == [Reason.KEY_ROTATED, Reason.KEY_REVOKED]
    # what is left over acts on none that comes after it
    keys.look(after=HOUR, asked=Requests(rotate=again, revoke=first))
    assert keys.key("web.previous") == second


def test_the_id_that_a_key_had_revokes_it_after_a_rotation_by_hand() -> None:
    keys = Keys()
    first = ask(keys.look(after=720 * HOUR))
    keys.edit(web="written-by-hand", web_previous=keys.key())
    keys.look(after=HOUR)
    keys.look(after=HOUR, asked=Requests(revoke=first))
    assert (keys.key(), keys.key("web.previous")) == ("written-by-hand", None)


@pytest.mark.parametrize("since", ["", "yesterday", 7, None, "2026-06-01T00:00:00Z"])
def test_a_stamp_without_a_usable_time_of_the_key_before_is_a_stamp(since: Any) -> None:
    stamp = Stamp("a", MADE, Replaced("b", MADE, 60.0, MADE))
    entry = json.loads(stamps.to_text({"web": stamp}))
    entry["web"]["previous"]["currentSince"] = since
    read = stamps.from_text(json.dumps(entry))["web"].previous
    assert read is not None
    assert read.current_since == (MADE if since == to_text(MADE) else 0.0)


def test_in_an_immutable_secret_the_time_of_a_key_is_that_of_the_secret_at_every_look() -> None:
    entries = {"web": "written-by-hand", "web.previous": "before-it"}
    found = Found(
        entries=entries,
        stamps={"web": Stamp(mark_of("another"), MADE - DAY)},
        made_at=MADE,
        is_immutable=True,
    )
    for after in (HOUR, 2 * HOUR):
        (state,) = Keys(found=found, rotation=None).look(after=after).states
        assert (state.since, state.previous_until) == (MADE, MADE + DAY)
    assert "web.previous" not in Keys(found=found, rotation=None).look(after=DAY).entries


def test_only_the_named_key_is_touched() -> None:
    keys = Keys(names=("web", "batch"), rotation=None)
    settled = keys.look()
    batch = keys.key("batch")
    keys.look(after=HOUR, asked=Requests(rotate=ask(settled, "web")))
    assert keys.key("batch") == batch
    keys.look(after=HOUR, asked=Requests(rotate=ask(settled, "web") | ask(settled, "batch")))
    assert keys.key("batch.previous") == batch


def test_an_entry_that_is_taken_out_of_the_secret_is_refused_and_made_anew() -> None:
    keys = Keys()
    keys.look()
    first = keys.key()
    keys.edit(web=None)
    keys.look(after=HOUR)
    assert keys.key() != first
    assert keys.key("web.previous") is None
    assert keys.acts == [Reason.KEY_REPLACED]


def test_a_previous_entry_that_is_taken_out_is_not_put_back() -> None:
    keys = Keys(rotation=None)
    keys.look(after=HOUR, asked=Requests(rotate=ask(keys.look())))
    keys.edit(web_previous=None)
    assert keys.look(after=1).next_at == math.inf
    assert keys.key("web.previous") is None


def test_a_key_that_somebody_wrote_is_honoured_and_as_young_as_it_is() -> None:
    keys = Keys()
    keys.look()
    keys.edit(web="written-by-hand")
    settled = keys.look(after=100 * HOUR)
    assert keys.key() == "written-by-hand"
    assert settled.next_at == MADE + 820 * HOUR


def test_a_rotation_by_hand_has_an_overlap_too() -> None:
    keys = Keys()
    keys.look()
    first = keys.key()
    assert first is not None
    keys.edit(web="written-by-hand", web_previous=first)
    assert keys.look(after=HOUR).states[0].previous_until == MADE + HOUR + DAY
    keys.look(after=DAY)
    assert keys.key("web.previous") is None


def test_a_key_of_before_there_were_stamps_is_as_old_as_its_secret_and_costs_no_write() -> None:
    keys = Keys(found=Found(entries={"web": "old"}, made_at=MADE))
    settled = keys.look(after=700 * HOUR)
    assert (settled.stamps, settled.next_at) == ({}, MADE + 720 * HOUR)
    keys.look(after=20 * HOUR)
    assert keys.key("web.previous") == "old"


def test_lost_stamps_lengthen_an_overlap_by_at_most_one_more() -> None:
    keys = Keys(rotation=None)
    keys.look(after=HOUR, asked=Requests(rotate=ask(keys.look())))
    keys.found = replace(keys.found, stamps={})
    keys.look(after=HOUR)
    assert keys.key("web.previous") is not None
    keys.look(after=DAY)
    assert keys.key("web.previous") is None


def test_whoever_changes_the_overlap_means_the_one_under_way() -> None:
    keys = Keys()
    keys.look()
    keys.look(after=720 * HOUR)
    keys.rotation = KeyRotation.model_validate({"every": "720h", "overlap": "48h"})
    keys.look(after=40 * HOUR)
    assert keys.key("web.previous") is not None
    # and one who no longer rotates keeps to what was promised
    keys.rotation = None
    keys.look()
    assert keys.key("web.previous") is None


def test_after_a_step_back_no_key_is_older_or_younger_than_it_can_be() -> None:
    keys = Keys()
    keys.look()
    keys.look(after=720 * HOUR)
    settled = keys.look(after=-500 * HOUR)
    assert settled.states[0].previous_until == keys.now + DAY
    assert settled.states[0].rotates_at == keys.now + 720 * HOUR
    keys.look(after=DAY)
    assert keys.key("web.previous") is None


def test_a_name_that_goes_takes_its_keys_along() -> None:
    keys = Keys(names=("web", "batch"), rotation=None)
    settled = keys.look()
    keys.look(after=HOUR, asked=Requests(rotate=ask(settled, "web") | ask(settled, "batch")))
    keys.names = ("batch",)
    settled = keys.look(after=1)
    assert settled.entries.keys() == {"batch", "batch.previous"}
    assert settled.stamps.keys() == {"batch"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "nonsense",
        '{"web": 3}',
        '{"web": {"key": 1, "since": "2026-06-01T00:00:00Z"}}',
        '{"web": {"key": "a", "since": "yesterday"}}',
        '{"web": {"key": "a"}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_stamp_is_as_if_it_were_not_there(text: str) -> None:
    assert stamps.from_text(text) == {}


@pytest.mark.parametrize("overlap", [None, -1, 1e30, "24h", True, 400 * 86_400])
def test_a_stamp_whose_overlap_is_none_has_no_key_before_it(overlap: Any) -> None:
    stamp = Stamp("a", MADE, Replaced("b", MADE, 60.0))
    text = stamps.to_text({"web": stamp}).replace("60", str(overlap).lower())
    read = stamps.from_text(text).get("web")
    assert read is None or read.previous is None or overlap is True


def test_a_stamp_shows_nothing_of_the_key() -> None:
    text = stamps.to_text({"web": Stamp(mark_of("sk-relay-secret"), MADE)})
    assert "secret" not in text
    assert to_text(MADE) in text


STEPS = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 60 * DAY, allow_nan=False)),
    st.tuples(st.just("back"), st.floats(0, 60 * DAY, allow_nan=False)),
    st.tuples(
        st.sampled_from(("rotate", "revoke", "revoke previous", "hand", "lose")), st.just(0.0)
    ),
)


@given(st.lists(STEPS, max_size=25))
def test_whatever_happens_there_is_one_key_and_at_most_one_before_it_for_at_most_an_overlap(
    steps: list[tuple[str, float]],
) -> None:
    keys = Keys()
    settled = keys.look()
    seen = {keys.key()}
    for step, seconds in steps:
        before = keys.key()
        asked = take(keys, settled, step, seconds)
        settled = keys.look(asked=asked)
        (state,) = settled.states
        assert settled.entries.keys() <= {"web", "web.previous"}
        assert keys.key() is not None
        assert keys.key("web.previous") != keys.key()
        assert state.previous_until <= keys.now + DAY + 61
        assert step != "revoke" or (keys.key() not in seen and keys.key("web.previous") != before)
        seen.add(keys.key())
        # and a second look at once has nothing more to do
        again = keys.look()
        assert (again.entries, again.stamps) == (settled.entries, settled.stamps)


def take(keys: Keys, settled: Settled, step: str, seconds: float) -> Requests:
    """Does to the Secret or its clock what others do; returns what a person asks for."""
    match step:
        case "wait" | "back":
            keys.now += seconds if step == "wait" else -seconds
        case "rotate":
            return Requests(rotate=ask(settled))
        case "revoke":
            return Requests(revoke=ask(settled))
        case "revoke previous":
            return Requests(revoke=ask(settled, previous=True))
        case "hand":
            keys.edit(web=f"hand-{next(keys.serial)}")
        case "lose":
            keys.found = replace(keys.found, stamps={})
    return Requests()
