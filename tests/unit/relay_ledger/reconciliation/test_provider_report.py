"""Pages of a provider's reports: each counts once."""

import json
from typing import Any

import pytest

from relay_ledger.reconciliation.provider_report import Page, UnreadableReport, read_pages

DAY = 86_400


def page(day: int, *results: dict[str, Any]) -> Page:
    return bucket_page(day * DAY, (day + 1) * DAY, *results)


def bucket_page(start: int, end: int, *results: dict[str, Any]) -> Page:
    bucket = {"start_time": start, "end_time": end, "results": list(results)}
    return Page(json.dumps({"data": [bucket], "has_more": False}))


def cost(usd: float) -> dict[str, Any]:
    return {"amount": {"value": usd, "currency": "usd"}}


def test_a_page_that_is_given_twice_is_refused_and_not_added_up() -> None:
    once = page(1, cost(3.0))
    with pytest.raises(UnreadableReport, match="page 3 is page 1 once more"):
        read_pages([once, page(2, cost(3.0)), Page(once.text + "\n")], "openai")
    # two organisations' costs of one day are two pages of it
    report = read_pages([once, page(1, cost(3.5)), page(2), page(2)], "openai")
    assert sum(one.pico for one in report.costs) == 65 * 10**11


@pytest.mark.parametrize(
    ("start", "end"),
    [
        # the same day by the hour, a day of another zone, and the day as it stood at noon
        (DAY + 3600, DAY + 7200),
        (DAY - 8 * 3600, 2 * DAY - 8 * 3600),
        (DAY, DAY + DAY // 2),
    ],
)
def test_buckets_that_overlap_are_refused_and_not_added_up(start: int, end: int) -> None:
    for row in (cost(3.0), usage()):
        pages = [page(1, row), bucket_page(start, end, row)]
        for given in (pages, pages[::-1]):
            with pytest.raises(UnreadableReport, match="overlap"):
                read_pages(given, "openai")
    # of usage and costs each may have its own
    both = read_pages([page(1, cost(3.0)), bucket_page(start, end, usage())], "openai")
    assert (len(both.costs), len(both.uses)) == (1, 1)
    # nothing tells what an empty page is of: it may be of costs
    assert read_pages([page(1), bucket_page(start, end, usage())], "openai").uses


def usage(**counts: int) -> dict[str, Any]:
    return {"input_tokens": 10, "output_tokens": 5, "model": "gpt-4.1", **counts}


def test_sound_is_counted_with_the_text_beside_it() -> None:
    # both are documented as what is beside the text: input_tokens are "text input tokens", cached ones among them
    sound = {"input_cached_tokens": 4, "input_audio_tokens": 100, "output_audio_tokens": 50}
    [use] = read_pages([page(1, usage(**sound))], "openai").uses
    assert use.tokens == {"input": 106, "cache_read": 4, "cache_write": 0, "output": 55}


def test_more_of_a_cache_than_of_all_input_is_no_report() -> None:
    with pytest.raises(UnreadableReport, match="no count"):
        read_pages([page(1, usage(input_cached_tokens=11))], "openai")
