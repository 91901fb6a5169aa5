"""No call is lost while relay pods are deleted, rolled or scaled, or the operator and Prometheus are gone."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.session.fixtures import tell
from tests.demo import stage, story
from tests.demo.commands import Cluster, wait_until
from tests.e2e import leaders, previous_chart, relay_rollouts, releases
from tests.e2e.canaries.timeline import Move, Seen, followed
from tests.e2e.test_tenancy import apply

RELAYS = "relay-finance"
AT_ONCE = 100
"""Calls under way at most: where processors are short more of them would fill the tenant's queue, and the relay would refuse them as it should."""
BESIDE = ("other-0", "other-1", "other-2")
TENANTS = ("finance", *BESIDE)
SMALL = {"requests": {"cpu": "10m", "memory": "48Mi"}}
ROLLED_AT_ONCE = 2
CLIMBING = {"Stable", "Preflight", "Progressing", "Promoted"}
HELD_AT = 90
"""Where the canary waits for the end of the last rollout, if it comes so far before."""


def serving(cluster: Cluster, count: int) -> None:
    """Waits until that many relay pods are ready and no other is left."""

    def pods() -> list[bool]:
        items = cluster.get("pods", "-n", RELAYS, "-l", "app.kubernetes.io/name=relay")["items"]
        return [
            any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in pod["status"].get("conditions", [])
            )
            and "deletionTimestamp" not in pod["metadata"]
            for pod in items
        ]

    wait_until(
        f"{count} relay pods", pods, lambda seen: seen == [True] * count, seconds=60, every=0.5
    )


@pytest.fixture(scope="module")
def loaded(staged: Cluster) -> Iterator[Cluster]:
    """Puts tenant finance on its stable provider and calls it 80 times a second, half of it streams, while fewer than AT_ONCE calls are under way."""
    first = stage.EXAMPLES / "01-first-tenant"
    for name in ("providers.yaml", "tenant.yaml"):
        staged.kubectl("apply", "-f", str(first / name))
    staged.kubectl("wait", "tenant/finance", "--for=condition=Ready", "--timeout=60s")
    staged.kubectl("apply", "-f", str(first / "route.yaml"))
    staged.kubectl(
        "wait", "relayroute/chat", "-n", RELAYS, "--for=condition=Ready", "--timeout=60s"
    )
    stage.start_caller(staged, arguments=[f"--at-once={AT_ONCE}"])
    wait_until(
        "an answered call",
        lambda: story.totals(staged),
        lambda seen: seen.get("answered", 0) > 0,
        seconds=60,
    )
    yield staged
    staged.kubectl("delete", "pod", "caller", "-n", "web", "--ignore-not-found", "--grace-period=1")


@dataclass(frozen=True, slots=True)
class Losses:
    """Calls answered with an error and calls not answered, and the latest of each as it was; left_out were not made."""

    failed: int
    dropped: int
    left_out: int = field(compare=False)
    last_failed: str = field(compare=False)
    last_drop: str = field(compare=False)


def losses(cluster: Cluster) -> Losses:
    """Returns what the caller has lost so far, from a report later than now."""
    now = time.time()
    seen = wait_until(
        "a fresh report",
        lambda: story.totals(cluster),
        lambda report: report.get("at", 0) > now + 1,
        seconds=30,
    )
    return Losses(*(seen[one.name] for one in fields(Losses)))


def test_relay_pods_run_the_compiled_hot_path(loaded: Cluster) -> None:
    script = (
        "import relay.calls.exchange; from relay.dialect.body_scan import scan;"
        "print(scan.__module__, relay.calls.exchange.__file__)"
    )
    printed = loaded.kubectl(
        "exec", "-n", RELAYS, "deployment/relay", "--", "python3", "-c", script
    )
    # with another Python version the image is built uncompiled, and its build says so
    compiled = sys.version_info[:2] == (3, 11)
    scan, exchange = printed.split()
    assert scan == f"relay.dialect.{'_body_scan' if compiled else 'body_scan_pure'}"
    assert exchange.endswith(".so" if compiled else ".py")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("disruption", ["deleted", "rolled", "scaled"])
def test_no_call_is_lost_while_relay_pods_change(loaded: Cluster, disruption: str) -> None:
    serving(loaded, 2)
    before = losses(loaded)
    if disruption == "deleted":
        pod = loaded.kubectl("get", "pods", "-n", RELAYS, "-o", "name").split()[0]
        loaded.kubectl("delete", pod, "-n", RELAYS, "--wait=true")
        serving(loaded, 2)
    elif disruption == "rolled":
        loaded.break_glass("rollout", "restart", "deployment/relay", "-n", RELAYS)
        loaded.kubectl("rollout", "status", "deployment/relay", "-n", RELAYS, "--timeout=120s")
        serving(loaded, 2)
    else:
        for replicas in (3, 2):
            patch = f'{{"spec":{{"relay":{{"replicas":{replicas}}}}}}}'
            loaded.kubectl("patch", "tenant", "finance", "--type=merge", "-p", patch)
            serving(loaded, replicas)
    assert losses(loaded) == before


@pytest.mark.timeout(240)
def test_calls_are_served_without_operator_and_prometheus(loaded: Cluster) -> None:
    before = losses(loaded)
    operator = ("-n", "relay-system", "deployment/relay-operator")
    prometheus = ("-n", "monitoring", "deployment/prometheus")
    try:
        for target in (operator, prometheus):
            loaded.kubectl("scale", "--replicas=0", *target)
        loaded.kubectl("delete", "pods", "-n", RELAYS, "--all", "--wait=true")
        serving(loaded, 2)
        after = losses(loaded)
    finally:
        for target, replicas in ((operator, 2), (prometheus, 1)):
            loaded.kubectl("scale", f"--replicas={replicas}", *target)
            loaded.kubectl("rollout", "status", *target, "--timeout=90s")
    # both pods were deleted at once: connections refused meanwhile are caused by the test, errors are not
    assert after.failed == before.failed, after


@pytest.mark.timeout(240)
def test_a_canarys_weight_stays_while_prometheus_is_gone(loaded: Cluster) -> None:
    prometheus = ("-n", "monitoring", "deployment/prometheus")
    route = ("relayroute", "chat", "-n", RELAYS)

    def status() -> dict[str, object]:
        found: dict[str, object] = loaded.get(*route).get("status", {})
        return found

    loaded.kubectl("scale", "--replicas=0", *prometheus)
    try:
        loaded.kubectl(
            "wait",
            "--for=delete",
            "pod",
            "-l",
            "app=prometheus",
            "-n",
            "monitoring",
            "--timeout=60s",
        )
        loaded.kubectl("apply", "-f", str(stage.EXAMPLES / "02-canary" / "climb.yaml"))
        wait_until(
            "the start of the canary",
            lambda: status().get("phase"),
            lambda phase: phase == "Progressing",
            seconds=30,
        )
        wait_until(
            "the verdict Unmeasurable",
            lambda: status().get("analysis"),
            lambda seen: isinstance(seen, dict) and seen.get("verdict") == "Unmeasurable",
            seconds=30,
        )
        # twice the time of a step, so that a rise without evidence would show
        time.sleep(9)
        assert status()["weights"] == {"stablePercent": 75, "canaryPercent": 25}
    finally:
        loaded.kubectl("scale", "--replicas=1", *prometheus)
        loaded.kubectl("rollout", "status", *prometheus, "--timeout=90s")
    wait_until(
        "the promotion",
        lambda: status().get("phase"),
        lambda phase: phase == "Promoted",
        seconds=90,
    )


def climbing(*, percent: int = 100) -> dict[str, Any]:
    """Returns the spec of a route whose canary takes a step of ten points in six seconds, up to so much."""
    canary = {"provider": "holysheep", "model": "gpt-4.1", "percent": percent}
    return {
        "match": {"models": ["gpt-4.1"]},
        "stable": {"provider": "legacy", "model": "gpt-4.1"},
        "canary": canary | {"progression": {"stepPercent": 10, "every": "6s", "minRequests": 20}},
        "analysis": {"minRequests": 20, "errorRate": {"maxPercent": 1}},
    }


def climbed_step_by_step(seen: list[Seen], made: list[Move]) -> None:
    """Checks that no step was repeated, skipped or taken back, and that each decision was made once."""
    weights = [one.weight for one in itertools.dropwhile(lambda one: not one.weight, seen)]
    assert weights == sorted(weights), weights
    assert {one.phase for one in seen} <= CLIMBING | {"Holding"}, seen
    assert {one.weight for one in seen if one.phase == "Holding"} <= {HELD_AT}, seen
    assert len(made) == len(set(made)), made
    assert {one.reason for one in made} <= {"Started", "StepPassed", "Promoted"}, made
    steps = [one.percent for one in made if one.reason != "Promoted"]
    assert steps == list(range(10, 101, 10)), made


@pytest.fixture
def crowded(loaded: Cluster) -> Iterator[Cluster]:
    """Has more tenants than are rolled at once; takes all but the loaded one away at the end."""
    for name in BESIDE:
        apply(loaded, "Tenant", name, {"relay": {"resources": SMALL}})
    beside = ("tenants.relay-operator.dev", *BESIDE)
    loaded.kubectl("wait", *beside, "--for=condition=Ready", "--timeout=90s")
    yield loaded
    loaded.kubectl("delete", *beside, "--wait=false")


@pytest.fixture
def former(crowded: Cluster) -> Iterator[Cluster]:
    """Has the chart of an earlier version, which rolls a few relays at once; brings this checkout's back at the end."""
    revision = previous_chart.go_back(crowded, {"operator.rolloutsAtOnce": ROLLED_AT_ONCE})
    leaders.both_run(crowded)
    yield crowded
    previous_chart.return_to(crowded, revision)


def relay_pods(cluster: Cluster) -> set[str]:
    """Returns the UIDs of the loaded tenant's relay pods that stay."""
    pods = (one["metadata"] for one in cluster.get("pods", "-n", RELAYS)["items"])
    return {one["uid"] for one in pods if "deletionTimestamp" not in one}


def drain_seconds(deployment: dict[str, Any]) -> int:
    """Returns for how long the pods of a template drain, which a value of the chart says."""
    env = relay_rollouts.container(deployment)["env"]
    return next(int(one["value"]) for one in env if one["name"] == "RELAY_DRAIN_SECONDS")


def roll_all(cluster: Cluster, how: Callable[[], None], *, drains: int, directory: Path) -> float:
    """Changes the release so that every relay is rolled, a few at once; returns how many seconds that took."""

    def settled() -> set[tuple[int, bool]]:
        found = relay_rollouts.deployments(cluster)
        mine = (found[name] for name in TENANTS)
        return {(drain_seconds(one), relay_rollouts.rolling(one)) for one in mine}

    replaced, began = relay_pods(cluster), time.monotonic()
    states = relay_rollouts.watched(cluster, directory / str(drains))
    states.start()
    try:
        how()
        wait_until(
            f"relays that drain for {drains} s", settled, {(drains, False)}.__eq__, seconds=120
        )
    finally:
        states.stop()
    seconds = time.monotonic() - began
    most, ever = relay_rollouts.rolled_at_once(states, TENANTS)
    assert ever == set(TENANTS)
    assert most <= ROLLED_AT_ONCE, f"{most} relays were on their way at once"
    assert not relay_pods(cluster) & replaced
    return seconds


@pytest.mark.timeout(400)
def test_an_upgrade_and_a_rollback_that_roll_all_relays_change_nothing_about_a_canary_that_climbs(
    former: Cluster, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Upgrades from the chart of an earlier version, as the README says, in the middle of a climb with 80 calls a second, and takes
    it back with helm rollback in the same climb. A value that shapes relay pods is changed with it.

    Shows that chart, rights, custom resources, two operators and all relay pods are replaced under a canary: no call is lost, the
    weight never falls, each step takes its time, each decision is made once, and few relays are on their way at once. It does not
    show documents and status as the code of that version wrote them: both charts run the images of this checkout
    (previous_chart.py).
    """
    route = ("relayroute", "chat", "-n", RELAYS)

    def status() -> dict[str, Any]:
        found: dict[str, Any] = former.get(*route).get("status", {})
        return found

    def weight() -> int:
        return int(status().get("weights", {}).get("canaryPercent", 0))

    def upgrade() -> None:
        previous_chart.upgrade(former, {"relay.drainSeconds": stage.DRAIN_SECONDS + 1})

    def roll_back() -> None:
        releases.roll_back(former)

    former.kubectl("apply", "-f", str(stage.EXAMPLES / "01-first-tenant" / "route.yaml"))
    wait_until(
        "a route without a canary", lambda: status().get("phase"), "Stable".__eq__, seconds=60
    )
    before, led, weights, seconds = losses(former), [leaders.leader(former)], [], []
    with followed(former) as timeline:
        began = time.monotonic()
        # it cannot be promoted before everything is over, however long that takes
        apply(former, "RelayRoute", "chat", climbing(percent=HELD_AT), RELAYS)
        wait_until("10 %", weight, lambda seen: seen >= 10, seconds=90)
        for how, drains in ((upgrade, stage.DRAIN_SECONDS + 1), (roll_back, stage.DRAIN_SECONDS)):
            weights.append(weight())
            seconds.append(roll_all(former, how, drains=drains, directory=tmp_path))
            led.append(leaders.leader(former))
        weights.append(weight())
        apply(former, "RelayRoute", "chat", climbing(), RELAYS)
        wait_until("the promotion", lambda: status().get("phase"), "Promoted".__eq__, seconds=150)
        seen = timeline.seen(RELAYS, "chat", since=began)
        made = timeline.moves(RELAYS, "chat", since=began)
    after = losses(former)
    assert after == before, after
    assert len(set(led)) == 3, led
    tell(
        request.config,
        f"  {len(TENANTS)} relays rolled by an upgrade in {seconds[0]:.1f} s and by its rollback in {seconds[1]:.1f} s; the canary "
        f"had {' %, '.join(map(str, weights))} % and was promoted after {time.monotonic() - began:.1f} s; "
        f"{after.left_out - before.left_out} calls were not made while {AT_ONCE} waited for an answer",
    )
    climbed_step_by_step(seen, made)
