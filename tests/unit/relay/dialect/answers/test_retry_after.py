"""When a provider says to come back, in every spelling, and in none that is believed without a number."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.dialect.answers.retry_after import retry_after_seconds

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


def wait(*fields: tuple[str, str], details: dict[str, Any] | None = None) -> float | None:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    return retry_after_seconds(headers, details or {}, wall_time=NOW)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("0", 0),
        ("007", 7),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("Tuesday, 14-Nov-23 22:13:50 GMT", 30),
        ("Tue Nov 14 22:13:50 2023", 30),
        ("Tue, 14 Nov 2023 23:13:50 +0100", 30),
        ("Tue, 14 Nov 2023 22:12:00 GMT", 0),
        ("Wed, 01 Jan 1000 00:00:00 GMT", 0),
    ],
)
def test_seconds_and_dates_are_read(value: str, seconds: float) -> None:
    assert wait(("retry-after", value)) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-1",
        "+1",
        "1e3",
        "inf",
        "nan",
        "0x10",
        "1 2",
        "\xb2",
        "Tue, 99 Nov 2023",
        "," * 50,
    ],
)
def test_what_is_no_time_says_nothing(value: str) -> None:
    assert wait(("retry-after", value)) is None


@pytest.mark.parametrize("value", ["9" * 10, "9" * 400, "9" * 5000, "1" + "0" * 20 + ".5"])
def test_absurd_numbers_are_endless_and_nothing_worse(value: str) -> None:
    assert wait(("retry-after", value)) == 10.0**9
    assert wait(("retry-after-ms", value)) == 10.0**6


def test_the_farthest_date_is_a_number() -> None:
    seconds = wait(("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"))
    assert seconds is not None
    assert seconds > 10**9


def test_milliseconds_come_first_where_they_can_be_read() -> None:
    assert wait(("retry-after", "2"), ("retry-after-ms", "1500")) == 1.5
    assert wait(("retry-after", "2"), ("retry-after-ms", "soon")) == 2
    assert wait(("retry-after-ms", "0")) == 0


def test_a_date_counts_from_the_providers_own_clock() -> None:
    date = ("date", "Tue, 14 Nov 2023 20:00:00 GMT")
    assert wait(date, ("retry-after", "Tue, 14 Nov 2023 20:00:09 GMT")) == 9
    assert wait(("date", "x"), ("retry-after", "Tue, 14 Nov 2023 22:13:29 GMT")) == 9


def test_geminis_details_are_read() -> None:
    details = {"details": [{"@type": "x"}, {"@type": "y.RetryInfo", "retryDelay": "34.5s"}]}
    assert wait(details=details) == 34.5
    assert wait(("retry-after", "2"), details=details) == 2
    for wrong in ({"details": 1}, {"details": [1, {"retryDelay": 5}, {"retryDelay": "-1s"}]}):
        assert wait(details=wrong) is None


@given(
    values=st.lists(
        st.tuples(
            st.sampled_from([b"retry-after", b"retry-after-ms", b"date"]),
            st.binary(max_size=40) | st.from_regex(rb"[0-9]{0,30}\.?[0-9]{0,30}", fullmatch=True),
        ),
        max_size=4,
    )
)
def test_any_fields_give_a_time_or_none(values: list[tuple[bytes, bytes]]) -> None:
    seconds = retry_after_seconds(values, {}, wall_time=NOW)
    assert seconds is None or 0 <= seconds < 10**12
