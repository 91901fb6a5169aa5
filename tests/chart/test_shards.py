"""The chart makes operators for each shard that know the whole list, are told apart, and are let in by the same policies."""

import json
from typing import Any

import pytest
from tests.chart import rendering

from relay_operator import names
from relay_operator.api.shards import MAIN, Shards
from relay_operator.settings import Settings, labels

LIST = [
    {"name": "premium", "tenantSelector": "tier in (premium, gold),!trial"},
    {"name": "eu", "tenantSelector": "region=eu"},
]


def template(listed: object, *, release: str = "relay-operator") -> rendering.Done:
    shards = f"operator.shards={json.dumps(listed)}"
    return rendering.template("--set-json", shards, release=release)


def rendered(listed: object = LIST) -> list[dict[str, Any]]:
    return rendering.manifests(template(listed))


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in rendered() if one["kind"] == kind}


def environment(deployment: dict[str, Any]) -> dict[str, str]:
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one.get("value", "") for one in container["env"]}


def test_every_shard_has_operators_that_know_who_they_are_and_who_the_others_are() -> None:
    deployments = of_kind("Deployment")
    assert set(deployments) == {"relay-operator", "relay-operator-premium", "relay-operator-eu"}
    for own, name in ((MAIN, "relay-operator"), ("eu", "relay-operator-eu")):
        told = environment(deployments[name])
        known = {f"OPERATOR_{field.upper()}" for field in Settings.model_fields}
        assert set(told) <= known
        shards = Shards.read(told["OPERATOR_SHARD"], told["OPERATOR_SHARDS"])
        assert (shards.own, [one.name for one in shards.listed]) == (own, ["premium", "eu"])
        assert shards.of({"tier": "gold", "region": "eu"}) == "premium"


def test_two_shards_of_one_name_are_refused_by_that_name() -> None:
    done = template([LIST[0], LIST[1] | {"name": "premium"}])
    assert "two shards of the name premium" in done.stderr


def test_a_shard_whose_operators_would_have_too_long_a_name_is_refused_by_that_name() -> None:
    done = template([{"name": "a" * 20, "tenantSelector": "tier=gold"}], release="r" * 43)
    assert done.returncode != 0
    assert f"would be called {'r' * 43}-{'a' * 20}, which has 64 characters" in done.stderr
    assert template([{"name": "a" * 20, "tenantSelector": "b=c"}], release="r" * 42).returncode == 0


def test_no_deployment_selects_another_shards_pods_and_relays_let_all_of_them_in() -> None:
    deployments = list(of_kind("Deployment").values())
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in deployments]
    for index, deployment in enumerate(deployments):
        wanted = deployment["spec"]["selector"]["matchLabels"].items()
        assert [wanted <= one.items() for one in pods] == [n == index for n in range(len(pods))]
        let_in = labels(environment(deployment)["OPERATOR_POD_SELECTOR"])
        assert all(dict(let_in).items() <= one.items() for one in pods)
    policy = of_kind("NetworkPolicy")["relay-operator"]
    guarded = policy["spec"]["podSelector"]["matchLabels"].items()
    assert all(guarded <= one.items() for one in pods)
    scraped = of_kind("Service")["relay-operator-pods"]["spec"]["selector"].items()
    assert all(scraped <= one.items() for one in pods)
    assert len(of_kind("PodDisruptionBudget")) == len(pods)


def test_the_lease_of_every_shard_may_be_changed() -> None:
    [role] = of_kind("Role").values()
    named = [
        rule["resourceNames"]
        for rule in role["rules"]
        if "leases" in rule["resources"] and "resourceNames" in rule
    ]
    assert named == [[names.leader_lease(own) for own in (MAIN, "premium", "eu")]]


@pytest.mark.parametrize(
    "listed",
    [
        [{"name": "premium"}],
        [{"name": "Premium", "tenantSelector": "a=b"}],
        [{"name": "", "tenantSelector": "a=b"}],
        [{"name": "premium", "tenantSelector": ""}],
        [{"name": "premium", "tenantSelector": "a=b", "replicas": 3}],
        {"premium": "a=b"},
    ],
)
def test_a_list_that_is_none_is_refused(listed: object) -> None:
    assert template(listed).returncode != 0
