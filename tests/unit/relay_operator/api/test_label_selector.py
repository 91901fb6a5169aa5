"""Label selectors mean what they mean to Kubernetes."""

import pytest

from relay_operator.api import label_selector

PREMIUM = {"tier": "premium", "region": "eu"}


@pytest.mark.parametrize(
    ("text", "selects"),
    [
        ("tier=premium", True),
        ("tier==premium", True),
        ("tier = premium", True),
        ("tier=standard", False),
        ("tier!=standard", True),
        ("tier!=premium", False),
        ("team!=payments", True),
        ("tier=premium,region=us", False),
        ("tier=premium, region in (us, eu)", True),
        ("region in (us)", False),
        ("region notin (us,asia)", True),
        ("region notin (eu)", False),
        ("team notin (payments)", True),
        ("team in (payments)", False),
        ("tier", True),
        ("team", False),
        ("!team", True),
        ("!tier", False),
        ("team=", False),
        ("tier,!team,region in (eu,us)", True),
    ],
)
def test_a_selector_selects_by_all_of_its_parts(text: str, selects: bool) -> None:
    assert label_selector.parse(text).matches(PREMIUM) is selects


@pytest.mark.parametrize(
    "text",
    ["", "tier=premium,", "tier>2", "tier in premium", "tier in (a b)", "-x=1", "a=b=c", "in ()x"],
)
def test_what_is_no_selector_is_refused_with_the_part_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no part of a label selector: write name=value"):
        label_selector.parse(text)


def test_a_name_may_have_a_prefix() -> None:
    labels = {"example.com/shard": "b"}
    assert label_selector.parse("example.com/shard=b").matches(labels)
