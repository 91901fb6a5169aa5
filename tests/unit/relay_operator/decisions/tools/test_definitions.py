"""What a server lists is held to what was approved, whatever comes, changes, goes and comes back."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.tools import definitions
from relay_operator.decisions.tools.definitions import (
    MOST_DEFINITIONS,
    Found,
    Pins,
    State,
    settled,
)

A, B, C = "a" * 64, "b" * 64, "c" * 64


def look(
    known: Pins | None, tools: Mapping[str, str], *, accepts: bool = False, approval: str = ""
) -> Pins:
    found = Found(tools=tools, prompts={})
    return settled(known, found, accepts=accepts, approval=approval)


def granted(pins: Pins) -> dict[str, str]:
    return {one.name: one.digest for one in definitions.in_force(pins.tools)}


def states(pins: Pins) -> dict[str, State]:
    return {pin.name: pin.state for pin in pins.tools}


FIRST = look(None, {"pay": A, "read": B})


def test_what_the_first_look_finds_is_approved() -> None:
    assert granted(FIRST) == {"pay": A, "read": B}
    assert (FIRST.token, FIRST.summary) == ("", "2/2")


def test_a_server_that_listed_nothing_yet_has_its_first_look_before_it() -> None:
    empty = look(None, {})
    assert granted(look(empty, {"pay": A})) == {"pay": A}
    assert granted(look(look(empty, {"pay": A}), {"pay": A, "read": B})) == {"pay": A}


def test_a_changed_definition_is_not_in_force_until_it_is_approved() -> None:
    changed = look(FIRST, {"pay": C, "read": B})
    assert granted(changed) == {"read": B}
    assert (states(changed)["pay"], changed.summary) == (State.CHANGED, "1/2")
    approved = look(changed, {"pay": C, "read": B}, approval=changed.token)
    assert granted(approved) == {"pay": C, "read": B}
    assert approved.token == ""


def test_one_that_is_again_as_it_was_approved_is_in_force_again() -> None:
    changed = look(FIRST, {"pay": C, "read": B})
    assert granted(look(changed, {"pay": A, "read": B})) == {"pay": A, "read": B}


def test_an_added_tool_is_not_there_until_it_is_approved() -> None:
    added = look(FIRST, {"pay": A, "read": B, "delete": C})
    assert granted(added) == {"pay": A, "read": B}
    assert states(added)["delete"] is State.ADDED
    assert granted(look(added, {"pay": A, "read": B, "delete": C}, accepts=True))["delete"] == C


def test_a_tool_that_goes_and_comes_back_as_another_is_held_to_what_it_was() -> None:
    gone = look(FIRST, {"read": B})
    assert (states(gone)["pay"], granted(gone)) == (State.GONE, {"pay": A, "read": B})
    assert granted(look(gone, {"pay": C, "read": B})) == {"read": B}


def test_an_approval_is_of_what_was_seen_and_not_of_what_came_since() -> None:
    seen = look(FIRST, {"pay": C, "read": B})
    swapped = {"pay": "d" * 64, "read": B}
    assert granted(look(seen, swapped, approval=seen.token)) == {"read": B}
    more = {"pay": C, "read": B, "delete": C}
    assert granted(look(seen, more, approval=seen.token)) == {"read": B}


def test_an_approval_is_for_once() -> None:
    """A server that chooses its definitions cannot choose two with one token, nor use one again after another was approved."""
    seen = look(FIRST, {"pay": C, "read": B})
    assert len(seen.token) == 64
    approved = look(seen, {"pay": C, "read": B}, approval=seen.token)
    other = "d" * 64
    accepted = look(approved, {"pay": other, "read": B}, accepts=True)
    back = look(accepted, {"pay": C, "read": B}, approval=seen.token)
    assert granted(back) == {"read": B}


@pytest.mark.parametrize("approval", ["", "0" * 12])
def test_no_other_word_approves(approval: str) -> None:
    assert granted(look(FIRST, {"pay": C}, approval=approval)).get("pay") is None


def test_what_is_remembered_of_a_server_that_renames_its_tools_is_bounded() -> None:
    pins = None
    for turn in range(4):
        found = {f"t{turn}-{number}": A for number in range(MOST_DEFINITIONS)}
        pins = look(pins, found, accepts=True)
    assert pins is not None
    assert len(pins.tools) == 2 * MOST_DEFINITIONS


NAMES = st.sampled_from(["pay", "read", "list"])
LISTS = st.dictionaries(NAMES, st.sampled_from([A, B, C]))


@given(st.lists(LISTS, min_size=1, max_size=6))
def test_status_keeps_everything_that_a_look_decides_by(seen: list[dict[str, str]]) -> None:
    pins = None
    for tools in seen:
        pins = look(pins, tools)
        status = {
            "definitions": pins.summary,
            "tools": definitions.to_status(pins.tools),
            "prompts": definitions.to_status(pins.prompts),
        }
        assert definitions.from_status(status) == pins


@given(st.lists(LISTS, min_size=2, max_size=6))
def test_without_an_approval_nothing_but_the_first_look_is_ever_in_force(
    seen: list[dict[str, str]],
) -> None:
    first = next((tools for tools in seen if tools), {})
    pins = None
    for tools in seen:
        pins = look(pins, tools)
        assert granted(pins).items() <= first.items()


def test_a_status_without_a_look_has_no_definitions() -> None:
    assert definitions.from_status({"conditions": []}) is None


def look_at_resources(
    known: Pins | None,
    resources: Mapping[str, str] | None,
    *,
    templates: Mapping[str, str] | None = None,
    accepts: bool = False,
    approval: str = "",
) -> Pins:
    found = Found(tools={"pay": A}, prompts={}, resources=resources, templates=templates)
    return settled(known, found, accepts=accepts, approval=approval)


def held(pins: Pins) -> dict[str, str] | None:
    listed = definitions.resources_in_force(pins.resources)
    return None if listed is None else {one.name: one.digest for one in listed}


def test_resources_are_held_like_tools_from_the_first_look_that_reads_them() -> None:
    """An operator that only begins to read them does not suspend what tenants use."""
    before = look(None, {"pay": A})
    assert held(before) is None
    first = look_at_resources(before, {"memo://a": A, "memo://b": B})
    assert held(first) == {"memo://a": A, "memo://b": B}
    changed = look_at_resources(first, {"memo://a": C, "memo://b": B, "memo://c": C})
    assert held(changed) == {"memo://a": "", "memo://b": B, "memo://c": ""}
    assert [(kind, pin.name, pin.state) for kind, pin in changed.waiting] == [
        ("resource", "memo://a", State.CHANGED),
        ("resource", "memo://c", State.ADDED),
    ]
    assert changed.summary == "2/4"
    back = look_at_resources(changed, {"memo://a": A, "memo://b": B})
    assert held(back) == {"memo://a": A, "memo://b": B}
    approved = look_at_resources(
        first, {"memo://a": C, "memo://b": B, "memo://c": C}, approval=changed.token
    )
    assert held(approved) == {"memo://a": C, "memo://b": B, "memo://c": C}
    assert held(look_at_resources(first, {"memo://a": C}, accepts=True)) == {"memo://a": C}


def test_resources_that_cannot_be_read_stay_as_they_were() -> None:
    changed = look_at_resources(
        look_at_resources(None, {"memo://a": A, "memo://b": B}), {"memo://a": C, "memo://b": B}
    )
    assert held(look_at_resources(changed, None)) == {"memo://a": "", "memo://b": B}
    # left out of the list: what was suspended stays so, of the other the patterns decide again
    assert held(look_at_resources(changed, {})) == {"memo://a": ""}
    assert held(look_at_resources(None, None)) is None


def test_the_status_has_resources_as_they_stand() -> None:
    pins = look_at_resources(
        look_at_resources(None, {"memo://a": A}, templates={"memo://{n}": B}),
        {"memo://a": C},
        templates={"memo://{n}": B},
    )
    status = {
        "definitions": pins.summary,
        **{
            name: definitions.to_status(listed or ())
            for name, listed in (
                *(("tools", pins.tools), ("prompts", pins.prompts)),
                *(("resources", pins.resources), ("templates", pins.templates)),
            )
        },
    }
    assert definitions.from_status(status) == pins
    assert status["resources"] == [
        {"name": "memo://a", "state": "Changed", "digest": A, "found": C}
    ]
    for unread in ("resources", "templates"):
        del status[unread]
    former = definitions.from_status(status)
    assert former is not None
    assert (former.resources, former.templates) == (None, None)
