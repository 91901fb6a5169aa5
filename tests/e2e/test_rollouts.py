"""Tiers on the real cluster: a change that does not work stops after a few tenants while all serve, one command undoes it;
what bounds a tenant's namespace, and who says how many relay pods there are.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.demo.stage import CHART
from tests.e2e import relay_rollouts, releases

TENANTS = tuple(f"fleet-{number}" for number in range(8))
AT_ONCE = 2
SMALL = {"requests": {"cpu": "10m", "memory": "48Mi"}}
STARTS_SECONDS = 150.0


def tenant(name: str, **spec: Any) -> str:
    metadata = {"name": name, "labels": {"e2e": "fleet"}}
    manifest = {"apiVersion": "relay-operator.dev/v1alpha1", "kind": "Tenant"}
    return json.dumps({**manifest, "metadata": metadata, "spec": {"tier": "fleet"} | spec})


def upgrade(cluster: Cluster, tier: dict[str, Any]) -> None:
    """Changes the tier as a platform team does."""
    cluster.helm(
        "upgrade", *releases.RELEASE, str(CHART), "--reuse-values",
        "--set", f"operator.rolloutsAtOnce={AT_ONCE}",
        "--set-json", f"tiers.fleet={json.dumps(tier)}",
        "--wait", "--timeout", "90s",
    )  # fmt: skip


def told(cluster: Cluster, type_: str = "RolledOut") -> dict[str, tuple[str, str]]:
    """Returns status and reason of a condition of every tenant of the fleet."""
    found = cluster.get("tenants.relay-operator.dev", "-l", "e2e=fleet")["items"]
    return {
        one["metadata"]["name"]: next(
            (
                (condition["status"], condition["reason"])
                for condition in one.get("status", {}).get("conditions", [])
                if condition["type"] == type_
            ),
            ("", ""),
        )
        for one in found
    }


def settles(cluster: Cluster, what: str, type_: str = "RolledOut") -> None:
    wait_until(
        what,
        lambda: told(cluster, type_),
        lambda seen: {one[0] for one in seen.values()} == {"True"},
        seconds=STARTS_SECONDS,
        every=1.0,
    )


def requests(cluster: Cluster) -> dict[str, str]:
    """Returns what the relays of each tenant request of CPU."""
    return {
        name: relay_rollouts.container(one)["resources"]["requests"]["cpu"]
        for name, one in relay_rollouts.deployments(cluster).items()
    }


def message(cluster: Cluster, name: str, type_: str) -> str:
    conditions = cluster.get(f"tenant/{name}")["status"]["conditions"]
    return next(str(one["message"]) for one in conditions if one["type"] == type_)


@pytest.fixture(scope="module")
def fleet(staged: Cluster) -> Iterator[Cluster]:
    """Makes the tenants of one tier; takes them and the tier away at the end."""
    revision = releases.revision(staged)
    upgrade(staged, {"relay": {"resources": SMALL}})
    for name in TENANTS:
        staged.kubectl("apply", "-f", "-", stdin=tenant(name))
    settles(staged, "the fleet's relays", "Ready")
    settles(staged, "the fleet's rollouts")
    yield staged
    staged.kubectl("delete", "tenants.relay-operator.dev", "-l", "e2e=fleet", "--wait=false")
    releases.roll_back(staged, revision)


def test_a_change_that_works_and_its_rollback_move_a_few_relays_at_once(
    fleet: Cluster, tmp_path: Path
) -> None:
    def change() -> None:
        requested = SMALL["requests"] | {"cpu": "11m"}
        upgrade(fleet, {"relay": {"resources": {"requests": requested}}})

    def undo() -> None:
        releases.roll_back(fleet)

    def moved(how: Callable[[], None], cpu: str) -> tuple[int, set[str]]:
        states = relay_rollouts.watched(fleet, tmp_path / cpu)
        states.start()
        try:
            how()
            wait_until(
                f"all relays with {cpu}",
                lambda: {requests(fleet)[name] for name in TENANTS},
                lambda seen: seen == {cpu},
                seconds=STARTS_SECONDS,
                every=1.0,
            )
            settles(fleet, "the change")
        finally:
            states.stop()
        return relay_rollouts.rolled_at_once(states, TENANTS)

    for how, cpu in ((change, "11m"), (undo, "10m")):
        most, ever = moved(how, cpu)
        assert ever == set(TENANTS)
        assert most <= AT_ONCE, f"{most} relays were on their way to {cpu} at once"


def test_a_tier_that_does_not_work_stops_after_a_few_and_one_command_undoes_it(
    fleet: Cluster,
) -> None:
    broken = {"requests": {"cpu": "900", "memory": "48Mi"}}
    upgrade(fleet, {"relay": {"resources": broken}})
    wanted = {"WaveStopped": len(TENANTS) - AT_ONCE, "RolloutStuck": AT_ONCE}
    stopped = wait_until(
        "a stopped rollout",
        lambda: told(fleet),
        # the first that is stuck stops the wave, before the others of it are
        lambda seen: Counter(one[1] for one in seen.values()) == wanted,
        seconds=STARTS_SECONDS,
        every=1.0,
    )
    reached = sorted(name for name in TENANTS if requests(fleet)[name] == "900")
    assert len(reached) == AT_ONCE
    assert [stopped[name][1] for name in reached] == ["RolloutStuck"] * AT_ONCE
    assert "Insufficient cpu" in message(fleet, reached[0], "RolledOut")
    others = [name for name in TENANTS if name not in reached]
    assert reached[0] in message(fleet, others[-1], "RolledOut")
    # nobody is without a relay
    assert {one[0] for one in told(fleet, "RelayAvailable").values()} == {"True"}
    ready = told(fleet, "Ready")
    assert {ready[name][0] for name in others} == {"True"}
    # a tenant's own change waits for nobody
    own = {"relay": {"resources": {"requests": {"cpu": "20m"}}}}
    fleet.kubectl("apply", "-f", "-", stdin=tenant(others[-1], **own))
    wait_until(
        "the tenant's own change",
        lambda: told(fleet)[others[-1]],
        lambda seen: seen == ("True", "RolledOut"),
        seconds=STARTS_SECONDS,
        every=1.0,
    )
    releases.roll_back(fleet)
    settles(fleet, "the undone change")
    settles(fleet, "everyone ready", "Ready")
    assert "900" not in requests(fleet).values()


def test_an_autoscaler_says_how_many_pods_there_are_and_the_operator_lets_it(
    fleet: Cluster,
) -> None:
    name = TENANTS[0]
    scaled = {"relay": {"autoscaling": {"minReplicas": 2, "maxReplicas": 3}}}
    deployment = ("deployment/relay", "-n", f"relay-{name}")

    def replicas() -> int:
        return int(fleet.get(*deployment)["spec"]["replicas"])

    fleet.kubectl("apply", "-f", "-", stdin=tenant(name, **scaled))
    wait_until("the fewest pods", replicas, lambda seen: seen == 2, seconds=60, every=1.0)
    fleet.break_glass("scale", *deployment, "--replicas=3")
    # whatever makes the operator look at the tenant again
    fleet.kubectl("apply", "-f", "-", stdin=tenant(name, limits={"burstSeconds": 3}, **scaled))
    wait_until(
        "three pods in status",
        lambda: fleet.get(f"tenant/{name}")["status"]["relay"]["replicas"],
        lambda seen: seen == 3,
        seconds=30,
    )
    assert replicas() == 3
    fleet.kubectl("apply", "-f", "-", stdin=tenant(name))
    wait_until("the spec's number again", replicas, lambda seen: seen == 1, seconds=30)
    left = fleet.kubectl("get", "hpa", "-n", f"relay-{name}", "-o", "name")
    assert left == ""


def test_nothing_but_the_relay_fits_and_a_quota_that_is_too_small_is_told(fleet: Cluster) -> None:
    name = TENANTS[1]
    space = f"relay-{name}"
    security = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "other", "namespace": space},
        "spec": {
            "containers": [
                {
                    "name": "a",
                    "image": "relay-operator:dev",
                    "securityContext": security,
                    "resources": {"limits": {"memory": "1Gi"}},
                }
            ]
        },
    }
    with pytest.raises(DemoFailed, match="maximum memory usage per Container is 512Mi"):
        fleet.break_glass("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    fleet.break_glass("create", "quota", "tight", "--hard=pods=1", "-n", space)
    own = {"relay": {"resources": {"requests": {"cpu": "30m"}}}}
    fleet.kubectl("apply", "-f", "-", stdin=tenant(name, **own))
    wait_until(
        "a word about the quota",
        lambda: told(fleet, "RelayAvailable")[name],
        lambda seen: seen == ("False", "QuotaExceeded"),
        seconds=60,
        every=1.0,
    )
    assert "tight" in message(fleet, name, "RelayAvailable")
    fleet.break_glass("delete", "quota", "tight", "-n", space)
    settles(fleet, "room for the rollout")
    assert told(fleet, "RelayAvailable")[name][0] == "True"
