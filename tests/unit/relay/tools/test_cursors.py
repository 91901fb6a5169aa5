"""Cursors: whole on the way back, of no use elsewhere, and nothing that anybody could read."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.tools.protocol import seal

from relay.tools.cursors import MAX_CURSOR_CHARACTERS, CursorSeal, Place

REVISION = "0123456789abcdef" * 2
PLACES = st.builds(
    Place,
    st.sampled_from(["erp", "mail-2"]),
    st.none() | st.text(max_size=30),
    st.integers(0, 300),
)
SEALS = st.sampled_from([seal(), seal(secret=b"")]).map(lambda one: one.cursors)
CURSORS = seal().cursors


@given(place=PLACES, cursors=SEALS)
def test_a_cursor_leads_back_to_its_place(place: Place, cursors: CursorSeal) -> None:
    cursor = cursors.sealed(place, REVISION)
    assert cursor is not None
    assert cursors.opened(cursor, REVISION) == place


@given(place=PLACES)
def test_a_cursor_of_another_revision_or_caller_leads_nowhere(place: Place) -> None:
    cursor = CURSORS.sealed(place, REVISION)
    assert cursor is not None
    assert CURSORS.opened(cursor, REVISION[::-1]) is None
    for other in (seal(caller="another"), seal(secret=b"another"), seal(secret=b"")):
        assert other.cursors.opened(cursor, REVISION) is None


@given(place=PLACES, at=st.integers(0, 100), sign=st.sampled_from("aZ9-_+/=. \u00e9"))
def test_a_changed_cursor_leads_nowhere(place: Place, at: int, sign: str) -> None:
    cursor = CURSORS.sealed(place, REVISION)
    assert cursor is not None
    at %= len(cursor)
    changed = cursor[:at] + sign + cursor[at + 1 :]
    assert CURSORS.opened(changed, REVISION) == (place if changed == cursor else None)


@given(cursor=st.text(max_size=60))
def test_any_other_text_leads_nowhere(cursor: str) -> None:
    assert CURSORS.opened(cursor, REVISION) is None


def test_a_cursor_is_bounded_both_ways() -> None:
    assert CURSORS.sealed(Place("erp", "x" * MAX_CURSOR_CHARACTERS), REVISION) is None
    assert CURSORS.opened("x" * (MAX_CURSOR_CHARACTERS + 1), REVISION) is None
