"""Marks on ids of stored responses: who stored them can be checked, and the provider's own id comes back."""

from hypothesis import given
from hypothesis import strategies as st

from relay.dialect.response_ids import ResponseId, marked_id

OWN = st.from_regex(r"resp_[0-9a-f]{8,48}", fullmatch=True) | st.text(min_size=1, max_size=80)
NAMES = st.sampled_from(("aaaaaaaaaaaa", "bbbbbbbbbbbb", "legacy", "holysheep", ""))


@given(own=OWN, fingerprint=NAMES, provider=NAMES, other=NAMES)
def test_the_mark_tells_side_and_provider_and_goes_off_again(
    own: str, fingerprint: str, provider: str, other: str
) -> None:
    marked = ResponseId(marked_id(own, fingerprint=fingerprint, provider=provider))
    assert marked.own == own
    assert marked.is_of_side(fingerprint)
    assert marked.is_of_provider(provider)
    assert marked.is_of_side(other) == (other == fingerprint)
    assert marked.is_of_provider(other) == (other == provider)


@given(own=OWN)
def test_an_id_without_a_mark_stays_as_it_is(own: str) -> None:
    plain = ResponseId(own)
    if not plain.mark:
        assert plain.own == own
    assert not ResponseId("resp_0123456789abcdef0123456789abcdef").mark
    assert not ResponseId("_rly000000000000").mark


def test_a_mark_belongs_to_its_id() -> None:
    marked = marked_id("resp_1", fingerprint="aaaaaaaaaaaa", provider="legacy")
    moved = ResponseId(marked.replace("resp_1", "resp_2"))
    assert moved.mark
    assert not moved.is_of_side("aaaaaaaaaaaa")
    assert not moved.is_of_provider("legacy")


def test_a_relay_behind_a_relay_gets_its_own_mark_back() -> None:
    inner = marked_id("resp_1", fingerprint="aaaaaaaaaaaa", provider="legacy")
    outer = ResponseId(marked_id(inner, fingerprint="bbbbbbbbbbbb", provider="relay"))
    assert (outer.own, outer.is_of_side("bbbbbbbbbbbb")) == (inner, True)
