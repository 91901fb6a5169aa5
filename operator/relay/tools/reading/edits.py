"""Changes to a text by the ranges where they stand; every other character stays the same."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from relay.tools.reading.json_text import Item, Member


class Edit(NamedTuple):
    """Another text for a range of the old one."""

    start: int
    end: int
    text: str


def edited(text: str, edits: list[Edit]) -> str:
    """Returns the text with these changes, which do not meet each other."""
    pieces: list[str] = []
    place = 0
    for edit in sorted(edits):
        pieces += (text[place : edit.start], edit.text)
        place = edit.end
    pieces.append(text[place:])
    return "".join(pieces)


def replaced(member: Member, value: Any) -> Edit:
    """Returns the change of a member's value."""
    return Edit(member.start, member.end, json.dumps(value))


def dropped(ranges: Sequence[tuple[int, int]], is_dropped: Sequence[bool]) -> list[Edit]:
    """Returns the changes that take parts out of an array or object, each with one comma beside it.

    ranges are those of all parts in their order. With each part goes what stands before the next one; after the last one that
    stays, what stands between the parts.
    """
    edits: list[Edit] = []
    last_kept = max((place for place, drops in enumerate(is_dropped) if not drops), default=-1)
    for place, drops in enumerate(is_dropped[: last_kept + 1]):
        if drops:
            edits.append(Edit(ranges[place][0], ranges[place + 1][0], ""))
    if last_kept + 1 < len(ranges):
        start = ranges[last_kept][1] if last_kept >= 0 else ranges[0][0]
        edits.append(Edit(start, ranges[-1][1], ""))
    return edits


def without(members: list[Member], *keys: str) -> list[Edit]:
    """Returns the changes that take these members out of their object."""
    ranges = [(member.key_start, member.end) for member in members]
    unwanted = frozenset(keys)
    return dropped(ranges, [member.key in unwanted for member in members])


def without_items(items: list[Item], is_dropped: Sequence[bool]) -> list[Edit]:
    """Returns the changes that take items out of their array."""
    return dropped([(item.start, item.end) for item in items], is_dropped)
