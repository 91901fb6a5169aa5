"""Tiers: what the platform supplies, where it comes from, and what is refused when the operator starts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay_operator import main
from relay_operator.api.tiers import Tiers
from relay_operator.cluster.tiers_file import read_tiers
from relay_operator.errors import InvalidSpec, TiersUnusable
from relay_operator.manifests import composable
from relay_operator.names import Reason

CRD = Path(__file__).resolve().parents[4] / "crds" / "tenants.yaml"


def tiers(**named: Any) -> Tiers:
    return Tiers.parse(json.dumps(named))


PREMIUM = {
    "relay": {"replicas": 3, "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": 2}}},
    "queue": {"concurrency": 100, "maxWait": "30s"},
    "limits": {"tokensPerMinute": 1000, "models": [{"name": "m", "requestsPerMinute": 5}]},
}


def test_a_tier_supplies_what_the_spec_leaves_out_and_nothing_else() -> None:
    written = {
        "tier": "premium",
        "relay": {"replicas": 1, "resources": {"requests": {"memory": "1Gi"}}},
        "queue": {"maxDepth": 3, "maxWait": "5s"},
        "apiKeys": [{"name": "web"}],
    }
    found = tiers(
        premium=PREMIUM | {"relay": {"resources": {"limits": {"memory": "2Gi"}}}}
    ).fill_in(written)
    assert found.spec["relay"]["replicas"] == 1
    assert found.spec["queue"] == {"maxDepth": 3, "maxWait": "5s", "concurrency": 100}
    assert found.spec["limits"] == PREMIUM["limits"]
    assert found.spec["apiKeys"] == [{"name": "web"}]
    assert found.origin.from_tier == (
        "limits.models",
        "limits.tokensPerMinute",
        "queue.concurrency",
        "relay.resources.limits.memory",
    )


def test_single_resources_come_from_spec_tier_and_defaults() -> None:
    written = {"tier": "premium", "relay": {"resources": {"requests": {"memory": "64Mi"}}}}
    found = tiers(premium=PREMIUM).fill_in(written).spec["relay"]["resources"]
    assert found == {
        "requests": {"cpu": "500m", "memory": "64Mi"},
        "limits": {"cpu": 2, "memory": "512Mi"},
    }


def test_without_a_tier_nothing_is_supplied() -> None:
    found = tiers(premium=PREMIUM).fill_in({"queue": {"maxDepth": 3}})
    assert found.spec == {"queue": {"maxDepth": 3}}
    assert found.origin.from_tier == ()


@pytest.mark.parametrize(
    ("relay", "replicas"), [(None, 2), ({}, 2), ({"replicas": 1}, 1), ({"replicas": 5}, 5)]
)
def test_production_means_two_pods_unless_something_else_is_said(
    relay: dict[str, Any] | None, replicas: int
) -> None:
    written = {"tier": "live"} | ({} if relay is None else {"relay": relay})
    found = tiers(live={"production": True}).fill_in(written)
    assert found.spec["relay"]["replicas"] == replicas
    assert ("relay.replicas" in found.origin.from_tier) == (replicas == 2)


def test_production_means_two_pods_at_least_with_autoscaling() -> None:
    written = {"tier": "live", "relay": {"autoscaling": {"maxReplicas": 9}}}
    found = tiers(live={"production": True}).fill_in(written)
    assert found.spec["relay"] == {"autoscaling": {"maxReplicas": 9, "minReplicas": 2}}


@pytest.mark.parametrize(
    ("own", "tier", "expected"),
    [
        ({"replicas": 2}, {"autoscaling": {"maxReplicas": 9}}, {"replicas": 2}),
        ({"autoscaling": {"maxReplicas": 9}}, {"replicas": 2}, {"autoscaling": {"maxReplicas": 9}}),
        (
            {"autoscaling": {"maxReplicas": 9}},
            {"autoscaling": {"maxReplicas": 3, "cpuPercent": 50}},
            {"autoscaling": {"maxReplicas": 9, "cpuPercent": 50}},
        ),
    ],
)
def test_the_number_of_pods_is_decided_in_one_place(
    own: dict[str, Any], tier: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = tiers(a={"relay": tier}).fill_in({"tier": "a", "relay": own})
    assert found.spec["relay"] == expected


def test_an_unknown_tier_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        InvalidSpec, match="no tier gold; choose one of premium, standard"
    ) as caught:
        tiers(premium={}, standard={}).fill_in({"tier": "gold"})
    assert caught.value.reason is Reason.TIER_NOT_FOUND
    with pytest.raises(InvalidSpec, match=r"the platform has none; leave spec\.tier out"):
        Tiers().fill_in({"tier": "gold"})
    with pytest.raises(InvalidSpec, match=r"t28, \.\.\.$"):
        tiers(**{f"t{number}": {} for number in range(10, 40)} | {"t1": {}}).fill_in({"tier": "x"})


@pytest.mark.parametrize(
    ("spec", "tier", "message"),
    [
        (
            {"queue": {"guaranteedSeats": 101}},
            PREMIUM,
            "queue.guaranteedSeats of 101 (spec) is above queue.concurrency of 100 (tier a)",
        ),
        (
            {"queue": {"concurrency": 3}},
            {"queue": {"guaranteedSeats": 4}},
            "queue.guaranteedSeats of 4 (tier a) is above queue.concurrency of 3 (spec)",
        ),
        (
            {"queue": {"guaranteedSeats": 65}},
            {},
            "queue.guaranteedSeats of 65 (spec) is above queue.concurrency of 64 (the default)",
        ),
        (
            {"relay": {"resources": {"limits": {"cpu": "400m"}}}},
            PREMIUM,
            "relay.resources.requests.cpu of 500m (tier a) is above relay.resources.limits.cpu of 400m (spec)",
        ),
        (
            {"relay": {"resources": {"requests": {"memory": "1Gi"}}}},
            {"relay": {"resources": {"limits": {"memory": "1000Mi"}}}},
            "relay.resources.requests.memory of 1Gi (spec) is above relay.resources.limits.memory of 1000Mi (tier a)",
        ),
        (
            {"relay": {"resources": {"limits": {"memory": "64Mi"}}}},
            {},
            "relay.resources.requests.memory of 96Mi (the default) is above relay.resources.limits.memory of 64Mi",
        ),
        (
            {"relay": {"autoscaling": {"maxReplicas": 3}}},
            {"relay": {"autoscaling": {"minReplicas": 4, "maxReplicas": 9}}},
            "relay.autoscaling.minReplicas of 4 (tier a) is above relay.autoscaling.maxReplicas of 3 (spec)",
        ),
        (
            {"relay": {"autoscaling": {"maxReplicas": 1}}},
            {"production": True},
            "relay.autoscaling.minReplicas of 2 (tier a) is above relay.autoscaling.maxReplicas of 1 (spec)",
        ),
        (
            {"relay": {"autoscaling": {"maxReplicas": 3}}},
            {"relay": {"resources": {"requests": {"cpu": 0}}}},
            "relay.resources.requests.cpu of 0 (tier a) leaves nothing",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_both_sources(
    spec: dict[str, Any], tier: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        tiers(a=tier).fill_in({"tier": "a"} | spec)
    assert message in str(caught.value)


@pytest.mark.parametrize("spec", [{"relay": 5}, {"queue": "x"}, {"relay": {"resources": []}}])
def test_a_spec_of_another_shape_is_refused_for_itself(spec: dict[str, Any]) -> None:
    body = {"metadata": {"name": "a", "uid": "u"}, "spec": {"tier": "a"} | spec}
    with pytest.raises(InvalidSpec, match=r"spec\.(relay|queue)"):
        composable.tenant(body, tiers(a=PREMIUM | {"production": True}))


def test_what_shapes_the_pods_is_told_apart_from_the_rest() -> None:
    def pods(**spec: Any) -> str:
        return tiers(a=PREMIUM, b=PREMIUM).fill_in(spec).origin.pods

    assert pods() == pods(queue={"maxDepth": 1}, relay={"replicas": 3}, suspend=True)
    distinct = [
        pods(),
        pods(tier="a"),
        pods(tier="b"),
        pods(relay={"resources": {"limits": {"cpu": 3}}}),
        pods(network={"tls": {"secretName": "s"}}),
    ]
    assert len(set(distinct)) == len(distinct)
    assert pods(tier="a") == tiers(a={}).fill_in({"tier": "a"}).origin.pods


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid JSON"),
        ("[]", "object"),
        ('{"Premium": {}}', "Premium"),
        ('{"' + "a" * 41 + '": {}}', "at most 40"),
        ('{"a": {"suspend": true}}', "a.suspend"),
        ('{"a": {"production": "yes"}}', "a.production"),
        ('{"a": {"relay": {"image": "evil"}}}', "a.relay.image"),
        ('{"a": {"relay": {"replicas": "2"}}}', "a.relay.replicas"),
        ('{"a": {"relay": {"autoscaling": {"minReplicas": 2}}}}', "a.relay.autoscaling.maxReplicas"),
        ('{"a": {"relay": {"replicas": 2, "autoscaling": {"maxReplicas": 3}}}}', "exclude"),
        ('{"a": {"relay": {"resources": {"limits": {"disk": "1Gi"}}}}}', "a.relay.resources.limits.disk"),
        ('{"a": {"relay": {"resources": {"limits": {"cpu": "much"}}}}}', "a.relay.resources.limits.cpu"),
        ('{"a": {"relay": {"resources": {"requests": {"memory": "1Gi"}}}}}', "above"),
        ('{"a": {"queue": {"maxWait": "soon"}}}', "a.queue.maxWait"),
        ('{"a": {"queue": {"maxWait": 5}}}', "a.queue.maxWait"),
        ('{"a": {"queue": {"guaranteedSeats": 65}}}', "a: queue.guaranteedSeats of 65 (tier a)"),
        ('{"a": {"limits": {"models": [{}]}}}', "a.limits.models.0.name"),
    ],
)  # fmt: skip
def test_tiers_that_cannot_be_used_are_refused_by_tier_and_field(text: str, message: str) -> None:
    with pytest.raises(TiersUnusable) as caught:
        Tiers.parse(text)
    assert message in str(caught.value)


def numbers(schema: dict[str, Any], *path: str) -> list[tuple[tuple[str, ...], int, int]]:
    """Returns path, minimum and maximum of every whole number of a schema."""
    if schema.get("type") == "integer":
        return [(path, schema["minimum"], schema["maximum"])]
    return [
        found
        for name, below in schema.get("properties", {}).items()
        for found in numbers(below, *path, name)
    ]


def of_the_custom_resource() -> list[tuple[tuple[str, ...], int, int]]:
    crd = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec = crd["properties"]["spec"]["properties"]
    return [found for part in ("relay", "queue", "limits") for found in numbers(spec[part], part)]


@pytest.mark.parametrize(("path", "least", "most"), of_the_custom_resource())
def test_numbers_have_the_bounds_of_the_custom_resource(
    path: tuple[str, ...], least: int, most: int
) -> None:
    def accepted(number: int) -> bool:
        tier: dict[str, Any] = {"queue": {"concurrency": 10_000}}
        place = tier
        for name in path[:-1]:
            place = place.setdefault(name, {"maxReplicas": 50} if name == "autoscaling" else {})
        place[path[-1]] = number
        try:
            tiers(a=tier)
        except TiersUnusable:
            return False
        return True

    assert [accepted(number) for number in (least - 1, least, most, most + 1)] == [
        False,
        True,
        True,
        False,
    ]


def test_the_operator_does_not_start_with_tiers_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiers.json"
    file.write_text('{"a": {"queue": {"weight": 1001}}}')
    monkeypatch.setenv("OPERATOR_TIERS_FILE", str(file))
    monkeypatch.setattr("sys.argv", ["relay-operator"])
    with pytest.raises(SystemExit):
        main.main()
    said = capsys.readouterr().err
    assert re.search(r"cannot start: the tiers in .* a\.queue\.weight", said)


def test_a_file_that_cannot_be_used_says_which_and_what_to_do(tmp_path: Path) -> None:
    assert read_tiers("") == Tiers()
    file = tmp_path / "tiers.json"
    with pytest.raises(TiersUnusable, match=r"tiers\.json.*No such file"):
        read_tiers(str(file))
    file.write_text('{"a": {"relay": {"replicas": 0}}}')
    with pytest.raises(TiersUnusable, match=r"a\.relay\.replicas.*correct the chart's value tiers"):
        read_tiers(str(file))
    file.write_text('{"a": {}}')
    assert set(read_tiers(str(file)).known) == {"a"}
