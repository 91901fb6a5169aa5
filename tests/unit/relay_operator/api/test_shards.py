"""A list of shards gives every Tenant to one operator, and says of a wrong one what is wrong."""

import json

import pytest

from relay_operator.api.shards import MAIN, Shards
from relay_operator.errors import ShardsUnusable

LIST = [
    {"name": "premium", "tenantSelector": "tier=premium"},
    {"name": "eu", "tenantSelector": "region in (eu)"},
]


@pytest.mark.parametrize(
    ("labels", "shard"),
    [
        ({"tier": "premium"}, "premium"),
        ({"tier": "premium", "region": "eu"}, "premium"),
        ({"region": "eu"}, "eu"),
        ({"region": "us"}, MAIN),
        ({}, MAIN),
    ],
)
def test_a_tenant_is_the_first_shards_that_selects_it_else_the_main_operators(
    labels: dict[str, str], shard: str
) -> None:
    everybody = [Shards.read(own, json.dumps(LIST)) for own in (MAIN, "premium", "eu")]
    assert [one.own for one in everybody if one.are_ours(labels)] == [shard]


def test_without_shards_everything_is_the_main_operators() -> None:
    assert Shards.read(MAIN, "[]").are_ours({"tier": "premium"})


@pytest.mark.parametrize(
    ("own", "listed", "said"),
    [
        ("us", LIST, "there is no shard us; there are: premium, eu"),
        (MAIN, [LIST[0], LIST[0]], "two shards have the same name: premium, premium"),
        (MAIN, [{"name": "eu", "tenantSelector": "region>2"}], "'region>2' is no part"),
        (MAIN, [{"name": "eu", "tenantSelector": ""}], "0.tenantSelector"),
        (MAIN, [{"name": "EU", "tenantSelector": "a=b"}], "0.name"),
        (MAIN, [{"name": "eu", "tenantSelector": "a=b", "replicas": 2}], "0.replicas"),
        (MAIN, {}, "the list of shards"),
    ],
)
def test_a_wrong_list_is_refused(own: str, listed: object, said: str) -> None:
    with pytest.raises(ShardsUnusable, match=said):
        Shards.read(own, json.dumps(listed))
