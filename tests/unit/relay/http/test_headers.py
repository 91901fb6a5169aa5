"""Header names, values and ids that are safe to write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.http.headers import field_name, field_value, identifier, trace_context


@pytest.mark.parametrize("bad", ["", "a b", "a\r\nb", "a:b", "é"])
def test_a_header_name_is_a_token(bad: str) -> None:
    with pytest.raises(ValueError, match="header name"):
        field_name(bad)


@pytest.mark.parametrize("bad", ["a\r\nb", "a\nb", "\x00", "☃"])
def test_a_header_value_cannot_end_its_line(bad: str) -> None:
    with pytest.raises(ValueError, match="header value"):
        field_value(bad)


@given(st.binary(max_size=200))
def test_an_identifier_is_safe_wherever_it_is_written(value: bytes) -> None:
    accepted = identifier(value)
    if accepted is not None:
        assert accepted.isascii()
        assert not set(accepted) & set(" \"'\\\r\n\t,;{}")


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01",
        b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    ],
)
def test_an_invalid_trace_context_is_none(bad: bytes) -> None:
    assert trace_context(bad) is None
