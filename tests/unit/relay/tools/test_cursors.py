"""Cursors: whole on the way back, and of no use elsewhere."""

from hypothesis import given
from hypothesis import strategies as st

from relay.tools.cursors import MAX_CURSOR_CHARACTERS, Place, cursor_to, place_of

REVISION = "0123456789abcdef" * 2
CURSORS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(server=st.sampled_from(["erp", "mail-2"]), own=CURSORS)
def test_a_cursor_leads_back_to_its_place(server: str, own: str | None) -> None:
    place = Place(server, own)
    cursor = cursor_to(place, REVISION)
    assert cursor is not None
    assert place_of(cursor, REVISION) == place


@given(own=CURSORS)
def test_a_cursor_of_another_revision_leads_nowhere(own: str | None) -> None:
    cursor = cursor_to(Place("erp", own), REVISION)
    assert cursor is not None
    assert place_of(cursor, REVISION[::-1]) is None


@given(own=st.text("ab=/+", max_size=8), at=st.integers(0, 60), sign=st.sampled_from("aZ9-_+/=. é"))
def test_a_changed_cursor_is_another_place_or_none(own: str, at: int, sign: str) -> None:
    cursor = cursor_to(Place("erp", own), REVISION)
    assert cursor is not None
    at %= len(cursor)
    changed = cursor[:at] + sign + cursor[at + 1 :]
    if changed != cursor:
        assert place_of(changed, REVISION) != Place("erp", own)


@given(cursor=st.text(max_size=60))
def test_any_text_is_a_place_or_none(cursor: str) -> None:
    assert place_of(cursor, REVISION) is None
    assert place_of(f"{REVISION}.erp.{cursor}", REVISION) != Place("", None)


def test_a_cursor_is_bounded_both_ways() -> None:
    assert cursor_to(Place("erp", "x" * MAX_CURSOR_CHARACTERS), REVISION) is None
    assert place_of("x" * (MAX_CURSOR_CHARACTERS + 1), "x" * (MAX_CURSOR_CHARACTERS + 1)) is None
    assert cursor_to(Place("erp", "\ud800"), REVISION) is None
