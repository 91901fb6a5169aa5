"""Takes parameters out of a request body, and finds all of them, in Python, for a relay without the compiled scan: the same
results, slower.
"""

import json
from typing import Final

from relay.dialect.body_fields import MAX_MEMBERS, Span
from relay.dialect.body_scan_pure import ANY_KEY, ANY_STRING, BLANKS, after_value

MAX_PATHS: Final = 16
MAX_STEPS: Final = 6

Paths = list[tuple[str, ...]]
"""Paths as far as they are still to be followed: each leads on from the object that is being read."""


class _Removal:
    """One pass over a body that was scanned. Its methods return the end of what they read."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._kept_from = 0
        self.left = bytearray()

    def take_out(self, start: int, end: int) -> None:
        """Leaves this out; what stands before it is kept."""
        self.left += memoryview(self._raw)[self._kept_from : start]
        self._kept_from = end

    def object(self, place: int, paths: Paths) -> int:
        """Reads the object at this place without what the paths lead to."""
        raw = self._raw
        first = last_end = place = _after_blanks(raw, place + 1)
        kept = False
        while raw[place : place + 1] != b"}":
            start = place
            name, place = _read_key(raw, place)
            deeper = [path[1:] for path in paths if path[0] == name]
            if () in deeper:
                end = _after_value(raw, place)
                # with the comma before it, or, as long as none is kept, with the one behind it
                if kept:
                    self.take_out(last_end, end)
            else:
                if not kept and start != first:
                    self.take_out(first, start)
                kept = True
                end = self._value(place, deeper) if deeper else _after_value(raw, place)
            last_end = end
            place = _after_comma(raw, end)
        if not kept:
            self.take_out(first, last_end)
        return place + 1

    def _value(self, place: int, paths: Paths) -> int:
        raw = self._raw
        kind = raw[place : place + 1]
        if kind == b"{":
            return self.object(place, paths)
        if kind != b"[":
            return _after_value(raw, place)
        place = _after_blanks(raw, place + 1)
        while raw[place : place + 1] != b"]":
            in_object = raw[place : place + 1] == b"{"
            end = self.object(place, paths) if in_object else _after_value(raw, place)
            place = _after_comma(raw, end)
        return place + 1


def _after_blanks(raw: bytes, place: int) -> int:
    found = BLANKS.match(raw, place)
    assert found is not None
    return found.end()


def _after_value(raw: bytes, place: int) -> int:
    end = after_value(raw, place, 0)
    assert end is not None
    return end


def _read_key(raw: bytes, place: int) -> tuple[str, int]:
    """Returns the key at this place, and the place of its value."""
    found = ANY_KEY.match(raw, place)
    assert found is not None
    name: str = json.loads(found[0].rstrip()[:-1].decode())
    return name, found.end()


def _after_comma(raw: bytes, place: int) -> int:
    place = _after_blanks(raw, place)
    return _after_blanks(raw, place + 1) if raw[place : place + 1] == b"," else place


def without(raw: bytes, paths: tuple[bytes, ...]) -> bytes:
    """Returns a body that was scanned without the parameters at these paths; itself if it has none.

    A path is a name, or several with dots between them that lead from one object into the next, or into each object of an
    array. Raises ValueError for more than MAX_PATHS, and for one of more than MAX_STEPS or with an empty one.
    """
    steps = [tuple(path.decode().split(".")) for path in paths]
    if len(steps) > MAX_PATHS or any(len(path) > MAX_STEPS or "" in path for path in steps):
        raise ValueError(
            "too many paths, or not a path of at most six names with dots between them"
        )
    removal = _Removal(raw)
    removal.object(_after_blanks(raw, 0), steps)
    removal.take_out(len(raw), len(raw))
    return raw if len(removal.left) == len(raw) else bytes(removal.left)


def members(raw: bytes) -> tuple[Span, ...] | None:
    """Returns where the keys and the values of a body that was scanned stand, in turn; None for more than MAX_MEMBERS.

    A key stands there with its quotes.
    """
    spans: list[Span] = []
    place = _after_blanks(raw, _after_blanks(raw, 0) + 1)
    while raw[place : place + 1] != b"}":
        if len(spans) == 2 * MAX_MEMBERS:
            return None
        key, name = ANY_KEY.match(raw, place), ANY_STRING.match(raw, place)
        assert key is not None
        assert name is not None
        end = _after_value(raw, key.end())
        spans += (name.span(), (key.end(), end))
        place = _after_comma(raw, end)
    return tuple(spans)
