"""Finds the members of a request body in Python, for a relay without the compiled scan: the same results, slower."""

from relay.dialect.body_fields import MAX_MEMBERS, Span
from relay.dialect.body_scan_pure import ANY_KEY, ANY_STRING, BLANKS, after_value


def members(raw: bytes) -> tuple[Span, ...] | None:
    """Returns where the keys and the values of a body that was scanned stand, in turn; None for more than MAX_MEMBERS.

    A key stands there with its quotes.
    """
    spans: list[Span] = []
    place = _after_blanks(raw, _after_blanks(raw, 0) + 1)
    while raw[place : place + 1] == b'"':
        if len(spans) == 2 * MAX_MEMBERS:
            return None
        key, name = ANY_KEY.match(raw, place), ANY_STRING.match(raw, place)
        assert key is not None
        assert name is not None
        end = after_value(raw, key.end(), 1)
        assert end is not None
        spans += (name.span(), (key.end(), end))
        place = _after_blanks(raw, end)
        if raw[place : place + 1] == b",":
            place = _after_blanks(raw, place + 1)
    return tuple(spans)


def _after_blanks(raw: bytes, place: int) -> int:
    found = BLANKS.match(raw, place)
    assert found is not None
    return found.end()
