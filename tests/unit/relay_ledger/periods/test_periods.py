"""Periods tile the time: no moment is in two of them or in none, whatever the clocks, the anchors and the contracts do."""

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_ledger.periods.contracts import Contract, Terms
from relay_ledger.periods.divisions import GRANULARITIES, MAX_PARTS, TooManyParts, divided
from relay_ledger.periods.months import (
    Month,
    NotAMonth,
    bounds,
    follow_each_other,
    month_at,
    month_period,
    read_month,
)
from relay_ledger.periods.zones import (
    QUARTER,
    SECOND,
    UnknownZone,
    aligned,
    day_start,
    utc_text,
    zone,
)

HOUR = 3600 * SECOND
DAY = 24 * HOUR
ZONES = st.sampled_from(sorted(available_timezones() - {"localtime"}))
ANCHORS = st.integers(1, 31)
MONTHS = st.builds(Month, st.integers(2000, 2060), st.integers(1, 12))


def at(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND + moment.microsecond


MOMENTS = st.integers(at("2001-01-01"), at("2050-01-01"))


@pytest.mark.parametrize(
    ("where", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("America/St_Johns", date(2026, 3, 8), 23),
        ("America/St_Johns", date(2026, 11, 1), 25),
        ("Asia/Kathmandu", date(2026, 3, 29), 24),
        # clocks that jump at midnight: the day begins when they do
        ("Africa/Cairo", date(2026, 4, 24), 23),
        ("Asia/Beirut", date(2026, 3, 29), 23),
        # half an hour alone
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        # a day that there was not
        ("Pacific/Apia", date(2011, 12, 30), 0),
    ],
)
def test_a_day_has_the_hours_that_its_clocks_give_it(where: str, day: date, hours: float) -> None:
    there = zone(where)
    assert day_start(day + timedelta(1), there) - day_start(day, there) == hours * HOUR


@pytest.mark.parametrize(
    ("where", "start", "end"),
    [
        ("UTC", "2026-03-01T00:00:00", "2026-04-01T00:00:00"),
        ("Asia/Shanghai", "2026-02-28T16:00:00", "2026-03-31T16:00:00"),
        ("Asia/Kathmandu", "2026-02-28T18:15:00", "2026-03-31T18:15:00"),
        ("America/St_Johns", "2026-03-01T03:30:00", "2026-04-01T02:30:00"),
        ("Europe/Berlin", "2026-02-28T23:00:00", "2026-03-31T22:00:00"),
    ],
)
def test_a_month_is_half_open_in_its_zone(where: str, start: str, end: str) -> None:
    period = month_period(Month(2026, 3), zone(where))
    assert (period.start, period.end) == (at(start), at(end))
    for moment, month in ((-1, 2), (0, 3), (1, 3)):
        assert month_at(period.start + moment, zone(where)) == Month(2026, month)
    for moment, month in ((-1, 3), (0, 4), (1, 4)):
        assert month_at(period.end + moment, zone(where)) == Month(2026, month)
        assert (period.end + moment in period) == (month == 3)


def test_an_anchor_is_clamped_and_comes_back() -> None:
    there = zone("UTC")
    starts = [utc_text(month_period(Month(2028, month), there, 31).start) for month in range(1, 6)]
    days = ["2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30", "2028-05-31"]
    assert starts == [f"{day}T00:00:00Z" for day in days]
    assert month_period(Month(2027, 2), there, 30).start == at("2027-02-28T00:00:00")


@given(ZONES, MOMENTS, st.integers(0, 800), ANCHORS)
@settings(max_examples=150)
def test_months_tile_any_time_at_quarters(where: str, start: int, days: int, anchor: int) -> None:
    there, end = zone(where), start + days * DAY + 1
    periods = bounds(start, end, there, anchor)
    assert follow_each_other(periods)
    assert periods[0].start <= start
    assert periods[-1].end >= end
    assert all(period.start % QUARTER == 0 for period in periods)
    assert all(27 * DAY < period.end - period.start <= 32 * DAY for period in periods[1:-1]) or (
        where == "Pacific/Apia"
    )
    inside = [period for period in periods if start in period]
    assert [period.name for period in inside] == [month_at(start, there, anchor).name]


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    starts = draw(st.lists(MOMENTS, max_size=4, unique=True))
    return Contract(
        Terms(start // QUARTER * QUARTER, draw(ZONES), draw(ANCHORS)) for start in [0, *starts]
    )


@given(contracts(), MOMENTS, st.integers(0, 400))
@settings(max_examples=150)
def test_changes_of_a_contract_divide_months_and_leave_no_gap(
    contract: Contract, start: int, days: int
) -> None:
    end = start + days * DAY + 1
    periods = contract.periods(start, end)
    assert follow_each_other(periods)
    assert periods[0].start <= start
    assert periods[-1].end >= end
    assert all(period.start < period.end for period in periods)
    # asked for alone, a moment is in the same period
    for period in periods:
        for moment in (period.start, period.end - 1):
            assert contract.periods(moment, moment + 1) == [period]


@given(contracts(), MONTHS)
@settings(max_examples=100)
def test_the_parts_of_all_months_are_all_there_is(contract: Contract, month: Month) -> None:
    for part in contract.of_month(month):
        assert contract.periods(part.start, part.start + 1) == [part]
        assert part.name.startswith(month.name)


def test_a_change_of_zone_divides_its_month_and_no_other() -> None:
    change = at("2026-03-17T06:15:00")
    contract = Contract([Terms(0, "Asia/Shanghai"), Terms(change, "America/New_York")])
    first, second = contract.of_month(Month(2026, 3))
    assert (first.name, first.start, first.end) == ("2026-03", at("2026-02-28T16:00:00"), change)
    assert (second.name, second.start, second.end) == (
        "2026-03-17T0215",
        change,
        at("2026-04-01T04:00:00"),
    )
    (april,) = contract.of_month(Month(2026, 4))
    assert (april.name, april.start) == ("2026-04", second.end)
    assert contract.terms_at(change - 1).zone == "Asia/Shanghai"
    assert contract.terms_at(change).zone == "America/New_York"


@given(ZONES, MOMENTS, st.integers(0, 60 * 24), st.sampled_from(GRANULARITIES))
@settings(max_examples=150)
def test_parts_of_a_report_tile_it(where: str, start: int, hours: int, granularity: str) -> None:
    first, last = aligned(start, start + hours * HOUR + 1)
    parts = divided(first, last, granularity, zone(where))  # type: ignore[arg-type]
    assert parts[0][0] == first
    assert parts[-1][1] == last
    assert all(one[1] == other[0] for one, other in itertools.pairwise(parts))
    assert all(start < end and start % QUARTER == 0 for start, end in parts)


def test_days_and_hours_of_a_night_that_turns_the_clocks() -> None:
    there = zone("Europe/Berlin")
    start, end = day_start(date(2026, 10, 25), there), day_start(date(2026, 10, 27), there)
    assert [last - first for first, last in divided(start, end, "day", there)] == [
        25 * HOUR,
        24 * HOUR,
    ]
    assert len(divided(start, end, "hour", there)) == 49


def test_an_answer_has_bounded_parts() -> None:
    there = zone("UTC")
    assert len(divided(0, MAX_PARTS * HOUR, "hour", there)) == MAX_PARTS
    for granularity in ("hour", "day"):
        with pytest.raises(TooManyParts, match="shorter period"):
            divided(0, 10 * 366 * DAY, granularity, there)


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "/etc/passwd", "UTC\0", "ü"])
def test_what_is_no_zone_is_told(name: str) -> None:
    with pytest.raises(UnknownZone, match="IANA"):
        zone(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026",
        "2026-3",
        "2026-13",
        "1999-12",
        "\u0662\u0660\u0662\u0666-\u0660\u0661",
        "2026-00",
    ],
)
def test_what_is_no_month_is_told(text: str) -> None:
    with pytest.raises(NotAMonth, match="2026-03"):
        read_month(text)
